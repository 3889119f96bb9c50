//! Rows of `jobs.db`: what goes in comes out, in the order promised.

use crate::sample::{checkpoint, chunk, plan, run, step};
use orbit_store::{JobsDb, NewPlan, NewStep, PlanId, RunState, StepState, StoreError};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn jobs() -> JobsDb {
    JobsDb::in_memory().expect("memory")
}

#[test]
fn runs_come_back_newest_first_and_the_oldest_are_forgotten() {
    let mut jobs = jobs();
    for n in 0..=205 {
        jobs.begin_run(&run(n)).expect("stored");
    }
    jobs.finish_run(run(100).id, 7, RunState::Interrupted, "{\"files\":1}").expect("stored");
    let rows = jobs.recent_runs(1000).expect("read");
    let ids: Vec<_> = rows.iter().map(|row| row.run.clone()).collect();
    assert_eq!(ids, (6..=205).rev().map(run).collect::<Vec<_>>());
    let last = jobs.last_finished_run(b"/a\xff", b"/b").expect("read").expect("one finished");
    assert_eq!(
        (last.run.id, last.state, last.finished_ms),
        (run(100).id, Some(RunState::Interrupted), Some(7))
    );
    assert_eq!(last.summary_json.as_deref(), Some("{\"files\":1}"));
    assert_eq!(jobs.last_finished_run(b"/a", b"/b").expect("read"), None);
    let error = jobs.finish_run(run(3).id, 1, RunState::Done, "").expect_err("forgotten");
    assert!(matches!(error, StoreError::RunNotFound { .. }), "{error:?}");
}

#[test]
fn plans_are_found_by_prefix_listed_and_pruned() {
    let mut jobs = jobs();
    for first in [0x10, 0x1f, 0x20] {
        jobs.create_plan(&plan(first)).expect("stored");
    }
    let unsaved = NewPlan { saved: false, ..plan(0x30) };
    jobs.create_plan(&unsaved).expect("stored");
    jobs.append_steps(unsaved.id, &[step(1, 1)]).expect("stored");
    jobs.seal_plan(plan(0x20).id, b"totals").expect("stored");

    let row = jobs.plan(plan(0x20).id).expect("read").expect("there");
    assert_eq!((row.plan, row.totals.as_deref()), (plan(0x20), Some(&b"totals"[..])));
    let saved: Vec<_> = jobs.plans().expect("read").into_iter().map(|row| row.plan).collect();
    assert_eq!(saved, [plan(0x20), plan(0x1f), plan(0x10)]);

    assert_eq!(jobs.find_plan("1F").expect("unique"), plan(0x1f).id);
    assert_eq!(jobs.find_plan(&unsaved.id.to_string()).expect("unique"), unsaved.id);
    let error = jobs.find_plan("1").expect_err("two");
    assert!(matches!(error, StoreError::PlanAmbiguous { ref prefix, .. } if prefix == "1"), "{error:?}");
    for missing in ["4", "no id", "20000"] {
        assert!(matches!(jobs.find_plan(missing), Err(StoreError::PlanNotFound { plan }) if plan == missing));
    }

    assert_eq!(jobs.prune_unsaved_plans(0x30).expect("nothing older"), 0);
    assert_eq!(jobs.prune_unsaved_plans(0x31).expect("pruned"), 1);
    assert!(matches!(jobs.next_steps(unsaved.id, None, 1), Err(StoreError::PlanNotFound { .. })));
    jobs.remove_plan(plan(0x20).id).expect("removed");
    assert!(matches!(jobs.remove_plan(plan(0x20).id), Err(StoreError::PlanNotFound { .. })));
    assert_eq!(jobs.plan(plan(0x20).id).expect("read"), None);
}

#[test]
fn a_removed_plan_takes_its_steps_and_marks_along() {
    let mut jobs = jobs();
    let (old, new) = (plan(1), plan(2));
    jobs.create_plan(&old).expect("stored");
    jobs.append_steps(old.id, &[step(1, 1)]).expect("stored");
    jobs.mark_steps(old.id, &[(1, StepState::Done)]).expect("stored");
    jobs.remove_plan(old.id).expect("removed");
    jobs.create_plan(&new).expect("stored");
    jobs.append_steps(new.id, &[step(1, 1)]).expect("stored");
    let rows = jobs.next_steps(new.id, None, 10).expect("read");
    assert_eq!(rows.len(), 1, "a mark of the old plan must not count for the new one");
}

#[test]
fn bodies_of_any_size_and_numbers_out_of_range() {
    let mut jobs = jobs();
    jobs.create_plan(&plan(1)).expect("stored");
    let steps: Vec<_> = (0..19)
        .map(|n| NewStep { seq: n, rank: i64::MIN, bytes: i64::MAX as u64, body: vec![n as u8; 1 << n] })
        .collect();
    jobs.append_steps(plan(1).id, &steps).expect("stored");
    let rows = jobs.next_steps(plan(1).id, None, 100).expect("read");
    assert_eq!(rows.into_iter().map(|row| row.step).collect::<Vec<_>>(), steps);
    let error = jobs
        .append_steps(plan(1).id, &[step(100, 0), NewStep { bytes: 1, ..step(1 << 63, 0) }])
        .expect_err("too large");
    assert!(matches!(error, StoreError::OutOfRange { value, .. } if value == 1 << 63), "{error:?}");
    assert_eq!(jobs.step_count(plan(1).id).expect("read"), 19, "nothing of a refused batch stays");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn pagination_equals_a_sort(
        ranks in proptest::collection::vec(-3_i64..3, 1..60),
        marks in proptest::collection::vec((0_u64..60, 0_usize..3), 0..60),
        page in 1_usize..20,
    ) {
        let mut jobs = jobs();
        let id: PlanId = plan(1).id;
        jobs.create_plan(&plan(1)).expect("stored");
        jobs.create_plan(&plan(2)).expect("stored");
        let steps: Vec<_> = (0..).zip(&ranks).map(|(seq, &rank)| step(seq, rank)).collect();
        for batch in steps.chunks(7) {
            jobs.append_steps(id, batch).expect("stored");
            jobs.append_steps(plan(2).id, batch).expect("stored");
        }
        let marks: Vec<_> = marks
            .into_iter()
            .map(|(seq, state)| (seq, [StepState::Pending, StepState::Done, StepState::Failed][state]))
            .collect();
        jobs.mark_steps(id, &marks).expect("stored");

        let states: BTreeMap<_, _> = marks.into_iter().collect();
        let state = |step: &NewStep| states.get(&step.seq).copied().unwrap_or(StepState::Pending);
        let mut expected: Vec<_> = steps.iter().map(|step| (step.clone(), state(step))).collect();
        expected.retain(|&(_, state)| state != StepState::Done);
        expected.sort_by_key(|(step, _)| (step.rank, step.seq));

        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let rows = jobs.next_steps(id, after, page).expect("read");
            prop_assert!(rows.len() <= page);
            let Some(last) = rows.last() else { break };
            after = Some((last.step.rank, last.step.seq));
            found.extend(rows.into_iter().map(|row| (row.step, row.state)));
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(jobs.step_count(id).expect("read"), steps.len() as u64);
    }
}

#[test]
fn checkpoints_grow_by_parts_and_refuse_gaps() {
    let mut jobs = jobs();
    let chunks: Vec<_> = (0..20_000).map(chunk).collect();
    let all = |jobs: &JobsDb, path: &[u8]| -> Vec<_> {
        let parts = jobs.checkpoint_chunks(b"/b", path).expect("read");
        parts.flat_map(|part| part.expect("sound")).collect()
    };
    jobs.put_checkpoint(&checkpoint("f", 10), 0, &chunks[..15_000]).expect("stored");
    jobs.put_checkpoint(&checkpoint("f", 20), 15_000, &chunks[15_000..]).expect("stored");
    jobs.put_checkpoint(&checkpoint("g", 1), 0, &chunks[..1]).expect("stored");
    assert_eq!(all(&jobs, b"f"), chunks);
    assert_eq!(all(&jobs, b"g"), chunks[..1]);
    assert_eq!(all(&jobs, b"h"), []);

    let stored = jobs.checkpoint(b"/b", b"f").expect("read").expect("there");
    assert_eq!((stored.checkpoint, stored.chunk_count), (checkpoint("f", 20), 20_000));

    let mut other_version = checkpoint("f", 30);
    other_version.source.size += 1;
    for (offered, wrong) in
        [(19_999, checkpoint("f", 30)), (20_000, other_version.clone()), (1, checkpoint("h", 1))]
    {
        let error = jobs.put_checkpoint(&wrong, offered, &chunks[..1]).expect_err("a gap");
        assert!(matches!(error, StoreError::CheckpointGap { .. }), "{error:?}");
    }
    assert_eq!(all(&jobs, b"f"), chunks, "a refused append changes nothing");

    jobs.put_checkpoint(&other_version, 0, &chunks[5..6]).expect("starts over");
    assert_eq!(all(&jobs, b"f"), chunks[5..6]);
    let listed: Vec<_> = jobs.checkpoints(b"/b").expect("read").into_iter().map(|c| c.checkpoint).collect();
    assert_eq!(listed, [other_version, checkpoint("g", 1)]);
    assert_eq!(jobs.checkpoints(b"/").expect("read"), []);

    jobs.remove_checkpoint(b"/b", b"f").expect("removed");
    jobs.remove_checkpoint(b"/b", b"f").expect("nothing to remove is no error");
    assert_eq!(jobs.checkpoint(b"/b", b"f").expect("read"), None);
    assert_eq!(all(&jobs, b"f"), []);
}

#[test]
fn a_damaged_checkpoint_is_a_miss() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    let mut jobs = JobsDb::open(&path).expect("created");
    jobs.put_checkpoint(&checkpoint("f", 10), 0, &[chunk(1), chunk(2)]).expect("stored");
    jobs.put_checkpoint(&checkpoint("g", 10), 0, &[chunk(1), chunk(2)]).expect("stored");
    let other = rusqlite::Connection::open(&path).expect("opened");
    other.execute("UPDATE checkpoints SET verified_len = 11 WHERE path = x'66'", []).expect("changed");
    other.execute("DELETE FROM checkpoint_parts WHERE checkpoint = 2", []).expect("changed");
    assert_eq!(jobs.checkpoints(b"/b").expect("read").len(), 1);
    assert_eq!(jobs.checkpoint(b"/b", b"f").expect("read"), None);
    let parts: Vec<_> = jobs.checkpoint_chunks(b"/b", b"g").expect("read").collect();
    assert!(matches!(parts[..], [Err(StoreError::Corrupt { .. })]), "{parts:?}");
    let left: i64 =
        other.query_row("SELECT count(*) FROM checkpoints", [], |row| row.get(0)).expect("counted");
    assert_eq!(left, 1, "the damaged row was dropped");
}
