//! The API of a node: REST on a Unix socket in the data directory, and for other members over the mesh.
//!
//! ```text
//!   CLI ──▶ orbit.sock ──▶ router ─┬─ /v1/node…, /v1/leave: this node itself
//!                                  └─ all else ─┬─ this node is the Nucleus: answered
//!                                               ├─ else: passed on to the Nucleus as it came
//!                                               └─ no Nucleus: questions from this node's own records, marked
//!   other members ──▶ /orbit/api/1 streams ──▶ the Nucleus's router
//! ```
//!
//! | method and path | body → answer |
//! |---|---|
//! | `GET /v1/node` | → [`ThisNode`](types::ThisNode) |
//! | `GET /v1/node/recovery` | → [`RecoveryView`](types::RecoveryView) |
//! | `POST /v1/node/recover` | [`RecoverRequest`](types::RecoverRequest) → [`Recovered`](crate::daemon::recover::Recovered) |
//! | `POST /v1/backup`, `POST /v1/node/backup` | [`BackupRequest`](types::BackupRequest) → [the file](crate::daemon::backup::file) |
//! | `POST /v1/leave` | → nothing; this node leaves the grid and its daemon ends |
//! | `GET /v1/status` | → [`StatusView`](types::StatusView) |
//! | `GET /v1/group` | → [`GroupView`](types::GroupView) |
//! | `GET /v1/nodes`, `GET /v1/nodes/{node}` | → [`NodeView`](types::NodeView) |
//! | `PATCH /v1/nodes/{node}` | [`NodePatch`](types::NodePatch) → [`NodeChanged`](types::NodeChanged) |
//! | `DELETE /v1/nodes/{node}` | → nothing |
//! | `POST /v1/nodes/{node}/reach` | → [`ReachView`](types::ReachView) |
//! | `GET /v1/nodes/{node}/system` | upgrade to `orbit-system/1`: [`orbit_core::wire::system`] |
//! | `GET`, `POST /v1/tokens`, `DELETE /v1/tokens/{id}` | [`TokenRequest`](types::TokenRequest) → [`TokenCreated`](types::TokenCreated), [`TokenView`](types::TokenView) |
//! | `GET`, `POST /v1/constellations`, `DELETE /v1/constellations/{name}` | [`ConstellationView`](types::ConstellationView) |
//! | `POST`, `DELETE /v1/constellations/{name}/nodes` | [`NodeList`](types::NodeList) → [`ConstellationView`](types::ConstellationView) |
//! | `GET`, `POST /v1/jobs` | [`JobRequest`](job_types::JobRequest) → [`JobView`](job_types::JobView) |
//! | `GET /v1/jobs/{job}?after=…&wait_ms=…` | → [`JobView`](job_types::JobView), when it is another than of version `after` |
//! | `DELETE /v1/jobs/{job}` | → nothing |
//! | `POST /v1/jobs/{job}/approve`, `…/resume`, `…/cancel`, `…/retry` | → [`JobView`](job_types::JobView) |
//! | `POST /v1/jobs/{job}/pause`, `…/limit`, `…/schedule` | [`JobPause`](job_types::JobPause), [`JobLimit`](job_types::JobLimit), [`JobTimes`](job_types::JobTimes) → [`JobView`](job_types::JobView) |
//! | `GET`, `POST /v1/authorities` | → [`AuthorityView`](types::AuthorityView) |
//!
//! A change may carry an id ([`REQUEST_HEADER`](request::REQUEST_HEADER)): the same id again is answered as the first time and
//! does nothing more, at whichever Nucleus. While there is none, requests wait for a few seconds. An answer that no Nucleus
//! confirms says of when it is ([`AS_OF_HEADER`](records::AS_OF_HEADER)).
//!
//! A node is named by its name or id, a job by how its id begins. What fails is answered with an [`ApiError`](types::ApiError).

mod backup;
pub mod client;
pub mod error;
pub(crate) mod forward;
pub mod job_types;
mod jobs;
pub(crate) mod last_known;
pub(crate) mod local;
pub(crate) mod nucleus;
pub mod records;
pub mod request;
pub(crate) mod server;
mod status;
pub mod types;
mod voting;
