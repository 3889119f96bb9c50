//! A link served by the star's sessions, which are asynchronous: bytes are handed over by two threads.

use crate::star::StarService;
use orbit_core::wire::codec::{FRAME_HEAD_LEN, encode_frame, frame_len};
use orbit_core::wire::decode;
use orbit_core::wire::system::Opening;
use orbit_mesh::direct::DirectStream;
use std::io::{self, Read, Write};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio_util::io::SyncIoBridge;

/// Largest opening, bytes.
const OPENING_BYTES_MAX: usize = 64 << 10;
/// Bytes between the threads and the session.
const PIPE_BYTES: usize = 256 << 10;

/// Serves one session to its end. It may open `root` alone. Blocks.
pub(super) fn serve(
    star: &StarService,
    stream: DirectStream,
    root: &[u8],
    runtime: &Handle,
) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let mut head = [0; FRAME_HEAD_LEN];
    reader.read_exact(&mut head)?;
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut bytes = vec![0; frame_len(head, OPENING_BYTES_MAX).map_err(invalid)?];
    reader.read_exact(&mut bytes)?;
    let mut opening: Opening = decode(&bytes).map_err(invalid)?;
    if opening.path != root || opening.browse {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // The ticket stands for the Nucleus.
    opening.fence = star.fence();
    let _runtime = runtime.enter();
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let (mut from_star, to_star) = tokio::io::split(near);
    let session = runtime.spawn({
        let star = star.clone();
        async move { star.serve(far).await }
    });
    let mut to_star = SyncIoBridge::new_with_handle(to_star, runtime.clone());
    let asking = std::thread::spawn(move || {
        to_star.write_all(&encode_frame(&opening))?;
        io::copy(&mut reader, &mut to_star)?;
        to_star.shutdown()
    });
    let mut buffer = vec![0; PIPE_BYTES];
    let ended = loop {
        match runtime.block_on(from_star.read(&mut buffer)) {
            Ok(0) => break writer.finish(),
            Ok(read) => {
                if let Err(error) = writer.write_all(&buffer[..read]).and_then(|()| writer.flush()) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    session.abort();
    drop(asking);
    ended
}
