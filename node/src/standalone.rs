//! Standalone runs: no daemon, no port, no configuration.

pub mod observer;
pub mod progress;
pub mod request;
