//! Whether the grid is healthy.

use super::format::harmless;
use super::json::write_line;
use super::screen::Screen;
use super::style::Style;
use orbit_node::api::types::StatusView;
use std::io;

/// Tells the status: one sentence, then what needs attention.
pub fn tell(screen: &Screen, status: &StatusView) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, status));
    }
    screen.line(&text(screen.out_style, status))
}

fn text(style: Style, status: &StatusView) -> String {
    let mut text = if status.is_healthy {
        style.good(&harmless(&status.sentence))
    } else {
        style.bad(&harmless(&status.sentence))
    };
    for problem in &status.problems {
        text.extend(["\n", &style.bad("!"), " ", &harmless(&problem.message)]);
        text.extend(["\n  ", &style.helpful("hint:"), " ", &harmless(&problem.hint)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_node::api::types::{GridView, NodeCounts, Problem};

    #[test]
    fn one_sentence_first() {
        let healthy = StatusView {
            sentence: "grid home is healthy; 3 of 3 nodes ready; it tolerates no failure of the Nucleus"
                .into(),
            is_healthy: true,
            tolerates_failures: 0,
            grid: GridView { id: "018f".into(), name: "home".into() },
            nucleus: "nas1".into(),
            epoch: 1,
            term: 1,
            nodes: NodeCounts { total: 3, ready: 3, ..NodeCounts::default() },
            problems: Vec::new(),
        };
        let problem = |message: &str, hint: &str| Problem { message: message.into(), hint: hint.into() };
        let ill = StatusView {
            sentence:
                "grid home is not healthy: 2 problems; 2 of 3 nodes ready; it tolerates no failure of the \
                       Nucleus"
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
            ..healthy.clone()
        };
        let shown = [&healthy, &ill].map(|status| text(Style::default(), status));
        insta::assert_snapshot!(shown.join("\n\n"));
    }
}
