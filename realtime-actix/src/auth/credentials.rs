//! What a request brings with it to say who is asking.

use actix_web::HttpRequest;
use actix_web::http::header;

/// What somebody presents.
#[derive(Clone, Copy, Debug)]
pub enum Credentials<'a> {
    /// A token: from `Authorization: Bearer`, from the subprotocol `bearer.<token>`, or from the message
    /// `authenticate`.
    Token(&'a str),
    /// None: what there is may stand in the request's cookies.
    Request(&'a HttpRequest),
}

/// The prefix of the subprotocol that is a token.
const BEARER: &str = "bearer.";

/// The token of `Authorization: Bearer`. Another scheme is none of ours.
pub(crate) fn bearer(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// The token among the subprotocols that a client offers: browsers can set no header of a handshake but this one.
pub(crate) fn offered_token(subprotocols: &[String]) -> Option<String> {
    subprotocols.iter().find_map(|name| name.strip_prefix(BEARER)).map(str::to_owned)
}

/// The value of `ticket` in the query.
pub(crate) fn ticket(request: &HttpRequest) -> Option<String> {
    let pairs = request.query_string().split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| *name == "ticket")?;
    realtime_core::url_decoded(value)
}
