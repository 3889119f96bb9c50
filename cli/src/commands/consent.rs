//! Asking before what cannot be undone.

use crate::args::node::ConsentArgs;
use crate::exit::CliError;
use crate::session::Session;
use std::io::{self, IsTerminal};

/// Goes on if the person says yes, here or on the command line. `deed` is a clause: "removing nas2 from the grid".
pub(super) fn ask(session: &Session, consent: ConsentArgs, deed: &str) -> Result<(), CliError> {
    if consent.yes {
        return Ok(());
    }
    if !can_ask() {
        return Err(CliError::NobodyToAsk { deed: deed.to_owned() });
    }
    session.screen.err(&format!("{deed} cannot be undone. "));
    go_on(session)
}

/// Whether there is somebody to be asked.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks whether to go on.
pub(super) fn go_on(session: &Session) -> Result<(), CliError> {
    session.screen.err("Go on? [y/N] ");
    let mut answer = String::new();
    // Whoever closes the terminal has not said yes.
    let read = io::stdin().read_line(&mut answer).is_ok();
    if read && is_yes(&answer) { Ok(()) } else { Err(CliError::Declined) }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y\n", "yes", " Y \n", "YES\r\n"].into_iter().all(is_yes));
        assert!(!["", "\n", "n\n", "no", "yess", "ja"].into_iter().any(is_yes));
    }
}
