mod world;

use super::*;
use orbit_core::grid::Refusal;

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

fn ids(numbers: &[u8]) -> BTreeSet<NodeId> {
    numbers.iter().copied().map(id).collect()
}

const HEARD: Hearing = Hearing::Heard { for_ms: 10_000 };

fn silent(for_ms: u64) -> Hearing {
    Hearing::Silent { for_ms }
}

/// A Nucleus that is ready for anything.
fn nucleus(number: u8) -> Member {
    Member {
        name: format!("n{number}"),
        role: Role::Nucleus,
        is_certified: true,
        voting: Voting::Auto,
        is_draining: false,
        hearing: HEARD,
        has_log: true,
        disk: DiskClass::Good,
        has_files: true,
    }
}

fn star(number: u8) -> Member {
    Member { role: Role::Star, has_log: false, ..nucleus(number) }
}

/// The leader 1 with these voters and learners, all of them well, and these stars.
fn grid(voters: &[u8], learners: &[u8], stars: &[u8]) -> Observed {
    let take_part = voters.iter().chain(learners).map(|&number| (id(number), nucleus(number)));
    Observed {
        own: id(1),
        voters: ids(voters),
        learners: ids(learners),
        is_joint: false,
        members: take_part.chain(stars.iter().map(|&number| (id(number), star(number)))).collect(),
        leads_for_ms: 10_000,
        quorum_silent_for_ms: 50,
        rules: Rules::default(),
    }
}

fn with(mut observed: Observed, number: u8, change: impl FnOnce(&mut Member)) -> Observed {
    change(observed.members.get_mut(&id(number)).expect("a member"));
    observed
}

fn draining(observed: Observed, number: u8) -> Observed {
    with(observed, number, |member| member.is_draining = true)
}

fn silent_for(observed: Observed, number: u8, ms: u64) -> Observed {
    with(observed, number, |member| (member.hearing, member.has_log) = (silent(ms), false))
}

fn set(numbers: &[u8]) -> Step {
    Step::SetVoters(ids(numbers))
}

#[test]
fn a_second_node_learns_and_a_third_makes_three_voters() {
    assert_eq!(decide(&grid(&[1], &[], &[])), None);
    assert_eq!(decide(&grid(&[1], &[], &[2])), Some(Step::GiveRole(id(2))));
    let given =
        with(grid(&[1], &[], &[2]), 2, |member| (member.role, member.is_certified) = (Role::Nucleus, false));
    assert_eq!(decide(&given), None, "it renews its certificate first");
    assert_eq!(decide(&with(given, 2, |member| member.is_certified = true)), Some(Step::AddLearner(id(2))));
    assert_eq!(decide(&grid(&[1], &[2], &[])), None, "never two voters");
    assert_eq!(decide(&grid(&[1], &[2], &[3])), Some(Step::GiveRole(id(3))));
    let catching_up = with(grid(&[1], &[2, 3], &[]), 3, |member| member.has_log = false);
    assert_eq!(decide(&catching_up), None);
    assert_eq!(decide(&grid(&[1], &[2, 3], &[])), Some(set(&[1, 2, 3])));
    assert_eq!(decide(&grid(&[1, 2, 3], &[], &[])), None);
}

#[test]
fn one_more_stands_by_and_no_further() {
    assert_eq!(decide(&grid(&[1, 2, 3], &[], &[4, 5])), Some(Step::GiveRole(id(4))));
    assert_eq!(decide(&grid(&[1, 2, 3], &[4], &[5])), None);
    assert_eq!(decide(&grid(&[1, 2, 3], &[4, 5], &[])), Some(Step::RemoveLearner(id(5))));
    let mut nuclei = grid(&[1, 2, 3], &[4], &[]);
    nuclei.members.insert(id(5), nucleus(5));
    assert_eq!(decide(&nuclei), Some(Step::TakeRole(id(5))));
}

#[test]
fn five_vote_only_when_asked() {
    assert_eq!(decide(&grid(&[1, 2, 3], &[4, 5], &[])), Some(Step::RemoveLearner(id(5))));
    let mut five = grid(&[1, 2, 3], &[4, 5], &[]);
    five.rules.voters_wanted = 5;
    assert_eq!(decide(&five), Some(set(&[1, 2, 3, 4, 5])));
    let mut four = grid(&[1, 2, 3], &[4], &[]);
    four.rules.voters_wanted = 5;
    assert_eq!(decide(&four), None);
    let mut fewer = grid(&[1, 2, 3, 4, 5], &[], &[]);
    assert_eq!(decide(&fewer), Some(set(&[1, 2, 3])));
    fewer.rules.voters_wanted = 4;
    assert_eq!(decide(&fewer), Some(set(&[1, 2, 3])), "never four");
}

#[test]
fn a_dead_voter_is_replaced_when_it_is_surely_dead() {
    let three = || grid(&[1, 2, 3], &[4], &[]);
    assert_eq!(decide(&silent_for(three(), 3, 29_999)), None);
    assert_eq!(decide(&silent_for(three(), 3, 30_000)), Some(set(&[1, 2, 4])));
    let not_ready = with(silent_for(three(), 3, 30_000), 4, |member| member.has_log = false);
    assert_eq!(decide(&not_ready), None);
    let alone = silent_for(grid(&[1, 2, 3], &[], &[]), 3, 3_600_000);
    assert_eq!(decide(&alone), None, "two of three go on, and it may return");
    let lost = silent_for(silent_for(three(), 3, 40_000), 2, 10);
    assert_eq!(decide(&lost), None, "nothing is decided without a majority");
    let mut unheard = silent_for(three(), 3, 40_000);
    unheard.quorum_silent_for_ms = 2_001;
    assert_eq!(decide(&unheard), None);
}

#[test]
fn five_with_two_dead_become_three() {
    let mut five = silent_for(grid(&[1, 2, 3, 4, 5], &[], &[]), 5, 40_000);
    five.rules.voters_wanted = 5;
    assert_eq!(decide(&five), None);
    assert_eq!(decide(&silent_for(five.clone(), 2, 29_000)), None);
    assert_eq!(decide(&silent_for(five, 2, 30_000)), Some(set(&[1, 3, 4])));
}

#[test]
fn a_draining_voter_stays_until_it_can_be_replaced() {
    let alone = draining(grid(&[1, 2, 3], &[], &[]), 3);
    assert_eq!(decide(&alone), None);
    assert_eq!(why_not(&alone, id(3)), Some(WhyNot::NobodyInItsPlace));
    let replaced = draining(grid(&[1, 2, 3], &[4], &[]), 3);
    assert_eq!(decide(&replaced), Some(set(&[1, 2, 4])));
    let demoted = with(grid(&[1, 2, 3], &[4], &[]), 2, |member| member.voting = Voting::Unwanted);
    assert_eq!(decide(&demoted), Some(set(&[1, 3, 4])));
    let after = with(grid(&[1, 3, 4], &[2], &[]), 2, |member| member.voting = Voting::Unwanted);
    assert_eq!(decide(&after), Some(Step::RemoveLearner(id(2))));
    let mut out = after;
    out.learners.clear();
    assert_eq!(decide(&out), Some(Step::TakeRole(id(2))));
    assert_eq!(decide(&with(out, 2, |member| member.role = Role::Star)), None);
}

#[test]
fn a_draining_leader_hands_over_before_it_is_replaced() {
    let leader = draining(grid(&[1, 2, 3], &[4], &[]), 1);
    assert_eq!(decide(&leader), Some(Step::HandOver(id(2))));
    let alone = draining(grid(&[1, 2, 3], &[], &[]), 1);
    assert_eq!(decide(&alone), Some(Step::HandOver(id(2))), "even if it must go on voting");
    let single = draining(grid(&[1], &[2], &[]), 1);
    assert_eq!(decide(&single), Some(set(&[2])), "there is no voter that could lead");
    let all = draining(draining(leader, 2), 3);
    assert_eq!(decide(&all), Some(set(&[1, 2, 4])), "first one that can lead");
    assert_eq!(decide(&draining(grid(&[1], &[], &[]), 1)), None);
    let mut everybody = grid(&[1, 2, 3], &[4, 5, 6], &[]);
    for number in [1, 2, 3] {
        everybody = draining(everybody, number);
    }
    assert_eq!(decide(&everybody), Some(set(&[1, 4, 5])), "the leader goes last");
}

#[test]
fn those_who_are_silent_for_a_moment_do_not_become_the_majority() {
    let mut fewer = grid(&[1, 2, 3, 4, 5], &[], &[]);
    for number in [4, 5] {
        fewer = silent_for(with(fewer, number, |member| member.voting = Voting::Wanted), number, 5_000);
    }
    assert_eq!(decide(&fewer), None, "both are wanted, and may be back at once");
    let back = with(fewer.clone(), 4, |member| member.hearing = HEARD);
    assert_eq!(decide(&back), Some(set(&[1, 4, 5])));
    assert_eq!(decide(&silent_for(silent_for(fewer, 4, 30_000), 5, 30_000)), Some(set(&[1, 2, 3])));
}

#[test]
fn a_promoted_node_takes_the_place_of_one_that_nobody_asked_for() {
    let wanted = with(grid(&[1, 2, 3], &[4], &[]), 4, |member| member.voting = Voting::Wanted);
    assert_eq!(decide(&wanted), Some(set(&[1, 2, 4])));
    let first = with(grid(&[1, 2, 3], &[4], &[5]), 5, |member| member.voting = Voting::Wanted);
    assert_eq!(decide(&first), Some(Step::GiveRole(id(5))));
    let mut all = grid(&[1, 2, 3], &[4], &[]);
    all.members.values_mut().for_each(|member| member.voting = Voting::Wanted);
    assert_eq!(decide(&all), None, "whoever votes goes on");
}

#[test]
fn an_unfinished_change_comes_first() {
    let mut joint = silent_for(grid(&[1, 2, 3], &[4], &[]), 3, 40_000);
    joint.is_joint = true;
    assert_eq!(decide(&joint), Some(Step::FinishChange));
}

#[test]
fn a_better_leader_takes_over_in_its_time_and_only_once() {
    let settled = |number, disk, has_files| {
        let mut observed = grid(&[1, 2, 3], &[], &[]);
        observed.leads_for_ms = 60_000;
        observed.members.values_mut().for_each(|member| member.hearing = Hearing::Heard { for_ms: 60_000 });
        with(observed, number, |member| (member.disk, member.has_files) = (disk, has_files))
    };
    let idle = settled(3, DiskClass::Good, false);
    assert_eq!(decide(&idle), Some(Step::HandOver(id(3))));
    assert_eq!(decide(&Observed { leads_for_ms: 59_999, ..idle.clone() }), None);
    assert_eq!(
        decide(&with(idle.clone(), 3, |member| member.hearing = Hearing::Heard { for_ms: 59_999 })),
        None
    );
    assert_eq!(decide(&with(idle.clone(), 3, |member| member.has_log = false)), None);
    assert_eq!(decide(&Observed { own: id(3), ..idle }), None, "and not back");
    assert_eq!(decide(&settled(3, DiskClass::Unfit, false)), None);
    assert_eq!(decide(&settled(1, DiskClass::Slow, true)), Some(Step::HandOver(id(2))));
    let witness = with(settled(1, DiskClass::Good, false), 1, |member| member.role = Role::Witness);
    assert_eq!(decide(&witness), Some(Step::HandOver(id(2))), "a witness leads only while nobody else can");
}

#[test]
fn a_learner_that_died_makes_room() {
    let dead = silent_for(grid(&[1, 2, 3], &[4], &[5]), 4, 30_000);
    assert_eq!(decide(&dead), Some(Step::GiveRole(id(5))));
    assert_eq!(
        decide(&silent_for(grid(&[1, 2, 3], &[4, 5], &[]), 4, 30_000)),
        Some(Step::RemoveLearner(id(4)))
    );
    assert_eq!(decide(&silent_for(grid(&[1, 2, 3], &[4], &[]), 4, 3_600_000)), None, "there is nobody else");
    let mut removed = grid(&[1, 2, 3], &[4], &[]);
    removed.members.remove(&id(4));
    assert_eq!(decide(&removed), Some(Step::RemoveLearner(id(4))));
}

#[test]
fn the_last_nucleus_beside_witnesses_stays_one() {
    let mut observed = grid(&[1, 2, 3], &[4], &[5]);
    for number in [1, 2, 3, 4] {
        observed = with(observed, number, |member| member.role = Role::Witness);
    }
    let observed =
        with(observed, 5, |member| (member.role, member.voting) = (Role::Nucleus, Voting::Unwanted));
    assert_eq!(decide(&observed), None);
}

#[test]
fn stopping_is_granted_with_who_votes_then() {
    let stop = |observed: &Observed, number| may_stop_voting(observed, id(number));
    let three = || grid(&[1, 2, 3], &[], &[]);
    assert_eq!(stop(&grid(&[1, 2, 3], &[4], &[]), 2), Ok(ids(&[1, 3, 4])));
    assert_eq!(stop(&grid(&[1], &[2], &[]), 1), Ok(ids(&[2])));
    assert_eq!(stop(&three(), 3), Ok(ids(&[1])), "one can decide alone");
    assert_eq!(stop(&silent_for(three(), 3, 5), 3), Ok(ids(&[1])), "the dead one goes");
    assert_eq!(stop(&grid(&[1, 2, 3], &[], &[4]), 4), Ok(ids(&[1, 2, 3])), "it does not vote");
    let five = grid(&[1, 2, 3, 4, 5], &[], &[]);
    assert_eq!(stop(&five, 1), Ok(ids(&[2, 3, 4])));
    assert_eq!(stop(&silent_for(silent_for(five, 4, 5), 5, 5), 5), Ok(ids(&[1, 2, 3])));
    let replaced = silent_for(grid(&[1, 2, 3], &[4], &[]), 3, 5);
    assert_eq!(stop(&replaced, 2), Ok(ids(&[1, 3, 4])), "the silent one may return");
    let demoted = with(three(), 3, |member| member.voting = Voting::Unwanted);
    assert_eq!(stop(&demoted, 3), Ok(ids(&[1])));
}

#[test]
fn stopping_that_loses_the_quorum_is_refused_in_numbers() {
    let refused = |observed: &Observed, number| may_stop_voting(observed, id(number)).expect_err("refused");
    let three = silent_for(grid(&[1, 2, 3], &[], &[4]), 3, 5);
    let refusal = refused(&three, 2);
    assert_eq!(
        refusal,
        Refusal::WouldLoseQuorum {
            name: "n2".to_owned(),
            voters: 3,
            needed: 2,
            others_heard: 1,
            silent: vec!["n3".to_owned()]
        }
    );
    assert_eq!(
        refusal.to_string(),
        "the grid cannot do without the vote of n2: of 3 voters 2 must agree, and without n2 1 is heard (not heard: n3)"
    );
    let single = refused(&grid(&[1], &[], &[]), 1);
    assert!(
        matches!(single, Refusal::WouldLoseQuorum { voters: 1, needed: 1, others_heard: 0, .. }),
        "{single:?}"
    );
    let not_ready = with(grid(&[1], &[2], &[]), 1, |_| ());
    let not_ready = with(not_ready, 2, |member| member.has_log = false);
    assert!(matches!(refused(&not_ready, 1), Refusal::WouldLoseQuorum { .. }));
    let lost = silent_for(silent_for(grid(&[1, 2, 3], &[], &[]), 3, 5), 2, 5);
    let no_quorum =
        Refusal::NoQuorum { voters: 3, needed: 2, heard: 1, silent: vec!["n2".to_owned(), "n3".to_owned()] };
    assert_eq!(refused(&lost, 3), no_quorum);
}

#[test]
fn why_a_node_does_not_vote() {
    let why = |observed: &Observed, number| why_not(observed, id(number));
    assert_eq!(why(&grid(&[1], &[], &[2]), 1), None);
    assert_eq!(why(&grid(&[1], &[], &[2]), 2), Some(WhyNot::NoCertificate));
    assert_eq!(why(&grid(&[1], &[2], &[]), 2), Some(WhyNot::EvenNumber { voters: 1 }));
    let unready = with(grid(&[1], &[2], &[]), 2, |member| member.has_log = false);
    assert_eq!(why(&unready, 2), Some(WhyNot::CatchingUp));
    assert_eq!(why(&grid(&[1, 2, 3], &[4], &[5]), 4), Some(WhyNot::Enough { voters: 3 }));
    assert_eq!(why(&grid(&[1, 2, 3], &[4], &[5]), 5), Some(WhyNot::Enough { voters: 3 }));
    let mut wants_five = grid(&[1, 2, 3], &[4], &[]);
    wants_five.rules.voters_wanted = 5;
    assert_eq!(why(&wants_five, 4), Some(WhyNot::EvenNumber { voters: 3 }));
    assert_eq!(why(&silent_for(grid(&[1], &[2], &[]), 2, 1), 2), Some(WhyNot::Silent));
    let just = with(grid(&[1], &[2], &[]), 2, |member| member.hearing = Hearing::Heard { for_ms: 3 });
    assert_eq!(why(&just, 2), Some(WhyNot::JustHeard));
    assert_eq!(why(&draining(grid(&[1], &[2], &[]), 2), 2), Some(WhyNot::Draining));
    let demoted = with(grid(&[1], &[2], &[]), 2, |member| member.voting = Voting::Unwanted);
    assert_eq!(why(&demoted, 2), Some(WhyNot::Demoted));
    assert_eq!(why(&grid(&[1], &[], &[]), 9), None);
    for why in [WhyNot::NobodyInItsPlace, WhyNot::EvenNumber { voters: 1 }, WhyNot::Enough { voters: 3 }] {
        assert!(!why.to_string().is_empty());
    }
}
