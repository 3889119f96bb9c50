//! Hashes of files, and their chunks.

use super::json::{JsonPath, write_line};
use super::listing::RecordFormat;
use orbit_core::{Chunk, ContentHash};
use orbit_node::standalone::HashRow;
use serde::Serialize;
use std::io::{self, Write};

/// Writes one file's hash, or its chunks and then the manifest root.
///
/// `HASH  PATH` as `b3sum` prints it; a chunk is `OFFSET LENGTH HASH` after the line of its file.
pub fn write(out: &mut dyn Write, format: RecordFormat, row: &HashRow) -> io::Result<()> {
    match format {
        RecordFormat::Json => write_line(out, &JsonHash::new(row)),
        RecordFormat::Lines => write_text(out, row, row.path.display().as_bytes(), b"\n"),
        RecordFormat::Nul => write_text(out, row, row.path.as_bytes(), b"\0"),
    }
}

fn write_text(out: &mut dyn Write, row: &HashRow, path: &[u8], end: &[u8]) -> io::Result<()> {
    write!(out, "{}  ", row.hash)?;
    out.write_all(path)?;
    out.write_all(end)?;
    let mut offset = 0;
    for chunk in row.chunks.iter().flatten() {
        write!(out, "{offset:>15} {:>9} {}", chunk.len, chunk.hash)?;
        out.write_all(end)?;
        offset += u64::from(chunk.len);
    }
    Ok(())
}

#[derive(Serialize)]
struct JsonHash<'a> {
    #[serde(flatten)]
    path: JsonPath<'a>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<Vec<JsonChunk>>,
}

#[derive(Serialize)]
struct JsonChunk {
    offset: u64,
    len: u32,
    hash: String,
}

impl<'a> JsonHash<'a> {
    fn new(row: &'a HashRow) -> Self {
        let text = |hash: &ContentHash| hash.to_string();
        let with_offset = |offset: &mut u64, chunk: &Chunk| {
            let begin = *offset;
            *offset += u64::from(chunk.len);
            Some(JsonChunk { offset: begin, len: chunk.len, hash: text(&chunk.hash) })
        };
        Self {
            path: JsonPath::from(&row.path),
            size: row.size,
            blake3: row.chunks.is_none().then(|| text(&row.hash)),
            root: row.chunks.is_some().then(|| text(&row.hash)),
            chunks: row.chunks.as_ref().map(|chunks| chunks.iter().scan(0, with_offset).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::RelPath;

    #[test]
    fn hashes_and_chunks() {
        let chunk = |byte, len| Chunk { hash: ContentHash::from_bytes([byte; 32]), len };
        let row = HashRow {
            path: RelPath::new("dir/a\nb").expect("a path"),
            size: 70_000,
            hash: ContentHash::from_bytes([0xab; 32]),
            chunks: Some(vec![chunk(1, 65_536), chunk(2, 4464)]),
        };
        let mut out = Vec::new();
        for format in [RecordFormat::Lines, RecordFormat::Json] {
            write(&mut out, format, &row).expect("memory");
        }
        insta::assert_snapshot!(String::from_utf8(out).expect("UTF-8"));
    }
}
