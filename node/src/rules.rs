//! [`Rules`]: which paths belong to a tree, in gitignore syntax.
//!
//! Three sources, the first that says anything about a path decides:
//! 1. `--exclude` and `--include`, in the order given: a later one wins, an include takes back an exclude;
//! 2. `.orbitignore` files found on the way, for the paths below them: the deepest wins;
//! 3. `--ignore-file` files, in the order given.
//!
//! As in git, what lies below a directory that is left out cannot be taken back: nobody looks there. A pattern that
//! cannot be read is never passed over: on the command line and in ignore files it is an error at once; below a faulty
//! `.orbitignore` everything is left alone, neither copied nor deleted, and [`Rules::faults`] says why.

mod matcher;
mod syntax;

use crate::standalone::request::FilterRule;
use matcher::{Matcher, MatcherBuilder, Verdict};
use orbit_core::RelPath;
use orbit_core::filter::PathFilter;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
pub use syntax::PatternError;

/// Name of the rule file of a directory.
pub const RULE_FILE: &[u8] = b".orbitignore";

/// Longest ignore file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is left out of a tree.
#[derive(Debug)]
pub struct Rules {
    command_line: Matcher,
    ignore_files: Matcher,
    learned: RwLock<HashMap<Box<[u8]>, Learned>>,
    /// Whether `learned` holds anything: most trees have no rule file, and asking must cost nothing then.
    has_learned: AtomicBool,
    faults: Mutex<Vec<RuleFault>>,
}

/// What the rule file of a directory came to.
#[derive(Debug)]
enum Learned {
    Rules(Matcher),
    /// It could not be read: all below is left alone.
    Unreadable,
}

/// Why there are no rules to go by.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A pattern on the command line.
    #[error("cannot use the pattern {pattern:?}")]
    CommandLine {
        /// As it was given.
        pattern: String,
        /// Why.
        #[source]
        source: PatternError,
    },
    /// A pattern in an ignore file.
    #[error("cannot use line {line} of {}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        #[source]
        source: PatternError,
    },
    /// An ignore file that cannot be read.
    #[error("cannot read the ignore file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A rule file in the tree that cannot be used. Everything in its directory was left alone.
#[derive(Debug, thiserror::Error)]
#[error("cannot use line {line} of {path}")]
pub struct RuleFault {
    /// The rule file.
    pub path: RelPath,
    /// Counted from 1.
    pub line: usize,
    /// Why.
    #[source]
    pub source: PatternError,
}

impl Rules {
    /// Reads the rules of the command line and of the ignore files.
    pub fn new(rules: &[FilterRule], ignore_files: &[PathBuf]) -> Result<Self, RulesError> {
        Self::with_texts(rules, ignore_files, &[])
    }

    /// The same, with ignore files of which the text is known.
    pub fn with_texts(
        rules: &[FilterRule],
        ignore_files: &[PathBuf],
        texts: &[String],
    ) -> Result<Self, RulesError> {
        let mut command_line = MatcherBuilder::default();
        for rule in rules {
            let (pattern, added) = match rule {
                FilterRule::Exclude(pattern) => (pattern, command_line.exclude(pattern)),
                FilterRule::Include(pattern) => (pattern, command_line.include(pattern)),
            };
            added.map_err(|source| RulesError::CommandLine { pattern: pattern.clone(), source })?;
        }
        let mut from_files = MatcherBuilder::default();
        for path in ignore_files {
            let bytes = read_file(path).map_err(|source| RulesError::File { path: path.clone(), source })?;
            from_files.file(&bytes).map_err(|(line, source)| RulesError::Line {
                path: path.clone(),
                line,
                source,
            })?;
        }
        for (number, text) in texts.iter().enumerate() {
            from_files.file(text.as_bytes()).map_err(|(line, source)| {
                let path = PathBuf::from(format!("ignore file {}", number + 1));
                RulesError::Line { path, line, source }
            })?;
        }
        Ok(Self {
            command_line: command_line.build(),
            ignore_files: from_files.build(),
            learned: RwLock::default(),
            has_learned: AtomicBool::new(false),
            faults: Mutex::default(),
        })
    }

    /// Takes the rule files that could not be used so far. Ask when the scan is done: they make a run incomplete.
    pub fn faults(&self) -> Vec<RuleFault> {
        std::mem::take(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the rule files above `path` say, the deepest first.
    fn learned(&self, path: &[u8], is_directory: bool) -> Option<Verdict> {
        if !self.has_learned.load(Ordering::Acquire) {
            return None;
        }
        let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
        let mut end = path.len();
        loop {
            let slash = path[..end].iter().rposition(|&byte| byte == b'/');
            let directory = slash.unwrap_or(0);
            let below = &path[slash.map_or(0, |at| at + 1)..];
            match learned.get(&path[..directory]) {
                Some(Learned::Unreadable) => return Some(Verdict::Excluded),
                Some(Learned::Rules(rules)) => {
                    if let Some(verdict) = rules.judge(below, is_directory) {
                        return Some(verdict);
                    }
                }
                None => {}
            }
            slash?;
            end = directory;
        }
    }
}

impl PathFilter for Rules {
    fn excludes(&self, path: &RelPath, is_directory: bool) -> bool {
        let path = path.as_bytes();
        let verdict = self
            .command_line
            .judge(path, is_directory)
            .or_else(|| self.learned(path, is_directory))
            .or_else(|| self.ignore_files.judge(path, is_directory));
        verdict == Some(Verdict::Excluded)
    }

    fn rule_file(&self) -> Option<&[u8]> {
        Some(RULE_FILE)
    }

    fn learn(&self, directory: &RelPath, rules: &[u8]) {
        let mut builder = MatcherBuilder::default();
        let learned = match builder.file(rules) {
            Ok(()) => Learned::Rules(builder.build()),
            Err((line, source)) => {
                let path = directory.join(RULE_FILE).expect("the rule file has a plain name");
                let fault = RuleFault { path, line, source };
                tracing::warn!(path = %fault.path, line, reason = %fault.source, "unusable rule file");
                self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
                Learned::Unreadable
            }
        };
        if matches!(&learned, Learned::Rules(rules) if rules.is_empty()) {
            return;
        }
        let mut all = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(directory.as_bytes().into(), learned);
        self.has_learned.store(true, Ordering::Release);
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "rules/tests.rs"]
mod tests;
