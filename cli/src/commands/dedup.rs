//! `orbit dedup`.

use crate::args::DedupArgs;
use crate::exit::Exit;
use crate::session::Session;

pub(super) fn run(_: &Session, _: DedupArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("pending")
}
