//! `orbit backup`.

use super::passphrase;
use crate::args::rescue::BackupArgs;
use crate::exit::{CliError, Exit};
use crate::render::json::hex;
use crate::render::rescue;
use crate::session::Session;
use orbit_node::api::client::{ApiClient, ClientError};
use orbit_node::api::types::BackupRequest;
use orbit_node::daemon::DaemonError;
use orbit_node::daemon::backup::file::{BackupError, Header, Reader, Staged};
use orbit_node::daemon::seal::{SealKey, Stretch};
use std::io::{self, PipeWriter, Write};
use std::path::Path;

/// Whose backup is asked for.
const OF_THE_NUCLEUS: &str = "/v1/backup";
const OF_THIS_NODE: &str = "/v1/node/backup";

pub(super) fn run(session: &Session, arguments: &BackupArgs) -> anyhow::Result<Exit> {
    let file = arguments.file.as_path();
    if arguments.verify {
        let reader = Reader::open(file).map_err(DaemonError::from)?;
        let header = reader.finish().map_err(DaemonError::from)?;
        rescue::verified(&session.screen, &header.view(), file).map_err(CliError::Output)?;
        return Ok(Exit::Done);
    }
    let client = session.client()?;
    let passphrase = passphrase::new(session, &arguments.passphrase)?;
    let stretch = Stretch::new();
    let key = SealKey::from_passphrase(&passphrase, &stretch).map_err(DaemonError::from)?;
    let request = BackupRequest { key: hex(key.as_bytes()), stretch };
    let path = if arguments.local { OF_THIS_NODE } else { OF_THE_NUCLEUS };
    let header = if file == Path::new("-") {
        to_stdout(session, &client, path, &request)?
    } else {
        to_file(&client, path, &request, file)?
    };
    rescue::made(&session.screen, &header.view(), file).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

/// A file under its final name only when it is whole.
fn to_file(client: &ApiClient, path: &str, request: &BackupRequest, file: &Path) -> anyhow::Result<Header> {
    let mut staged = Staged::create(file).map_err(DaemonError::from)?;
    let taken = client.download(path, request, &mut |piece| staged.write_all(piece));
    taken.map_err(|error| match error {
        ClientError::Sink(source) => {
            anyhow::Error::from(DaemonError::from(BackupError::Write { path: file.to_owned(), source }))
        }
        error => error.into(),
    })?;
    Ok(staged.keep().map_err(DaemonError::from)?)
}

/// What goes to a pipe cannot be read back, so it is checked on the way.
fn to_stdout(
    session: &Session,
    client: &ApiClient,
    path: &str,
    request: &BackupRequest,
) -> anyhow::Result<Header> {
    let (from, into) = io::pipe().map_err(CliError::Output)?;
    let checking = std::thread::spawn(move || Reader::new(Path::new("-"), from)?.finish());
    let mut into: Option<PipeWriter> = Some(into);
    let taken = client.download(path, request, &mut |piece| {
        session.screen.out(|out| out.write_all(piece))?;
        // Once it has found a fault it listens no more, and tells it at the end.
        if into.as_mut().is_some_and(|checked| checked.write_all(piece).is_err()) {
            into = None;
        }
        Ok(())
    });
    drop(into);
    let checked = checking.join().expect("checking a backup does not panic");
    taken.map_err(|error| match error {
        ClientError::Sink(source) => anyhow::Error::from(CliError::Output(source)),
        error => error.into(),
    })?;
    session.screen.flush().map_err(CliError::Output)?;
    Ok(checked.map_err(DaemonError::from)?)
}
