//! A Nucleus that dies, or stands still: another takes its place, and nothing that was promised is gone.
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::grid::conversation::{Answer, Conversation, Request};
use orbit_tests::grid::group::others;
use orbit_tests::grid::node::COMMAND_DEADLINE;
use orbit_tests::nucleus::writer::{Carried, Courier};
use orbit_tests::orbit::{Exit, Run};
use orbit_tests::random::Random;
use orbit_tests::report::say;
use orbit_tests::wait::{DEADLINE, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn names(list: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = list.iter().filter_map(|node| node["name"].as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_killed_nucleus_is_replaced_and_comes_back_as_a_follower() {
    let grid = Grid::voting(3, "");
    let old = grid.nucleus_among(&[0, 1, 2]);
    let [one, other] = others(3, &[old])[..] else { panic!("two others") };
    for node in grid.nodes() {
        node.run(["status"]).expect(Exit::Done).expect_says("tolerates 1 failure");
    }
    grid.node(old).run(["constellation", "create", "before"]).expect(Exit::Done);
    let kept = grid.node(one).json(["token", "create"]);

    grid.node(old).kill();
    let killed = Instant::now();
    // Whoever asks waits, and needs not ask again.
    grid.node(one).run(["token", "create"]).expect(Exit::Done);
    say(&format!("a token is created {} ms after the Nucleus was killed", killed.elapsed().as_millis()));
    assert_eq!(names(&grid.node(other).json_list(["node", "ls"])), ["nas1", "nas2", "nas3"]);
    grid.node(other).run(["scan", &grid.node(one).endpoint("")]).expect(Exit::Done);
    grid.node(one).run(["constellation", "create", "meanwhile"]).expect(Exit::Done);
    let new = grid.nucleus_among(&[one, other]);
    let term = grid.node(new).status().expect("is the Nucleus")["term"].as_u64();

    grid.node(old).restart();
    grid.node(old).wait_until_ready();
    grid.wait_until_voting(new, 3);
    assert_eq!(grid.nucleus_among(&[0, 1, 2]), new, "who comes back does not take over");
    assert_eq!(grid.node(old).status().expect("answers")["term"].as_u64(), term);
    assert_eq!(grid.node(old).constellations(), ["before", "meanwhile"]);
    let tokens = grid.node(old).json_list(["token", "ls"]);
    assert!(tokens.iter().any(|token| token["id"] == kept["listed"]["id"]), "{kept} is not in {tokens:#?}");
    grid.node(old).run(["status"]).expect(Exit::Done).expect_says("tolerates 1 failure");
}

/// `node join` without a daemon, through that node.
fn join(grid: &Grid, joiner: usize, via: usize, token: &str) -> orbit_tests::orbit::Running {
    let via = ["--via".to_owned(), grid.node(via).address()];
    let arguments = grid.node(joiner).join_arguments(token, &via);
    grid.node(joiner).start(arguments.iter().filter(|argument| *argument != "--run"))
}

#[test]
fn a_token_for_one_admits_one_though_the_nucleus_dies() {
    const CANDIDATES: [usize; 2] = [3, 4];
    let grid = Grid::loopback(5);
    grid.assemble_first(3);
    grid.wait_until_voting(0, 3);
    let mut random = Random::new(Random::seed_or(11));
    for round in 0..2 {
        let old = grid.nucleus_among(&[0, 1, 2]);
        let [one, other] = others(3, &[old])[..] else { panic!("two others") };
        let token = grid.node(one).token(&[]);
        let ways = [(3, one), (4, other)];
        let begun = ways.map(|(joiner, via)| join(&grid, joiner, via, &token));
        std::thread::sleep(Duration::from_millis(random.below(60)));
        grid.node(old).kill();
        let mut ended: Vec<Run> =
            begun.into_iter().map(|join| join.finish_within(COMMAND_DEADLINE)).collect();
        // Who got no answer asks again, until it is said: admitted, or refused.
        for (run, (joiner, via)) in ended.iter_mut().zip(ways) {
            let asked = Instant::now();
            while !matches!(run.code(), Some(0 | 6)) && asked.elapsed() < DEADLINE {
                *run = join(&grid, joiner, via, &token).finish_within(COMMAND_DEADLINE);
            }
        }
        let admitted: Vec<usize> =
            (0..2).filter(|at| ended[*at].code() == Some(0)).map(|at| CANDIDATES[at]).collect();
        assert_eq!(admitted.len(), 1, "{}\n{}", ended[0], ended[1]);
        let refused = ended.iter().find(|run| run.code() != Some(0)).expect("the other");
        assert!(refused.says("used") && refused.says("nothing was changed"), "{refused}");
        let members = grid.node(one).json_list(["node", "ls"]);
        assert_eq!(members.len(), 4, "round {round}: {members:#?}");
        // For the next round.
        let winner = grid.node(admitted[0]);
        grid.node(old).restart();
        grid.wait_until_voting(one, 3);
        grid.node(one).run(["node", "rm", winner.name(), "-y"]).expect(Exit::Done);
        winner.run(["node", "leave", "--forget", "-y"]).expect(Exit::Done);
    }
}

#[test]
fn a_nucleus_that_stood_still_commands_nobody_when_it_goes_on() {
    let grid = Grid::voting(3, "");
    let old = grid.nucleus_among(&[0, 1, 2]);
    let [one, other] = others(3, &[old])[..] else { panic!("two others") };
    let mut with_old = Conversation::open(&grid.node(old).data_dir()).expect("its daemon runs");
    grid.node(old).pause();
    let paused = Instant::now();
    grid.node(one).run(["constellation", "create", "meanwhile"]).expect(Exit::Done);
    say(&format!("written {} ms after the Nucleus was stopped", paused.elapsed().as_millis()));
    let new = grid.nucleus_among(&[one, other]);
    let term = grid.node(new).status().expect("is the Nucleus")["term"].as_u64();
    let told = grid.node(one).run(["status"]);
    assert!(told.says("tolerates no failure"), "{told}");

    grid.node(old).resume();
    // What it says at once: what is so, or since when it does not know.
    let list = with_old.ask(&Request::get("/v1/constellations")).expect("answers");
    let has = |answer: &Answer, name: &str| {
        answer.body.as_array().is_some_and(|list| list.iter().any(|found| found["name"] == name))
    };
    assert!(
        !list.is_success() || has(&list, "meanwhile") || list.as_of_ms.is_some(),
        "it tells old records as if they were new: {list:?}"
    );
    // What it acknowledges at once is what the new one knows.
    let written = with_old.ask(&Request::create("after")).expect("answers");
    let there = grid.node(new).ask(&Request::get("/v1/constellations")).expect("answers");
    assert_eq!(written.is_success(), has(&there, "after"), "{written:?} but {there:?}");
    grid.node(old).run(["scan", &grid.node(other).endpoint("")]).expect(Exit::Done);
    until("it follows", || !grid.node(old).is_nucleus());
    grid.wait_until_voting(new, 3);
    assert_eq!(grid.nucleus_among(&[0, 1, 2]), new, "who goes on does not take over");
    assert_eq!(grid.node(old).status().expect("answers")["term"].as_u64(), term, "nor disturbs");
}

#[test]
fn a_change_that_is_sent_again_is_made_once() {
    let grid = Grid::voting(3, "");
    let create = |uses: u32| {
        let wish = json!({ "ttl_s": 3600, "uses": uses, "role": "star" });
        Request::change("POST", "/v1/tokens", Some(wish))
    };
    let tokens = |node: usize, uses: u32| -> Vec<Value> {
        let list = grid.node(node).json_list(["token", "ls"]);
        list.into_iter().filter(|token| token["uses"] == uses).collect()
    };
    // Answered, and asked again of the next Nucleus.
    let old = grid.nucleus_among(&[0, 1, 2]);
    let [one, other] = others(3, &[old])[..] else { panic!("two others") };
    let request = create(101);
    let first = grid.node(old).ask(&request).expect("answers");
    assert!(first.is_success(), "{first:?}");
    grid.node(old).kill();
    let mut courier = Courier::new([grid.node(one).data_dir(), grid.node(other).data_dir()]);
    let again = match courier.carry(&request, DEADLINE) {
        Carried::Done { answer, .. } => answer,
        failed => panic!("{failed:?}"),
    };
    assert_eq!(first.body["token"], again.body["token"], "the same request has the same answer");
    assert_eq!(tokens(one, 101).len(), 1);
    grid.node(old).restart();
    grid.wait_until_voting(one, 3);
    // Cut off at any moment, and asked again.
    let mut random = Random::new(Random::seed_or(5));
    for uses in 102..105 {
        let old = grid.nucleus_among(&[0, 1, 2]);
        let [one, other] = others(3, &[old])[..] else { panic!("two others") };
        let request = create(uses);
        let dirs = [old, one, other].map(|index| grid.node(index).data_dir());
        let carried = std::thread::scope(|scope| {
            let carrier = scope.spawn(|| Courier::new(dirs).carry(&request, DEADLINE));
            std::thread::sleep(Duration::from_micros(random.below(8_000)));
            grid.node(old).kill();
            carrier.join().expect("does not panic")
        });
        assert!(matches!(carried, Carried::Done { .. }), "{carried:?}");
        grid.node(old).restart();
        grid.wait_until_voting(one, 3);
        assert_eq!(tokens(old, uses).len(), 1, "{carried:?}");
    }
}
