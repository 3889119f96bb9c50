//! [`JobPath`]: a path of some machine, as bytes.

use crate::rel_path::display_name;
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A path as bytes, since names need not be UTF-8.
///
/// In CBOR it is a byte string. In JSON it is a text, or `{"hex": "2fff"}` where it is not UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobPath(Vec<u8>);

impl JobPath {
    /// Of bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it can be an endpoint of a job: absolute, without NUL, `.` and `..`.
    pub fn is_plain(&self) -> bool {
        self.0.first() == Some(&b'/')
            && !self.0.contains(&0)
            && !self.components().any(|component| matches!(component, b"." | b".."))
    }

    /// Whether one lies in the other, or both are the same.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.components().zip(other.components()).all(|(own, theirs)| own == theirs)
    }

    fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }
}

/// For people: nothing in it drives a terminal.
impl fmt::Display for JobPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&display_name(&self.0))
    }
}

impl Serialize for JobPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&self.0);
        }
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("hex", &data_encoding::HEXLOWER.encode(&self.0))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for JobPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(PathVisitor).map(Self)
        } else {
            deserializer.deserialize_byte_buf(PathVisitor).map(Self)
        }
    }
}

struct PathVisitor;

impl<'de> Visitor<'de> for PathVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        Ok(text.as_bytes().to_vec())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<u8>, A::Error> {
        let Some((name, text)) = map.next_entry::<String, String>()? else {
            return Err(A::Error::missing_field("hex"));
        };
        if name != "hex" || map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom("a path has one field, hex"));
        }
        data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> JobPath {
        JobPath::new(text)
    }

    #[test]
    fn paths_overlap_by_components() {
        for (a, b) in [("/a", "/a"), ("/a", "/a/b"), ("/a//b/", "/a/b/c"), ("/", "/x"), ("/a/", "/a")] {
            assert!(path(a).overlaps(&path(b)) && path(b).overlaps(&path(a)), "{a} {b}");
        }
        for (a, b) in [("/a", "/ab"), ("/a/b", "/a/c"), ("/x", "/y")] {
            assert!(!path(a).overlaps(&path(b)), "{a} {b}");
        }
    }

    #[test]
    fn an_endpoint_is_said_plainly() {
        assert!(path("/a/.b/...").is_plain());
        for text in ["a", "", "/a/../b", "/./a", "/a\0b"] {
            assert!(!path(text).is_plain(), "{text:?}");
        }
    }

    #[test]
    fn it_travels_as_bytes() {
        let odd = JobPath::new(b"/\xff".to_vec());
        assert_eq!(crate::wire::decode::<JobPath>(&crate::wire::encode(&odd)).expect("a path"), odd);
        assert_eq!(crate::wire::encode(&odd).len(), 3);
    }
}
