//! [`compare`]: whether a destination entry is what the source entry says.

use crate::entry::{EntryKind, Metadata, Timestamp};

/// What counts as a difference.
#[derive(Clone, Copy, Debug)]
pub struct CompareOptions {
    /// Permission bits count.
    pub permissions: bool,
    /// Owner and group count.
    pub owner: bool,
    /// Files of equal size are compared by content, and their times are attributes only.
    pub checksum: bool,
    /// Times closer than this are equal: what the destination's file system can store, in nanoseconds.
    pub granularity_ns: u64,
}

/// What a comparison of two entries found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do.
    Same,
    /// Content is the same, attributes are not.
    Attributes,
    /// Content or kind differs.
    Content,
    /// Only the bytes can tell (with `checksum`).
    Ask,
}

/// Compares two entries that carry the same name, neither of them a directory.
///
/// Times are compared for *difference*, not for order: an older source is a restored one and is copied too.
pub fn compare(source: &Metadata, destination: &Metadata, options: &CompareOptions) -> Verdict {
    if source.kind != destination.kind {
        return Verdict::Content;
    }
    let times_equal = same_mtime(source, destination, options.granularity_ns);
    match source.kind {
        EntryKind::File | EntryKind::Symlink if source.size != destination.size => Verdict::Content,
        EntryKind::File if options.checksum => Verdict::Ask,
        EntryKind::File | EntryKind::Symlink if !times_equal => Verdict::Content,
        EntryKind::CharDevice | EntryKind::BlockDevice if source.rdev != destination.rdev => Verdict::Content,
        _ if attributes_differ(source, destination, options) || !times_equal => Verdict::Attributes,
        _ => Verdict::Same,
    }
}

/// Whether mode or owner differ as far as they count. A symbolic link has no mode of its own.
pub fn attributes_differ(source: &Metadata, destination: &Metadata, options: &CompareOptions) -> bool {
    let (s, d) = (&source.attributes, &destination.attributes);
    // Set-id bits are not given to a file that belongs to someone else here.
    let same_owner = options.owner || source.kind != EntryKind::File || (s.uid, s.gid) == (d.uid, d.gid);
    let counted = if same_owner { 0o7777 } else { 0o1777 };
    let mode = options.permissions && source.kind != EntryKind::Symlink && (s.mode ^ d.mode) & counted != 0;
    let owner = options.owner && (s.uid, s.gid) != (d.uid, d.gid);
    mode || owner
}

/// Whether two modification times are equal as far as the destination can store them.
///
/// `granularity_ns` is what its file system is known for. Many network file systems do not tell, but one that keeps
/// whole seconds keeps whole change times too, and nobody can set those: they give it away.
pub fn same_mtime(source: &Metadata, destination: &Metadata, granularity_ns: u64) -> bool {
    let kept_in = |unit: u32| {
        destination.ctime.nanos.is_multiple_of(unit)
            && destination.attributes.mtime.nanos.is_multiple_of(unit)
    };
    let shown = [1_000_000_000, 1_000_000, 1_000].into_iter().find(|unit| kept_in(*unit)).unwrap_or(1);
    let granularity_ns = granularity_ns.max(shown.into());
    same_time(source.attributes.mtime, destination.attributes.mtime, granularity_ns)
}

/// Whether two times are equal as far as `granularity_ns` lets them be told apart.
pub fn same_time(a: Timestamp, b: Timestamp, granularity_ns: u64) -> bool {
    a == b || (a.as_nanos() - b.as_nanos()).unsigned_abs() < u128::from(granularity_ns)
}

#[cfg(test)]
mod tests;
