//! What goes on inside, on stderr: warnings always, more with `-v` and `-vv`, or as `ORBIT_LOG` says.

use super::screen::Screen;
use std::io;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::try_from_env("ORBIT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let writer = Arc::clone(screen);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(move || LogWriter(Arc::clone(&writer)))
        .finish();
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
