//! What happened, in one line.

use super::format::{bytes, count, counted, duration};
use super::json::{Line, write_line};
use super::screen::Screen;
use crate::exit::Exit;
use orbit_core::{Summary, Totals};
use orbit_node::standalone::RunReport;
use std::io;
use std::time::Duration;

/// What was done: it words the last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A sync ran.
    Synced,
    /// A dry run.
    WouldSync,
}

/// Tells how a run ended and gives its exit code.
pub fn report(screen: &Screen, deed: Deed, report: &RunReport) -> io::Result<Exit> {
    let exit = Exit::of_report(report);
    if screen.json {
        if report.interrupted {
            let message = format!("interrupted; {GO_ON}");
            screen.out(|out| write_line(out, &Line::Notice { message: &message }))?;
        }
        write_summary(screen, &report.summary, exit)?;
        return Ok(exit);
    }
    if !screen.quiet {
        let line = match deed {
            Deed::Synced => synced(report),
            Deed::WouldSync => would_sync(&report.totals, report.interrupted),
        };
        screen.line(&line)?;
    }
    screen.flush()?;
    if report.faults > 0 {
        screen.err(&format!("{}\n", screen.err_style.bad(&faults(report.faults))));
    }
    if report.interrupted {
        screen.err(&format!("{} {}\n", screen.err_style.helpful("hint:"), GO_ON));
    }
    Ok(exit)
}

/// The figures as the last JSON line.
pub fn write_summary(screen: &Screen, summary: &Summary, exit: Exit) -> io::Result<()> {
    screen.out(|out| write_line(out, &Line::Summary { summary: *summary, exit: exit.code() }))?;
    screen.flush()
}

const GO_ON: &str = "run the same command again: it goes on where it was";

fn faults(number: u64) -> String {
    let verb = if number == 1 { "was" } else { "were" };
    format!("{} failed or {verb} skipped, as listed above", counted(number, "path", "paths"))
}

/// `synced 1 234 files (12 new, 3 changed, 2 deleted), 4.5 GB written, 1.2 GB reused, in 12.3 s`.
fn synced(report: &RunReport) -> String {
    let summary = &report.summary;
    let took = duration(Duration::from_millis(summary.elapsed_ms));
    if report.interrupted {
        let done = summary.files_new + summary.files_changed;
        let planned = report.totals.files_new + report.totals.files_changed + report.totals.files_attributes;
        return format!(
            "interrupted after {took}: {} of {} done, {} written",
            count(done),
            counted(planned, "file", "files"),
            bytes(summary.bytes_written)
        );
    }
    let changes = changes(summary.files_new, summary.files_changed, summary.files_deleted);
    let files = counted(summary.files_total, "file", "files");
    if changes.is_empty() && summary.bytes_written == 0 && report.totals.is_nothing_to_do() {
        let same = if summary.files_total == 1 { "was" } else { "were" };
        let same = if report.faults > 0 { "compared".to_owned() } else { format!("{same} already the same") };
        return format!("{files} {same}, in {took}");
    }
    let mut line = format!("synced {files}");
    if !changes.is_empty() {
        line.extend([" (", &changes, ")"]);
    }
    line.extend([", ", &bytes(summary.bytes_written), " written"]);
    if summary.bytes_reused > 0 {
        line.extend([", ", &bytes(summary.bytes_reused), " reused"]);
    }
    if summary.bytes_wire > 0 {
        line.extend([", ", &bytes(summary.bytes_wire), " over the network"]);
    }
    line + &format!(", in {took}")
}

/// What was done, without the time and what was not.
pub fn figures(summary: &Summary) -> String {
    let changes = changes(summary.files_new, summary.files_changed, summary.files_deleted);
    let changes = if changes.is_empty() { "nothing changed".to_owned() } else { changes };
    let took = duration(Duration::from_millis(summary.elapsed_ms));
    format!(
        "{changes}, {} written, {} reused, {} over the network, in {took}",
        bytes(summary.bytes_written),
        bytes(summary.bytes_reused),
        bytes(summary.bytes_wire)
    )
}

/// What a plan will do, as part of a sentence.
pub fn planned(totals: &Totals) -> String {
    let files = counted(totals.files_total, "file", "files");
    if totals.is_nothing_to_do() {
        return format!("nothing to do for {files}");
    }
    let changed = totals.files_changed + totals.files_attributes;
    let changes = changes(totals.files_new, changed, totals.files_deleted);
    let changes = if changes.is_empty() { "directories only".to_owned() } else { changes };
    format!("{files} ({changes}), {} to write", bytes(totals.bytes_planned))
}

/// What a plan would do.
pub fn would_sync(totals: &Totals, interrupted: bool) -> String {
    if interrupted {
        return "interrupted while planning; nothing was changed".to_owned();
    }
    let files = counted(totals.files_total, "file", "files");
    if totals.is_nothing_to_do() {
        return format!("nothing to do for {files}");
    }
    format!("would sync {}; nothing was changed", planned(totals))
}

fn changes(new: u64, changed: u64, deleted: u64) -> String {
    let parts = [(new, "new"), (changed, "changed"), (deleted, "deleted")];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    parts.map(|(number, word)| format!("{} {word}", count(number))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunReport {
        RunReport {
            summary: Summary {
                files_total: 1234,
                files_new: 12,
                files_changed: 3,
                files_unchanged: 1219,
                files_deleted: 2,
                bytes_written: 4_500_000_000,
                bytes_reused: 1_200_000_000,
                elapsed_ms: 12_340,
                ..Summary::default()
            },
            totals: Totals {
                files_total: 1234,
                files_new: 12,
                files_changed: 3,
                steps: 17,
                ..Totals::default()
            },
            interrupted: false,
            faults: 0,
        }
    }

    #[test]
    fn last_lines() {
        let done = run();
        let stopped = RunReport { interrupted: true, ..run() };
        let same = RunReport {
            summary: Summary { files_total: 1, elapsed_ms: 40, ..Summary::default() },
            totals: Totals { files_total: 1, ..Totals::default() },
            ..run()
        };
        let only_directories = RunReport {
            summary: Summary { files_total: 0, elapsed_ms: 7, ..Summary::default() },
            totals: Totals { directories_new: 2, steps: 2, ..Totals::default() },
            ..run()
        };
        let lines = [
            synced(&done),
            synced(&stopped),
            synced(&same),
            synced(&only_directories),
            would_sync(&done.totals, false),
            would_sync(&only_directories.totals, false),
            would_sync(&same.totals, false),
            would_sync(&same.totals, true),
            faults(1),
            faults(1200),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn exit_codes_of_reports() {
        assert_eq!(Exit::of_report(&run()), Exit::Done);
        assert_eq!(Exit::of_report(&RunReport { faults: 1, ..run() }), Exit::Partial);
        assert_eq!(Exit::of_report(&RunReport { interrupted: true, ..run() }), Exit::Partial);
    }
}
