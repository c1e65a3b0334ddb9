//! Errors as problem documents (RFC 9457).

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use realtime_core::Error;
use serde_json::Value as Json;

/// The problem document of an error.
pub(crate) fn response(error: &Error) -> HttpResponse {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut members = error.to_members();
    members.insert("type".into(), "about:blank".into());
    members.insert("title".into(), status.canonical_reason().unwrap_or_default().into());
    members.insert("status".into(), error.status().into());
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = error.retry_after_seconds() {
        // Whole seconds, rounded up: HTTP knows no others.
        response.insert_header((header::RETRY_AFTER, format!("{:.0}", seconds.ceil())));
    }
    response.content_type("application/problem+json").body(Json::Object(members).to_string())
}

/// 405 with the methods that there are.
pub(super) fn method_not_allowed(allow: &str, error: &Error) -> HttpResponse {
    let mut response = response(error);
    if let Ok(allow) = header::HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
