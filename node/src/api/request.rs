//! [`RequestKey`]: the id that whoever asks gave a request, so that asking again does nothing a second time.

use super::error::ApiFailure;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use orbit_core::ids::RequestId;
use orbit_mesh::key::sha256;

/// The header that carries a request's id: a UUID, drawn by whoever asks first.
pub const REQUEST_HEADER: &str = "orbit-request";

/// The id of a request, if it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestKey(pub(crate) Option<RequestId>);

impl RequestKey {
    /// The id of one of the commands that a request consists of, counted from 0.
    pub(crate) fn step(self, number: u8) -> Option<RequestId> {
        let id = self.0?;
        if number == 0 {
            return Some(id);
        }
        let digest = sha256(&[id.as_bytes().as_slice(), &[number]].concat());
        digest.first_chunk().copied().map(RequestId::from_bytes)
    }
}

impl<S: Sync> FromRequestParts<S> for RequestKey {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiFailure> {
        let Some(written) = parts.headers.get(REQUEST_HEADER) else { return Ok(Self(None)) };
        let id = written.to_str().ok().and_then(|text| text.parse().ok());
        id.map(|id| Self(Some(id))).ok_or_else(|| ApiFailure::usage(format!("`{REQUEST_HEADER}` is a UUID")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_a_request_differ_and_come_back() {
        let key = RequestKey(Some(RequestId::from_bytes([7; 16])));
        assert_eq!(key.step(0), key.0);
        assert_ne!(key.step(1), key.0);
        assert_ne!(key.step(1), key.step(2));
        assert_eq!(key.step(1), key.step(1));
        assert_eq!(RequestKey(None).step(1), None);
    }
}
