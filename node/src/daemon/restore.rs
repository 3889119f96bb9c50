//! [`restore`]: a grid begins anew from a backup, with this node as its only voter.
//!
//! ```text
//!   backup ─▶ restoring/nucleus: databases, + this node, + a new epoch ─▶ log seeded behind them, seal key
//!                    │ renamed when it is complete and durable
//!                    ▼
//!                nucleus/          (what was there: nucleus.before-restore-TIME)
//! ```
//!
//! What is cut off leaves the data directory as it was; the next attempt begins anew.

use super::backup::file::{Header, Reader, Secrets};
use super::config::Config;
use super::data_dir::{DataDir, Membership};
use super::seal::SealKey;
use super::{DaemonError, epoch};
use crate::group::files;
use crate::nucleus::{authority, pulse};
use crate::standalone::state::now_ms;
use orbit_consensus::seed;
use orbit_core::grid::{
    Change, Command, Fence, GridHeader, GridState, NodeRecord, Profile, Refusal, Role, Voting,
};
use orbit_core::ids::NodeId;
use orbit_mesh::key::NodeKey;
use orbit_mesh::pki::SigningRequest;
use orbit_store::{JobsBatch, LogPosition, Mark, NucleusStore};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Revocations that a member keeps.
const REVOKED_KEPT_MAX: usize = 50_000;

/// How this machine's node begins.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Put aside what the data directory holds of a grid.
    pub replaces: bool,
    /// Name of the node if it is new in the grid; the machine's host name unless given.
    pub name: Option<String>,
    /// Directories the grid may reach here.
    pub allow: Vec<PathBuf>,
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Do not look for other nodes by mDNS, nor be found by it.
    pub no_mdns: bool,
}

/// What opens the secrets of a backup.
pub enum Secret {
    /// The passphrase it was made with.
    Passphrase(Zeroizing<String>),
    /// A file with the grid's seal key; the one in the data directory unless given.
    SealKey(Option<PathBuf>),
}

/// A grid that was restored.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Restored {
    /// Name of the grid.
    pub grid: String,
    /// Its id.
    pub grid_id: String,
    /// Its new epoch.
    pub epoch: u32,
    /// When the backup was made, milliseconds since 1970.
    pub made_ms: i64,
    /// Name of this node.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Whether this node was a member of the grid already.
    pub was_member: bool,
    /// Names of the other members.
    pub others: Vec<String>,
    /// Join tokens that do not work any more.
    pub tokens_removed: u32,
    /// Where that lies which was put aside.
    pub aside: Option<PathBuf>,
    /// Where its data lies.
    pub data_dir: PathBuf,
}

/// What a backup says of itself. Nothing of it is proved yet.
pub fn header(file: &Path) -> Result<Header, DaemonError> {
    Ok(Reader::open(file)?.header().clone())
}

/// Restores a grid from a backup. Its daemon must not run.
pub fn restore(
    data_dir: &Path,
    file: &Path,
    secret: &Secret,
    options: &RestoreOptions,
) -> Result<Restored, DaemonError> {
    let home = DataDir::new(data_dir);
    if !options.replaces {
        home.refuse_if_member()?;
    }
    let config = config(&home, options)?;
    let reader = Reader::open(file)?;
    home.create()?;
    let _lock = home.lock()?;
    let seal = open_secrets(&home, file, reader.header(), secret)?;
    let scratch = home.scratch("restoring")?;
    let (store, header) = take_in(&scratch, reader)?;
    let mut state = store.load()?.state;
    let before = home.membership().ok().filter(|membership| membership.grid == header.grid);
    let key = home.key_or_new()?;
    let epoch_before = before.map_or(0, |membership| membership.fence.epoch).max(header.epoch);
    let (own, was_member, changes) = begin(&mut state, &key, &seal, &config.name, epoch_before)?;
    let position = header.manifest.mark.position.unwrap_or(LogPosition { term: 0, index: 0 });
    let position = LogPosition { term: position.term + 1, index: position.index + 1 };
    let tokens_removed = changes.iter().filter(|change| matches!(change, Change::TokenRemoved(_))).count();
    let membership = membership(&state, own)?;
    seed_files(&scratch, store, &changes, own, position, &seal, membership.fence.epoch)?;
    let aside = home.replace_nucleus(&scratch, "before-restore")?;
    let name = state.node(own).map_or_else(|| config.name.clone(), |record| record.name.clone());
    Config { name: name.clone(), ..config }.save(&home.star_toml())?;
    home.save_membership(&membership)?;
    let mut others: Vec<String> =
        state.nodes().filter(|record| record.id != own).map(|record| record.name.clone()).collect();
    others.sort();
    Ok(Restored {
        grid: membership.grid_name,
        grid_id: membership.grid.to_string(),
        epoch: membership.fence.epoch,
        made_ms: header.made_ms,
        name,
        id: own.to_string(),
        was_member,
        others,
        tokens_removed: u32::try_from(tokens_removed).unwrap_or(u32::MAX),
        aside,
        data_dir: data_dir.to_owned(),
    })
}

/// A node that has a `star.toml` keeps it, but for what is said anew.
fn config(home: &DataDir, options: &RestoreOptions) -> Result<Config, DaemonError> {
    let new =
        |name: Option<&str>| Config::for_new_node(name, &options.allow, &options.listen, !options.no_mdns);
    if !home.star_toml().exists() {
        return new(options.name.as_deref());
    }
    let kept = Config::load(&home.star_toml())?;
    let said = new(Some(options.name.as_deref().unwrap_or(&kept.name)))?;
    Ok(Config {
        name: said.name,
        allowed_paths: if options.allow.is_empty() { kept.allowed_paths } else { said.allowed_paths },
        listen: if options.listen.is_empty() { kept.listen } else { said.listen },
        mdns: kept.mdns && said.mdns,
        ..kept
    })
}

fn open_secrets(
    home: &DataDir,
    file: &Path,
    header: &Header,
    secret: &Secret,
) -> Result<SealKey, DaemonError> {
    match secret {
        Secret::Passphrase(passphrase) => Ok(header.open_with_passphrase(file, passphrase)?),
        Secret::SealKey(path) => {
            let own = || files::seal_key(home);
            let key = SealKey::load(&path.clone().unwrap_or_else(own))?;
            // Under a passphrase nothing proves it here; the authority's key does, below.
            if matches!(header.secrets, Secrets::Grid { .. }) {
                header.check_seal_key(file, &key)?;
            }
            Ok(key)
        }
    }
}

/// Reads all of the backup into databases of their own, and checks it while it does.
fn take_in(
    scratch: &DataDir,
    mut reader: Reader<BufReader<File>>,
) -> Result<(NucleusStore, Header), DaemonError> {
    let mut store = NucleusStore::seed(&scratch.nucleus(), &[], &[], &Mark::default())?;
    let mut incoming = store.receive(&reader.header().manifest)?;
    let mut number = 0;
    while let Some(part) = reader.next_part()? {
        incoming.put(number, &part)?;
        number += 1;
    }
    // The checksum of the whole, before anything is made of it.
    let header = reader.finish()?;
    store.install(&incoming.finish()?)?;
    Ok((store, header))
}

/// What makes this node the grid's Nucleus-to-be in a new epoch. The state takes it in.
fn begin(
    state: &mut GridState,
    key: &NodeKey,
    seal: &SealKey,
    wished: &str,
    epoch_before: u32,
) -> Result<(NodeId, bool, Vec<Change>), DaemonError> {
    let now = now_ms();
    let grid = state.header().ok_or(Refusal::NotFounded)?.id;
    let authority = authority::load_current(seal, state)?;
    let mut changes = Vec::new();
    let mut run = |state: &mut GridState, command: &Command| -> Result<(), DaemonError> {
        for change in state.decide(command)? {
            state.absorb(change.clone());
            changes.push(change);
        }
        Ok(())
    };
    run(state, &Command::BeginEpoch { epoch: epoch::after(epoch_before, now), now_ms: now })?;
    // Their secrets may have been used since the backup was made.
    for token in state.tokens().map(|token| token.id).collect::<Vec<_>>() {
        run(state, &Command::RemoveToken { token })?;
    }
    let known = state.node_by_key(key.key()).cloned();
    let own =
        known.as_ref().map_or_else(|| NodeId::from_bytes(*uuid::Uuid::new_v4().as_bytes()), |node| node.id);
    let role = known.as_ref().map_or(Role::Nucleus, |node| match node.role {
        Role::Star => Role::Nucleus,
        role => role,
    });
    let certificate = {
        let request = SigningRequest::parse(&SigningRequest::create(key)?)?;
        authority::issue(
            &authority,
            &request,
            &authority::grant(grid, own, role, now, authority::LIFETIME_MS),
        )?
    };
    let was_member = known.is_some();
    if let Some(node) = known {
        if node.role != role {
            run(state, &Command::SetRole { node: own, role })?;
        }
        if node.voting == Voting::Unwanted {
            run(state, &Command::SetVoting { node: own, voting: Voting::Auto })?;
        }
        if node.is_draining {
            run(state, &Command::Drain { node: own, is_draining: false })?;
        }
        run(state, &Command::Renew { node: own, certificate })?;
    } else {
        let record = NodeRecord {
            id: own,
            name: free_name(state, wished),
            key: key.key(),
            role,
            joined_ms: now,
            is_draining: false,
            voting: Voting::Auto,
            certificate,
            profile: Profile::default(),
        };
        state.absorb(Change::Node(record.clone()));
        changes.push(Change::Node(record));
    }
    Ok((own, was_member, changes))
}

/// The name, with a number if a member has it already.
fn free_name(state: &GridState, wished: &str) -> String {
    let is_free = |name: &String| state.find_node(name).is_err();
    let numbered = (2_u32..).map(|number| format!("{wished}-{number}"));
    std::iter::once(wished.to_owned()).chain(numbered).find(is_free).unwrap_or_else(|| wished.to_owned())
}

/// Keeps the changes in the databases, and begins a log behind them, with this node as its only voter.
fn seed_files(
    scratch: &DataDir,
    mut store: NucleusStore,
    changes: &[Change],
    own: NodeId,
    position: LogPosition,
    seal: &SealKey,
    epoch: u32,
) -> Result<(), DaemonError> {
    let mark = seed::sole_voter(own, position);
    store.commit_jobs(&JobsBatch { changes, requests: &[], forgotten: &[] }, &mark)?;
    store.commit_universe(&[], &mark)?;
    store.flush()?;
    drop(store);
    // The snapshot that came in the backup ends before the log begins: the group makes one of its own.
    for leftover in ["snapshots", "incoming"].map(|name| scratch.nucleus().join(name)) {
        std::fs::remove_dir_all(&leftover).map_err(DaemonError::file("remove", leftover))?;
    }
    files::begin_log(scratch, own, position)?;
    files::keep_epoch(scratch, epoch)?;
    seal.create(&files::seal_key(scratch))?;
    Ok(())
}

fn membership(state: &GridState, own: NodeId) -> Result<Membership, DaemonError> {
    let GridHeader { id, name, epoch, .. } = state.header().ok_or(Refusal::NotFounded)?.clone();
    let record = state.node(own).ok_or(Refusal::NotFounded)?;
    Ok(Membership {
        grid: id,
        grid_name: name,
        node: own,
        certificate: record.certificate.der.clone(),
        anchors: pulse::anchors(state),
        revoked: state.revoked_newest(REVOKED_KEPT_MAX),
        nuclei: Vec::new(),
        fence: Fence { epoch, term: 0 },
    })
}
