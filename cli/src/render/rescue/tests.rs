use super::*;
use orbit_node::api::types::GridView;

const NOW_MS: i64 = 1_714_566_896_789;

fn grid() -> GridView {
    GridView { id: "018f".into(), name: "home".into() }
}

fn backup(sealed_under: &str) -> BackupView {
    BackupView {
        grid: grid(),
        epoch: 1,
        index: 1042,
        made_ms: NOW_MS - 7_200_000,
        made_by: "nas1".into(),
        nodes: 3,
        tokens: 1,
        constellations: 0,
        authorities: 1,
        bytes: 2_100_000,
        sealed_under: sealed_under.into(),
    }
}

#[test]
fn backups() {
    let file = Path::new("/mnt/usb/home.orbit-backup");
    let shown = [
        made_text(&backup("passphrase"), file),
        made_text(&backup("passphrase"), Path::new("-")),
        verified_text(&backup("passphrase"), file, NOW_MS),
        verified_text(&backup("grid"), file, NOW_MS),
    ];
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn a_restored_grid() {
    let anew = Restored {
        grid: "home".into(),
        grid_id: "018f".into(),
        epoch: 28_339_200,
        made_ms: NOW_MS - 7_200_000,
        name: "nas9".into(),
        id: "0190".into(),
        was_member: false,
        others: vec!["nas1".into(), "nas2".into()],
        tokens_removed: 2,
        aside: None,
        data_dir: "/var/lib/orbit".into(),
    };
    let replaced = Restored {
        was_member: true,
        others: Vec::new(),
        tokens_removed: 0,
        aside: Some("/var/lib/orbit/nucleus.before-restore-2024-05-01T12-34-56Z".into()),
        ..anew.clone()
    };
    insta::assert_snapshot!([anew, replaced].map(|one| restored_text(&one, NOW_MS)).join("\n\n"));
}

#[test]
fn a_survey_and_a_recovered_grid() {
    let survivor = |name: &str, is_this, end: Option<(u64, u64)>| SurvivorView {
        id: name.into(),
        name: name.into(),
        is_this,
        answered: end.is_some(),
        trouble: end.is_none().then(|| "no answer".to_owned()),
        term: end.map(|(term, _)| term),
        index: end.map(|(_, index)| index),
        changed_ms: is_this.then_some(NOW_MS - 180_000),
    };
    let running = RecoveryView {
        grid: grid(),
        node: "nas2".into(),
        has_quorum: false,
        others_were_asked: true,
        survivors: vec![
            survivor("nas1", false, None),
            survivor("nas2", true, Some((7, 1042))),
            survivor("nas3", false, Some((7, 1040))),
        ],
        members: 4,
    };
    let stopped = RecoveryView {
        others_were_asked: false,
        survivors: running.survivors[..2].to_vec(),
        ..running.clone()
    };
    let recovered = Recovered {
        grid: "home".into(),
        name: "nas2".into(),
        epoch: 28_339_200,
        index: 1044,
        votes_gone: vec!["nas1".into(), "nas3".into()],
        aside: "/var/lib/orbit/nucleus.before-recover-2024-05-01T12-34-56Z".into(),
    };
    let shown = [
        survey_text(&running, NOW_MS),
        survey_text(&stopped, NOW_MS),
        recovered_text(&recovered, true, true),
        recovered_text(&recovered, false, false),
    ];
    insta::assert_snapshot!(shown.join("\n\n"));
}
