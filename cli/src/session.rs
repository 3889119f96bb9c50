//! [`Session`]: one run of the program: what the global options say, and what every command needs.

use crate::args::{Arguments, ColorWhen, GlobalArgs};
use crate::commands;
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::render::events::{Changes, Teller};
use crate::render::progress::Display;
use crate::render::screen::Screen;
use crate::render::{self, log};
use orbit_core::endpoint::Endpoint;
use orbit_node::api::client::{ApiClient, ClientError, Dated, segment};
use orbit_node::api::types::{NodeView, ThisNode};
use orbit_node::standalone::{Context, progress::Progress, state};
use orbit_node::standalone::{Place, StarPlace};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One run of the program.
pub struct Session {
    global: GlobalArgs,
    /// Both output streams.
    pub screen: Arc<Screen>,
}

/// Runs the command, tells how it went, and gives the exit code.
pub fn run(arguments: Arguments) -> Exit {
    let screen = Arc::new(Screen::new(&arguments.global));
    log::start(&screen);
    let session = Session { global: arguments.global, screen };
    let ended = commands::run(&session, arguments.command);
    let flushed = ended.and_then(|exit| {
        session.screen.flush().map_err(CliError::Output)?;
        Ok(exit)
    });
    flushed.unwrap_or_else(|error| render::error::report(&session.screen, &error))
}

impl Session {
    /// The global options, as they are written on a command line, with a data directory that is named.
    pub fn global_arguments(&self, data_dir: &Path) -> Vec<OsString> {
        let mut written: Vec<OsString> = vec!["--data-dir".into(), data_dir.into()];
        let color = match self.global.color {
            ColorWhen::Auto => "auto",
            ColorWhen::Always => "always",
            ColorWhen::Never => "never",
        };
        written.extend(["--color".into(), color.into()]);
        written.extend(std::iter::repeat_n("-v".into(), self.global.verbose.into()));
        written.extend(self.global.quiet.then(|| "-q".into()));
        written.extend(self.global.json.then(|| "--json".into()));
        written
    }

    /// Orbit's state directory.
    pub fn data_dir(&self) -> Result<PathBuf, CliError> {
        // An empty variable is an unset one, as everywhere.
        let named = self.global.data_dir.clone().filter(|directory| !directory.as_os_str().is_empty());
        named.or_else(state::default_directory).ok_or(CliError::NoDataDir)
    }

    /// What a run is given. From here on the first Ctrl-C asks it to stop.
    pub fn context(&self, changes: Changes) -> Result<Context, CliError> {
        Ok(Context {
            state_dir: self.data_dir()?,
            observer: Arc::new(Teller::new(Arc::clone(&self.screen), changes)),
            progress: Arc::new(Progress::default()),
            stop: interrupt::stop_flag(),
        })
    }

    /// Whoever answers for the grid: this machine's daemon.
    pub fn client(&self) -> anyhow::Result<ApiClient> {
        Ok(ApiClient::connect(&self.data_dir()?)?)
    }

    /// Tells how old an answer is that no Nucleus confirms, and ends the command accordingly.
    pub fn tell_age<T>(&self, answer: &Dated<T>) -> anyhow::Result<Exit> {
        let Some(as_of_ms) = answer.as_of_ms else { return Ok(Exit::Done) };
        self.screen.flush().map_err(CliError::Output)?;
        render::status::stale(&self.screen, as_of_ms);
        Ok(Exit::Unreachable)
    }

    /// Endpoints with the ways to them. Those of this machine need no daemon.
    pub fn places(&self, endpoints: Vec<Endpoint>, stop: &Arc<AtomicBool>) -> anyhow::Result<Vec<Place>> {
        let mut grid: Option<(ApiClient, ThisNode)> = None;
        let mut places = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let (node, path) = match endpoint {
                Endpoint::Local(path) => {
                    places.push(Place::Here(path));
                    continue;
                }
                Endpoint::Remote { node, path } => (node, path),
            };
            let (client, this) = match &mut grid {
                Some(known) => known,
                unknown @ None => {
                    let client = self.client()?;
                    let this = client.get("/v1/node")?;
                    unknown.insert((client, this))
                }
            };
            places.push(Place::Star(star_place(client, this, node, path, stop)?));
        }
        Ok(places)
    }

    /// One endpoint with the way to it.
    pub fn place(&self, endpoint: Endpoint, stop: &Arc<AtomicBool>) -> anyhow::Result<Place> {
        let mut places = self.places(vec![endpoint], stop)?;
        Ok(places.pop().expect("an endpoint makes a place"))
    }

    /// Shows the run's progress until the display is dropped.
    pub fn display(&self, context: &Context, wanted: bool) -> Display {
        Display::start(&self.screen, Arc::clone(&context.progress), wanted)
    }
}

/// Asks for the node first: one that does not exist is told with what it may have been meant to be.
fn star_place(
    client: &ApiClient,
    this: &ThisNode,
    node: String,
    path: Vec<u8>,
    stop: &Arc<AtomicBool>,
) -> Result<StarPlace, ClientError> {
    let view: NodeView = client.get(&format!("/v1/nodes/{}", segment(&node)))?;
    let link = client.star_link_until(&view.id, Arc::clone(stop));
    let machine = (view.id != this.id).then_some(view.id);
    Ok(StarPlace { node, machine, path, link })
}
