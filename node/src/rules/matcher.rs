//! [`Matcher`]: one list of gitignore patterns.

use super::syntax::{self, PatternError};
use gix_glob::Pattern;
use gix_glob::pattern::{Case, Mode};
use gix_glob::wildmatch;
use std::collections::HashMap;

/// Patterns relative to some directory; a later one wins.
///
/// Long lists are mostly names and `*.ext`: those that may say something of a path are found by its name. All others are tried.
#[derive(Debug, Default)]
pub struct Matcher {
    patterns: Vec<Pattern>,
    /// Patterns that are plain names.
    names: HashMap<Box<[u8]>, Last>,
    /// Patterns that are `*` and an extension, by that with its dot.
    extensions: HashMap<Box<[u8]>, Last>,
    /// All others, weakest first.
    others: Vec<usize>,
}

/// Of equal patterns, the last that counts for anything, and the last that counts for directories.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    any: Option<usize>,
    directory: Option<usize>,
}

/// What a list of patterns says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is left out.
    Excluded,
    /// It is kept, whatever a weaker list says.
    Included,
}

impl Matcher {
    /// Whether it says nothing of any path.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// What the last pattern that matches says. `path` is relative to the directory of the patterns.
    pub fn judge(&self, path: &[u8], is_directory: bool) -> Option<Verdict> {
        if self.patterns.is_empty() {
            return None;
        }
        let name_at = path.iter().rposition(|&byte| byte == b'/').map(|slash| slash + 1);
        let name = &path[name_at.unwrap_or(0)..];
        let dot = name.iter().rposition(|&byte| byte == b'.');
        let extension = dot.and_then(|dot| self.extensions.get(&name[dot..]));
        let known = [self.names.get(name), extension].into_iter().flatten();
        let known = known.filter_map(|last| if is_directory { last.directory } else { last.any }).max();
        let matches = |&&other: &&usize| {
            let (is_directory, mode) = (Some(is_directory), wildmatch::Mode::NO_MATCH_SLASH_LITERAL);
            let pattern = &self.patterns[other];
            pattern.matches_repo_relative_path(path.into(), name_at, is_directory, Case::Sensitive, mode)
        };
        let mut stronger =
            self.others.iter().rev().take_while(|&&other| known.is_none_or(|known| other > known));
        let decisive = stronger.find(matches).copied().or(known)?;
        let is_kept = self.patterns[decisive].is_negative();
        Some(if is_kept { Verdict::Included } else { Verdict::Excluded })
    }

    fn add(&mut self, pattern: Pattern) {
        let index = self.patterns.len();
        let text: &[u8] = pattern.text.as_ref();
        let is_of_names = pattern.mode.contains(Mode::NO_SUB_DIR) && !pattern.mode.contains(Mode::ABSOLUTE);
        let last = match text {
            _ if is_of_names && pattern.first_wildcard_pos.is_none() => self.names.entry(text.into()),
            [b'*', extension @ ..] if is_of_names && is_extension(extension) => {
                self.extensions.entry(extension.into())
            }
            _ => {
                self.others.push(index);
                self.patterns.push(pattern);
                return;
            }
        };
        let last = last.or_default();
        last.directory = Some(index);
        if !pattern.mode.contains(Mode::MUST_BE_DIR) {
            last.any = Some(index);
        }
        self.patterns.push(pattern);
    }
}

/// A dot and no other, and nothing that is not itself.
fn is_extension(text: &[u8]) -> bool {
    let [b'.', rest @ ..] = text else { return false };
    !rest.iter().any(|byte| b".*?[\\".contains(byte))
}

/// Collects patterns, weakest first.
#[derive(Debug, Default)]
pub struct MatcherBuilder(Matcher);

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

    /// The patterns that were added.
    pub fn build(self) -> Matcher {
        self.0
    }

    fn line(&mut self, line: &str) -> Result<(), PatternError> {
        let line = syntax::without_trailing_spaces(line);
        syntax::check(line.strip_prefix('!').unwrap_or(line))?;
        self.0.add(Pattern::from_bytes(line.as_bytes()).ok_or(PatternError::Empty)?);
        Ok(())
    }
}
