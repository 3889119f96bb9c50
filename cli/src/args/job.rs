//! `orbit job`: syncs between nodes.

use super::ProgressArgs;
use super::grid::seconds;
use clap::{ArgGroup, Args, Subcommand};
use orbit_core::rate::BandwidthSchedule;

/// `orbit job`.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: JobCommand,
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List the jobs, the newest first
    Ls,
    /// Show all about a job: its parts, what failed, and what limits it
    Show(OneJobArgs),
    /// Follow a job to its end; Ctrl-C leaves it alone
    Watch(WatchJobArgs),
    /// Let a job stop for a while
    Pause(PauseJobArgs),
    /// Let a job go on, or agree to its plan
    Resume(OneJobArgs),
    /// Change how fast a job may go
    Limit(LimitJobArgs),
    /// Let a job begin anew at certain times
    Schedule(ScheduleJobArgs),
    /// End a job; what it has put in place stays
    Cancel(OneJobArgs),
    /// Begin an ended job anew; what is in place already is not sent again
    Retry(OneJobArgs),
    /// Forget an ended job
    Rm(OneJobArgs),
}

/// A job.
#[derive(Debug, Args)]
pub struct OneJobArgs {
    /// Id of the job, or how it begins
    #[arg(value_name = "JOB")]
    pub id: String,
}

/// `orbit job watch`.
#[derive(Debug, Args)]
pub struct WatchJobArgs {
    /// Which job.
    #[command(flatten)]
    pub job: OneJobArgs,
    /// Whether progress is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// `orbit job pause`.
#[derive(Debug, Args)]
pub struct PauseJobArgs {
    /// Which job.
    #[command(flatten)]
    pub job: OneJobArgs,
    /// For how long, such as 30m or 2h [default: until it is resumed]
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    pub time: Option<u64>,
}

/// `orbit job limit`.
#[derive(Debug, Args)]
pub struct LimitJobArgs {
    /// Which job.
    #[command(flatten)]
    pub job: OneJobArgs,
    /// Bytes a second (10M, 500k, off), or a timetable such as "08:00,1M 23:00,off"
    #[arg(value_name = "RATE", value_parser = super::options::bandwidth)]
    pub rate: BandwidthSchedule,
}

/// `orbit job schedule`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("times").args(["cron", "off"]).required(true))]
pub struct ScheduleJobArgs {
    /// Which job.
    #[command(flatten)]
    pub job: OneJobArgs,
    /// Minute, hour, day, month and day of the week, as in a crontab, such as "0 3 * * *"
    #[arg(long, value_name = "TIMES")]
    pub cron: Option<String>,
    /// Time zone, such as Europe/Berlin [default: this machine's]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    pub zone: Option<String>,
    /// Not by itself any more
    #[arg(long)]
    pub off: bool,
}
