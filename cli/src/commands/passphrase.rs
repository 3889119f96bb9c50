//! The passphrase of a backup: from a file, the environment, or the person at the terminal, who does not see it.

use crate::args::rescue::PassphraseArgs;
use crate::exit::CliError;
use crate::session::Session;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead as _, IsTerminal as _, Read};
use zeroize::Zeroizing;

/// The variable that holds it.
const VARIABLE: &str = "ORBIT_BACKUP_PASSPHRASE";
/// Most bytes of one.
const BYTES_MAX: usize = 4096;

/// A passphrase for something new: whoever types it does so twice.
pub(super) fn new(session: &Session, arguments: &PassphraseArgs) -> Result<Zeroizing<String>, CliError> {
    if let Some(given) = given(arguments)? {
        return Ok(given);
    }
    let first = asked(session, "passphrase for the backup: ")?;
    let second = asked(session, "the same again: ")?;
    if first == second { Ok(first) } else { Err(CliError::PassphrasesDiffer) }
}

/// The passphrase of something that is there.
pub(super) fn known(session: &Session, arguments: &PassphraseArgs) -> Result<Zeroizing<String>, CliError> {
    given(arguments)?.map_or_else(|| asked(session, "passphrase of the backup: "), Ok)
}

fn given(arguments: &PassphraseArgs) -> Result<Option<Zeroizing<String>>, CliError> {
    if let Some(path) = &arguments.passphrase_file {
        let failed = |source| CliError::ReadFile { path: path.clone(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut line = Zeroizing::new(String::with_capacity(BYTES_MAX));
        io::BufReader::new(file.take(BYTES_MAX as u64)).read_line(&mut line).map_err(failed)?;
        return checked(&line).map(Some);
    }
    let Some(value) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let value = Zeroizing::new(value.into_string().map_err(|_| CliError::BadPassphrase)?);
    checked(&value).map(Some)
}

fn checked(line: &str) -> Result<Zeroizing<String>, CliError> {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.len() >= BYTES_MAX {
        return Err(CliError::BadPassphrase);
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn asked(session: &Session, question: &str) -> Result<Zeroizing<String>, CliError> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(CliError::NoPassphrase);
    }
    session.screen.err(question);
    let line = {
        let _silence = Silence::begin().map_err(CliError::Input)?;
        typed(&mut io::stdin().lock())
    };
    session.screen.err("\n");
    match line.map_err(CliError::Input)? {
        Some(line) => checked(&line),
        None => Err(CliError::Declined),
    }
}

/// The terminal shows nothing and hands over each key, until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// A line as it is typed, key by key; none if Ctrl-C ends it. The terminal was told not to act on keys itself, so that
/// it is never left silent.
fn typed(keys: &mut impl Read) -> io::Result<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(BYTES_MAX));
    let mut key = [0];
    while keys.read(&mut key)? == 1 {
        match key[0] {
            b'\n' | b'\r' | 4 => break,
            3 => return Ok(None),
            8 | 127 => erase_one(&mut line),
            21 => line.clear(),
            other if line.len() < BYTES_MAX => line.push(other),
            _ => {}
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// Takes away the last character, of however many bytes it is.
fn erase_one(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(keys: &str) -> Option<String> {
        typed(&mut keys.as_bytes()).expect("reads").map(|line| line.to_string())
    }

    #[test]
    fn keys_make_a_line() {
        assert_eq!(line("horse\nmore").as_deref(), Some("horse"));
        assert_eq!(line("hors\u{7f}se\r").as_deref(), Some("horse"));
        assert_eq!(line("hör\u{8}\u{8}orse\n").as_deref(), Some("horse"));
        assert_eq!(line("\u{7f}wrong\u{15}horse").as_deref(), Some("horse"));
        assert_eq!(line("hor\u{3}se\n"), None);
    }

    #[test]
    fn a_passphrase_is_a_line_of_its_own() {
        assert_eq!(checked("correct horse \r\n").expect("a passphrase").as_str(), "correct horse ");
        for bad in ["", "\n", &"x".repeat(BYTES_MAX)] {
            assert!(matches!(checked(bad), Err(CliError::BadPassphrase)));
        }
    }
}
