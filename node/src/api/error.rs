//! [`ApiFailure`]: what a handler answers when it fails, and how refusals look in the API.

use super::types::{ApiError, ErrorCode};
use crate::daemon::DaemonError;
use crate::standalone::error::chain;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use orbit_consensus::GroupError;
use orbit_core::grid::Refusal;
use orbit_core::grid::refusal::RefusalKind;

/// Marks an answer that another node, or this one a moment later, may give differently: the Nucleus was changing. Its value
/// is [`UNSURE`] if what was asked may have been done all the same.
pub const AGAIN_HEADER: &str = "orbit-again";
/// See [`AGAIN_HEADER`].
pub const UNSURE: &str = "unsure";

/// A failed request.
#[derive(Debug)]
pub struct ApiFailure(pub ApiError, pub Again);

/// Whether the same request is worth sending again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// No: the answer stands.
    No,
    /// Yes: who is the Nucleus was changing.
    Yes,
    /// Yes, and the outcome is not known: it may have been done.
    Unsure,
}

impl ApiFailure {
    /// A failure that stands.
    pub const fn of(error: ApiError) -> Self {
        Self(error, Again::No)
    }

    /// The same, of something that may have been done.
    #[must_use]
    pub fn unsure(mut self) -> Self {
        if !self.0.is_uncertain {
            self.0.is_uncertain = true;
            self.0.message += "; it may or may not have been done";
            self.0.hint =
                Some("look with `orbit node ls` or `orbit token ls` before trying again".to_owned());
        }
        self
    }

    /// The request cannot be understood.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::of(ApiError::new(ErrorCode::Usage, message.into(), None))
    }
}

/// What kind of failure a refusal is.
pub fn code_of(refusal: &Refusal) -> ErrorCode {
    match refusal.kind() {
        RefusalKind::Usage => ErrorCode::Usage,
        RefusalKind::NotFound => ErrorCode::NotFound,
        RefusalKind::Unreachable => ErrorCode::Unreachable,
        RefusalKind::Refused => ErrorCode::Refused,
        RefusalKind::Failed => ErrorCode::Failed,
    }
}

/// What to do about a refusal.
pub fn hint_of(refusal: &Refusal) -> Option<String> {
    refusal.hint()
}

impl From<Refusal> for ApiFailure {
    fn from(refusal: Refusal) -> Self {
        let again = match refusal {
            Refusal::NotNucleus { .. } | Refusal::NoNucleus { .. } | Refusal::NoQuorum { .. } => Again::Yes,
            _ => Again::No,
        };
        Self(ApiError::new(code_of(&refusal), refusal.to_string(), hint_of(&refusal)), again)
    }
}

impl From<DaemonError> for ApiFailure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Refused(refusal) => refusal.into(),
            error @ DaemonError::Group(GroupError::Unsure) => {
                Self(ApiError::new(error.code(), chain(&error), error.hint()), Again::Unsure).unsure()
            }
            DaemonError::Group(GroupError::Stopped(reason)) => {
                // Another may be the Nucleus in a moment, and have it.
                tracing::warn!(reason, "a request met the end of this node's seat");
                let message = "the Nucleus stopped while it was asked".to_owned();
                let hint = Some("`orbit doctor` on that node looks at its disk".to_owned());
                Self(ApiError::new(ErrorCode::Unreachable, message, hint), Again::Unsure).unsure()
            }
            error => Self::of(ApiError::new(error.code(), chain(&error), error.hint())),
        }
    }
}

impl Again {
    /// What the headers of an answer say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(AGAIN_HEADER) {
            None => Self::No,
            Some(value) if value == UNSURE => Self::Unsure,
            Some(_) => Self::Yes,
        }
    }
}

impl ApiError {
    /// Of something that was certainly not done.
    pub const fn new(code: ErrorCode, message: String, hint: Option<String>) -> Self {
        Self { code, message, hint, is_uncertain: false }
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            ErrorCode::Usage => StatusCode::BAD_REQUEST,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Refused => StatusCode::FORBIDDEN,
            ErrorCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut response = (status, Json(self.0)).into_response();
        let again = match self.1 {
            Again::No => return response,
            Again::Yes => HeaderValue::from_static("1"),
            Again::Unsure => HeaderValue::from_static(UNSURE),
        };
        response.headers_mut().insert(AGAIN_HEADER, again);
        response
    }
}
