//! `--exclude`, `--include` and `--ignore-file`, in the order given.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use orbit_node::standalone::request::FilterRule;
use std::path::PathBuf;

/// What is left out. Read by hand: derived arguments forget in which order `--exclude` and `--include` stood.
#[derive(Clone, Debug, Default)]
pub struct FilterArgs {
    /// The patterns in order.
    pub rules: Vec<FilterRule>,
    /// Files with patterns.
    pub ignore_files: Vec<PathBuf>,
}

impl Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        let pattern = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name("GLOB").action(ArgAction::Append).help(help)
        };
        command
            .arg(pattern("exclude", "Leave out what matches (gitignore syntax); the last rule that matches counts"))
            .arg(pattern("include", "Keep what matches, though an earlier rule leaves it out"))
            .arg(
                Arg::new("ignore-file")
                    .long("ignore-file")
                    .value_name("FILE")
                    .action(ArgAction::Append)
                    .value_parser(clap::value_parser!(PathBuf))
                    .help("Read patterns from FILE, before those of the command line; .orbitignore files always count"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut rules = indexed(matches, "exclude", FilterRule::Exclude);
        rules.extend(indexed(matches, "include", FilterRule::Include));
        rules.sort_by_key(|(index, _)| *index);
        Ok(Self {
            rules: rules.into_iter().map(|(_, rule)| rule).collect(),
            ignore_files: matches.get_many("ignore-file").unwrap_or_default().cloned().collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn indexed(matches: &ArgMatches, id: &str, rule: fn(String) -> FilterRule) -> Vec<(usize, FilterRule)> {
    let indices = matches.indices_of(id).unwrap_or_default();
    let patterns = matches.get_many::<String>(id).unwrap_or_default();
    indices.zip(patterns.cloned().map(rule)).collect()
}
