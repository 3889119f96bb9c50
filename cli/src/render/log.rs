//! What goes on inside, on stderr: warnings always, more with `-v` and `-vv`, or as `ORBIT_LOG` says.

use super::screen::Screen;
use std::io;
use std::sync::Arc;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

/// Starts to log.
pub fn start(screen: &Arc<Screen>) {
    // openraft and mDNS take for errors what is nothing to a person: a member that is not there, an interface that just
    // came up. What follows from it our own code says.
    let default = match (screen.quiet, screen.verbose) {
        (true, _) => "error,openraft=off,libp2p_mdns=off",
        (_, 0) => "warn,openraft=off,libp2p_mdns=off",
        (_, 1) => "info,openraft=off",
        _ => "debug",
    };
    let named = std::env::var("ORBIT_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = named.unwrap_or_else(|| default.parse().expect("the defaults are well formed"));
    let writer = Arc::clone(screen);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(move || LogWriter(Arc::clone(&writer)));
    let subscriber = tracing_subscriber::registry().with(lines).with(filter);
    // Fails only if something logs already, which is as good.
    drop(tracing::subscriber::set_global_default(subscriber));
}

/// Writes each event beside the progress display.
struct LogWriter(Arc<Screen>);

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.err(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
