//! A question before what cannot be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use super::error::OperateError;

/// Asks whoever sits at the terminal. Ctrl-C does not wait for the answer.
pub(super) async fn confirm(question: &str) -> Result<(), OperateError> {
    if !io::stdin().is_terminal() {
        let reason = "nobody can be asked, as standard input is no terminal; add --yes".to_owned();
        return Err(OperateError::Refused { reason });
    }
    eprint!("{question} [y/N] ");
    let asking = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stderr().flush()?;
        io::stdin().lock().read_line(&mut answer)?;
        Ok(answer)
    });
    let answer = asking.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    match answer.map_err(OperateError::Output)?.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(OperateError::Refused { reason: "nothing was done".into() }),
    }
}
