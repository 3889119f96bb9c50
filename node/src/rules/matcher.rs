//! [`Matcher`]: one list of gitignore patterns.

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Patterns relative to some directory; a later one wins.
#[derive(Debug)]
pub struct Matcher(Gitignore);

/// What a list of patterns says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is left out.
    Excluded,
    /// It is kept, whatever a weaker list says.
    Included,
}

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It is empty or stands for nothing.
    #[error("the pattern is empty")]
    Empty,
    /// `!` where the option already says whether it excludes or includes.
    #[error("a pattern here cannot start with `!`: use --include, or `\\!` for a name that starts so")]
    Negated,
    /// Patterns are text; a name that is not is matched by `?` and `*`.
    #[error("the pattern is not UTF-8")]
    NotUtf8,
    /// Not a pattern.
    #[error("the pattern has an error")]
    Syntax(#[source] ignore::Error),
}

impl Matcher {
    /// Whether it says nothing of any path.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the last pattern that matches says. `path` is relative to the directory of the patterns.
    pub fn judge(&self, path: &[u8], is_directory: bool) -> Option<Verdict> {
        if self.0.is_empty() {
            return None;
        }
        match self.0.matched(Path::new(OsStr::from_bytes(path)), is_directory) {
            Match::None => None,
            Match::Ignore(_) => Some(Verdict::Excluded),
            Match::Whitelist(_) => Some(Verdict::Included),
        }
    }
}

/// Collects patterns, weakest first.
pub struct MatcherBuilder(GitignoreBuilder);

impl Default for MatcherBuilder {
    fn default() -> Self {
        let mut builder = GitignoreBuilder::new("");
        // `[abc` is more likely a slip than a name.
        builder.allow_unclosed_class(false);
        Self(builder)
    }
}

impl MatcherBuilder {
    /// Adds a pattern whose matches are left out. A leading `#` is part of it.
    pub fn exclude(&mut self, pattern: &str) -> Result<(), PatternError> {
        if pattern.starts_with('!') {
            return Err(PatternError::Negated);
        }
        if pattern.starts_with('#') { self.line(&format!("\\{pattern}")) } else { self.line(pattern) }
    }

    /// Adds a pattern whose matches are kept.
    pub fn include(&mut self, pattern: &str) -> Result<(), PatternError> {
        if pattern.starts_with('!') {
            return Err(PatternError::Negated);
        }
        self.line(&format!("!{pattern}"))
    }

    /// Adds the lines of a file in gitignore syntax; fails with the line's number, counted from 1.
    pub fn file(&mut self, bytes: &[u8]) -> Result<(), (usize, PatternError)> {
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let at = |error| (index + 1, error);
            let line = std::str::from_utf8(line).map_err(|_| at(PatternError::NotUtf8))?;
            if !line.starts_with('#') && !line.trim_end().is_empty() {
                self.line(line.strip_suffix('\r').unwrap_or(line)).map_err(at)?;
            }
        }
        Ok(())
    }

    /// Compiles the patterns.
    pub fn build(&self) -> Result<Matcher, PatternError> {
        self.0.build().map(Matcher).map_err(PatternError::Syntax)
    }

    fn line(&mut self, line: &str) -> Result<(), PatternError> {
        let pattern = line.strip_prefix('!').unwrap_or(line).trim_end();
        if pattern.trim_matches('/').is_empty() {
            return Err(PatternError::Empty);
        }
        self.0.add_line(None, line).map(|_| ()).map_err(PatternError::Syntax)
    }
}
