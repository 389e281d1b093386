use std::path::PathBuf;

use super::section::section;

section! {
    /// Where snapshots of multi-master namespaces are kept: the whole state of one moment, for masters that join late and for
    /// the day when everything is lost. Without a folder there are none.
    SnapshotsSection {
        /// The folder, one for all namespaces; on a disk of its own, or one that the nodes share.
        folder: Option<PathBuf> = None, "\"/mnt/backup/archipelago\"";
        /// How often one is made by itself, by one of the nodes that are configured so. If it is not given: never.
        every_ms: Option<u64> = None, "3600000";
        /// How many stay when another one was made; the oldest go first.
        keep: usize = 2, "24";
        /// Whether the log is trimmed below what a snapshot covers that was made by itself.
        trim_log: bool = true, "false";
    }
}
