//! [`unpack`]: the reading side. Nothing it is given is believed.

use super::varint::{self, unfold};
use super::{
    CONTINUES, IS_BOUNDARY, PACK_BYTES_MAX, PACK_ENTRIES_MAX, PACK_TEXT_MAX, Piece, VERSION, allocated,
    column,
};
use crate::entry::{Attributes, EntryKind, Listing, Metadata, Timestamp, UnknownKind};
use crate::rel_path::{RelPath, RelPathError};

/// Why bytes are no pack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// It has a version that is not known here.
    #[error("a listing has version {version}, which this orbit does not know")]
    Version {
        /// Its version.
        version: u8,
    },
    /// It is larger than any pack.
    #[error("a listing has too many {what}: at most {max} are taken at a time")]
    TooMany {
        /// What it has too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// It ends before it is complete, or a column is damaged.
    #[error("a listing is damaged in its column of {column}")]
    Column {
        /// Which column.
        column: &'static str,
    },
    /// Bytes follow it.
    #[error("{count} bytes follow a listing")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// The path of a directory is none.
    #[error("a directory's path cannot be one")]
    Path(#[from] RelPathError),
    /// Not a name that a directory can hold.
    #[error("{directory} would hold an entry with a name that cannot be one")]
    Name {
        /// The directory.
        directory: RelPath,
    },
    /// Its names are not sorted, or one stands there twice.
    #[error("the entries of {directory} are not in order")]
    Order {
        /// The directory.
        directory: RelPath,
    },
    /// A directory at which the walk stops has entries.
    #[error("{directory} has entries, although the walk stops there")]
    Boundary {
        /// The directory.
        directory: RelPath,
    },
    /// An entry of a kind that is not known here.
    #[error("an entry is of no known kind")]
    Kind(#[from] UnknownKind),
}

/// Reads a pack that [`ListingPacker`](super::ListingPacker) made: all of it, or nothing.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Piece>, ListingError> {
    if bytes.len() > PACK_BYTES_MAX {
        return Err(ListingError::TooMany { what: "bytes", max: PACK_BYTES_MAX });
    }
    let mut reader = Reader { rest: bytes };
    match reader.rest.split_off_first() {
        Some(&VERSION) => {}
        Some(&version) => return Err(ListingError::Version { version }),
        None => return Err(ListingError::Column { column: "versions" }),
    }
    let directories = reader.count("directories")?;
    let entries = reader.count("entries")?;
    let directories = Directories::read(&mut reader, directories)?;
    let names = Texts::read(&mut reader, entries, &NAMES)?;
    let rows = Rows::read(&mut reader, entries)?;
    if !reader.rest.is_empty() {
        return Err(ListingError::Trailing { count: reader.rest.len() });
    }
    pieces(&directories, names, &rows, entries)
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    fn count(&mut self, what: &'static str) -> Result<usize, ListingError> {
        let count = varint::take(&mut self.rest).ok_or(ListingError::Column { column: what })?;
        match usize::try_from(count) {
            Ok(count) if count <= PACK_ENTRIES_MAX => Ok(count),
            _ => Err(ListingError::TooMany { what, max: PACK_ENTRIES_MAX }),
        }
    }

    fn column(&mut self, column: &'static str, len: usize) -> Result<Vec<u64>, ListingError> {
        let mut values = Vec::new();
        column::take(&mut self.rest, len, &mut values).ok_or(ListingError::Column { column })?;
        Ok(values)
    }

    /// A column of numbers of 32 bits.
    fn narrow(&mut self, column: &'static str, len: usize) -> Result<Vec<u32>, ListingError> {
        let values = self.column(column, len)?;
        let narrow = |value| u32::try_from(value).map_err(|_| ListingError::Column { column });
        values.into_iter().map(narrow).collect()
    }

    fn bytes(&mut self, column: &'static str, len: usize) -> Result<&'b [u8], ListingError> {
        self.rest.split_off(..len).ok_or(ListingError::Column { column })
    }
}

/// What columns of texts are called when they are damaged.
struct Called {
    beginnings: &'static str,
    /// None: the texts of this kind share no ends.
    ends: Option<&'static str>,
    lens: &'static str,
    bytes: &'static str,
}

const PATHS: Called =
    Called { beginnings: "beginnings of paths", ends: None, lens: "lengths of paths", bytes: "paths" };
const NAMES: Called = Called {
    beginnings: "beginnings of names",
    ends: Some("ends of names"),
    lens: "lengths of names",
    bytes: "names",
};

/// Texts without what they share with the one before.
struct Texts<'b> {
    beginnings: Vec<u32>,
    ends: Vec<u32>,
    lens: Vec<u32>,
    bytes: &'b [u8],
    called: &'static Called,
    /// The text before.
    text: Vec<u8>,
    before: Vec<u8>,
    /// Bytes of all texts so far.
    whole_len: usize,
}

impl<'b> Texts<'b> {
    fn read(reader: &mut Reader<'b>, count: usize, called: &'static Called) -> Result<Self, ListingError> {
        let beginnings = reader.narrow(called.beginnings, count)?;
        let ends = match called.ends {
            Some(ends) => reader.narrow(ends, count)?,
            None => Vec::new(),
        };
        let lens = reader.narrow(called.lens, count)?;
        let total = lens.iter().map(|len| u64::from(*len)).sum::<u64>();
        let total = usize::try_from(total).map_err(|_| ListingError::Column { column: called.lens })?;
        let bytes = reader.bytes(called.bytes, total)?;
        Ok(Self { beginnings, ends, lens, bytes, called, text: Vec::new(), before: Vec::new(), whole_len: 0 })
    }

    /// Makes text number `at`, the next one. Says how many bytes at its beginning are those of the one before, and
    /// which bytes are new.
    fn advance(&mut self, at: usize) -> Result<(usize, &'b [u8]), ListingError> {
        let damaged = ListingError::Column { column: self.called.bytes };
        let [beginning, end, len] = [&self.beginnings, &self.ends, &self.lens]
            .map(|column| column.get(at).map_or(0, |number| *number as usize));
        std::mem::swap(&mut self.text, &mut self.before);
        let before = &self.before[..];
        let Some(middle) = self.bytes.split_off(..len) else { return Err(damaged) };
        if beginning + end > before.len() {
            return Err(damaged);
        }
        self.whole_len += beginning + len + end;
        if self.whole_len > PACK_TEXT_MAX {
            return Err(ListingError::TooMany { what: self.called.bytes, max: PACK_TEXT_MAX });
        }
        self.text.clear();
        self.text.extend_from_slice(&before[..beginning]);
        self.text.extend_from_slice(middle);
        self.text.extend_from_slice(&before[before.len() - end..]);
        Ok((beginning, middle))
    }
}

struct Directories {
    flags: Vec<u64>,
    counts: Vec<u64>,
    paths: Vec<RelPath>,
}

impl Directories {
    fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, ListingError> {
        let flags = reader.column("flags", count)?;
        let counts = reader.column("counts", count)?;
        let mut texts = Texts::read(reader, count, &PATHS)?;
        let mut paths = Vec::with_capacity(count);
        for at in 0..count {
            texts.advance(at)?;
            paths.push(RelPath::new(&texts.text[..])?);
        }
        Ok(Self { flags, counts, paths })
    }
}

/// Entries without their names, column by column.
struct Rows {
    kinds: Vec<u64>,
    modes: Vec<u32>,
    uids: Vec<u32>,
    gids: Vec<u32>,
    links: Vec<u32>,
    devs: Vec<u64>,
    rdevs: Vec<u64>,
    sizes: Vec<u64>,
    allocations: Vec<u64>,
    inos: Vec<u64>,
    mtimes: Vec<u64>,
    mtime_nanos: Vec<u32>,
    ctimes: Vec<u64>,
    ctime_nanos: Vec<u64>,
    is_relative: bool,
}

impl Rows {
    fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, ListingError> {
        Ok(Self {
            kinds: reader.column("kinds", count)?,
            modes: reader.narrow("modes", count)?,
            uids: reader.narrow("owners", count)?,
            gids: reader.narrow("groups", count)?,
            links: reader.narrow("links", count)?,
            devs: reader.column("devices", count)?,
            rdevs: reader.column("device numbers", count)?,
            sizes: reader.column("sizes", count)?,
            allocations: reader.column("allocations", count)?,
            inos: reader.column("inodes", count)?,
            mtimes: reader.column("modification times", count)?,
            mtime_nanos: reader.narrow("modification times", count)?,
            is_relative: match reader.bytes("change times", 1)? {
                [0] => false,
                [1] => true,
                _ => return Err(ListingError::Column { column: "change times" }),
            },
            ctimes: reader.column("change times", count)?,
            ctime_nanos: reader.column("change times", count)?,
        })
    }

    /// # Panics
    /// If there are not so many rows: columns are as long as was asked for.
    fn metadata(&self, at: usize) -> Result<Metadata, ListingError> {
        let kind = u8::try_from(self.kinds[at]).map_err(|_| ListingError::Column { column: "kinds" })?;
        let mtime = Timestamp { seconds: unfold(self.mtimes[at]), nanos: self.mtime_nanos[at] };
        let (mut seconds, mut nanos) = (unfold(self.ctimes[at]), i128::from(self.ctime_nanos[at]));
        if self.is_relative {
            seconds = seconds.wrapping_add(mtime.seconds);
            nanos = i128::from(unfold(self.ctime_nanos[at])) + i128::from(mtime.nanos);
        }
        let nanos = u32::try_from(nanos).map_err(|_| ListingError::Column { column: "change times" })?;
        Ok(Metadata {
            kind: EntryKind::try_from(kind)?,
            size: self.sizes[at],
            allocated: allocated(self.sizes[at], self.allocations[at]),
            attributes: Attributes { mode: self.modes[at], uid: self.uids[at], gid: self.gids[at], mtime },
            ctime: Timestamp { seconds, nanos },
            dev: self.devs[at],
            ino: self.inos[at],
            links: self.links[at],
            rdev: self.rdevs[at],
        })
    }
}

fn pieces(
    directories: &Directories,
    mut names: Texts<'_>,
    rows: &Rows,
    entries: usize,
) -> Result<Vec<Piece>, ListingError> {
    let mut pieces = Vec::with_capacity(directories.paths.len());
    let mut next = 0;
    for ((path, flags), count) in directories.paths.iter().zip(&directories.flags).zip(&directories.counts) {
        let count = usize::try_from(*count).ok().filter(|count| *count <= entries - next);
        let until = next + count.ok_or(ListingError::Column { column: "counts" })?;
        if *flags > (IS_BOUNDARY | CONTINUES) {
            return Err(ListingError::Column { column: "flags" });
        }
        let (is_boundary, continues) = (flags & IS_BOUNDARY != 0, flags & CONTINUES != 0);
        if is_boundary && (continues || until > next) {
            return Err(ListingError::Boundary { directory: path.clone() });
        }
        let mut listing = Listing::new(path.clone());
        listing.is_boundary = is_boundary;
        fill(&mut listing, &mut names, rows, next..until)?;
        pieces.push(Piece { listing, continues });
        next = until;
    }
    if next == entries { Ok(pieces) } else { Err(ListingError::Column { column: "counts" }) }
}

fn fill(
    listing: &mut Listing,
    names: &mut Texts<'_>,
    rows: &Rows,
    range: std::ops::Range<usize>,
) -> Result<(), ListingError> {
    // Names of usual length; longer ones make their room themselves.
    listing.reserve(range.len(), range.len() * 16);
    let first = range.start;
    for at in range {
        let (shared, middle) = names.advance(at)?;
        let (name, before) = (&names.text[..], &names.before[..]);
        if at > first && before[shared..] >= name[shared..] {
            return Err(ListingError::Order { directory: listing.path.clone() });
        }
        // What is shared was checked with the name before.
        let is_name = !matches!(name, b"" | b"." | b"..")
            && u16::try_from(name.len()).is_ok()
            && !middle.iter().any(|byte| matches!(byte, 0 | b'/'));
        if !is_name {
            return Err(ListingError::Name { directory: listing.path.clone() });
        }
        listing.push(name, rows.metadata(at)?);
    }
    Ok(())
}
