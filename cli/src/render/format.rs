//! Numbers, sizes, times and names as people read them.

use std::borrow::Cow;
use std::time::Duration;

/// A text from another machine: control characters escaped, so that it cannot drive the terminal.
pub fn harmless(text: &str) -> Cow<'_, str> {
    orbit_core::rel_path::display_name(text.as_bytes())
}

/// A number in groups of three: `1 234 567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A number of things: `1 file`, `1 234 files`.
pub fn counted(number: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", count(number), if number == 1 { singular } else { plural })
}

/// A size in decimal units, as disks are sold and `ls --si` shows: `999 B`, `4.5 GB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut scaled = number as f64;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0.
    while scaled >= 999.95 {
        scaled /= 1000.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// A speed.
pub fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", bytes(bytes_per_second.max(0.0) as u64))
}

/// How long something took: `0.04 s`, `12.3 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    match seconds {
        ..9.995 => format!("{seconds:.2} s"),
        ..59.95 => format!("{seconds:.1} s"),
        _ if whole < 3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// How long is left: `0:16`, `1:02:03`, `3 d 4 h`.
pub fn remaining(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds % 86_400 / 3600);
    let (minutes, rest) = (seconds % 3600 / 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{rest:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{rest:02}"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A text in at most `width` columns, cut in the middle: both the top directory and the file's name stay readable.
pub fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if console::measure_text_width(text) <= width {
        return Cow::Borrowed(text);
    }
    if width == 0 {
        return Cow::Borrowed("");
    }
    let room = width - 1;
    let head = fitting(text.chars(), room / 3);
    let head_width = console::measure_text_width(&text[..head]);
    let tail = fitting(text[head..].chars().rev(), room - head_width);
    Cow::Owned(format!("{}…{}", &text[..head], &text[text.len() - tail..]))
}

/// Bytes of the leading characters that fit in `width` columns.
fn fitting(chars: impl Iterator<Item = char>, width: usize) -> usize {
    let mut columns = 0;
    let mut buffer = [0; 4];
    let fits = |c: &char| {
        columns += console::measure_text_width(c.encode_utf8(&mut buffer));
        columns <= width
    };
    chars.take_while(fits).map(char::len_utf8).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_drives_the_terminal() {
        assert_eq!(harmless("Mün chen – nas2"), "Mün chen – nas2");
        assert_eq!(harmless("\x1b]0;x\x07\n"), "\\x1b]0;x\\x07\\x0a");
    }

    #[test]
    fn counts() {
        assert_eq!([0, 7, 999, 1000, 1_234_567].map(count), ["0", "7", "999", "1 000", "1 234 567"]);
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(0, "file", "files"), "0 files");
        assert_eq!(count(u64::MAX), "18 446 744 073 709 551 615");
    }

    #[test]
    fn sizes() {
        assert_eq!(
            [0, 999, 1000, 1_500_000, 999_949, 999_950, 4_500_000_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "1.5 MB", "999.9 kB", "1.0 MB", "4.5 GB"]
        );
        assert_eq!(bytes(u64::MAX), "18.4 EB");
        assert_eq!(rate(210_000_000.0), "210.0 MB/s");
        assert_eq!(rate(f64::NAN), "0 B/s");
    }

    #[test]
    fn times() {
        let ms = |ms| duration(Duration::from_millis(ms));
        assert_eq!(
            [0, 40, 9_994, 12_340, 59_949, 59_960, 200_400, 3_599_600, 7_500_000].map(ms),
            [
                "0.00 s",
                "0.04 s",
                "9.99 s",
                "12.3 s",
                "59.9 s",
                "1 min 00 s",
                "3 min 20 s",
                "1 h 00 min",
                "2 h 05 min"
            ]
        );
        let left = |s| remaining(Duration::from_secs(s));
        assert_eq!([0, 16, 90, 3723, 273_600].map(left), ["0:00", "0:16", "1:30", "1:02:03", "3 d 4 h"]);
    }

    #[test]
    fn shortened_in_the_middle() {
        assert_eq!(shorten("short", 10), "short");
        assert_eq!(shorten("photos/2024/summer/IMG_0001.JPG", 20), "photos…/IMG_0001.JPG");
        assert_eq!(shorten("abc", 1), "…");
        assert_eq!(shorten("abc", 0), "");
    }

    #[test]
    fn wide_characters_never_overflow() {
        let name = "写真/二〇二四年/夏休み/海.jpg";
        for width in 0..40 {
            let short = shorten(name, width);
            assert!(console::measure_text_width(&short) <= width, "{short} in {width}");
        }
        let accents = "e\u{301}".repeat(30);
        assert!(console::measure_text_width(&shorten(&accents, 10)) <= 10);
    }
}
