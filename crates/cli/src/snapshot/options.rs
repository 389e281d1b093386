use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Make, list, verify and restore snapshots: the whole state of a master, somewhere else
///
/// A place of snapshots is a folder, or a NATS server (2.10 or newer, with JetStream), which keeps them in its object
/// store: nats://host:4222. In a folder each snapshot is one file, NAME.snapshot, which may be copied anywhere and verified
/// and restored from there.
///
/// Exit status: 0 if all went well, 130 after Ctrl-C, else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) action: Action,

    /// Print one line of JSON on standard output; all other output goes to standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Identify to the NATS server with this credentials file
    #[arg(long, global = true, value_name = "FILE", env = "ARCHIPELAGO_NATS_CREDS")]
    pub(crate) nats_creds: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Action {
    /// Make a snapshot of a store on which no master runs
    ///
    /// (A running master makes snapshots itself: see `create_snapshot` and `snapshot_every` in the library.) The store is
    /// only read. A snapshot that was interrupted is none, and leaves nothing that is listed.
    Create {
        /// The folder of the store
        #[arg(long, value_name = "FOLDER")]
        store: PathBuf,
        /// The name that the master of the store must have [default: any]
        #[arg(long, value_name = "NAME")]
        master_id: Option<String>,
        /// The namespace that the store must have [default: any; for a NATS server it is needed]
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,
        /// Where to put it: a folder, or nats://host:4222
        #[arg(long, value_name = "PLACE")]
        to: String,
    },
    /// List the snapshots of a place, newest last
    List {
        /// Where they are: a folder, or nats://host:4222
        #[arg(long, value_name = "PLACE")]
        from: String,
        /// Only those of this namespace [for a NATS server it is needed]
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,
    },
    /// Read a snapshot and check all of it
    ///
    /// Checks that every chunk is the one that was stored, in its place, that all entities can be read, and that nothing is
    /// missing.
    Verify {
        /// Where it is: a folder, a .snapshot file, or nats://host:4222
        #[arg(long, value_name = "PLACE")]
        from: String,
        /// Its name [default: the newest one]
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Only those of this namespace [for a NATS server it is needed]
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,
    },
    /// Fill a new store from a snapshot, so that a master can be started on it
    ///
    /// The folder must be new, empty, or that of a restore that was interrupted, which then goes on where it was. The store
    /// becomes that of a new replica: it takes part like every other one, and what came after the snapshot it reads from the
    /// log or fetches from other masters.
    Restore {
        /// Where the snapshot is: a folder, a .snapshot file, or nats://host:4222
        #[arg(long, value_name = "PLACE")]
        from: String,
        /// Its name [default: the newest one]
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// The folder of the store to fill
        #[arg(long, value_name = "FOLDER")]
        store: PathBuf,
        /// The name of the master that will run on it: 1 to 64 of A-Z a-z 0-9 _ -
        #[arg(long, value_name = "NAME")]
        master_id: String,
        /// The namespace, which must be that of the snapshot
        #[arg(long, value_name = "NAME")]
        namespace: String,
    },
}
