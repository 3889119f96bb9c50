//! Backups, restored grids, and recovery from a lost quorum.

use super::format::{bytes, count, counted, harmless};
use super::json::write_line;
use super::screen::Screen;
use super::table::Rows;
use super::time::{ago, date};
use orbit_node::api::types::{BackupView, RecoveryView, SurvivorView};
use orbit_node::daemon::recover::Recovered;
use orbit_node::daemon::restore::Restored;
use orbit_node::standalone::state::now_ms;
use std::io;
use std::path::Path;

/// A backup was made.
pub fn made(screen: &Screen, view: &BackupView, file: &Path) -> io::Result<()> {
    let is_stdout = file == Path::new("-");
    let text = made_text(view, file);
    if is_stdout {
        // Standard output holds the backup.
        if !screen.quiet {
            screen.err(&format!("{text}\n"));
        }
        return Ok(());
    }
    if screen.json {
        return screen.out(|out| write_line(out, view));
    }
    if !screen.quiet {
        screen.line(&text)?;
        screen.flush()?;
        hint(screen, "keep the passphrase apart from it; without it the backup cannot be restored");
    }
    Ok(())
}

/// A backup was checked.
pub fn verified(screen: &Screen, view: &BackupView, file: &Path) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, view));
    }
    if screen.quiet { Ok(()) } else { screen.line(&verified_text(view, file, now_ms())) }
}

/// A grid was restored. `runs` says whether its node is run at once.
pub fn restored(screen: &Screen, restored: &Restored, runs: bool) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, restored));
    }
    if !screen.quiet {
        screen.line(&restored_text(restored, now_ms()))?;
        screen.flush()?;
    }
    if !runs {
        hint(screen, "run it: orbit node run");
    }
    Ok(())
}

/// What could be gone on with, and what would be lost.
pub fn survey(screen: &Screen, view: &RecoveryView) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, view));
    }
    // It stands before a question, which is asked on stderr.
    screen.err(&format!("{}\n", survey_text(view, now_ms())));
    Ok(())
}

/// A grid was recovered. Its node is running or not, and acts as the Nucleus or does not yet.
pub fn recovered(screen: &Screen, recovered: &Recovered, is_running: bool, acts: bool) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, recovered));
    }
    if !screen.quiet {
        screen.line(&recovered_text(recovered, is_running, acts))?;
        screen.flush()?;
    }
    hint(screen, if is_running { "see the grid: orbit status" } else { "run it: orbit node run" });
    Ok(())
}

fn hint(screen: &Screen, text: &str) {
    if !screen.quiet {
        screen.err(&format!("{} {text}\n", screen.err_style.helpful("hint:")));
    }
}

fn held(view: &BackupView) -> String {
    let parts = [
        counted(view.nodes.into(), "node", "nodes"),
        counted(view.tokens.into(), "join token", "join tokens"),
        counted(view.constellations.into(), "constellation", "constellations"),
        counted(view.authorities.into(), "certificate authority", "certificate authorities"),
    ];
    format!("{}; {}", parts.join(", "), bytes(view.bytes))
}

fn made_text(view: &BackupView, file: &Path) -> String {
    let place = if file == Path::new("-") {
        "checked on its way to standard output".to_owned()
    } else {
        format!("written to {}, read back and found whole", file.display())
    };
    let (grid, by) = (harmless(&view.grid.name), harmless(&view.made_by));
    format!("backup of grid {grid} as of change {}, from {by}: {}\n{place}", count(view.index), held(view))
}

fn verified_text(view: &BackupView, file: &Path, now_ms: i64) -> String {
    let secrets = match view.sealed_under.as_str() {
        "passphrase" => "its secrets open with its passphrase",
        _ => "its secrets open with the grid's seal key (nucleus/seal.key of a voter)",
    };
    format!(
        "{} is whole: grid {} as of change {}, made on {} ({}) by {}\n{}\n{secrets}",
        file.display(),
        harmless(&view.grid.name),
        count(view.index),
        date(view.made_ms),
        ago(view.made_ms, now_ms),
        harmless(&view.made_by),
        held(view)
    )
}

fn restored_text(restored: &Restored, now_ms: i64) -> String {
    let name = harmless(&restored.name);
    let mut lines = vec![format!(
        "grid {} is restored as it was on {} ({}), in epoch {}; {name} is its only voter{}",
        harmless(&restored.grid),
        date(restored.made_ms),
        ago(restored.made_ms, now_ms),
        restored.epoch,
        if restored.was_member { "" } else { ", and new in it" }
    )];
    if !restored.others.is_empty() {
        let others: Vec<_> = restored.others.iter().map(|other| harmless(other)).collect();
        lines.push(format!("members besides: {}", others.join(", ")));
        lines.push(format!(
            "they follow by themselves when they find {name} (by mDNS, or `via` under [mesh] in their star.toml); voters \
             of before put their records aside then"
        ));
        lines.push("nodes that joined later than that join again with a new token".to_owned());
    }
    if restored.tokens_removed > 0 {
        let tokens = counted(restored.tokens_removed.into(), "join token", "join tokens");
        lines.push(format!("{tokens} of that time cannot be used any more"));
    }
    if let Some(aside) = &restored.aside {
        lines.push(format!("what was there before lies in {}", aside.display()));
    }
    lines.join("\n")
}

fn survey_text(view: &RecoveryView, now_ms: i64) -> String {
    let mut rows = Rows::new(&["node", ">last change", ">term", "written", ""]);
    for survivor in &view.survivors {
        let number = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), count);
        rows.push([
            survivor.name.clone(),
            number(survivor.index),
            number(survivor.term),
            survivor.changed_ms.map_or_else(String::new, |changed| ago(changed, now_ms)),
            match &survivor.trouble {
                _ if survivor.is_this => "this node".to_owned(),
                Some(trouble) => trouble.clone(),
                None => String::new(),
            },
        ]);
    }
    let name = harmless(&view.node);
    let mut lines = vec![
        format!("grid {} has no quorum. Who holds its records:", harmless(&view.grid.name)),
        rows.text(),
        String::new(),
    ];
    let this = view.survivors.iter().find(|survivor| survivor.is_this).and_then(|this| this.index);
    let index = count(this.unwrap_or(0));
    lines.push(format!(
        "to recover here means: {name} goes on alone with its {index} changes, in a new epoch"
    ));
    let silent: Vec<_> = view.survivors.iter().filter(|survivor| !survivor.answered).collect();
    if !silent.is_empty() {
        let names: Vec<_> = silent.iter().map(|survivor| harmless(&survivor.name)).collect();
        lines.push(format!("lost: what only {} may have been told after change {index}", names.join(", ")));
    }
    let others = view.survivors.iter().filter(|survivor| !survivor.is_this);
    let others: Vec<_> = others.map(|survivor: &SurvivorView| harmless(&survivor.name)).collect();
    if !others.is_empty() {
        lines.push(format!(
            "gone: the votes of {}; when they come back, they put their records aside and go on as stars",
            others.join(", ")
        ));
    }
    if !view.others_were_asked {
        lines.push(format!(
            "the others were not asked, as the node of this machine does not run: `orbit node run` on {name} first, and \
             this command again, compares them"
        ));
    }
    lines.join("\n")
}

fn recovered_text(recovered: &Recovered, is_running: bool, acts: bool) -> String {
    let name = harmless(&recovered.name);
    let state = match (is_running, acts) {
        (true, true) => format!("{name} is its Nucleus"),
        (true, false) => format!("{name} is about to become its Nucleus"),
        (false, _) => format!("{name} will be its Nucleus"),
    };
    let mut lines = vec![format!(
        "grid {} is recovered up to change {}, in epoch {}; {state}, and its only voter",
        harmless(&recovered.grid),
        count(recovered.index),
        recovered.epoch
    )];
    if !recovered.votes_gone.is_empty() {
        let gone: Vec<_> = recovered.votes_gone.iter().map(|name| harmless(name)).collect();
        lines.push(format!(
            "members without a vote now: {}; they get one again by themselves when they are back",
            gone.join(", ")
        ));
    }
    lines.push(format!("its records as they were before lie in {}", recovered.aside.display()));
    lines.join("\n")
}

#[cfg(test)]
mod tests;
