//! How much a grid's state may hold, and the checks that keep it so.

use super::GridState;
use crate::endpoint::NODE_NAME_LEN_MAX;
use crate::grid::content::Content;
use crate::grid::job::{
    Ending, FAULTS_KEPT_MAX, JobFault, JobOptions, JobPath, JobReport, JobSchedule, JobStep, StepKind,
    TEXT_LEN_MAX,
};
use crate::grid::record::{Anchor, CertificateRecord, GridHeader, Metered, Profile, Role, TokenRecord};
use crate::grid::refusal::Refusal;
use crate::ids::NodeId;

/// Members.
pub const NODES_MAX: usize = 20_000;
/// Tokens that have not expired.
pub const TOKENS_MAX: usize = 1_000;
/// Tokens with the expired ones, which are kept for a day so that their bearer reads why they fail.
pub const TOKENS_KEPT_MAX: usize = 4_000;
/// Nodes one token may admit. Each takes 34 bytes of the token's record.
pub const TOKEN_USES_MAX: u32 = 10_000;
/// Longest a token may live, milliseconds: a year.
pub const TOKEN_LIFETIME_MAX_MS: i64 = 366 * DAY_MS;
/// Constellations.
pub const CONSTELLATIONS_MAX: usize = 1_000;
/// Bytes of a grid's name.
pub const GRID_NAME_LEN_MAX: usize = 63;
/// Trusted authorities: an introduction carries two certificates of each, eight at most.
pub const ANCHORS_MAX: usize = 4;
/// Bytes of a certificate.
pub const CERTIFICATE_LEN_MAX: usize = 8 << 10;
/// Valid certificates of one member beside its newest: a member renews every few weeks, so more is a loop.
pub const SUPERSEDED_MAX: usize = 16;
/// Allowed paths of one node.
pub const ALLOWED_PATHS_MAX: usize = 64;
/// Bytes of one of them.
pub const PATH_LEN_MAX: usize = 4096;
/// Addresses of one node.
pub const ADDRESSES_MAX: usize = 16;
/// Bytes of one of them.
pub const ADDRESS_LEN_MAX: usize = 256;
/// Bytes of a version or a platform.
pub const WORD_LEN_MAX: usize = 128;

/// Private keys of authorities: the current one's, the next one's, and what an interrupted change has left.
pub const AUTHORITY_KEYS_MAX: usize = 8;
/// Bytes of a sealed private key: those of PKCS #8 documents of Ed25519 keys are below 100.
pub const SEALED_LEN_MAX: usize = 1024;
/// Contents that one command records: packed they take 440 kB.
pub const CONTENTS_MAX: usize = 10_000;
/// Counters that one command keeps.
pub const METERED_MAX: usize = 1_000;

/// Jobs that have not ended.
pub const JOBS_MAX: usize = 1_000;
/// Bytes of a job's options: patterns are the most of them.
pub const JOB_OPTIONS_LEN_MAX: usize = 64 << 10;

/// A day, milliseconds.
pub(super) const DAY_MS: i64 = 86_400_000;

/// Whether what ended at `until_ms` is over for everybody: clocks of members may be behind, and one that is would take
/// a certificate for valid whose revocation it has been told to forget.
pub(super) const fn is_over(until_ms: i64, now_ms: i64) -> bool {
    until_ms.saturating_add(DAY_MS) <= now_ms
}

pub(super) fn out_of_range(what: &str, allowed: impl Into<String>) -> Refusal {
    Refusal::OutOfRange { what: what.to_owned(), allowed: allowed.into() }
}

fn at_most(what: &str, have: usize, max: usize, unit: &str) -> Result<(), Refusal> {
    if have <= max { Ok(()) } else { Err(out_of_range(what, format!("at most {max} {unit}"))) }
}

/// A text that is short and cannot drive a terminal.
fn word(what: &str, text: &str, len_max: usize) -> Result<(), Refusal> {
    at_most(what, text.len(), len_max, "bytes")?;
    if text.chars().any(char::is_control) {
        return Err(out_of_range(what, "no control characters"));
    }
    Ok(())
}

pub(super) fn header(header: &GridHeader) -> Result<(), Refusal> {
    if header.name.is_empty() {
        return Err(out_of_range("the grid's name", format!("1 to {GRID_NAME_LEN_MAX} bytes")));
    }
    word("the grid's name", &header.name, GRID_NAME_LEN_MAX)
}

pub(super) fn profile(profile: &Profile) -> Result<(), Refusal> {
    word("the node's version", &profile.version, WORD_LEN_MAX)?;
    word("the node's platform", &profile.platform, WORD_LEN_MAX)?;
    at_most("the number of allowed paths", profile.allowed_paths.len(), ALLOWED_PATHS_MAX, "of them")?;
    for path in &profile.allowed_paths {
        at_most("an allowed path", path.len(), PATH_LEN_MAX, "bytes")?;
    }
    at_most("the number of addresses", profile.addresses.len(), ADDRESSES_MAX, "of them")?;
    for address in &profile.addresses {
        word("an address", address, ADDRESS_LEN_MAX)?;
    }
    Ok(())
}

pub(super) fn certificate(certificate: &CertificateRecord) -> Result<(), Refusal> {
    at_most("the certificate", certificate.der.len(), CERTIFICATE_LEN_MAX, "bytes")?;
    if certificate.not_before_ms >= certificate.not_after_ms {
        return Err(out_of_range("the certificate's time", "an end after its beginning"));
    }
    Ok(())
}

pub(super) fn anchor(anchor: &Anchor) -> Result<(), Refusal> {
    at_most("the authority's certificate", anchor.der.len(), CERTIFICATE_LEN_MAX, "bytes")?;
    at_most("the authority's certificate", anchor.cross_signed.len(), CERTIFICATE_LEN_MAX, "bytes")
}

pub(super) fn token(token: &TokenRecord) -> Result<(), Refusal> {
    if !(1..=TOKEN_USES_MAX).contains(&token.uses) || !token.used_by.is_empty() {
        return Err(out_of_range("the number of uses", format!("1 to {TOKEN_USES_MAX}")));
    }
    let lifetime_ms = token.expires_ms.saturating_sub(token.created_ms);
    if !(1..=TOKEN_LIFETIME_MAX_MS).contains(&lifetime_ms) {
        return Err(out_of_range("the token's time", "up to a year"));
    }
    // A Nucleus is made by promotion, which a member decides, not by a token that anybody may carry.
    if token.role == Role::Nucleus {
        return Err(out_of_range("the token's role", "star or witness"));
    }
    Ok(())
}

pub(super) fn sealed(sealed: &[u8]) -> Result<(), Refusal> {
    if sealed.is_empty() {
        return Err(out_of_range("the sealed key", format!("1 to {SEALED_LEN_MAX} bytes")));
    }
    at_most("the sealed key", sealed.len(), SEALED_LEN_MAX, "bytes")
}

pub(super) fn contents(contents: &[Content]) -> Result<(), Refusal> {
    at_most("the number of contents", contents.len(), CONTENTS_MAX, "of them")
}

pub(super) fn metered(rows: &[Metered]) -> Result<(), Refusal> {
    at_most("the number of counters", rows.len(), METERED_MAX, "of them")
}

pub(super) fn named_nodes(nodes: &[NodeId]) -> Result<(), Refusal> {
    at_most("the number of nodes", nodes.len(), NODES_MAX, "of them")
}

pub(super) fn retired(anchors: &[Anchor]) -> Result<(), Refusal> {
    at_most("the number of authorities to give up", anchors.len(), ANCHORS_MAX, "of them")
}

pub(super) fn room_for_authority_key(state: &GridState) -> Result<(), Refusal> {
    at_most("the number of authorities' keys", state.authority_keys.len() + 1, AUTHORITY_KEYS_MAX, "of them")
}

pub(super) fn room_for_node(state: &GridState) -> Result<(), Refusal> {
    at_most("the number of nodes", state.nodes.len() + 1, NODES_MAX, "of them")
}

pub(super) fn room_for_token(state: &GridState, now_ms: i64) -> Result<(), Refusal> {
    let unexpired = state.tokens.values().filter(|token| token.expires_ms > now_ms).count();
    let allowed = "of them; `orbit token rm ID` removes one";
    at_most("the number of tokens", unexpired + 1, TOKENS_MAX, allowed)?;
    at_most("the number of tokens", state.tokens.len() + 1, TOKENS_KEPT_MAX, allowed)
}

pub(super) fn room_for_constellation(state: &GridState) -> Result<(), Refusal> {
    at_most("the number of constellations", state.constellations.len() + 1, CONSTELLATIONS_MAX, "of them")
}

pub(super) fn room_for_anchor(state: &GridState) -> Result<(), Refusal> {
    let allowed = "of them; an old one goes when no member needs it any more";
    at_most("the number of authorities", state.anchors.len() + 1, ANCHORS_MAX, allowed)
}

pub(super) fn room_for_job(state: &GridState) -> Result<(), Refusal> {
    let allowed = "of them that have not ended; `orbit job cancel J` ends one";
    let open = state.jobs.values().filter(|record| !record.state.is_ended()).count();
    at_most("the number of jobs", open + 1, JOBS_MAX, allowed)
}

pub(super) fn job_options(options: &JobOptions) -> Result<(), Refusal> {
    at_most("the job's options with all patterns", options.weight(), JOB_OPTIONS_LEN_MAX, "bytes")?;
    if options.max_delete_percent > 100 {
        return Err(out_of_range("the delete limit", "0 to 100 per cent"));
    }
    Ok(())
}

pub(super) fn job_path(path: &JobPath) -> Result<(), Refusal> {
    at_most("the path", path.as_bytes().len(), PATH_LEN_MAX, "bytes")?;
    if path.is_plain() {
        return Ok(());
    }
    Err(out_of_range("the path", "an absolute one without `.` and `..`"))
}

pub(super) fn job_name(name: &str) -> Result<(), Refusal> {
    word("the node's name", name, NODE_NAME_LEN_MAX)
}

pub(super) fn job_schedule(schedule: Option<&JobSchedule>) -> Result<(), Refusal> {
    let Some(schedule) = schedule else { return Ok(()) };
    word("the schedule", &schedule.cron, ADDRESS_LEN_MAX)?;
    word("the time zone", &schedule.zone, WORD_LEN_MAX)
}

/// What a star says is kept by everybody, so it is bounded here again.
pub(super) fn job_report(report: &JobReport) -> Result<(), Refusal> {
    match report {
        JobReport::Planned { route, steps, .. } => {
            at_most("the job's route", route.as_ref().map_or(0, String::len), TEXT_LEN_MAX, "bytes")?;
            job_steps(steps)
        }
        JobReport::Going => Ok(()),
        JobReport::Waiting(trouble) => at_most("the reason", trouble.message.len(), TEXT_LEN_MAX, "bytes"),
        JobReport::Ended { ending, steps, faults, .. } => {
            if let Ending::Failed(failure) = ending {
                at_most("the reason", failure.message.len(), TEXT_LEN_MAX, "bytes")?;
                at_most("the hint", failure.hint.as_ref().map_or(0, String::len), TEXT_LEN_MAX, "bytes")?;
            }
            job_steps(steps)?;
            at_most("the number of faults", faults.len(), FAULTS_KEPT_MAX, "of them")?;
            faults.iter().try_for_each(job_fault)
        }
    }
}

fn job_steps(steps: &[JobStep]) -> Result<(), Refusal> {
    at_most("the number of steps", steps.len(), StepKind::ALL.len(), "of them")
}

fn job_fault(fault: &JobFault) -> Result<(), Refusal> {
    at_most("a fault's path", fault.path.as_bytes().len(), TEXT_LEN_MAX, "bytes")?;
    at_most("a fault's text", fault.message.len(), TEXT_LEN_MAX, "bytes")
}
