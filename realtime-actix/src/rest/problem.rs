//! Errors as problem documents (RFC 9457).

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use realtime_core::Error;
use serde_json::Value as Json;

/// An error as the answer of an application's own handler: a problem document, as the scope answers.
///
/// ```
/// use actix_web::{HttpRequest, HttpResponse, web};
/// use realtime_actix::{Error, Problem, Realtime};
///
/// async fn me(request: HttpRequest, realtime: web::Data<Realtime>) -> Result<HttpResponse, Problem> {
///     let identity = realtime.identify(&request).await?;
///     let key: i32 = identity.principal().user_key()?;
///     Ok(HttpResponse::Ok().body(key.to_string()))
/// }
/// ```
#[derive(Debug)]
pub struct Problem(pub Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        status_of(&self.0)
    }

    fn error_response(&self) -> HttpResponse {
        response(&self.0)
    }
}

fn status_of(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The problem document of an error.
pub(crate) fn response(error: &Error) -> HttpResponse {
    let status = status_of(error);
    let mut members = error.to_members();
    members.insert("type".into(), "about:blank".into());
    members.insert("title".into(), status.canonical_reason().unwrap_or_default().into());
    members.insert("status".into(), error.status().into());
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = error.retry_after_seconds() {
        // Whole seconds, rounded up: HTTP knows no others.
        response.insert_header((header::RETRY_AFTER, format!("{:.0}", seconds.ceil())));
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 asks for a challenge. Of the ways to say who one is, only this one has a scheme.
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    // Some of them would be kept otherwise: whoever has seen a 404 would not see what is there since.
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.content_type("application/problem+json").body(Json::Object(members).to_string())
}

/// 405 with the methods that there are.
pub(crate) fn method_not_allowed(allow: &str, error: &Error) -> HttpResponse {
    let mut response = response(error);
    if let Ok(allow) = header::HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
