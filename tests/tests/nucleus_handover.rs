//! A Nucleus that goes in good order: whoever writes through another node notices nothing but a moment.
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::grid::group::others;
use orbit_tests::nucleus::gaps::Gaps;
use orbit_tests::orbit::Exit;
use orbit_tests::report::say;
use orbit_tests::wait::until;
use std::time::Instant;

/// Changes on both sides of what is tried.
const AROUND: u64 = 20;

#[test]
fn draining_and_stopping_a_nucleus_fails_no_command() {
    let grid = Grid::voting(3, "");
    // One round of draining and one of stopping; the writer is on a node that stays.
    let first = grid.nucleus_among(&[0, 1, 2]);
    let [stays, heir] = others(3, &[first])[..] else { panic!("two others") };
    let writer = Gaps::begin(grid.node(stays).data_dir());
    writer.wait_for(AROUND);

    let begun = Instant::now();
    let run = grid.node(heir).run(["node", "drain", grid.node(first).name()]).expect(Exit::Done);
    assert!(run.says("is draining"), "{run}");
    writer.wait_for(AROUND);
    let drained = Instant::now();
    let second = grid.nucleus_among(&[0, 1, 2]);
    assert_ne!(second, first, "{run}");
    grid.node(stays).run(["node", "drain", grid.node(first).name(), "--undo"]).expect(Exit::Done);
    grid.wait_until_voting(stays, 3);

    // The writer's own node may have become the Nucleus: it hands over once more.
    if second == stays {
        grid.node(first).run(["node", "drain", grid.node(stays).name()]).expect(Exit::Done);
        until("it handed over", || !grid.node(stays).is_nucleus());
        grid.node(first).run(["node", "drain", grid.node(stays).name(), "--undo"]).expect(Exit::Done);
    }
    let stopped = grid.nucleus_among(&[0, 1, 2]);
    assert_ne!(stopped, stays);
    let stopping = Instant::now();
    assert!(grid.node(stopped).stop().success(), "{}", grid.node(stopped).log());
    writer.wait_for(AROUND);
    let noted = writer.end();
    let left = others(3, &[stopped]);
    grid.nucleus_among(&left);
    assert!(noted.failed.is_empty(), "{:#?}", noted.failed);
    say(&format!(
        "longest time without an acknowledgement: {} ms around draining, {} ms around stopping, of {} changes",
        noted.longest_between(Some(begun), Some(drained)).as_millis(),
        noted.longest_between(Some(stopping), None).as_millis(),
        noted.acknowledged.len()
    ));
    // It comes back as one of three.
    grid.node(stopped).restart();
    grid.wait_until_voting(stays, 3);
}
