//! Stored plans.

use super::json::{JsonPath, Line, write_line};
use super::listing::rfc3339;
use super::screen::Screen;
use super::summary::would_sync;
use comfy_table::{Table, presets};
use orbit_core::rel_path::display_name;
use orbit_core::{Timestamp, Totals};
use orbit_node::standalone::PlanReport;
use serde::Serialize;
use std::borrow::Cow;
use std::io;
use std::path::Path;

/// A plan was made.
pub fn made(screen: &Screen, plan: &PlanReport) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, &Line::Plan { id: &plan.id, totals: plan.totals }));
    }
    if screen.quiet {
        return screen.line(&plan.id);
    }
    screen.line(&format!("plan {}: {}", short(&plan.id), would_sync(&plan.totals, false)))?;
    screen.flush()?;
    let hint = screen.err_style.helpful("hint:");
    screen.err(&format!("{hint} orbit plan show {0}, orbit plan run {0}\n", short(&plan.id)));
    Ok(())
}

/// A plan's changes were told.
pub fn shown(screen: &Screen, plan: &PlanReport) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, &Line::Plan { id: &plan.id, totals: plan.totals }));
    }
    screen.line(&format!("plan {}: {}", plan.id, would_sync(&plan.totals, false)))?;
    screen.line(&format!("from {} to {}", shown_path(&plan.source), shown_path(&plan.destination)))
}

/// A plan was forgotten.
pub fn removed(screen: &Screen, id: &str) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, &serde_json::json!({"event": "removed", "id": id})));
    }
    if screen.quiet { Ok(()) } else { screen.line(&format!("plan {id} is forgotten")) }
}

/// One stored plan as JSON.
#[derive(Serialize)]
struct JsonPlan<'a> {
    id: &'a str,
    created: String,
    source: Cow<'a, str>,
    destination: Cow<'a, str>,
    #[serde(flatten)]
    totals: Totals,
}

/// The stored plans.
pub fn list(screen: &Screen, plans: &[PlanReport]) -> io::Result<()> {
    if screen.json {
        return plans.iter().try_for_each(|plan| {
            let line = JsonPlan {
                id: &plan.id,
                created: created(plan),
                source: JsonPath::new(plan.source.as_os_str().as_encoded_bytes()).into_text(),
                destination: JsonPath::new(plan.destination.as_os_str().as_encoded_bytes()).into_text(),
                totals: plan.totals,
            };
            screen.out(|out| write_line(out, &line))
        });
    }
    if plans.is_empty() {
        return if screen.quiet { Ok(()) } else { screen.line("no stored plans") };
    }
    screen.line(&table(plans))
}

fn table(plans: &[PlanReport]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "id",
        "made",
        "source",
        "destination",
        "new",
        "changed",
        "deleted",
    ]);
    for plan in plans {
        let totals = &plan.totals;
        table.add_row([
            short(&plan.id).to_owned(),
            created(plan),
            shown_path(&plan.source),
            shown_path(&plan.destination),
            totals.files_new.to_string(),
            (totals.files_changed + totals.files_attributes).to_string(),
            totals.files_deleted.to_string(),
        ]);
    }
    table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
}

fn shown_path(path: &Path) -> String {
    display_name(path.as_os_str().as_encoded_bytes()).into_owned()
}

/// To the second, in UTC.
fn created(plan: &PlanReport) -> String {
    let mut text = rfc3339(Timestamp { seconds: plan.created_ms.div_euclid(1000), nanos: 0 });
    text.truncate("2024-05-01T12:34:56".len());
    text + "Z"
}

/// Enough of an id to name it.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_plans_as_a_table() {
        let plan = |id: &str, source: &str| PlanReport {
            id: id.to_owned(),
            created_ms: 1_714_566_896_789,
            source: source.into(),
            destination: "/mnt/backup".into(),
            totals: Totals { files_new: 12, files_changed: 2, files_attributes: 1, ..Totals::default() },
        };
        let plans = [plan("019a2b3c4d5e", "/srv/photos"), plan("7f", "/srv/a b")];
        insta::assert_snapshot!(table(&plans));
    }
}
