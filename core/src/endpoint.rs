//! [`Endpoint`]: one side of a sync as a person writes it, `PATH` or `NODE:PATH`.
//!
//! | written | means |
//! |---|---|
//! | `photos`, `/srv/photos`, `./a:b`, `/srv/a:b` | a local path: a `/` before any colon makes it local |
//! | `nas2:/srv/photos` | a path on the node `nas2` |
//! | `s3://bucket`, `smb://host/x`, `file:///x` | refused: Orbit has no URLs, and must never take one for a local path |
//! | `C:\photos`, `C:/photos` | a drive on Windows; refused elsewhere (node names have two characters or more) |
//! | `my file:x`, `:x`, `nas2:` | refused: no node name, or no path |

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

/// Longest node name, as long as a DNS label.
pub const NODE_NAME_LEN_MAX: usize = 63;

/// One side of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A path on this machine, as written.
    Local(PathBuf),
    /// A path on a node of the grid.
    Remote {
        /// The node's name.
        node: String,
        /// The path there. Bytes, since the other machine may be of another kind.
        path: Vec<u8>,
    },
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Nothing was given.
    #[error("an endpoint is empty; write PATH or NODE:PATH")]
    Empty,
    /// It holds a NUL byte, which no path can.
    #[error("`{text}` holds a NUL byte")]
    Nul {
        /// The endpoint, for people.
        text: String,
    },
    /// It is a URL.
    #[error(
        "`{text}` is a URL with the scheme `{scheme}`, which Orbit does not speak; write PATH or NODE:PATH"
    )]
    Scheme {
        /// The endpoint, for people.
        text: String,
        /// What stands before `://`.
        scheme: String,
    },
    /// A drive letter, but this is not Windows.
    #[error(
        "`{text}` starts with a drive letter, which only Windows has; write ./{text} for a local path with a colon"
    )]
    Drive {
        /// The endpoint, for people.
        text: String,
    },
    /// What stands before the colon is no node name.
    #[error("`{node}` in `{text}` is no node name; write ./{text} for a local path with a colon")]
    Node {
        /// The endpoint, for people.
        text: String,
        /// What stands before the colon.
        node: String,
    },
    /// Nothing stands before the colon.
    #[error("`{text}` names no node; write ./{text} for a local path with a colon")]
    NoNode {
        /// The endpoint, for people.
        text: String,
    },
    /// Nothing stands after the colon.
    #[error("`{text}` names a node but no path; write {text}/PATH")]
    NoPath {
        /// The endpoint, for people.
        text: String,
    },
}

impl Endpoint {
    /// Reads an endpoint from the command line.
    pub fn parse(written: &OsStr) -> Result<Self, EndpointError> {
        let bytes = written.as_encoded_bytes();
        let text = || crate::rel_path::display_name(bytes).into_owned();
        if bytes.is_empty() {
            return Err(EndpointError::Empty);
        }
        if bytes.contains(&0) {
            return Err(EndpointError::Nul { text: text() });
        }
        let is_local_separator = |b: &u8| *b == b'/' || (cfg!(windows) && *b == b'\\');
        let colon = bytes.iter().position(|&b| b == b':');
        let Some(colon) = colon.filter(|&at| !bytes[..at].iter().any(is_local_separator)) else {
            return Ok(Self::Local(PathBuf::from(written)));
        };
        let (before, after) = (&bytes[..colon], &bytes[colon + 1..]);
        let before_text = || crate::rel_path::display_name(before).into_owned();
        if after.starts_with(b"//") {
            return Err(EndpointError::Scheme { text: text(), scheme: before_text() });
        }
        if let [letter] = before
            && letter.is_ascii_alphabetic()
        {
            return if cfg!(windows) {
                Ok(Self::Local(PathBuf::from(written)))
            } else {
                Err(EndpointError::Drive { text: text() })
            };
        }
        if before.is_empty() {
            return Err(EndpointError::NoNode { text: text() });
        }
        let Some(node) = node_name(before) else {
            return Err(EndpointError::Node { text: text(), node: before_text() });
        };
        if after.is_empty() {
            return Err(EndpointError::NoPath { text: text() });
        }
        Ok(Self::Remote { node: node.to_owned(), path: after.to_vec() })
    }
}

/// Whether bytes are a node name: two to 63 ASCII letters, digits, `-`, `_` or `.`, beginning with a letter or digit.
pub fn is_node_name(bytes: &[u8]) -> bool {
    (2..=NODE_NAME_LEN_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().copied().all(is_in_node_name)
}

/// Whether a byte may stand in a node name (at its beginning only letters and digits may).
pub const fn is_in_node_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn node_name(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|_| is_node_name(bytes))
}

/// For people; what cannot be shown is escaped.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = crate::rel_path::display_name;
        match self {
            Self::Local(path) => f.write_str(&show(path.as_os_str().as_encoded_bytes())),
            Self::Remote { node, path } => write!(f, "{node}:{}", show(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(OsStr::new(text))
    }

    #[test]
    fn paths_are_local() {
        for path in
            ["a", "/", ".", "..", "/srv/a:b", "./a:b", "./s3://x", "dir/C:x", "-", "~", "a b", "ä/ö:ü"]
        {
            assert_eq!(parse(path), Ok(Endpoint::Local(PathBuf::from(path))), "{path}");
        }
    }

    #[test]
    fn node_and_path() {
        let remote = |node: &str, path: &str| {
            Ok(Endpoint::Remote { node: node.to_owned(), path: path.as_bytes().to_vec() })
        };
        assert_eq!(parse("nas2:/srv"), remote("nas2", "/srv"));
        assert_eq!(parse("nas-2.lan:a:b"), remote("nas-2.lan", "a:b"));
        assert_eq!(parse("win:C:\\data"), remote("win", "C:\\data"));
    }

    #[test]
    fn a_url_is_never_a_path() {
        for url in ["s3://bucket/x", "smb://h/s", "file:///etc", "sftp://u@h/x", "://x", "a b://c", "S3://"] {
            assert!(matches!(parse(url), Err(EndpointError::Scheme { .. })), "{url}");
        }
    }

    #[test]
    fn refusals_name_the_reason() {
        assert_eq!(parse(""), Err(EndpointError::Empty));
        assert!(matches!(parse("a\0b"), Err(EndpointError::Nul { .. })));
        assert!(matches!(parse(":x"), Err(EndpointError::NoNode { .. })));
        for bad in ["my file:x", "-x:y", "näs:/x"] {
            assert!(matches!(parse(bad), Err(EndpointError::Node { .. })), "{bad}");
        }
        assert!(matches!(parse("nas2:"), Err(EndpointError::NoPath { .. })));
        assert!(matches!(parse(&format!("{}:x", "n".repeat(64))), Err(EndpointError::Node { .. })));
    }

    #[cfg(not(windows))]
    #[test]
    fn drive_letters_are_refused_outside_windows() {
        let error = parse("C:\\data").expect_err("no drives here");
        assert_eq!(
            error.to_string(),
            "`C:\\data` starts with a drive letter, which only Windows has; write ./C:\\data for a local path with a \
             colon"
        );
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_survive() {
        use std::os::unix::ffi::OsStrExt;
        let local = OsStr::from_bytes(b"/srv/\xff");
        assert_eq!(Endpoint::parse(local), Ok(Endpoint::Local(PathBuf::from(local))));
        let remote = Endpoint::parse(OsStr::from_bytes(b"nas:/\xff")).expect("a remote path");
        assert_eq!(remote, Endpoint::Remote { node: "nas".into(), path: b"/\xff".to_vec() });
        assert_eq!(remote.to_string(), "nas:/\\xff");
    }

    #[cfg(unix)]
    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            use std::os::unix::ffi::OsStrExt;
            match Endpoint::parse(OsStr::from_bytes(&bytes)) {
                Ok(Endpoint::Local(path)) => prop_assert_eq!(path.as_os_str().as_bytes(), &bytes[..]),
                Ok(Endpoint::Remote { node, path }) => {
                    prop_assert_eq!([node.as_bytes(), b":", &path].concat(), bytes);
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }

        #[test]
        fn a_scheme_never_passes(scheme in "[a-zA-Z0-9+. -]{0,8}", rest in "\\PC{0,10}") {
            let url = format!("{scheme}://{rest}");
            prop_assert!(Endpoint::parse(OsStr::new(&url)).is_err());
        }

        #[test]
        fn dot_slash_is_always_local(name in "[^\\x00]{1,20}") {
            let written = format!("./{name}");
            prop_assert_eq!(
                Endpoint::parse(OsStr::new(&written)),
                Ok(Endpoint::Local(PathBuf::from(&written)))
            );
        }
    }
}
