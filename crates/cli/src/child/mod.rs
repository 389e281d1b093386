//! A process of this program that does what its parent asks.
//!
//! One JSON object a line: requests on the child's standard input, answers on its standard output. The child ends at
//! once when its input ends, so that it cannot outlive the parent.

mod link;
mod serve;

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    link::Link,
    serve::{answer, requests},
};

/// A request with the number that its answer bears.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Numbered<T> {
    pub(crate) number: u64,
    pub(crate) body: T,
}
