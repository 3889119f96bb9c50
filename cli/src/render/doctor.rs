//! What the doctor found.

use super::json::write_line;
use super::screen::Screen;
use super::style::Style;
use crate::exit::Exit;
use orbit_node::doctor::{Finding, Level};
use serde::Serialize;
use std::io;

/// Writes findings as they come, and what they amount to.
pub struct Chart<'a> {
    screen: &'a Screen,
    warnings: u64,
    failures: u64,
    written: io::Result<()>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line<'a> {
    Finding { level: &'static str, subject: &'static str, message: &'a str, fix: Option<&'a str> },
    Diagnosis { warnings: u64, failures: u64, exit: u8 },
}

impl<'a> Chart<'a> {
    /// An empty chart.
    pub fn new(screen: &'a Screen) -> Self {
        Self { screen, warnings: 0, failures: 0, written: Ok(()) }
    }

    /// Writes a finding.
    pub fn add(&mut self, finding: &Finding) {
        match finding.level {
            Level::Ok => {}
            Level::Warn => self.warnings += 1,
            Level::Fail => self.failures += 1,
        }
        let is_worth_telling = !self.screen.quiet || finding.level != Level::Ok;
        if self.written.is_ok() && is_worth_telling {
            self.written = self.write(finding);
        }
    }

    fn write(&self, finding: &Finding) -> io::Result<()> {
        if self.screen.json {
            let line = Line::Finding {
                level: level_name(finding.level),
                subject: finding.subject,
                message: &finding.message,
                fix: finding.fix.as_deref(),
            };
            return self.screen.out(|out| write_line(out, &line));
        }
        self.screen.line(&text(self.screen.out_style, finding))
    }

    /// Writes what it amounts to and gives the exit code: a failure is 1.
    pub fn end(self) -> io::Result<Exit> {
        self.written?;
        let exit = if self.failures > 0 { Exit::Unexpected } else { Exit::Done };
        if self.screen.json {
            let line =
                Line::Diagnosis { warnings: self.warnings, failures: self.failures, exit: exit.code() };
            self.screen.out(|out| write_line(out, &line))?;
        } else if !self.screen.quiet {
            self.screen.line(diagnosis(self.warnings, self.failures))?;
        }
        Ok(exit)
    }
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "fail",
    }
}

fn text(style: Style, finding: &Finding) -> String {
    let name = level_name(finding.level);
    let padding = " ".repeat(4 - name.len());
    let mark = match finding.level {
        Level::Ok => style.good(name),
        Level::Warn => style.doubtful(name),
        Level::Fail => style.bad(name),
    };
    let mut text = format!("{mark}{padding}  {:<15}  {}", finding.subject, finding.message);
    if let Some(fix) = &finding.fix {
        text.extend(["\n      ", &style.helpful("fix:"), " ", fix]);
    }
    text
}

const fn diagnosis(warnings: u64, failures: u64) -> &'static str {
    match (warnings, failures) {
        (0, 0) => "this machine is fit for Orbit",
        (_, 0) => "this machine is fit for Orbit; the warnings say what could be better",
        _ => "this machine needs attention: see what failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings() {
        let finding = |level, fix: Option<&str>| Finding {
            level,
            subject: "open files",
            message: "256 files may be open at once".to_owned(),
            fix: fix.map(str::to_owned),
        };
        let fix = Some("ulimit -n 4096");
        let shown = [finding(Level::Ok, None), finding(Level::Warn, fix), finding(Level::Fail, fix)]
            .map(|finding| text(Style::default(), &finding));
        insta::assert_snapshot!(shown.join("\n"));
    }
}
