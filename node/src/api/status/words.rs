//! What people read of the grid's state.

use super::problem;
use crate::api::types::{GroupView, Problem, StatusView, VoterView};
use crate::standalone::state::now_ms;
use orbit_core::grid::refusal::span;

/// One sentence: healthy or not, and how many failures the grid survives.
pub(super) fn sentence(status: &StatusView) -> String {
    let grid = &status.grid.name;
    let group = &status.group;
    if status.nucleus.is_none() {
        let by = &status.told_by;
        return if status.nodes.total == 0 {
            format!("grid {grid}: {by} reaches no Nucleus; nothing can be changed from here{}", voters(group))
        } else if group.has_quorum {
            format!(
                "grid {grid} has a Nucleus that {by} does not reach; nothing can be changed from here{}",
                voters(group)
            )
        } else {
            let heard = group.voters.iter().filter(|voter| voter.is_heard == Some(true)).count();
            let (count, needed) = (group.voters.len(), group.needed);
            format!(
                "grid {grid} has no quorum: of {count} {} {needed} must agree, and {by} hears {heard}; nothing can be \
                 changed{}",
                if count == 1 { "voter" } else { "voters" },
                voters(group)
            )
        };
    }
    let health = match status.problems.len() {
        0 => "healthy".to_owned(),
        1 => "not healthy: one problem".to_owned(),
        count => format!("not healthy: {count} problems"),
    };
    let survives = match status.tolerates_failures {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        count => format!("{count} failures"),
    };
    let (ready, total) = (status.nodes.ready, status.nodes.total);
    format!(
        "grid {grid} is {health}; {ready} of {total} nodes ready; it tolerates {survives} of the Nucleus{}",
        voters(group)
    )
}

/// Who votes, the Nucleus marked.
fn voters(group: &GroupView) -> String {
    let name = |voter: &VoterView| format!("{}{}", voter.name, if voter.is_nucleus { "*" } else { "" });
    let names: Vec<String> = group.voters.iter().map(name).collect();
    match names.len() {
        0 => String::new(),
        1 => format!(" (voter {})", names[0]),
        _ => format!(" (voters {})", names.join(", ")),
    }
}

/// What is good to know and needs no attention.
pub(super) fn remarks(status: &StatusView) -> Vec<String> {
    if status.nucleus.is_none() {
        return Vec::new();
    }
    let group = &status.group;
    let remark = |learner: &VoterView| {
        let name = &learner.name;
        let behind = learner.behind.unwrap_or(0);
        match &learner.note {
            // With two nodes a second vote would only be a second way to fail.
            Some(_) | None if group.voters.len() == 1 && status.nodes.total == 2 && behind == 0 => {
                format!("{name} holds the data and does not vote yet: a third node turns fault tolerance on")
            }
            Some(note) => format!("{name} does not vote: {note}"),
            None if group.voters.len() > 1 => format!("{name} holds the data and can take a voter's place"),
            None => format!("{name} holds the data and does not vote yet"),
        }
    };
    let mut remarks: Vec<String> = group.learners.iter().map(remark).collect();
    let leaving =
        group.voters.iter().filter_map(|voter| Some(format!("{}: {}", voter.name, voter.note.as_ref()?)));
    remarks.extend(leaving);
    remarks
}

/// A voter whose heartbeats come, but not its answers in the group.
pub(super) fn deaf_voter(name: &str) -> Problem {
    problem(
        format!("{name} votes, and does not answer the Nucleus about its records"),
        format!(
            "wait half a minute; then look at the log of `orbit node run` on {name}, and at its disk (`orbit doctor`)"
        ),
    )
}

/// Why a node itself believes to reach no Nucleus.
pub(super) fn own_trouble(name: &str, reason: &str) -> Problem {
    problem(
        format!("{name} reaches no Nucleus: {reason}"),
        format!("look at {name} itself first: `orbit doctor` there"),
    )
}

/// What a member of the group tells that hears of no Nucleus.
pub(super) fn no_quorum(group: &GroupView) -> Vec<Problem> {
    let silent: Vec<&VoterView> = group.voters.iter().filter(|voter| voter.is_heard == Some(false)).collect();
    let told = |voter: &&VoterView| {
        let since = voter.silent_since_ms;
        let since =
            since.map_or_else(String::new, |since| format!(" for {}", span(now_ms().saturating_sub(since))));
        problem(
            format!("{} votes and is not heard{since}", voter.name),
            format!("start `orbit node run` on {0}, or bring its network back", voter.name),
        )
    };
    let mut problems: Vec<Problem> = silent.iter().map(told).collect();
    if group.has_quorum {
        return vec![problem(
            "the Nucleus is heard of, and does not answer",
            "wait a moment and ask again; `orbit doctor` looks for the cause",
        )];
    }
    let heard = group.voters.len() - silent.len();
    let missing = (group.needed as usize).saturating_sub(heard);
    if missing == 0 {
        return vec![problem("the voters are electing a Nucleus", "wait a few seconds and ask again")];
    }
    let back = match (missing, &silent[..]) {
        (1, [alone]) => alone.name.clone(),
        (1, _) => "one of them".to_owned(),
        (missing, _) => format!("{missing} of them"),
    };
    problems.push(problem(
        format!("when {back} is back, the grid goes on by itself; what is shown until then may be old"),
        "only if they never come back: `orbit recover` goes on with what a survivor has, the last resort",
    ));
    problems
}

/// What a star tells that reaches no Nucleus.
pub(super) fn no_nucleus(group: &GroupView, reason: &str) -> Vec<Problem> {
    let names: Vec<&str> = group.voters.iter().map(|voter| voter.name.as_str()).collect();
    let hint = if names.is_empty() {
        "is `orbit node run` running on the nodes that vote? `orbit doctor` looks for the cause".to_owned()
    } else {
        format!("is `orbit node run` running on {}? `orbit status` there tells more", names.join(", "))
    };
    vec![problem(format!("there is no connection to a Nucleus: {reason}"), hint)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{GridView, NodeCounts};

    fn voter(name: &str, is_nucleus: bool, is_heard: bool) -> VoterView {
        VoterView {
            id: name.into(),
            name: name.into(),
            is_nucleus,
            is_heard: Some(is_heard),
            silent_since_ms: None,
            behind: Some(0),
            note: None,
        }
    }

    fn status(voters: Vec<VoterView>, learners: Vec<VoterView>, tolerates_failures: u32) -> StatusView {
        let needed = voters.len() as u32 / 2 + 1;
        let total = (voters.len() + learners.len()) as u32;
        StatusView {
            sentence: String::new(),
            is_healthy: true,
            tolerates_failures,
            grid: GridView { id: String::new(), name: "home".into() },
            nucleus: Some("nas1".into()),
            epoch: 1,
            term: 2,
            nodes: NodeCounts { total, ready: total, ..NodeCounts::default() },
            group: GroupView { voters, learners, needed, has_quorum: true },
            told_by: "nas1".into(),
            as_of_ms: None,
            rebuilding: None,
            universe: None,
            problems: Vec::new(),
            remarks: Vec::new(),
        }
    }

    #[test]
    fn a_grid_that_is_well() {
        let one = status(vec![voter("nas1", true, true)], vec![], 0);
        assert_eq!(
            sentence(&one),
            "grid home is healthy; 1 of 1 nodes ready; it tolerates no failure of the Nucleus (voter nas1*)"
        );
        let two = status(vec![voter("nas1", true, true)], vec![voter("nas2", false, true)], 0);
        assert_eq!(
            remarks(&two),
            ["nas2 holds the data and does not vote yet: a third node turns fault tolerance on"]
        );
        let three = ["nas1", "nas2", "nas3"].map(|name| voter(name, name == "nas1", true)).to_vec();
        assert_eq!(
            sentence(&status(three, vec![], 1)),
            "grid home is healthy; 3 of 3 nodes ready; it tolerates 1 failure of the Nucleus (voters nas1*, nas2, nas3)"
        );
    }

    #[test]
    fn a_grid_without_a_quorum() {
        let voters = ["nas1", "nas2", "nas3"].map(|name| voter(name, false, name == "nas1")).to_vec();
        let mut lost = StatusView { nucleus: None, ..status(voters, vec![], 0) };
        lost.group.has_quorum = false;
        assert_eq!(
            sentence(&lost),
            "grid home has no quorum: of 3 voters 2 must agree, and nas1 hears 1; nothing can be changed (voters nas1, \
             nas2, nas3)"
        );
        let problems = no_quorum(&lost.group);
        assert_eq!(problems.len(), 3);
        assert_eq!(problems[0].message, "nas2 votes and is not heard");
        assert!(problems[2].hint.contains("orbit recover"), "{}", problems[2].hint);
        assert!(remarks(&lost).is_empty());
    }

    #[test]
    fn a_star_that_reaches_nobody() {
        let voters = ["nas1", "nas2", "nas3"].map(|name| voter(name, false, false)).to_vec();
        let mut alone = StatusView { nucleus: None, told_by: "nas4".into(), ..status(voters, vec![], 0) };
        alone.nodes = NodeCounts::default();
        assert_eq!(
            sentence(&alone),
            "grid home: nas4 reaches no Nucleus; nothing can be changed from here (voters nas1, nas2, nas3)"
        );
        let [told] = &no_nucleus(&alone.group, "timed out")[..] else { panic!("one problem") };
        assert_eq!(
            told.hint,
            "is `orbit node run` running on nas1, nas2, nas3? `orbit status` there tells more"
        );
        assert!(no_nucleus(&GroupView::default(), "timed out")[0].hint.contains("orbit doctor"));
    }
}
