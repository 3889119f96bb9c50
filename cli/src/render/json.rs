//! The JSON lines of `--json`.

use orbit_core::{RelPath, Summary, Totals};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, Write};

/// One line of a stream.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Line<'a> {
    /// A plan is complete.
    Planned(Totals),
    /// A plan was stored.
    Plan {
        /// Its id.
        id: &'a str,
        /// What it will do.
        #[serde(flatten)]
        totals: Totals,
    },
    /// A planned change.
    Change {
        /// What is done.
        change: &'static str,
        /// To what.
        #[serde(flatten)]
        path: JsonPath<'a>,
        /// Bytes of the file.
        bytes: u64,
    },
    /// Something failed or was skipped.
    Fault {
        /// Which path.
        #[serde(flatten)]
        path: JsonPath<'a>,
        /// What and why.
        message: &'a str,
    },
    /// Something a person should know.
    Notice {
        /// What.
        message: &'a str,
    },
    /// What a run did; the last line.
    Summary {
        /// The figures.
        #[serde(flatten)]
        summary: Summary,
        /// The exit code.
        exit: u8,
    },
    /// Why a command did not do its work.
    Error {
        /// What failed, on what, why.
        message: &'a str,
        /// The command that mends it.
        hint: Option<&'a str>,
        /// The exit code.
        exit: u8,
    },
}

/// A path as JSON can carry it.
#[derive(Debug, Serialize)]
pub struct JsonPath<'a> {
    /// The path; where it is not UTF-8, with `\xNN` for what is not.
    path: Cow<'a, str>,
    /// The bytes in hexadecimal, where the path is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl<'a> JsonPath<'a> {
    /// Of bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(path) => Self { path: Cow::Borrowed(path), path_bytes: None },
            Err(_) => Self { path: orbit_core::rel_path::display_name(bytes), path_bytes: Some(hex(bytes)) },
        }
    }
}

impl<'a> JsonPath<'a> {
    /// The same with a text of its own.
    pub fn into_owned(self) -> JsonPath<'static> {
        JsonPath { path: Cow::Owned(self.path.into_owned()), path_bytes: self.path_bytes }
    }

    /// The text alone.
    pub fn into_text(self) -> Cow<'a, str> {
        self.path
    }
}

impl<'a> From<&'a RelPath> for JsonPath<'a> {
    /// The root is `.`.
    fn from(path: &'a RelPath) -> Self {
        Self::new(if path.is_root() { b"." } else { path.as_bytes() })
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).map(char::from).collect()
}

/// Writes a value as one line.
pub fn write_line(out: &mut (impl Write + ?Sized), value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        write_line(&mut out, line).expect("writing to memory");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn the_summary_is_exactly_the_contract() {
        let summary =
            Summary { files_total: 5, files_new: 1, bytes_written: 7, elapsed_ms: 9, ..Summary::default() };
        insta::assert_snapshot!(text(&Line::Summary { summary, exit: 3 }), @r#"{"event":"summary","files_total":5,"files_new":1,"files_changed":0,"files_unchanged":0,"files_deleted":0,"files_failed":0,"bytes_total":0,"bytes_written":7,"bytes_reused":0,"bytes_wire":0,"elapsed_ms":9,"exit":3}"#);
    }

    #[test]
    fn paths_that_are_not_utf8_carry_their_bytes() {
        let path = RelPath::new(b"a/\xff\n".to_vec()).expect("a path");
        let fault = Line::Fault { path: JsonPath::from(&path), message: "gone" };
        insta::assert_snapshot!(text(&fault), @r#"{"event":"fault","path":"a/\\xff\\x0a","path_bytes":"612fff0a","message":"gone"}"#);
        let change = Line::Change { change: "delete", path: JsonPath::new("ä\n".as_bytes()), bytes: 0 };
        insta::assert_snapshot!(text(&change), @r#"{"event":"change","change":"delete","path":"ä\n","bytes":0}"#);
    }

    #[test]
    fn other_lines() {
        let root = RelPath::root();
        let lines = [
            Line::Planned(Totals::default()),
            Line::Plan { id: "019a", totals: Totals::default() },
            Line::Notice { message: "look" },
            Line::Fault { path: JsonPath::from(&root), message: "cannot scan" },
            Line::Error { message: "no", hint: None, exit: 4 },
        ];
        insta::assert_snapshot!(lines.iter().map(text).collect::<String>());
    }
}
