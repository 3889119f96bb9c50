//! [`init`]: founds a grid with this machine as its first node.

use super::config::Config;
use super::data_dir::{DataDir, Membership};
use super::error::DaemonError;
use crate::group::files;
use crate::nucleus::authority;
use crate::standalone::state::now_ms;
use orbit_core::grid::{
    Anchor, Command, Fence, GridHeader, GridState, NodeRecord, Profile, Refusal, Role, Voting,
};
use orbit_core::ids::{GridId, NodeId};
use orbit_core::wire::bytes::Octets;
use orbit_mesh::key::NodeKey;
use orbit_mesh::pki::{Authority, SigningRequest};
use std::path::{Path, PathBuf};

/// What a grid is founded with.
#[derive(Clone, Debug, Default)]
pub struct InitOptions {
    /// Name of the node; the machine's host name unless given.
    pub name: Option<String>,
    /// Name of the grid; `home` unless given.
    pub grid_name: Option<String>,
    /// Directories the grid may reach here.
    pub allow: Vec<PathBuf>,
    /// Multiaddresses to listen on; port 4001 on all interfaces unless given.
    pub listen: Vec<String>,
    /// Do not look for other nodes by mDNS, nor be found by it.
    pub no_mdns: bool,
}

/// A grid that was founded.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Founded {
    /// Name of the grid.
    pub grid: String,
    /// Its id.
    pub grid_id: String,
    /// Name of the node.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its key, as a libp2p peer id.
    pub peer: String,
    /// Its jail.
    pub allowed_paths: Vec<String>,
    /// Multiaddresses it will listen on.
    pub listen: Vec<String>,
    /// Where its data lies.
    pub data_dir: PathBuf,
}

/// Epoch and term in which a grid is founded; its first Nucleus is elected in the next.
pub(super) const FIRST_FENCE: Fence = Fence { epoch: 1, term: 1 };

/// Founds a grid: a key, an authority, the first certificate and `star.toml`. What an interrupted call left behind is
/// used by the next one.
pub fn init(data_dir: &Path, options: &InitOptions) -> Result<Founded, DaemonError> {
    let home = DataDir::new(data_dir);
    home.refuse_if_member()?;
    let config =
        Config::for_new_node(options.name.as_deref(), &options.allow, &options.listen, !options.no_mdns)?;
    let grid_name = options.grid_name.clone().unwrap_or_else(|| "home".to_owned());
    if !orbit_core::endpoint::is_node_name(grid_name.as_bytes()) {
        return Err(DaemonError::BadName { name: grid_name });
    }
    home.create()?;
    let _lock = home.lock()?;
    let key = home.key_or_new()?;
    config.save(&home.star_toml())?;
    let membership = found(&home, &key, &config, &grid_name)?;
    home.save_membership(&membership)?;
    Ok(Founded {
        grid: membership.grid_name,
        grid_id: membership.grid.to_string(),
        name: config.name,
        id: membership.node.to_string(),
        peer: key.peer_id().to_string(),
        allowed_paths: config.allowed_paths.iter().map(|path| path.display().to_string()).collect(),
        listen: config.listen,
        data_dir: data_dir.to_owned(),
    })
}

fn found(home: &DataDir, key: &NodeKey, config: &Config, grid_name: &str) -> Result<Membership, DaemonError> {
    // An earlier attempt may have been cut off after this point: its key is in the data directory still.
    if let Some(state) = files::peek(home)?.filter(|state| state.node_by_key(key.key()).is_some()) {
        return membership_of(&state, key);
    }
    // Else they are records of a grid that this machine has left, or of none.
    if home.nucleus().exists() {
        std::fs::remove_dir_all(home.nucleus()).map_err(DaemonError::file("remove", home.nucleus()))?;
    }
    let grid = GridId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
    let node = NodeId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
    let now = now_ms();
    let authority = Authority::create(grid, now)?;
    let request = SigningRequest::parse(&SigningRequest::create(key)?)?;
    let grant = authority::grant(grid, node, Role::Nucleus, now, authority::LIFETIME_MS);
    let header =
        GridHeader { id: grid, name: grid_name.to_owned(), epoch: FIRST_FENCE.epoch, created_ms: now };
    let anchor = Anchor {
        der: authority.certificate().der().to_vec(),
        cross_signed: Vec::new(),
        created_ms: now,
        is_current: true,
    };
    let first = NodeRecord {
        id: node,
        name: config.name.clone(),
        key: key.key(),
        role: Role::Nucleus,
        joined_ms: now,
        is_draining: false,
        voting: Voting::Auto,
        certificate: authority::issue(&authority, &request, &grant)?,
        profile: Profile::default(),
    };
    let mut state = GridState::default();
    let mut records = state.decide(&Command::Found { header, anchor, node: first })?;
    let seal = files::new_seal_key(home)?;
    records.push(files::sealed_authority(&seal, authority.certificate().pin(), &authority.key_pem()));
    files::found(home, node, &records)?;
    for change in records {
        state.absorb(change);
    }
    membership_of(&state, key)
}

fn membership_of(state: &GridState, key: &NodeKey) -> Result<Membership, DaemonError> {
    let header = state.header().ok_or(Refusal::NotFounded)?;
    let node = state.node_by_key(key.key()).ok_or(Refusal::AlreadyFounded)?;
    Ok(Membership {
        grid: header.id,
        grid_name: header.name.clone(),
        node: node.id,
        certificate: node.certificate.der.clone(),
        anchors: state.anchors().iter().map(|anchor| Octets(anchor.der.clone())).collect(),
        revoked: Vec::new(),
        nuclei: Vec::new(),
        fence: FIRST_FENCE,
    })
}

/// Forgets here which grid this machine belongs to, without telling the grid: for a node that was removed, or whose grid
/// is gone. Its daemon must not run.
pub fn forget(data_dir: &Path) -> Result<(), DaemonError> {
    let home = DataDir::new(data_dir);
    match home.membership() {
        // Whatever it says, it is to be forgotten.
        Ok(_) | Err(DaemonError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let _lock = home.lock()?;
    if !home.nucleus().exists() {
        return home.forget();
    }
    // With the only copy of the records the whole grid would go. Records that cannot be read command nobody any more.
    let state = files::peek(&home).ok().flatten();
    let own = home.membership().map(|membership| membership.node).ok();
    let is_only_copy = state.is_some_and(|state| {
        state.nodes().count() > 1 && state.nodes().all(|node| Some(node.id) == own || !node.role.may_lead())
    });
    if is_only_copy {
        let name = Config::load(&home.star_toml())?.name;
        return Err(Refusal::IsNucleus { name }.into());
    }
    home.forget_grid()
}
