use super::*;
use orbit_core::Attributes;
use std::time::Instant;

fn metadata(size: u64, seconds: i64, nanos: u32) -> Metadata {
    Metadata {
        kind: EntryKind::File,
        size,
        allocated: size,
        attributes: Attributes { mtime: Timestamp { seconds, nanos }, ..Attributes::default() },
        ctime: Timestamp::default(),
        dev: 0,
        ino: 0,
        links: 1,
        rdev: 0,
    }
}

fn write(format: RecordFormat, directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ListingWriter::new(format)
        .write(&mut out, directory, name, &metadata(4096, 1_714_566_896, 5))
        .expect("writing to memory");
    out
}

#[test]
fn records() {
    let lines = |directory: &[u8], name: &[u8]| {
        let json = write(RecordFormat::Json, directory, name);
        serde_json::from_slice::<serde_json::Value>(&json).expect("JSON");
        String::from_utf8([write(RecordFormat::Lines, directory, name), json].concat()).expect("UTF-8")
    };
    let cases: [(&[u8], &[u8]); 5] =
        [(b"", b"a"), (b"dir/sub", b"b c"), (b"", b""), ("d\u{e4}".as_bytes(), b"q\"\\\n"), (b"x\xff", b"y")];
    insta::assert_snapshot!(cases.map(|(directory, name)| lines(directory, name)).concat());
    let raw = write(RecordFormat::Nul, b"x\xff", b"y\n");
    assert_eq!(raw, b"x\xff/y\n\t4096\t2024-05-01T12:34:56.000000005Z\0");
}

#[test]
fn times_agree_with_a_calendar() {
    for seconds in (-62_135_596_800..253_402_300_800).step_by(7_654_321) {
        let expected = jiff::Timestamp::new(seconds, 0).expect("within the calendar");
        let expected = jiff::tz::Offset::UTC.to_datetime(expected);
        let written = rfc3339(Timestamp { seconds, nanos: 123_456_789 });
        assert_eq!(written, format!("{expected}.123456789Z"));
    }
    assert_eq!(rfc3339(Timestamp { seconds: -1, nanos: 0 }), "1969-12-31T23:59:59.000000000Z");
    assert!(rfc3339(Timestamp { seconds: 400_000_000_000, nanos: 0 }).starts_with("+14645-06-"));
    // File systems hold what they were given: no time may panic.
    for seconds in [i64::MIN / 2, -400_000_000_000, i64::MAX / 2] {
        rfc3339(Timestamp { seconds, nanos: 0 });
    }
}

#[test]
fn numbers() {
    for number in [0, 9, 10, 12_345, u64::MAX] {
        let mut out = Vec::new();
        push_number(&mut out, number);
        assert_eq!(out, number.to_string().as_bytes());
    }
}

#[test]
fn a_million_records_take_a_fraction_of_a_second() {
    let begun = Instant::now();
    let mut writer = ListingWriter::new(RecordFormat::Lines);
    let mut out = std::io::sink();
    for n in 0..1_000_000 {
        writer
            .write(&mut out, b"some/directory", b"file-0001.txt", &metadata(n, 1_714_566_896, 0))
            .expect("a sink");
    }
    // Generous, for a busy machine and an unoptimised build: it takes about 0.1 s.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
