//! [`RelPath`]: a portable path below a root.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// A path below some root, as bytes with `/` between components.
///
/// It is portable: it says nothing about the root nor about the operating system, and it carries names that are
/// not UTF-8. It never holds an empty component, `.`, `..` or NUL, so joining it to a root cannot climb out by
/// spelling (symbolic links are the jail's business). The empty path is the root itself.
///
/// The order is that of a depth-first walk with sorted siblings: `a`, `a/b`, `a.b`. Two scans in this order can be
/// merged.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RelPath(Box<[u8]>);

/// Why bytes are not a [`RelPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelPathError {
    /// It starts with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// A component is empty, `.` or `..`.
    #[error("the path has an empty, `.` or `..` component")]
    Component,
    /// It holds a NUL byte.
    #[error("the path holds a NUL byte")]
    Nul,
}

impl RelPath {
    /// The root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks and wraps bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, RelPathError> {
        let bytes = bytes.into();
        if bytes.contains(&0) {
            return Err(RelPathError::Nul);
        }
        if bytes.first() == Some(&b'/') {
            return Err(RelPathError::Absolute);
        }
        if !bytes.is_empty() && bytes.split(|&b| b == b'/').any(|c| matches!(c, b"" | b"." | b"..")) {
            return Err(RelPathError::Component);
        }
        Ok(Self(bytes.into_boxed_slice()))
    }

    /// The path of `name` in this directory.
    pub fn join(&self, name: &[u8]) -> Result<Self, RelPathError> {
        if name.is_empty() || name.contains(&b'/') {
            return Err(RelPathError::Component);
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        if matches!(name, b"." | b"..") {
            return Err(RelPathError::Component);
        }
        if name.contains(&0) {
            return Err(RelPathError::Nul);
        }
        Ok(Self(bytes.into_boxed_slice()))
    }

    /// This path seen from below `prefix`: `prefix/self`.
    #[must_use]
    pub fn below(&self, prefix: &Self) -> Self {
        match (prefix.is_root(), self.is_root()) {
            (true, _) => self.clone(),
            (_, true) => prefix.clone(),
            _ => Self([&prefix.0, &b"/"[..], &self.0].concat().into_boxed_slice()),
        }
    }

    /// Whether this is the root itself.
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, `/` between components.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.0.rsplit(|&b| b == b'/').next().filter(|name| !name.is_empty())
    }

    /// The containing directory; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// The components from the top.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|c| !c.is_empty())
    }

    /// Number of components.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Whether this is `ancestor` or lies below it.
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || (self.0.starts_with(&ancestor.0) && matches!(self.0.get(ancestor.0.len()), None | Some(b'/')))
    }

    /// For people: what is not UTF-8 and control characters are escaped as `\xNN`, so that a name cannot drive the
    /// terminal it is printed on.
    pub fn display(&self) -> Cow<'_, str> {
        display_name(&self.0)
    }
}

/// A name for people: what is not UTF-8 and control characters are escaped as `\xNN`.
pub fn display_name(bytes: &[u8]) -> Cow<'_, str> {
    let clean = |text: &str| !text.chars().any(char::is_control);
    if let Ok(text) = std::str::from_utf8(bytes)
        && clean(text)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for part in bytes.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|b| push_escape(&mut out, b));
            } else {
                out.push(c);
            }
        }
        part.invalid().iter().for_each(|&b| push_escape(&mut out, b));
    }
    Cow::Owned(out)
}

fn push_escape(out: &mut String, byte: u8) {
    use fmt::Write;
    // Writing to a String cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

/// Orders names and paths as a depth-first walk with sorted siblings does: `/` sorts below every other byte.
fn walk_order(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.iter().zip(b).position(|(x, y)| x != y);
    match common {
        None => a.len().cmp(&b.len()),
        Some(at) => match (a[at], b[at]) {
            (b'/', _) => Ordering::Less,
            (_, b'/') => Ordering::Greater,
            (x, y) => x.cmp(&y),
        },
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        walk_order(&self.0, &other.0)
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.pad(".") } else { f.pad(&self.display()) }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

impl TryFrom<Vec<u8>> for RelPath {
    type Error = RelPathError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Self::Error> {
        Self::new(bytes)
    }
}

impl Serialize for RelPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = RelPath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a relative path")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<RelPath, E> {
                RelPath::new(bytes).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).expect("a valid path")
    }

    #[test]
    fn refuses_what_could_climb_out() {
        assert_eq!(RelPath::new("/etc"), Err(RelPathError::Absolute));
        for bad in ["..", "a/..", "a/../b", ".", "a//b", "a/"] {
            assert_eq!(RelPath::new(bad), Err(RelPathError::Component), "{bad}");
        }
        assert_eq!(RelPath::new("a\0b"), Err(RelPathError::Nul));
        assert!(RelPath::root().join(b"..").is_err());
        assert!(RelPath::root().join(b"a/b").is_err());
    }

    #[test]
    fn order_is_a_depth_first_walk() {
        let mut paths = ["a.b", "b", "a/b/c", "a", "a/b", "", "a-"].map(path).to_vec();
        paths.sort();
        let texts: Vec<_> = paths.iter().map(|p| p.display().into_owned()).collect();
        assert_eq!(texts, ["", "a", "a/b", "a/b/c", "a-", "a.b", "b"]);
    }

    #[test]
    fn display_cannot_drive_a_terminal() {
        let evil = RelPath::new(b"a\x1b[2J\n\xff".to_vec()).expect("allowed on disk");
        assert_eq!(evil.display(), "a\\x1b[2J\\x0a\\xff");
    }

    proptest! {
        #[test]
        fn parent_and_name_undo_join(dir in "[a-z]{0,3}(/[a-z.]{2,4}x){0,3}", name in "[a-z]{1,5}") {
            let dir = path(dir.trim_start_matches('/'));
            let joined = dir.join(name.as_bytes()).expect("a plain name");
            prop_assert_eq!(joined.parent(), Some(dir.clone()));
            prop_assert_eq!(joined.name(), Some(name.as_bytes()));
            prop_assert!(joined.starts_with(&dir) && dir < joined);
        }

        #[test]
        fn order_equals_component_order(a in "[a-c/.]{0,8}", b in "[a-c/.]{0,8}") {
            if let (Ok(a), Ok(b)) = (RelPath::new(a), RelPath::new(b)) {
                let by_components: Vec<_> = a.components().collect();
                prop_assert_eq!(a.cmp(&b), by_components.cmp(&b.components().collect()));
            }
        }
    }
}
