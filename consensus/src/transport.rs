//! [`Transport`]: the port by which members of the group reach each other. The daemon implements it over its mesh,
//! simulations over a network of their own.

use futures::future::BoxFuture;
use orbit_core::ids::NodeId;

/// Largest message either way, bytes.
pub const MESSAGE_MAX: usize = 4 << 20;

/// The other did not answer: it is not connected, or the connection broke. Whether it acted is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{node} cannot be reached: {reason}")]
pub struct Unreachable {
    /// Who.
    pub node: NodeId,
    /// Why, for people.
    pub reason: String,
}

/// Sends one message and waits for its answer. Answers may come in another order than questions. A message may be lost,
/// late or delivered twice; it is never altered, and never delivered to another node than `to` or from another than its
/// sender.
pub trait Transport: Send + Sync + 'static {
    /// Asks `to`. Must fail soon when it is known that nobody is there, and may wait as long as the caller does otherwise.
    /// Cancel-safe: dropping the future gives up the answer.
    fn call(&self, to: NodeId, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Unreachable>>;
}
