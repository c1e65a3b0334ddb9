//! The JSON of rows, replies and events. Events are written once per group, straight into one string.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::cursor::Cursor;
use crate::error::Error;
use crate::resource::{Descriptor, Record};
use crate::subscription::EventAction;
use crate::value::{Value, write_text};
use crate::view::View;

/// Appends a row as an object of the given fields.
pub(crate) fn write_object(
    descriptor: &Descriptor,
    row: &dyn Record,
    fields: impl IntoIterator<Item = usize>,
    out: &mut String,
) {
    out.push('{');
    for (at, field) in fields.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(descriptor.fields[field].name, out);
        out.push(':');
        row.shown(field).write_json(out);
    }
    out.push('}');
}

/// A row as an object of all the fields of a view: what `GET /{stream}/{pk}/` answers.
pub fn object<'a>(view: impl Into<View<'a>>, row: &dyn Record) -> String {
    let view = view.into();
    let mut out = String::with_capacity(256);
    write_object(view.descriptor(), row, view.shown(), &mut out);
    out
}

/// The members of an event that say what happened.
#[derive(Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) action: EventAction,
    pub(crate) key: &'a Value<'static>,
    /// The row that the fields are read from; `None` for a delete.
    pub(crate) row: Option<&'a dyn Record>,
    /// The fields to show.
    pub(crate) fields: &'a [usize],
    /// Are they a diff rather than the whole object?
    pub(crate) is_diff: bool,
    pub(crate) more: bool,
    pub(crate) cursor: Cursor,
}

/// What an event says behind the id of the subscription. Those of one form to one change have it in common.
pub(crate) fn event_rest(descriptor: &Descriptor, event: &Event<'_>) -> String {
    let mut out = String::with_capacity(256);
    out.push_str(r#","stream":"#);
    write_text(descriptor.stream, &mut out);
    let _ = write!(out, r#","action":"{}","pk":"#, event.action.name());
    event.key.write_json(&mut out);
    if let Some(row) = event.row {
        out.push_str(if event.is_diff { r#","diff":"# } else { r#","data":"# });
        write_object(descriptor, row, event.fields.iter().copied(), &mut out);
    }
    if event.more {
        out.push_str(r#","more":true"#);
    }
    let _ = write!(out, r#","cursor":"{}"}}"#, event.cursor);
    out
}

/// An event of which the rest is written.
pub(crate) fn event(subscription: &str, rest: &str) -> Arc<str> {
    const START: &str = r#"{"type":"event","subscription":"#;
    let mut out = String::with_capacity(START.len() + subscription.len() + 2 + rest.len());
    out.push_str(START);
    write_text(subscription, &mut out);
    out.push_str(rest);
    out.into()
}

/// Begins a message about a subscription, up to the member after the stream.
pub(crate) fn message_start(kind: &str, stream: &str, subscription: &str) -> String {
    let mut out = String::with_capacity(256);
    let _ = write!(out, r#"{{"type":"{kind}","subscription":"#);
    write_text(subscription, &mut out);
    out.push_str(r#","stream":"#);
    write_text(stream, &mut out);
    out
}

/// What a reply repeats of its request, as far as it could be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) request_id: Option<Json>,
    pub(crate) stream: Option<String>,
    pub(crate) action: Option<String>,
}

fn reply_start(head: &Head, status: u16) -> String {
    let mut out = String::with_capacity(256);
    out.push_str(r#"{"type":"reply","request_id":"#);
    match &head.request_id {
        Some(id) => {
            let _ = write!(out, "{id}");
        }
        None => out.push_str("null"),
    }
    for (name, member) in [("stream", &head.stream), ("action", &head.action)] {
        let _ = write!(out, r#","{name}":"#);
        match member {
            Some(text) => write_text(text, &mut out),
            None => out.push_str("null"),
        }
    }
    let _ = write!(out, r#","status":{status}"#);
    out
}

/// A reply that tells of success; `data` is JSON text.
pub(crate) fn reply(head: &Head, status: u16, data: Option<&str>) -> String {
    let mut out = reply_start(head, status);
    if let Some(data) = data {
        out.push_str(r#","data":"#);
        out.push_str(data);
    }
    out.push('}');
    out
}

/// A reply that tells of a failure.
pub(crate) fn error_reply(head: &Head, error: &Error) -> String {
    let mut out = reply_start(head, error.status());
    let _ = write!(out, r#","error":{}}}"#, Json::Object(error.to_members()));
    out
}
