//! Server-Sent Events: the events of one subscription as a response that does not end.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use bytes::{Bytes, BytesMut};
use realtime_core::cursor::Cursor;
use realtime_core::group::Event;
use realtime_core::{Code, Error};
use serde_json::Value as Json;

use crate::rest::{self, problem};
use crate::scope::CurrentWorker;

/// The options of an event stream, in its query string.
const OPTIONS: &[&str] = &["form", "fields", "actions", "snapshot", "since"];

/// `GET /{stream}/events`.
pub(crate) async fn events(request: HttpRequest, CurrentWorker(worker): CurrentWorker) -> HttpResponse {
    let asked =
        rest::follow(&request, &worker, ("an event stream", "text/event-stream"), OPTIONS, |options| {
            // What the client has read last goes before what it began with.
            if let Some(last) = last_event_id(&request)? {
                options.retain(|(name, _)| name != "since");
                options.push(("since".to_owned(), Json::String(last)));
            }
            Ok(())
        })
        .await;
    let (asked, identity, seat) = match asked {
        Ok(asked) => asked,
        Err(error) => return rest::not_followed(&request, &error),
    };
    let asked = match rest::to_row_groups(asked, &worker, identity.principal()).await {
        Ok(asked) => asked,
        Err(error) => return problem::response(&error),
    };
    if worker.is_draining() {
        let error = Error::new(Code::Unavailable, "The server is shutting down.").retry_after(1.0);
        return problem::response(&error);
    }
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Events are the same bytes for many: no middleware may compress them for each.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        // A proxy that collects the response would keep the events back.
        .insert_header(("x-accel-buffering", "no"));
    worker.open_event_stream(response, asked, identity, seat)
}

fn last_event_id(request: &HttpRequest) -> Result<Option<String>, Error> {
    let Some(value) = request.headers().get("last-event-id").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| Error::bad_request("Last-Event-ID is no cursor."))?;
    Ok(Some(text.to_owned()))
}

/// Appends a message. `cursor` is what may be gone on from once it has been read: without one the client keeps the
/// position that it has.
pub(crate) fn append(bytes: &mut BytesMut, name: &str, cursor: Option<Cursor>, text: &str) {
    bytes.extend_from_slice(b"event: ");
    bytes.extend_from_slice(name.as_bytes());
    if let Some(cursor) = cursor {
        bytes.extend_from_slice(format!("\nid: {cursor}").as_bytes());
    }
    // JSON as it is written here has no line breaks.
    bytes.extend_from_slice(b"\ndata: ");
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(b"\n\n");
}

/// Appends the events of a batch, which is gone on from only when it is whole.
pub(crate) fn append_batch(bytes: &mut BytesMut, events: &[Event], cursor: Cursor) {
    for (at, event) in events.iter().enumerate() {
        let is_last = at + 1 == events.len();
        append(bytes, event.action.name(), is_last.then_some(cursor), &event.text);
    }
}

/// A position alone: no event comes of it, but the client goes on from there.
pub(crate) fn id(cursor: Cursor) -> Bytes {
    Bytes::from(format!("id: {cursor}\n\n"))
}

/// A sign of life.
pub(crate) fn comment() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// Says why the response ends. Whoever comes back after 4401 may be somebody else, or see other rows: there is nothing to go
/// on from. A browser comes back by itself, with the last id that it has.
pub(crate) fn close(code: u16) -> Bytes {
    let id = if code == 4401 { format!("id: {}\n", Cursor::NOWHERE) } else { String::new() };
    Bytes::from(format!("event: close\n{id}data: {{\"code\":{code}}}\n\n"))
}
