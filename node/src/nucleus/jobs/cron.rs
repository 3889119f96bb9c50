//! [`Cron`]: times as a crontab has them.
//!
//! `MINUTE HOUR DAY MONTH WEEKDAY`, each `*`, a number, a range `a-b`, a list `a,b`, or any of them with a step `/n`; months and
//! days of the week also by the first three letters of their English names; 0 and 7 are Sunday. If both days are restricted, either
//! suffices. `@hourly`, `@daily`, `@weekly` and `@monthly` stand for what they say.
//!
//! Where clocks are set forward, a time that is left out is as much later as they are set; where they are set back, a time that
//! comes twice counts the first time.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// How far ahead a time is looked for, days: a leap day is eight years away at most.
const DAYS_MAX: u32 = 366 * 8 + 2;

/// Times that come again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cron {
    /// A bit for each minute.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

/// Why a text says no times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CronError {
    /// It has too many or too few fields.
    #[error("it has {count} fields, not five (minute, hour, day, month, day of the week)")]
    Fields {
        /// How many it has.
        count: usize,
    },
    /// A field cannot be read.
    #[error("`{field}` is no {what}")]
    Field {
        /// As written.
        field: String,
        /// What was wanted.
        what: &'static str,
    },
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    /// Reads a text.
    pub(crate) fn parse(text: &str) -> Result<Self, CronError> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(CronError::Fields { count: fields.len() });
        };
        let weekdays = field(weekday, 0, 7, &WEEKDAYS, "day of the week")?;
        Ok(Self {
            minutes: field(minute, 0, 59, &[], "minute")?,
            hours: field(hour, 0, 23, &[], "hour")?,
            days: field(day, 1, 31, &[], "day of the month")?,
            months: field(month, 1, 12, &MONTHS, "month")?,
            // 7 is Sunday as well.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        })
    }

    /// The first time after `after_ms` (milliseconds since 1970) in a zone; none: there is none.
    pub(crate) fn next(&self, after_ms: i64, zone: &TimeZone) -> Option<i64> {
        let after = Timestamp::from_millisecond(after_ms).ok()?;
        let mut date = zone.to_datetime(after).date();
        for _ in 0..DAYS_MAX {
            if self.is_day(date)
                && let Some(found) = self.times(date, zone).filter(|time| *time > after_ms).min()
            {
                return Some(found);
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let has = |set: u64, number: i8| set & (1 << number) != 0;
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }

    fn times(&self, date: Date, zone: &TimeZone) -> impl Iterator<Item = i64> {
        let hours = (0..24_i8).filter(|hour| self.hours & (1 << hour) != 0);
        let times = hours.flat_map(|hour| {
            let minutes = (0..60_i8).filter(|minute| self.minutes & (1 << minute) != 0);
            minutes.filter_map(move |minute| Time::new(hour, minute, 0, 0).ok())
        });
        times.filter_map(move |time| Some(zone.to_timestamp(date.to_datetime(time)).ok()?.as_millisecond()))
    }
}

fn field(text: &str, first: u8, last: u8, names: &[&str], what: &'static str) -> Result<u64, CronError> {
    let wrong = || CronError::Field { field: text.chars().take(40).collect(), what };
    let number = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let named = names.iter().position(|name| *name == lower);
        // Months count from 1, days of the week from 0.
        let named = named.and_then(|at| u8::try_from(at).ok()).map(|at| at + u8::from(first == 1));
        let is_plain = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = named.or_else(|| text.parse().ok().filter(|_| is_plain));
        number.filter(|number| (first..=last).contains(number)).ok_or_else(wrong)
    };
    let mut set = 0_u64;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (first, last),
            Some((from, to)) => (number(from)?, number(to)?),
            // `5/10`: from 5 on.
            None if step.is_some() => (number(range)?, last),
            None => (number(range)?, number(range)?),
        };
        let step = match step {
            None => 1,
            Some(step) if step.len() <= 2 && step.bytes().all(|byte| byte.is_ascii_digit()) => {
                step.parse().ok().filter(|step: &usize| *step > 0).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        if from > to {
            return Err(wrong());
        }
        set |= (from..=to).step_by(step).fold(0, |set, number| set | 1 << number);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let zone = TimeZone::get(zone).expect("a zone");
        let cron = Cron::parse(cron).expect("times");
        let mut at: i64 = after.parse::<Timestamp>().expect("a time").as_millisecond();
        let next = |_| {
            at = cron.next(at, &zone).expect("there is one");
            Timestamp::from_millisecond(at).expect("a time").to_string()
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn times_come_as_in_a_crontab() {
        let after = "2026-11-24T17:30:00Z";
        for (cron, next) in [
            ("0 3 * * *", ["2026-11-25T03:00:00Z", "2026-11-26T03:00:00Z"]),
            ("*/20 17-18 * * *", ["2026-11-24T17:40:00Z", "2026-11-24T18:00:00Z"]),
            ("30 17 24 nov *", ["2027-11-24T17:30:00Z", "2028-11-24T17:30:00Z"]),
            ("0 0 29 2 *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            ("0 0 * * Mon,7", ["2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z"]),
            // Either of the two days.
            ("0 0 1 * fri", ["2026-11-27T00:00:00Z", "2026-12-01T00:00:00Z"]),
            ("@monthly", ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
            ("5/25 0 * * *", ["2026-11-25T00:05:00Z", "2026-11-25T00:30:00Z"]),
        ] {
            assert_eq!(times(cron, "UTC", after, 2), next, "{cron}");
        }
    }

    #[test]
    fn clocks_that_are_set_lose_no_time() {
        // At 2 o'clock on this day it is 3 in Berlin.
        let spring = times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring, ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
        let autumn = times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn what_says_no_times_is_refused() {
        for text in
            ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *"]
        {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
        for text in [
            "a * * * *",
            "5-1 * * * *",
            "1- * * * *",
            "-1 * * * *",
            "1,,2 * * * *",
            "+1 * * * *",
            "*/x * * * *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
        let never = Cron::parse("0 0 30 2 *").expect("it can be read");
        assert_eq!(never.next(0, &TimeZone::UTC), None);
    }
}
