//! The handshake: `Noise_NNpsk0`, one message each way.

use super::seal::{Opener, Sealer};
use super::{TAG_BYTES, Terms};
use crate::cipher::Cipher;
use orbit_core::ids::LinkId;
use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

/// What a connection begins with.
pub(super) const MAGIC: [u8; 8] = *b"orbitdl1";
/// Bytes of an ephemeral key.
const SHARE_BYTES: usize = 32;
/// Bytes of each Noise message: a key, and the tag of an empty payload.
const NOISE_BYTES: usize = SHARE_BYTES + TAG_BYTES;
/// What the dialler sends.
pub(super) const CALL_BYTES: usize = MAGIC.len() + LinkId::LEN + NOISE_BYTES;
/// What the listener answers.
pub(super) const ANSWER_BYTES: usize = NOISE_BYTES;

/// It does not prove that the other side has the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not know the secret of this link")]
pub(super) struct Unproven;

/// The keys of both directions.
pub(super) struct Keys {
    pub sealer: Sealer,
    pub opener: Opener,
}

/// The dialler's side, waiting for the answer.
pub(super) struct Calling {
    state: HandshakeState,
    cipher: Cipher,
}

impl Calling {
    /// Begins: gives what is to be sent.
    pub fn begin(terms: &Terms) -> (Self, [u8; CALL_BYTES]) {
        let mut state = builder(terms).build_initiator().expect("the pattern and its key are right");
        let mut call = [0; CALL_BYTES];
        call[..MAGIC.len()].copy_from_slice(&MAGIC);
        call[MAGIC.len()..][..LinkId::LEN].copy_from_slice(terms.link.as_bytes());
        let len = state.write_message(&[], &mut call[MAGIC.len() + LinkId::LEN..]);
        assert_eq!(len.ok(), Some(NOISE_BYTES), "the first message of NNpsk0 is a key and a tag");
        (Self { state, cipher: terms.cipher }, call)
    }

    /// Takes the answer.
    pub fn finish(mut self, answer: &[u8; ANSWER_BYTES]) -> Result<Keys, Unproven> {
        self.state.read_message(answer, &mut []).map_err(|_| Unproven)?;
        let (mine, theirs) = split(&mut self.state);
        Ok(Keys { sealer: Sealer::new(self.cipher, &mine), opener: Opener::new(self.cipher, &theirs) })
    }
}

/// Which link a call is for; none if it is no call.
pub(super) fn link_of(call: &[u8; CALL_BYTES]) -> Option<LinkId> {
    let (id, _) = call.strip_prefix(&MAGIC)?.split_first_chunk()?;
    Some(LinkId::from_bytes(*id))
}

/// The listener's side: judges a call, and gives the keys and what is to be answered.
pub(super) fn answer(terms: &Terms, call: &[u8; CALL_BYTES]) -> Result<(Keys, [u8; ANSWER_BYTES]), Unproven> {
    let mut state = builder(terms).build_responder().expect("the pattern and its key are right");
    state.read_message(&call[MAGIC.len() + LinkId::LEN..], &mut []).map_err(|_| Unproven)?;
    let mut answer = [0; ANSWER_BYTES];
    let len = state.write_message(&[], &mut answer);
    assert_eq!(len.ok(), Some(NOISE_BYTES), "the second message of NNpsk0 is a key and a tag");
    let (theirs, mine) = split(&mut state);
    Ok((
        Keys { sealer: Sealer::new(terms.cipher, &mine), opener: Opener::new(terms.cipher, &theirs) },
        answer,
    ))
}

/// The keys: of what the dialler says, and of what the listener says.
fn split(state: &mut HandshakeState) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let (from_dialler, from_listener) = state.dangerously_get_raw_split();
    (Zeroizing::new(from_dialler), Zeroizing::new(from_listener))
}

/// What both sides begin with: the link's id is part of what is proved.
pub(super) fn builder(terms: &Terms) -> Builder<'_> {
    let pattern = match terms.cipher {
        Cipher::AesGcm => "Noise_NNpsk0_25519_AESGCM_SHA256",
        Cipher::ChaChaPoly => "Noise_NNpsk0_25519_ChaChaPoly_SHA256",
    };
    let params = pattern.parse().expect("these are patterns that snow knows");
    let builder = Builder::new(params).psk(0, &terms.secret).expect("it is set once");
    builder.prologue(terms.link.as_bytes()).expect("it is set once")
}
