//! Whether the grid is healthy.

use super::format::{count, harmless};
use super::json::write_line;
use super::screen::Screen;
use super::style::Style;
use super::time::{ago, point};
use orbit_node::api::types::StatusView;
use orbit_node::standalone::state::now_ms;
use serde_json::json;
use std::io;

/// Tells the status: one sentence, of when it is if not of now, what needs attention, what is good to know.
pub fn tell(screen: &Screen, status: &StatusView) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, status));
    }
    screen.line(&text(screen.out_style, status, now_ms()))
}

/// Tells of an answer that no Nucleus confirms.
pub fn stale(screen: &Screen, as_of_ms: i64) {
    if screen.json {
        let line = json!({"event": "notice", "message": "no Nucleus confirms this", "as_of_ms": as_of_ms});
        screen.err(&format!("{line}\n"));
        return;
    }
    let style = screen.err_style;
    let age = age(as_of_ms, now_ms());
    screen.err(&format!(
        "{} {age}: no Nucleus confirms this; `orbit status` tells more\n",
        style.bad("stale:")
    ));
}

fn age(as_of_ms: i64, now_ms: i64) -> String {
    format!("as of {} ({})", point(as_of_ms, now_ms), ago(as_of_ms, now_ms))
}

fn text(style: Style, status: &StatusView, now_ms: i64) -> String {
    let mut text = if status.is_healthy {
        style.good(&harmless(&status.sentence))
    } else {
        style.bad(&harmless(&status.sentence))
    };
    if status.nucleus.is_none() {
        let by = harmless(&status.told_by);
        let told = match status.as_of_ms {
            Some(as_of_ms) => format!("as {by} knows it, {}", age(as_of_ms, now_ms)),
            None => format!("{by} has heard no Nucleus since it started"),
        };
        text.extend(["\n", &told]);
    }
    for problem in &status.problems {
        text.extend(["\n", &style.bad("!"), " ", &harmless(&problem.message)]);
        text.extend(["\n  ", &style.helpful("hint:"), " ", &harmless(&problem.hint)]);
    }
    for remark in &status.remarks {
        text.extend(["\n- ", &harmless(remark)]);
    }
    if let Some(rebuilding) = status.rebuilding {
        let (done, total) = (count(rebuilding.done), count(rebuilding.total));
        text.extend(["\n- rebuilding the chunk index from the stars: ", &done, " of ", &total]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_node::api::types::{GridView, GroupView, NodeCounts, Problem, RebuildView};

    const NOW_MS: i64 = 1_714_566_896_789;

    #[test]
    fn one_sentence_first() {
        let healthy = StatusView {
            sentence: "grid home is healthy; 3 of 3 nodes ready; it tolerates 1 failure of the Nucleus (voters nas1*, nas2, \
                       nas3)"
                .into(),
            is_healthy: true,
            tolerates_failures: 1,
            grid: GridView { id: "018f".into(), name: "home".into() },
            nucleus: Some("nas1".into()),
            epoch: 1,
            term: 1,
            nodes: NodeCounts { total: 3, ready: 3, ..NodeCounts::default() },
            group: GroupView::default(),
            told_by: "nas1".into(),
            as_of_ms: None,
            rebuilding: None,
            universe: None,
            problems: Vec::new(),
            remarks: Vec::new(),
        };
        let problem = |message: &str, hint: &str| Problem { message: message.into(), hint: hint.into() };
        let ill = StatusView {
            sentence: "grid home is not healthy: 2 problems; 2 of 3 nodes ready; it tolerates no failure of the Nucleus \
                       (voters nas1*, nas2, nas3)"
                .into(),
            is_healthy: false,
            problems: vec![
                problem(
                    "nas3 is lost, for 5 min",
                    "start `orbit node run` on nas3, or remove it: orbit node rm nas3",
                ),
                problem(
                    "the clock of nas2 is 12 min ahead of the Nucleus's",
                    "set it on nas2, for example: timedatectl set-ntp true",
                ),
            ],
            rebuilding: Some(RebuildView { done: 1_200, total: 40_000 }),
            remarks: vec!["nas4 does not vote: it is being sent the Nucleus's records".into()],
            ..healthy.clone()
        };
        let lost = StatusView {
            sentence: "grid home has no quorum: of 3 voters 2 must agree, and nas1 hears 1; nothing can be changed (voters \
                       nas1, nas2, nas3)"
                .into(),
            is_healthy: false,
            nucleus: None,
            as_of_ms: Some(NOW_MS - 300_000),
            problems: vec![problem(
                "nas2 votes and is not heard for 5 min",
                "start `orbit node run` on nas2, or bring its network back",
            )],
            ..healthy.clone()
        };
        let alone = StatusView { told_by: "nas4".into(), as_of_ms: None, ..lost.clone() };
        let shown = [&healthy, &ill, &lost, &alone].map(|status| text(Style::default(), status, NOW_MS));
        insta::assert_snapshot!(shown.join("\n\n"));
    }
}
