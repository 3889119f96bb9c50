//! `orbit restore`.

use super::{node, passphrase};
use crate::args::rescue::RestoreArgs;
use crate::exit::{CliError, Exit};
use crate::render::rescue;
use crate::session::Session;
use orbit_node::daemon::backup::file::Secrets;
use orbit_node::daemon::restore::{RestoreOptions, Secret, header, restore};

pub(super) fn run(session: &Session, arguments: RestoreArgs) -> anyhow::Result<Exit> {
    let data_dir = node::data_dir(session)?;
    let said = header(&arguments.file)?;
    let secret = match said.secrets {
        Secrets::Passphrase { .. } if arguments.seal_key.is_none() => {
            Secret::Passphrase(passphrase::known(session, &arguments.passphrase)?)
        }
        _ => Secret::SealKey(arguments.seal_key),
    };
    let options = RestoreOptions {
        replaces: arguments.replace,
        name: arguments.own.name,
        allow: arguments.allow,
        listen: arguments.own.listen,
        no_mdns: arguments.own.no_mdns,
    };
    let restored = restore(&data_dir, &arguments.file, &secret, &options)?;
    rescue::restored(&session.screen, &restored, arguments.own.run).map_err(CliError::Output)?;
    if arguments.own.run { node::run_own(session) } else { Ok(Exit::Done) }
}
