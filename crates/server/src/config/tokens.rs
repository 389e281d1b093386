use super::section::section;
use crate::access::{Role, TokenHash};

section! {
    /// Who may use the node. `archipelago token new` prints a token, which is kept nowhere else, and these lines.
    TokenSection {
        /// What it may do: "read", "write" (and read) or "admin" (and all else).
        role: Role = Role::Read, "\"write\"";
        /// The SHA-256 of the token, in hexadecimal.
        sha256: Option<TokenHash> = None,
            "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"";
    }
}
