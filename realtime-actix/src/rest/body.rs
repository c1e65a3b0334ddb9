//! The body of a write: a JSON object within the limit.

use actix_web::http::header;
use actix_web::{HttpMessage as _, HttpRequest, web};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use realtime_core::{Code, Error};
use serde_json::{Map, Value as Json};

/// The same of a request that may have none.
pub(crate) async fn optional_json_object(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<Map<String, Json>, Error> {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if length || headers.contains_key(header::TRANSFER_ENCODING) {
        return json_object(request, payload, limit).await;
    }
    Ok(Map::new())
}

/// Reads the body of a request, for handlers of the application beside the scope.
///
/// # Errors
/// 415 where it is not said to be JSON, 413 where it has more bytes than `limit`, 400 where it is no JSON object.
pub async fn json_object(
    request: &HttpRequest,
    mut payload: web::Payload,
    limit: usize,
) -> Result<Map<String, Json>, Error> {
    let media_type = request.content_type().trim().to_ascii_lowercase();
    if media_type != "application/json"
        && !(media_type.starts_with("application/") && media_type.ends_with("+json"))
    {
        return Err(Error::new(Code::UnsupportedMediaType, "The body must be application/json."));
    }
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(Error::new(Code::UnsupportedMediaType, "The body must not be compressed."));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|error| Error::bad_request(format!("The body cannot be read: {error}.")))?;
        if body.len() + chunk.len() > limit {
            return Err(Error::new(
                Code::TooLarge,
                format!("A body has at most {limit} bytes (limit body_bytes)."),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    match realtime_core::read_json(&body) {
        Ok((_, Some(said))) => Err(Error::bad_request(said)),
        Ok((Json::Object(members), None)) => Ok(members),
        Ok(_) => Err(Error::bad_request("The body is one JSON object.")),
        Err(error) => Err(Error::new(Code::ParseError, format!("The body is not JSON: {error}."))),
    }
}
