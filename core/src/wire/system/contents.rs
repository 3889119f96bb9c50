//! [`ContentsPage`]: what a star holds, a page at a time.

use crate::grid::Content;
use crate::wire::bytes;
use serde::{Deserialize, Serialize};

/// Contents in one page at most: 860 KiB.
pub const CONTENTS_PAGE_MAX: usize = 20_000;
/// Manifests asked for at once at most: 640 KiB of roots.
pub const MANIFESTS_MAX: usize = 20_000;

/// Some of the contents that a star holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentsPage {
    /// Names the state of what the star holds. Another number means that something may have changed.
    pub state: u64,
    /// Contents, some perhaps more than once; at most [`CONTENTS_PAGE_MAX`].
    #[serde(with = "crate::grid::content::packed")]
    pub contents: Vec<Content>,
    /// Where the next page begins; empty after the last.
    #[serde(with = "bytes")]
    pub next: Vec<u8>,
}
