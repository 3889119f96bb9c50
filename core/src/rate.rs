//! [`Rate`] and [`BandwidthSchedule`]: how fast a job may go, and when.
//!
//! The spelling is that of rsync's and rclone's `--bwlimit`, so that habits and scripts carry over: a number without a
//! unit counts KiB/s, `K`, `M`, `G`, `T` are powers of 1024 (`KiB` says the same), `KB`, `MB`, `GB`, `TB` are powers
//! of 1000, `B` is bytes. `off` and `0` mean no limit. A timetable is `HH:MM,RATE HH:MM,RATE …`; each entry holds until
//! the next one, and the last one holds over midnight until the first.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Minutes of a day.
pub const MINUTES_PER_DAY: u16 = 24 * 60;

/// A speed in bytes a second, never zero. "No limit" is `Option<Rate>::None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(NonZeroU64);

/// Why a text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Nothing was given.
    #[error("a rate is missing; write for example 10M, 500k or off")]
    Empty,
    /// It does not start with a plain decimal number.
    #[error("`{0}` does not start with a number; write for example 10M, 500k or off")]
    Number(String),
    /// What follows the number is no unit.
    #[error("`{0}` is no unit; units are B, K, M, G and T, a second each")]
    Unit(String),
    /// More than 2^63 bytes a second.
    #[error("`{0}` is more than any machine can do; write off for no limit")]
    TooLarge(String),
}

impl Rate {
    /// A rate of so many bytes a second; `None` for zero.
    pub const fn new(bytes_per_second: u64) -> Option<Self> {
        match NonZeroU64::new(bytes_per_second) {
            Some(rate) => Some(Self(rate)),
            None => None,
        }
    }

    /// Bytes a second.
    pub const fn bytes_per_second(self) -> u64 {
        self.0.get()
    }

    /// Reads a rate or "no limit" (`off`, `0`).
    ///
    /// A positive rate below one byte a second is rounded up to one, never down to "no limit".
    pub fn parse_limit(text: &str) -> Result<Option<Self>, RateError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RateError::Empty);
        }
        if text.eq_ignore_ascii_case("off") {
            return Ok(None);
        }
        let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits_end);
        let factor = unit_factor(unit).ok_or_else(|| RateError::Unit(unit.trim().to_owned()))?;
        let number: f64 = match number.parse() {
            Ok(number) if number_is_plain(text) => number,
            _ => return Err(RateError::Number(text.to_owned())),
        };
        let bytes = number * factor as f64;
        // 2^63, so that sums of rates cannot overflow.
        if bytes >= 9_223_372_036_854_775_808.0 {
            return Err(RateError::TooLarge(text.to_owned()));
        }
        Ok(Self::new(bytes.ceil() as u64))
    }
}

/// Whether it starts with a digit or with a point and a digit: `.` alone is no number.
fn number_is_plain(text: &str) -> bool {
    text.strip_prefix('.').unwrap_or(text).starts_with(|c: char| c.is_ascii_digit())
}

fn unit_factor(unit: &str) -> Option<u64> {
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("/s").unwrap_or(&unit);
    let power = |base: u64, letter: u8| match letter {
        b'k' => Some(base),
        b'm' => Some(base.pow(2)),
        b'g' => Some(base.pow(3)),
        b't' => Some(base.pow(4)),
        _ => None,
    };
    match unit.as_bytes() {
        b"" => Some(1024),
        b"b" => Some(1),
        [letter] | [letter, b'i'] | [letter, b'i', b'b'] => power(1024, *letter),
        [letter, b'b'] => power(1000, *letter),
        _ => None,
    }
}

/// Exact, and reads back as the same rate: `10M`, `1536K`, `1000B`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes_per_second();
        let unit = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];
        match unit.into_iter().find(|(_, shift)| bytes.trailing_zeros() >= *shift) {
            Some((letter, shift)) => write!(f, "{}{letter}", bytes >> shift),
            None => write!(f, "{bytes}B"),
        }
    }
}

/// One rate for the whole day, or a timetable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BandwidthSchedule {
    /// Ascending by minute of the day, never empty. A schedule without times is one entry at midnight.
    entries: Vec<(u16, Option<Rate>)>,
}

/// Why a text is no bandwidth schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Nothing was given.
    #[error("the bandwidth limit is empty; write for example 10M or \"08:00,1M 23:00,off\"")]
    Empty,
    /// A rate cannot be read.
    #[error("cannot read the rate in `{entry}`")]
    Rate {
        /// The entry it stands in.
        entry: String,
        /// What is wrong with it.
        #[source]
        source: RateError,
    },
    /// A time cannot be read.
    #[error("`{time}` in `{entry}` is no time of day; write HH:MM from 00:00 to 23:59")]
    Time {
        /// The entry it stands in.
        entry: String,
        /// The time as written.
        time: String,
    },
    /// A timetable's entry has no time.
    #[error("`{0}` has no time; each entry of a timetable is HH:MM,RATE")]
    NoTime(String),
    /// Two entries start at the same minute.
    #[error("{0} stands twice in the timetable")]
    Twice(String),
}

impl BandwidthSchedule {
    /// The same limit all day.
    pub fn constant(limit: Option<Rate>) -> Self {
        Self { entries: vec![(0, limit)] }
    }

    /// The limit at a minute of the day (local time); `None` is no limit. Minutes beyond the day wrap.
    pub fn limit_at(&self, minute_of_day: u16) -> Option<Rate> {
        let minute = minute_of_day % MINUTES_PER_DAY;
        // Before the first entry of the day the last one of yesterday still holds.
        let current = self.entries.iter().rev().find(|(start, _)| *start <= minute);
        current.or_else(|| self.entries.last()).and_then(|(_, limit)| *limit)
    }

    /// Whether the limit never changes.
    pub fn is_constant(&self) -> bool {
        self.entries.iter().all(|(_, limit)| *limit == self.entries[0].1)
    }
}

impl FromStr for BandwidthSchedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let entries = match parts[..] {
            [] => return Err(ScheduleError::Empty),
            [limit] if !limit.contains(',') => vec![(0, parse_rate(limit, limit)?)],
            _ => {
                let mut entries = parts.into_iter().map(parse_entry).collect::<Result<Vec<_>, _>>()?;
                entries.sort_by_key(|(start, _)| *start);
                if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                    return Err(ScheduleError::Twice(clock(pair[0].0)));
                }
                entries
            }
        };
        Ok(Self { entries })
    }
}

fn parse_entry(entry: &str) -> Result<(u16, Option<Rate>), ScheduleError> {
    let (time, limit) = entry.split_once(',').ok_or_else(|| ScheduleError::NoTime(entry.to_owned()))?;
    let start = parse_time(time)
        .ok_or_else(|| ScheduleError::Time { entry: entry.to_owned(), time: time.to_owned() })?;
    Ok((start, parse_rate(limit, entry)?))
}

fn parse_rate(limit: &str, entry: &str) -> Result<Option<Rate>, ScheduleError> {
    Rate::parse_limit(limit).map_err(|source| ScheduleError::Rate { entry: entry.to_owned(), source })
}

fn parse_time(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |part: &str, max: u16| {
        let plain = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u16>().ok().filter(|value| plain && *value <= max)
    };
    Some(digits(hours, 23)? * 60 + digits(minutes, 59)?)
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

impl fmt::Display for BandwidthSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = |limit: &Option<Rate>| limit.map_or_else(|| "off".to_owned(), |rate| rate.to_string());
        if let [(0, only)] = &self.entries[..] {
            return f.write_str(&limit(only));
        }
        for (at, (start, rate)) in self.entries.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{},{}", clock(*start), limit(rate))?;
        }
        Ok(())
    }
}

impl TryFrom<String> for BandwidthSchedule {
    type Error = ScheduleError;

    fn try_from(text: String) -> Result<Self, ScheduleError> {
        text.parse()
    }
}

impl From<BandwidthSchedule> for String {
    fn from(schedule: BandwidthSchedule) -> Self {
        schedule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(text: &str) -> Option<u64> {
        Rate::parse_limit(text).expect("a rate").map(Rate::bytes_per_second)
    }

    fn schedule(text: &str) -> BandwidthSchedule {
        text.parse().expect("a schedule")
    }

    #[test]
    fn units_are_those_of_rsync_and_rclone() {
        assert_eq!(bytes("10M"), Some(10 << 20));
        assert_eq!(bytes("500k"), Some(500 << 10));
        assert_eq!(bytes("1.5G"), Some(3 << 29));
        assert_eq!(bytes("100"), Some(100 << 10));
        assert_eq!(bytes("100B"), Some(100));
        assert_eq!(bytes("10MB/s"), Some(10_000_000));
        assert_eq!(bytes("10 MiB"), Some(10 << 20));
        assert_eq!(bytes("0.1B"), Some(1), "slow is not unlimited");
        assert_eq!((bytes("off"), bytes("OFF"), bytes("0"), bytes("0M")), (None, None, None, None));
    }

    #[test]
    fn errors_say_which_part_is_wrong() {
        assert_eq!(Rate::parse_limit(" "), Err(RateError::Empty));
        assert_eq!(Rate::parse_limit("10X"), Err(RateError::Unit("X".into())));
        assert_eq!(Rate::parse_limit("-1"), Err(RateError::Unit("-1".into())));
        assert_eq!(Rate::parse_limit("M"), Err(RateError::Number("M".into())));
        assert_eq!(Rate::parse_limit("."), Err(RateError::Number(".".into())));
        assert_eq!(Rate::parse_limit("1.2.3M"), Err(RateError::Number("1.2.3M".into())));
        assert_eq!(Rate::parse_limit("99999999999T"), Err(RateError::TooLarge("99999999999T".into())));
        let error = |text: &str| BandwidthSchedule::from_str(text).expect_err("wrong").to_string();
        assert_eq!(
            error("08:00,1M 24:00,off"),
            "`24:00` in `24:00,off` is no time of day; write HH:MM from 00:00 to 23:59"
        );
        assert_eq!(error("08:00,1M off"), "`off` has no time; each entry of a timetable is HH:MM,RATE");
        assert_eq!(error("08:00,1M 8:00,2M"), "08:00 stands twice in the timetable");
        assert_eq!(error("08:00,fast"), "cannot read the rate in `08:00,fast`");
        assert_eq!(error(""), ScheduleError::Empty.to_string());
    }

    #[test]
    fn timetable_holds_over_midnight() {
        let night = schedule("08:00,1M 23:00,off");
        assert_eq!(night.limit_at(7 * 60 + 59), None);
        assert_eq!(night.limit_at(8 * 60), Rate::new(1 << 20));
        assert_eq!(night.limit_at(23 * 60 - 1), Rate::new(1 << 20));
        assert_eq!(night.limit_at(23 * 60), None);
        assert_eq!(night.limit_at(0), None);
        assert_eq!(night.limit_at(32 * 60), Rate::new(1 << 20), "wraps");
        assert!(!night.is_constant());
        let one = schedule("12:00,3M");
        assert_eq!((one.limit_at(0), one.limit_at(1439)), (Rate::new(3 << 20), Rate::new(3 << 20)));
        assert_eq!(schedule("23:00,off 08:00,1M"), night, "order does not matter");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,30}") {
            drop(Rate::parse_limit(&text));
            if let Ok(schedule) = text.parse::<BandwidthSchedule>() {
                prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
            }
        }

        #[test]
        fn near_misses_are_read_or_refused(text in "[0-9:., kKmMoOfFbi]{0,24}") {
            if let Ok(schedule) = text.parse::<BandwidthSchedule>() {
                prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
            }
        }

        #[test]
        fn rates_read_back(bytes in 1u64..1 << 52) {
            let rate = Rate::new(bytes);
            prop_assert_eq!(Rate::parse_limit(&rate.expect("not zero").to_string()), Ok(rate));
        }

        #[test]
        fn schedules_read_back_and_agree_with_the_entries(
            table in proptest::collection::btree_map(0u16..MINUTES_PER_DAY, proptest::option::of(1u64..1 << 40), 1..6),
            minute in 0u16..MINUTES_PER_DAY,
        ) {
            let entries: Vec<_> = table.iter().map(|(m, r)| (*m, r.and_then(Rate::new))).collect();
            let schedule = BandwidthSchedule { entries };
            prop_assert_eq!(schedule.to_string().parse::<BandwidthSchedule>(), Ok(schedule.clone()));
            let expected = table.range(..=minute).next_back().or_else(|| table.iter().next_back());
            prop_assert_eq!(schedule.limit_at(minute).map(Rate::bytes_per_second), *expected.expect("not empty").1);
        }
    }
}
