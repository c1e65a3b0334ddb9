//! What a request is answered with when it fails: one type for REST and socket.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::view::View;

/// The stable, machine-readable cause of an error. Its status is the HTTP one on both transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The message is not in the form of the protocol.
    BadRequest,
    /// The text is not JSON.
    ParseError,
    /// A value is not acceptable; `errors` says which.
    ValidationError,
    /// A filter names no field of the resource.
    UnknownField,
    /// A filter names no lookup that the field has.
    UnknownLookup,
    /// A frame that is not text.
    UnsupportedFrame,
    /// Nobody is logged in.
    NotAuthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// There is no such stream, or no such object for this caller.
    NotFound,
    /// The resource does not offer the action.
    ActionNotAllowed,
    /// The write contradicts what is stored.
    Conflict,
    /// What came after a position can no longer be told.
    Gone,
    /// The answer cannot be had in a form that the caller reads.
    NotAcceptable,
    /// The object is not in the state that the request asks for.
    PreconditionFailed,
    /// The body is larger than the limit.
    TooLarge,
    /// The body is not of a type that is read.
    UnsupportedMediaType,
    /// Too many requests; `retry_after` says when to try again.
    Throttled,
    /// The server failed. The details are in its log only.
    Internal,
    /// The server cannot serve at present.
    Unavailable,
}

impl Code {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::BadRequest,
        Self::ParseError,
        Self::ValidationError,
        Self::UnknownField,
        Self::UnknownLookup,
        Self::UnsupportedFrame,
        Self::NotAuthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::ActionNotAllowed,
        Self::Conflict,
        Self::Gone,
        Self::NotAcceptable,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Throttled,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::ParseError => "parse_error",
            Self::ValidationError => "validation_error",
            Self::UnknownField => "unknown_field",
            Self::UnknownLookup => "unknown_lookup",
            Self::UnsupportedFrame => "unsupported_frame",
            Self::NotAuthenticated => "not_authenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::ActionNotAllowed => "action_not_allowed",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::NotAcceptable => "not_acceptable",
            Self::PreconditionFailed => "precondition_failed",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Throttled => "throttled",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest
            | Self::ParseError
            | Self::ValidationError
            | Self::UnknownField
            | Self::UnknownLookup
            | Self::UnsupportedFrame => 400,
            Self::NotAuthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::ActionNotAllowed => 405,
            Self::Conflict => 409,
            Self::NotAcceptable => 406,
            Self::Gone => 410,
            Self::PreconditionFailed => 412,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Throttled => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

/// The key of `errors` for what concerns the whole object.
pub const NON_FIELD_ERRORS: &str = "non_field_errors";

/// What is said of values in fields that the caller does not see.
pub(crate) const NOT_ACCEPTABLE: &str = "These values are not acceptable.";

/// Characters of a client's text that a message shows.
const MOST: usize = 80;

/// JSON of a client's, as a message shows it: cut where it is long.
pub(crate) fn clipped(mut json: String) -> String {
    if let Some((end, _)) = json.char_indices().nth(MOST) {
        json.truncate(end);
        json.push('…');
    }
    json
}

/// A text of a client's, as a message shows it: quoted, and cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {detail}", code.name())]
pub struct Error {
    code: Code,
    detail: String,
    errors: BTreeMap<String, Vec<String>>,
    retry_after: Option<f64>,
}

impl Error {
    /// An error with a sentence for its reader.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: BTreeMap::new(), retry_after: None }
    }

    /// 400: the message is not in the form of the protocol.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    /// 400: one value is not acceptable. Further ones are added with [`Error::and`].
    pub fn validation(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Code::ValidationError, "Some values are not acceptable.").and(key, message)
    }

    /// 401: nobody is logged in.
    pub fn not_authenticated() -> Self {
        Self::new(Code::NotAuthenticated, "Authentication credentials were not provided.")
    }

    /// 403: the caller may not do this.
    pub fn permission_denied(detail: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, detail)
    }

    /// 404: no such object for this caller.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "Not found.")
    }

    /// 500 with nothing but a reference to the log entry that has the details.
    pub fn internal(reference: &str) -> Self {
        Self::new(Code::Internal, format!("The server failed; its log has the details under {reference}."))
    }

    /// Adds a message about one key.
    #[must_use]
    pub fn and(mut self, key: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.entry(key.into()).or_default().push(message.into());
        self
    }

    /// What is said about fields that there are not for somebody is said of the whole object, and no more than that.
    #[must_use]
    pub(crate) fn seen_through(mut self, view: &View<'_>) -> Self {
        let is_hidden =
            |name: &String| view.descriptor().field_index(name).is_some_and(|field| !view.shows(field));
        let before = self.errors.len();
        self.errors.retain(|name, _| !is_hidden(name));
        if self.errors.len() < before { self.and(NON_FIELD_ERRORS, NOT_ACCEPTABLE) } else { self }
    }

    /// The same error, with its messages under the key by which the caller has named what they are about.
    pub(crate) fn under(mut self, key: &str) -> Self {
        let messages = std::mem::take(&mut self.errors).into_values().flatten().collect::<Vec<_>>();
        if !messages.is_empty() {
            self.errors.insert(key.to_owned(), messages);
        }
        self
    }

    /// Says in how many seconds the request may be tried again.
    #[must_use]
    pub fn retry_after(mut self, seconds: f64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The machine-readable cause.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// The sentence for the reader.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The messages per key; empty for most errors.
    pub fn errors(&self) -> &BTreeMap<String, Vec<String>> {
        &self.errors
    }

    /// The seconds after which the request may be tried again, where that is known.
    pub fn retry_after_seconds(&self) -> Option<f64> {
        self.retry_after
    }

    /// The members that the `error` of a reply and a problem document have in common.
    pub fn to_members(&self) -> Map<String, Json> {
        let mut members = Map::new();
        members.insert("code".into(), self.code.name().into());
        members.insert("detail".into(), self.detail.as_str().into());
        if !self.errors.is_empty() {
            members.insert("errors".into(), json!(self.errors));
        }
        if let Some(seconds) = self.retry_after {
            members.insert("retry_after".into(), seconds.into());
        }
        members
    }
}
