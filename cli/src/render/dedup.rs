//! What is stored twice.

use super::format::{bytes, count, counted};
use super::json::{JsonPath, write_line};
use super::screen::Screen;
use crate::exit::Exit;
use orbit_core::RelPath;
use orbit_core::endpoint::Endpoint;
use orbit_core::rel_path::display_name;
use orbit_node::standalone::{DedupReport, DuplicateSet, Storage};
use serde::Serialize;
use std::io;

/// Writes each set of duplicates as it is found.
pub struct SetWriter<'a> {
    screen: &'a Screen,
    endpoints: &'a [Endpoint],
    written: io::Result<()>,
}

impl<'a> SetWriter<'a> {
    /// Names files by the endpoints as they were given.
    pub fn new(screen: &'a Screen, endpoints: &'a [Endpoint]) -> Self {
        Self { screen, endpoints, written: Ok(()) }
    }

    /// Writes a set. Once stdout takes nothing any more the rest is dropped; sharing goes on.
    pub fn write(&mut self, set: &DuplicateSet) {
        if self.written.is_err() {
            return;
        }
        self.written = if self.screen.json {
            let line = JsonSet::new(set, self.endpoints);
            self.screen.out(|out| write_line(out, &line))
        } else if self.screen.quiet {
            Ok(())
        } else {
            let text = set_text(set, self.endpoints);
            self.screen.out(|out| out.write_all(text.as_bytes()))
        };
    }

    /// What went wrong with stdout, if anything did.
    pub fn end(self) -> io::Result<()> {
        self.written
    }
}

/// Tells what it amounts to and gives the exit code.
pub fn report(screen: &Screen, report: &DedupReport, is_applied: bool) -> io::Result<Exit> {
    let exit = if report.faults > 0 || report.interrupted { Exit::Partial } else { Exit::Done };
    if screen.json {
        let line = JsonReport::new(report, exit);
        screen.out(|out| write_line(out, &line))?;
        return Ok(exit);
    }
    if !screen.quiet {
        screen.line(&report_text(report, is_applied))?;
    }
    screen.flush()?;
    if report.faults > 0 {
        let text = format!("{} failed, as listed above", counted(report.faults, "path", "paths"));
        screen.err(&format!("{}\n", screen.err_style.bad(&text)));
    }
    if let Some(hint) = hint(report, is_applied).filter(|_| !screen.quiet) {
        screen.err(&format!("{} {hint}\n", screen.err_style.helpful("hint:")));
    }
    Ok(exit)
}

/// `PATH` or `NODE:PATH`, as the endpoint was given.
fn full_path(endpoints: &[Endpoint], endpoint: usize, path: &RelPath) -> Vec<u8> {
    let mut full = match endpoints.get(endpoint) {
        Some(Endpoint::Local(path)) => path.as_os_str().as_encoded_bytes().to_vec(),
        Some(Endpoint::Remote { node, path }) => [node.as_bytes(), b":", path].concat(),
        None => Vec::new(),
    };
    if !path.is_root() && !full.ends_with(b"/") {
        full.push(b'/');
    }
    full.extend_from_slice(path.as_bytes());
    full
}

fn set_text(set: &DuplicateSet, endpoints: &[Endpoint]) -> String {
    let mut text = format!("{} of {}", counted(set.files.len() as u64, "file", "files"), bytes(set.size));
    if set.bytes_shareable > 0 {
        text.extend([", sharing saves ", &bytes(set.bytes_shareable)]);
    }
    text.push('\n');
    for file in &set.files {
        let path = full_path(endpoints, file.endpoint, &file.path);
        text.extend(["    ", &display_name(&path), storage_note(file.storage), "\n"]);
    }
    text
}

const fn storage_note(storage: Storage) -> &'static str {
    match storage {
        Storage::Own | Storage::Elsewhere => "",
        Storage::SharedBefore => "  (shared already)",
        Storage::SharedNow { .. } => "  (shared now)",
        Storage::Differs => "  (changed meanwhile, left alone)",
        Storage::Unsupported => "  (this file system cannot share)",
        Storage::Refused => "  (not shared)",
    }
}

const fn storage_name(storage: Storage) -> &'static str {
    match storage {
        Storage::Own => "own",
        Storage::SharedBefore => "shared-before",
        Storage::SharedNow { .. } => "shared-now",
        Storage::Differs => "differs",
        Storage::Unsupported => "unsupported",
        Storage::Refused => "refused",
        Storage::Elsewhere => "elsewhere",
    }
}

fn report_text(report: &DedupReport, is_applied: bool) -> String {
    let mut text = if report.interrupted { "interrupted: ".to_owned() } else { String::new() };
    let looked_at = counted(report.files_scanned, "file", "files");
    text.extend(["looked at ", &looked_at, ", ", &bytes(report.bytes_scanned), ": "]);
    if report.duplicate_files == 0 {
        text.push_str("no duplicates");
    } else {
        let duplicates = counted(report.duplicate_files, "duplicate", "duplicates");
        text.extend([&duplicates, " of ", &bytes(report.bytes_duplicate)]);
    }
    if is_applied {
        text.extend([
            ", ",
            &count(report.files_shared),
            " shared now, ",
            &bytes(report.bytes_shared),
            " compared",
        ]);
    } else if report.bytes_shareable > 0 {
        text.extend(["; sharing would save ", &bytes(report.bytes_shareable)]);
    }
    if let Some(chunks) = &report.chunks {
        let (repeated, all) = (bytes(chunks.duplicate_bytes()), bytes(chunks.bytes));
        text.extend(["\nby chunks, ", &repeated, " of ", &all, " repeat others"]);
    }
    text
}

fn hint(report: &DedupReport, is_applied: bool) -> Option<String> {
    if !report.mounts_unsupported.is_empty() {
        let mounts =
            report.mounts_unsupported.iter().map(|mount| display_name(mount.as_os_str().as_encoded_bytes()));
        let mounts = mounts.collect::<Vec<_>>().join(", ");
        return Some(format!("{mounts} cannot share storage: that needs btrfs, or XFS with reflinks"));
    }
    (!is_applied && report.bytes_shareable > 0)
        .then(|| "run it again with --apply to share them; nothing was changed".to_owned())
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "duplicates")]
struct JsonSet<'a> {
    root: String,
    size: u64,
    bytes_shareable: u64,
    files: Vec<JsonFile<'a>>,
}

#[derive(Serialize)]
struct JsonFile<'a> {
    #[serde(flatten)]
    path: JsonPath<'a>,
    allocated: u64,
    storage: &'static str,
}

impl JsonSet<'_> {
    fn new(set: &DuplicateSet, endpoints: &[Endpoint]) -> Self {
        let file = |file: &orbit_node::standalone::DuplicateFile| JsonFile {
            path: JsonPath::new(&full_path(endpoints, file.endpoint, &file.path)).into_owned(),
            allocated: file.allocated,
            storage: storage_name(file.storage),
        };
        Self {
            root: set.root.to_string(),
            size: set.size,
            bytes_shareable: set.bytes_shareable,
            files: set.files.iter().map(file).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "summary")]
struct JsonReport {
    files_scanned: u64,
    bytes_scanned: u64,
    sets: u64,
    duplicate_files: u64,
    bytes_duplicate: u64,
    bytes_shareable: u64,
    files_shared: u64,
    bytes_shared: u64,
    files_differing: u64,
    #[serde(flatten)]
    chunks: Option<JsonChunks>,
    files_failed: u64,
    interrupted: bool,
    exit: u8,
}

#[derive(Serialize)]
struct JsonChunks {
    chunks: u64,
    chunk_bytes: u64,
    unique_chunks: u64,
    unique_chunk_bytes: u64,
}

impl JsonReport {
    fn new(report: &DedupReport, exit: Exit) -> Self {
        Self {
            files_scanned: report.files_scanned,
            bytes_scanned: report.bytes_scanned,
            sets: report.sets,
            duplicate_files: report.duplicate_files,
            bytes_duplicate: report.bytes_duplicate,
            bytes_shareable: report.bytes_shareable,
            files_shared: report.files_shared,
            bytes_shared: report.bytes_shared,
            files_differing: report.files_differing,
            chunks: report.chunks.as_ref().map(|chunks| JsonChunks {
                chunks: chunks.chunks,
                chunk_bytes: chunks.bytes,
                unique_chunks: chunks.unique_chunks,
                unique_chunk_bytes: chunks.unique_bytes,
            }),
            files_failed: report.faults,
            interrupted: report.interrupted,
            exit: exit.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::ContentHash;
    use orbit_node::standalone::{ChunkTotals, DuplicateFile};

    fn set() -> DuplicateSet {
        let file = |endpoint, path: &str, storage| DuplicateFile {
            endpoint,
            path: RelPath::new(path).expect("a path"),
            allocated: 4_500_000_000,
            storage,
        };
        DuplicateSet {
            root: ContentHash::from_bytes([7; 32]),
            size: 4_500_000_000,
            files: vec![
                file(0, "a/disk.img", Storage::Own),
                file(1, "", Storage::SharedBefore),
                file(0, "old\ndisk.img", Storage::SharedNow { bytes: 4_500_000_000 }),
                file(2, "disk.img", Storage::Elsewhere),
            ],
            bytes_shareable: 4_500_000_000,
        }
    }

    #[test]
    fn sets_and_reports() {
        let remote = Endpoint::Remote { node: "nas2".into(), path: b"/srv".to_vec() };
        let endpoints = [Endpoint::Local("/srv/".into()), Endpoint::Local("/mnt/disk.img".into()), remote];
        let report = DedupReport {
            files_scanned: 1234,
            bytes_scanned: 90_000_000_000,
            sets: 1,
            duplicate_files: 2,
            bytes_duplicate: 9_000_000_000,
            bytes_shareable: 4_500_000_000,
            files_shared: 1,
            bytes_shared: 4_500_000_000,
            chunks: Some(ChunkTotals {
                chunks: 10,
                bytes: 1_000_000,
                unique_chunks: 8,
                unique_bytes: 750_000,
            }),
            ..DedupReport::default()
        };
        let unsupported = DedupReport { mounts_unsupported: vec!["/srv".into()], ..report.clone() };
        let shown = [
            set_text(&set(), &endpoints),
            report_text(&report, false),
            report_text(&report, true),
            report_text(&DedupReport::default(), false),
            hint(&report, false).unwrap_or_default(),
            hint(&report, true).unwrap_or_default(),
            hint(&unsupported, true).unwrap_or_default(),
            serde_json::to_string(&JsonSet::new(&set(), &endpoints)).expect("JSON"),
            serde_json::to_string(&JsonReport::new(&report, Exit::Done)).expect("JSON"),
        ];
        insta::assert_snapshot!(shown.join("\n"));
    }
}
