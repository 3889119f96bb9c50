//! What is a pattern, and why something is none.
//!
//! Git passes over what it cannot read: such a pattern matches nothing. Whoever meant something by it would have files copied
//! or deleted that were to be left alone, so here it is an error.

/// Why a pattern cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// `[abc` is more likely a slip than a name.
    #[error("a `[` has no `]`: write `\\[` for the character itself")]
    UnclosedClass,
    /// `[z-a]` holds nothing.
    #[error("the range {from:?}-{to:?} is empty: its ends are the wrong way round")]
    EmptyRange {
        /// Its first character.
        from: char,
        /// Its last character.
        to: char,
    },
    /// Only the twelve classes of POSIX have names. Git takes `[[:a]` for plain characters; it is more likely a slip.
    #[error("there is no class of characters with this name: `[[:alpha:]]` is one")]
    UnknownClass,
    /// Some tools expand them; gitignore does not, and means a name with braces.
    #[error("braces are not expanded: write one pattern for each, or `\\{{` for the character itself")]
    Braces,
    /// A backslash at the end stands before nothing.
    #[error("the pattern ends with a `\\` that has nothing behind it: write `\\\\` for the character itself")]
    DanglingEscape,
    /// Matching takes time for each.
    #[error("the pattern has too many `*`: at most {WILDCARDS_MAX}, and {DOUBLE_WILDCARDS_MAX} times `**`")]
    TooManyWildcards,
}

/// The matcher gives up on more of them (a depth of 64), as if nothing matched.
const WILDCARDS_MAX: usize = 60;
/// Each may double the time that a path takes.
const DOUBLE_WILDCARDS_MAX: usize = 8;

const CLASSES: [&str; 12] = [
    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
    "xdigit",
];

/// The line without spaces at its end that have no backslash before them.
pub fn without_trailing_spaces(line: &str) -> &str {
    let trimmed = line.trim_end_matches(' ');
    let backslashes = trimmed.len() - trimmed.trim_end_matches('\\').len();
    if trimmed.len() < line.len() && backslashes % 2 == 1 { &line[..=trimmed.len()] } else { trimmed }
}

/// Whether this is a pattern. A `!` in front of it is gone.
pub fn check(pattern: &str) -> Result<(), PatternError> {
    if pattern.trim_end().trim_matches('/').is_empty() {
        return Err(PatternError::Empty);
    }
    let (mut wildcards, mut doubles, mut last) = (0, 0, None);
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => drop(rest.next().ok_or(PatternError::DanglingEscape)?),
            '{' => return Err(PatternError::Braces),
            '[' => rest = behind_class(rest.as_str())?.chars(),
            '*' if last == Some('*') => doubles += 1,
            '*' => wildcards += 1,
            _ => {}
        }
        last = Some(next);
    }
    let is_fine = wildcards <= WILDCARDS_MAX && doubles <= DOUBLE_WILDCARDS_MAX;
    if is_fine { Ok(()) } else { Err(PatternError::TooManyWildcards) }
}

/// What is behind the class that begins here, behind its `[`.
fn behind_class(class: &str) -> Result<&str, PatternError> {
    let mut rest = class.strip_prefix(['!', '^']).unwrap_or(class);
    let (mut is_first, mut from) = (true, None);
    loop {
        let mut next = take(&mut rest)?;
        match next {
            ']' if !is_first => return Ok(rest),
            '[' if rest.starts_with(':') => {
                let Some((name, behind)) = rest[1..].split_once(']') else {
                    return Err(PatternError::UnclosedClass);
                };
                let is_known = name.strip_suffix(':').is_some_and(|name| CLASSES.contains(&name));
                is_known.then_some(()).ok_or(PatternError::UnknownClass)?;
                (rest, from) = (behind, None);
            }
            '-' if from.is_some() && !rest.starts_with(']') => {
                next = take(&mut rest)?;
                if next == '\\' {
                    next = take(&mut rest)?;
                }
                if let Some(from) = from.take().filter(|&from| from > next) {
                    return Err(PatternError::EmptyRange { from, to: next });
                }
            }
            '\\' => from = Some(take(&mut rest)?),
            _ => from = Some(next),
        }
        is_first = false;
    }
}

fn take(rest: &mut &str) -> Result<char, PatternError> {
    let mut chars = rest.chars();
    let next = chars.next().ok_or(PatternError::UnclosedClass)?;
    *rest = chars.as_str();
    Ok(next)
}
