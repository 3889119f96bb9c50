//! [`Style`]: colours, where they are wanted.

use crate::args::ColorWhen;
use std::io::IsTerminal;

/// Whether a stream gets colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    colored: bool,
}

impl Style {
    /// Decides for a stream.
    pub fn for_stream(when: ColorWhen, stream: &impl IsTerminal) -> Self {
        let colored = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            // https://no-color.org: set and not empty.
            ColorWhen::Auto => {
                stream.is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        Self { colored }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What went wrong.
    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// What deserves a look.
    pub fn doubtful(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// What is well.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What helps.
    pub fn helpful(self, text: &str) -> String {
        self.paint("36", text)
    }
}
