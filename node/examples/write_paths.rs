//! Measures the writing side: small files one by one and by directory, large files through and past the page cache.
//!
//! `cargo run --release -p orbit-node --example write_paths -- DIRECTORY [MiB of a large file] [small files]`

use orbit_core::RelPath;
use orbit_core::entry::{Attributes, Timestamp};
use orbit_core::writer::{AttributeChange, Disposal, Layout, OrbitWriter, Outline, Place, WriteMode};
use orbit_node::local::jail::Jail;
use orbit_node::local::writer::{AlignedBuffer, LocalWriter, TrashPlace, WriterOptions};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const FILES_A_DIRECTORY: usize = 1_000;
const SMALL_BYTES: usize = 8_192;

#[allow(clippy::print_stdout, reason = "figures are what it is for")]
fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let top = arguments.next().ok_or("which directory?")?;
    let mib = arguments.next().map_or(Ok(1024), |text| text.parse::<usize>())?;
    let files = arguments.next().map_or(Ok(10_000), |text| text.parse::<usize>())?;
    let root = Path::new(&top).join("write-paths");
    std::fs::create_dir(&root)?;
    let options = WriterOptions {
        run_id: b"bench".to_vec(),
        trash: TrashPlace::InDestination,
        keep_staged: BTreeSet::new(),
    };
    let writer = LocalWriter::begin(Arc::new(Jail::open(&root)?), options)?;
    let timed = |what: &str, work: &dyn Fn() -> Outcome<()>| -> Outcome<()> {
        let start = Instant::now();
        work()?;
        let written = start.elapsed();
        writer.flush()?;
        println!(
            "{what:<40} {:>7.3} s, flushed {:>7.3} s",
            written.as_secs_f64(),
            start.elapsed().as_secs_f64()
        );
        Ok(())
    };
    if files > 0 {
        timed("small files, one commit each", &|| one_by_one(&writer, files))?;
        timed("small files, one commit a directory", &|| by_directory(&writer, files))?;
    }
    for round in 0..if mib > 0 { 3 } else { 0 } {
        for (name, write, layout) in [
            ("cached", WriteMode::Cached, Layout::Dense),
            ("cached, not reserved", WriteMode::Cached, Layout::Sparse),
            ("direct", WriteMode::Direct, Layout::Dense),
            ("direct, not reserved", WriteMode::Direct, Layout::Sparse),
        ] {
            timed(&format!("{mib} MiB {name}"), &|| large(&writer, mib, round, write, layout))?;
        }
    }
    writer.finish(&BTreeSet::new())?;
    std::fs::remove_dir_all(root)?;
    Ok(())
}

fn change() -> AttributeChange<'static> {
    let mtime = Timestamp { seconds: 1_600_000_000, nanos: 1 };
    let attributes = Attributes { mode: 0o644, mtime, ..Attributes::default() };
    AttributeChange { attributes, set_mode: true, set_owner: true, xattrs: Some(&[]) }
}

fn small(writer: &LocalWriter, place: Place<'_>) -> Outcome<orbit_core::writer::StagedName> {
    let outline =
        Outline { size: SMALL_BYTES as u64, mode: 0o644, layout: Layout::Dense, write: WriteMode::Cached };
    let mut file = writer.stage_file(place, outline)?;
    file.write_at(&[7; SMALL_BYTES], 0)?;
    file.set_attributes(&change())?;
    Ok(file.name().clone())
}

fn one_by_one(writer: &LocalWriter, files: usize) -> Outcome<()> {
    for number in 0..files {
        let path = RelPath::new(format!("one/{}/{number}", number / FILES_A_DIRECTORY))?;
        let staged = small(writer, Place::Alone(&path))?;
        writer.commit(&staged, &path, None, Disposal::Discard)?;
    }
    Ok(())
}

fn by_directory(writer: &LocalWriter, files: usize) -> Outcome<()> {
    for start in (0..files).step_by(FILES_A_DIRECTORY) {
        let path = RelPath::new(format!("all/{start}"))?;
        let directory = writer.stage_directory(&path)?;
        for number in start..(start + FILES_A_DIRECTORY).min(files) {
            small(writer, Place::Inside(&directory, number.to_string().as_bytes()))?;
        }
        writer.commit_directory(&directory, &path, None, Disposal::Discard)?;
    }
    Ok(())
}

fn large(writer: &LocalWriter, mib: usize, round: usize, write: WriteMode, layout: Layout) -> Outcome<()> {
    let outline = Outline { size: (mib as u64) << 20, mode: 0o644, layout, write };
    let path = RelPath::new(format!("large-{round}"))?;
    let mut file = writer.stage_file(Place::Alone(&path), outline)?;
    let mut buffer = AlignedBuffer::new(1 << 20);
    buffer.fill(7);
    for number in 0..mib as u64 {
        file.write_at(&buffer, number << 20)?;
    }
    file.set_attributes(&change())?;
    file.sync()?;
    // Kept to the end, so that giving back the room is not measured.
    Ok(())
}
