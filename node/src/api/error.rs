//! [`ApiFailure`]: what a handler answers when it fails, and how refusals look in the API.

use super::types::{ApiError, ErrorCode};
use crate::daemon::DaemonError;
use crate::standalone::error::chain;
use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use orbit_core::grid::Refusal;
use orbit_core::grid::refusal::RefusalKind;

/// Marks an answer that another node, or this one a moment later, may give differently: the Nucleus was changing.
pub const AGAIN_HEADER: &str = "orbit-again";

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
}

impl ApiFailure {
    /// A failure that stands.
    pub const fn of(error: ApiError) -> Self {
        Self(error, Again::No)
    }

    /// The request cannot be understood.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::of(ApiError { code: ErrorCode::Usage, message: message.into(), hint: None })
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
        Self(
            ApiError { code: code_of(&refusal), message: refusal.to_string(), hint: hint_of(&refusal) },
            again,
        )
    }
}

impl From<DaemonError> for ApiFailure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Refused(refusal) => refusal.into(),
            error => Self::of(ApiError { code: error.code(), message: chain(&error), hint: error.hint() }),
        }
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
        if self.1 == Again::Yes {
            response.headers_mut().insert(AGAIN_HEADER, HeaderValue::from_static("1"));
        }
        response
    }
}
