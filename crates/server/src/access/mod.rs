//! Who may do what: roles, tokens, and the guard before every route.

mod guard;
mod role;
mod token;

pub(crate) use guard::{Access, Guard, guard};
pub use role::Role;
pub use token::{ApiToken, TokenHash};
