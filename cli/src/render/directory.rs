//! What `orbit ls` found: a directory, something else, or the way to what a star allows.

use super::format::bytes;
use super::json::{JsonPath, write_line};
use super::listing::{kind_name, rfc3339};
use super::screen::Screen;
use super::time::date;
use orbit_core::rel_path::display_name;
use orbit_core::{EntryKind, Metadata};
use orbit_node::remote::Browsed;
use serde::Serialize;
use std::io::{self, Write};

/// Shows what was found, one entry a line.
pub fn show(screen: &Screen, found: &Browsed) -> io::Result<()> {
    screen.out(|out| write(out, screen.json, found))?;
    screen.flush()
}

fn write(out: &mut dyn Write, is_json: bool, found: &Browsed) -> io::Result<()> {
    let mut entry = |name: &[u8], metadata: Option<&Metadata>| {
        if is_json {
            write_line(&mut *out, &JsonEntry::new(name, metadata))
        } else {
            writeln!(out, "{}", line(name, metadata))
        }
    };
    match found {
        Browsed::Directory(listing) => {
            listing.iter().try_for_each(|(name, metadata)| entry(name, Some(metadata)))
        }
        Browsed::Ways(names) => names.iter().try_for_each(|name| entry(name, None)),
        Browsed::Entry(name, metadata) => entry(name, Some(metadata)),
    }
}

/// `drwxr-xr-x     4.5 GB  2024-05-01 12:34  name`. Of a way only the name is known: a star shows nothing above its
/// allowed paths.
fn line(name: &[u8], metadata: Option<&Metadata>) -> String {
    let shown = display_name(name);
    let Some(metadata) = metadata else { return format!("{:40}{shown}/", "") };
    let size = if metadata.is_file() { bytes(metadata.size) } else { String::new() };
    let mut time = date(metadata.attributes.mtime.seconds.saturating_mul(1000));
    time.truncate("2024-05-01 12:34".len());
    let end = if metadata.is_directory() { "/" } else { "" };
    format!("{}  {size:>8}  {time}  {shown}{end}", mode(metadata))
}

/// As `ls -l` writes it.
fn mode(metadata: &Metadata) -> String {
    let kind = match metadata.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Fifo => 'p',
        EntryKind::Socket => 's',
        EntryKind::CharDevice => 'c',
        EntryKind::BlockDevice => 'b',
    };
    let bits = metadata.attributes.mode;
    let mut text = String::from(kind);
    for (shift, special, letters) in
        [(6, 0o4000, ['s', 'S']), (3, 0o2000, ['s', 'S']), (0, 0o1000, ['t', 'T'])]
    {
        let may = |bit: u32| bits >> shift & bit != 0;
        text.push(if may(4) { 'r' } else { '-' });
        text.push(if may(2) { 'w' } else { '-' });
        text.push(match (bits & special != 0, may(1)) {
            (true, true) => letters[0],
            (true, false) => letters[1],
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[derive(Serialize)]
struct JsonEntry<'a> {
    #[serde(flatten)]
    path: JsonPath<'a>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
}

impl<'a> JsonEntry<'a> {
    fn new(name: &'a [u8], metadata: Option<&Metadata>) -> Self {
        Self {
            path: JsonPath::new(name),
            kind: metadata.map_or("directory", |metadata| kind_name(metadata.kind)),
            size: metadata.map(|metadata| metadata.size),
            mode: metadata.map(|metadata| format!("{:04o}", metadata.attributes.mode)),
            mtime: metadata.map(|metadata| rfc3339(metadata.attributes.mtime)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::{Attributes, Listing, RelPath, Timestamp};

    fn metadata(kind: EntryKind, mode: u32, size: u64) -> Metadata {
        let mtime = Timestamp { seconds: 1_714_566_896, nanos: 5 };
        Metadata {
            kind,
            size,
            allocated: size,
            attributes: Attributes { mode, uid: 0, gid: 0, mtime },
            ctime: mtime,
            dev: 1,
            ino: 2,
            links: 1,
            rdev: 0,
        }
    }

    #[test]
    fn entries_and_ways() {
        let mut listing = Listing::new(RelPath::root());
        listing.push(b"photos", metadata(EntryKind::Directory, 0o1777, 4096));
        listing.push(b"disk.img", metadata(EntryKind::File, 0o4755, 50_000_000_000));
        listing.push(b"odd\n\xff", metadata(EntryKind::File, 0o2640, 12));
        listing.push(b"link", metadata(EntryKind::Symlink, 0o777, 7));
        listing.sort();
        let found = [
            Browsed::Directory(listing),
            Browsed::Ways(vec![b"mnt".to_vec(), b"srv".to_vec()]),
            Browsed::Entry(b"pipe".to_vec(), metadata(EntryKind::Fifo, 0o600, 0)),
        ];
        let mut out = Vec::new();
        for is_json in [false, true] {
            for found in &found {
                write(&mut out, is_json, found).expect("memory");
            }
        }
        insta::assert_snapshot!(String::from_utf8(out).expect("UTF-8"));
    }
}
