use std::path::PathBuf;

use super::{Secret, section::section};

section! {
    /// Whom this node believes. Without a key nothing is signed, and whoever may publish at the broker in the name of a node
    /// is believed. `archipelago key new` makes a key. docs/SECURITY.md says what signatures keep out, and what they do not.
    SignaturesSection {
        /// The key with which this node signs what it says, ed25519-secret:...
        key: Option<Secret> = None, "\"ed25519-secret:...\"";
        /// The file with that key, instead of the key itself.
        key_file: Option<PathBuf> = None, "\"/etc/archipelago/paris.key\"";
        /// Whom it believes from the start, as NAME=KEY: those, and whom they let in.
        trusted: Vec<String> = Vec::new(), "[\"paris=ed25519:...\", \"tokyo=ed25519:...\"]";
        /// Whether what nobody signed is refused. False only for the time in which not all nodes sign yet.
        required: bool = true, "false";
    }
}
