//! Text for collaborative editing. The states and how they join are in `runs`, and know nothing of editors; what the
//! text is, and what an edit of it means, is for yrs to say.

mod cut;
mod encoding;
mod run;
mod runs;
mod update;

#[cfg(feature = "text")]
mod document;
#[cfg(feature = "text")]
mod error;
#[cfg(feature = "text")]
mod hunks;
#[cfg(feature = "text")]
mod integrable;
#[cfg(feature = "text")]
mod typed;

#[cfg(feature = "text")]
pub use error::TextError;
pub(crate) use runs::TextRuns;
#[cfg(feature = "text")]
pub use typed::Text;
#[cfg(feature = "text")]
pub(crate) use typed::shown;

#[cfg(all(test, feature = "text"))]
mod tests;
