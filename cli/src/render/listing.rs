//! Listings: one record a line, written by hand into a large buffer, a million of them in a fraction of a second.

use super::json::hex;
use orbit_core::rel_path::display_name;
use orbit_core::{EntryKind, Metadata, Timestamp};
use std::io::{self, Write};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// For people and `cut`: names escaped, ended by a newline.
    Lines,
    /// For programs: names as they are, ended by NUL.
    Nul,
    /// One JSON object a line.
    Json,
}

/// Writes scan records: path, size, modification time.
pub struct ListingWriter {
    format: RecordFormat,
    clock: Clock,
    /// The record being built; reused, so that a record costs no allocation.
    record: Vec<u8>,
}

impl ListingWriter {
    /// Writes in this format.
    pub fn new(format: RecordFormat) -> Self {
        Self { format, clock: Clock::default(), record: Vec::with_capacity(1024) }
    }

    /// Writes the entry `name` of `directory` (the empty directory is the root).
    pub fn write(
        &mut self,
        out: &mut (impl Write + ?Sized),
        directory: &[u8],
        name: &[u8],
        metadata: &Metadata,
    ) -> io::Result<()> {
        self.record.clear();
        match self.format {
            RecordFormat::Lines => {
                push_parts(&mut self.record, directory, name, push_escaped);
                self.push_plain(metadata);
                self.record.push(b'\n');
            }
            RecordFormat::Nul => {
                push_parts(&mut self.record, directory, name, Vec::extend_from_slice);
                self.push_plain(metadata);
                self.record.push(0);
            }
            RecordFormat::Json => self.push_json(directory, name, metadata),
        }
        out.write_all(&self.record)
    }

    fn push_plain(&mut self, metadata: &Metadata) {
        self.record.push(b'\t');
        push_number(&mut self.record, metadata.size);
        self.record.push(b'\t');
        self.clock.push(&mut self.record, metadata.attributes.mtime);
    }

    fn push_json(&mut self, directory: &[u8], name: &[u8], metadata: &Metadata) {
        let record = &mut self.record;
        record.extend_from_slice(b"{\"path\":\"");
        push_parts(record, directory, name, push_json_text);
        record.push(b'"');
        if std::str::from_utf8(directory).is_err() || std::str::from_utf8(name).is_err() {
            let mut path = Vec::new();
            push_parts(&mut path, directory, name, Vec::extend_from_slice);
            record.extend_from_slice(b",\"path_bytes\":\"");
            record.extend_from_slice(hex(&path).as_bytes());
            record.push(b'"');
        }
        record.extend_from_slice(b",\"kind\":\"");
        record.extend_from_slice(kind_name(metadata.kind).as_bytes());
        record.extend_from_slice(b"\",\"size\":");
        push_number(record, metadata.size);
        record.extend_from_slice(b",\"mtime\":\"");
        self.clock.push(record, metadata.attributes.mtime);
        record.extend_from_slice(b"\"}\n");
    }
}

/// A kind's name, as serde writes it too.
pub const fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Fifo => "fifo",
        EntryKind::Socket => "socket",
        EntryKind::CharDevice => "char-device",
        EntryKind::BlockDevice => "block-device",
    }
}

/// `directory/name`; the root's own name is `.`.
fn push_parts(out: &mut Vec<u8>, directory: &[u8], name: &[u8], push: fn(&mut Vec<u8>, &[u8])) {
    push(out, directory);
    if !directory.is_empty() && !name.is_empty() {
        out.push(b'/');
    }
    push(out, if directory.is_empty() && name.is_empty() { b"." } else { name });
}

fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.iter().all(|b| (0x20..0x7f).contains(b)) {
        out.extend_from_slice(bytes);
    } else {
        out.extend_from_slice(display_name(bytes).as_bytes());
    }
}

/// A name inside a JSON string. What is not UTF-8 is shown as `\xNN`.
fn push_json_text(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain = |b: &u8| (0x20..0x7f).contains(b) && !matches!(b, b'"' | b'\\');
    if bytes.iter().all(plain) {
        out.extend_from_slice(bytes);
        return;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => display_name(bytes),
    };
    let quoted = serde_json::to_string(&text).expect("a string is always JSON");
    out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
}

/// Appends a decimal number.
pub fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes times as RFC 3339 in UTC with nanoseconds, `2024-05-01T12:34:56.000000000Z`, and remembers the last day:
/// neighbouring files are mostly of one day.
#[derive(Clone, Debug, Default)]
struct Clock {
    day: Option<i64>,
    date: Vec<u8>,
}

impl Clock {
    fn push(&mut self, out: &mut Vec<u8>, time: Timestamp) {
        let (day, second) = (time.seconds.div_euclid(86_400), time.seconds.rem_euclid(86_400) as u32);
        if self.day != Some(day) {
            let (year, month, day_of_month) = civil_date(day);
            self.date.clear();
            // Writing to memory cannot fail. RFC 3339 has four digits; years beyond are marked as ISO 8601 does.
            let sign = if (0..10_000).contains(&year) {
                ""
            } else if year < 0 {
                "-"
            } else {
                "+"
            };
            let written = write!(self.date, "{sign}{:04}-{month:02}-{day_of_month:02}T", year.unsigned_abs());
            debug_assert!(written.is_ok());
            self.day = Some(day);
        }
        out.extend_from_slice(&self.date);
        let [hours, minutes, seconds] = [second / 3600, second / 60 % 60, second % 60];
        push_padded::<2>(out, hours);
        out.push(b':');
        push_padded::<2>(out, minutes);
        out.push(b':');
        push_padded::<2>(out, seconds);
        out.push(b'.');
        push_padded::<9>(out, time.nanos);
        out.push(b'Z');
    }
}

fn push_padded<const WIDTH: usize>(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [b'0'; WIDTH];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Year, month, day of a day counted from 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil_date(day: i64) -> (i64, u32, u32) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March, so that the leap day is the last one.
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = (of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = (if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 }) as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_month)
}

/// A time as listings write it.
pub fn rfc3339(time: Timestamp) -> String {
    let mut out = Vec::with_capacity(30);
    Clock::default().push(&mut out, time);
    String::from_utf8(out).expect("digits are UTF-8")
}

#[cfg(test)]
mod tests;
