//! [`ApiFailure`]: what a handler answers when it fails, and how refusals look in the API.

use super::types::{ApiError, ErrorCode};
use crate::daemon::DaemonError;
use crate::nucleus::ledger::LedgerError;
use crate::standalone::error::chain;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use orbit_core::grid::Refusal;
use orbit_core::grid::refusal::RefusalKind;

/// A failed request.
#[derive(Debug)]
pub struct ApiFailure(pub ApiError);

impl ApiFailure {
    /// The request cannot be understood.
    pub fn usage(message: impl Into<String>) -> Self {
        Self(ApiError { code: ErrorCode::Usage, message: message.into(), hint: None })
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
        Self(ApiError { code: code_of(&refusal), message: refusal.to_string(), hint: hint_of(&refusal) })
    }
}

impl From<LedgerError> for ApiFailure {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused(refusal) => refusal.into(),
            error => Self(ApiError {
                code: ErrorCode::Failed,
                message: format!("the Nucleus could not keep the change: {}", chain(&error)),
                hint: Some("nothing was changed; `orbit doctor` on the Nucleus looks at its disk".to_owned()),
            }),
        }
    }
}

impl From<DaemonError> for ApiFailure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Refused(refusal) => refusal.into(),
            error => Self(ApiError { code: error.code(), message: chain(&error), hint: error.hint() }),
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
        (status, Json(self.0)).into_response()
    }
}
