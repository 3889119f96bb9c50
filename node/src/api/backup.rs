//! A backup as the answer to a request: the file, piece by piece.

use super::error::ApiFailure;
use super::server::HandledResponse;
use super::types::BackupRequest;
use crate::daemon::Node;
use crate::daemon::backup::{SealedUnder, take};
use crate::daemon::seal::SealKey;
use crate::group::Seat;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use data_encoding::HEXLOWER_PERMISSIVE;
use futures::stream;
use std::io;
use tokio::sync::mpsc::channel;
use zeroize::Zeroizing;

/// Pieces that were read and are not sent yet: one is sent while the next is read.
const PIECES_AHEAD: usize = 2;

/// Takes a backup of what this member of the group has applied, and sends it.
pub(super) async fn stream(node: &Node, seat: &Seat, wish: &BackupRequest) -> HandledResponse {
    let key = HEXLOWER_PERMISSIVE.decode(wish.key.as_bytes()).map(Zeroizing::new);
    let key = key.ok().and_then(|bytes| bytes.as_slice().try_into().ok()).map(SealKey::from_bytes);
    let key = key.ok_or_else(|| ApiFailure::usage("`key` has 64 hexadecimal digits"))?;
    let pieces = take(node, seat, SealedUnder::Passphrase(key, wish.stretch.clone())).await?;
    let (send, receive) = channel(PIECES_AHEAD);
    // Whoever does not listen any more ends it at the next piece.
    tokio::task::spawn_blocking(move || {
        for piece in pieces {
            let piece = piece.map(Bytes::from).map_err(io::Error::other);
            let is_last = piece.is_err();
            if send.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    let body = stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(body)).into_response())
}
