//! `orbit man`.

use crate::args::{self, ManArgs};
use crate::exit::{CliError, Exit};
use crate::session::Session;
use clap_mangen::Man;
use std::fs;
use std::io;

pub(super) fn run(session: &Session, arguments: &ManArgs) -> anyhow::Result<Exit> {
    let pages = pages().map_err(CliError::Output)?;
    let Some(directory) = &arguments.dir else {
        let all: Vec<u8> = pages.into_iter().flat_map(|(_, page)| page).collect();
        session.screen.out(|out| out.write_all(&all)).map_err(CliError::Output)?;
        return Ok(Exit::Done);
    };
    let failed = |path: &std::path::Path| {
        let path = path.to_owned();
        move |source| CliError::File { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    for (name, page) in pages {
        let path = directory.join(name);
        fs::write(&path, page).map_err(failed(&path))?;
    }
    Ok(Exit::Done)
}

/// File name and text of every page: `orbit.1`, `orbit-sync.1`, `orbit-plan-show.1`, …
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = args::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, "orbit", &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    pages.push((format!("{name}.1"), page));
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        add(inner, &format!("{name}-{}", inner.get_name()), pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let names: Vec<String> = pages().expect("memory").into_iter().map(|(name, _)| name).collect();
        insta::assert_snapshot!(names.join("\n"), @r"
        orbit.1
        orbit-sync.1
        orbit-plan.1
        orbit-plan-show.1
        orbit-plan-run.1
        orbit-plan-ls.1
        orbit-plan-rm.1
        orbit-scan.1
        orbit-hash.1
        orbit-dedup.1
        orbit-ls.1
        orbit-node.1
        orbit-node-init.1
        orbit-node-join.1
        orbit-node-run.1
        orbit-node-ls.1
        orbit-node-show.1
        orbit-node-rename.1
        orbit-node-promote.1
        orbit-node-demote.1
        orbit-node-drain.1
        orbit-node-rm.1
        orbit-node-leave.1
        orbit-token.1
        orbit-token-create.1
        orbit-token-ls.1
        orbit-token-rm.1
        orbit-job.1
        orbit-job-ls.1
        orbit-job-show.1
        orbit-job-watch.1
        orbit-job-pause.1
        orbit-job-resume.1
        orbit-job-limit.1
        orbit-job-schedule.1
        orbit-job-cancel.1
        orbit-job-retry.1
        orbit-job-rm.1
        orbit-status.1
        orbit-constellation.1
        orbit-constellation-ls.1
        orbit-constellation-create.1
        orbit-constellation-add.1
        orbit-constellation-rm.1
        orbit-ca.1
        orbit-ca-ls.1
        orbit-ca-rotate.1
        orbit-backup.1
        orbit-restore.1
        orbit-recover.1
        orbit-doctor.1
        orbit-completions.1
        orbit-man.1
        ");
    }
}
