//! The connection as a machine: a script of what comes in, and the effects that it answers with.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use realtime_core::action::{Operation, Outcome, Request};
use realtime_core::connection::{Connection, Effect, Surface, Ticket};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::group::GroupId;
use realtime_core::list::Page;
use realtime_core::{Code, Error, Limits};

use crate::model::{Note, surface};

/// Runs a script against a new connection and compares what it does, input by input.
///
/// ```text
/// > {json}                a text frame
/// binary                  a binary frame
/// at 1500                 the clock now shows so many milliseconds
/// joined 1                the group of ticket 1 has been joined
/// positioned 1            the position that ticket 1 asked for
/// answered 1 object 5     ticket 1 is answered: object, created, deleted, page or error
/// full?                   is nothing more to be read?
/// ```
#[track_caller]
fn check(script: &str, expected: Expect) {
    check_with(Limits::default(), None, script, expected);
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "an expectation is written where it is passed")]
fn check_with(limits: Limits, default_address: Option<&str>, script: &str, expected: Expect) {
    expected.assert_eq(&play(limits, default_address, script));
}

fn play(limits: Limits, default_address: Option<&str>, script: &str) -> String {
    let surface = surface(limits);
    let mut now_ms = 1_000;
    let mut connection =
        Connection::new(std::sync::Arc::clone(&surface), default_address.map(str::to_owned), now_ms);
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ticket = || Ticket(words[1].parse().unwrap());
        let effects = match words[0] {
            ">" => connection.text(line[1..].trim_start(), now_ms),
            "binary" => connection.binary(now_ms),
            "at" => {
                now_ms = words[1].parse().unwrap();
                continue;
            }
            "joined" => connection.joined(ticket(), GroupId(ticket().0 * 100), cursor()),
            "positioned" => connection.positioned(ticket(), cursor(), "2026-02-03T04:05:06Z"),
            "answered" => connection.answered(ticket(), result(&words[2..])),
            "full?" => {
                writeln!(out, "full: {}", connection.is_full()).unwrap();
                continue;
            }
            other => panic!("a script has no {other:?}"),
        };
        for effect in &effects {
            out.push_str(&describe(&surface, effect));
            out.push('\n');
        }
        if effects.is_empty() {
            out.push_str("-\n");
        }
    }
    out
}

fn cursor() -> Cursor {
    Cursor { epoch: Epoch(0xfeed), position: Position(7) }
}

fn result(words: &[&str]) -> Result<(Outcome, Cursor), Error> {
    let row = || Note::plain(words[1].parse().unwrap()).row();
    let outcome = match words[0] {
        "object" => Outcome::Object(row()),
        "created" => Outcome::Created(row()),
        "deleted" => Outcome::Deleted,
        "page" => Outcome::Page(Page {
            rows: vec![row()],
            next: Some("next-cursor".into()),
            previous: None,
            count: words.get(2).map(|count| count.parse().unwrap()),
        }),
        "error" => return Err(Error::new(Code::Conflict, "Taken.").and("title", "This value is taken.")),
        other => panic!("no outcome is called {other:?}"),
    };
    Ok((outcome, cursor()))
}

fn describe(surface: &Surface, effect: &Effect) -> String {
    match effect {
        Effect::Send(text) => {
            serde_json::from_str::<serde_json::Value>(text).expect("every frame is JSON");
            format!("< {text}")
        }
        Effect::Execute(ticket, request) => format!("execute {} {}", ticket.0, operation(surface, request)),
        Effect::Join(ticket, subscription) => format!(
            "join {} {} {} [{}]",
            ticket.0,
            surface.descriptors[subscription.resource().0].stream,
            subscription.id(),
            subscription.identity().split('\n').skip(1).collect::<Vec<_>>().join(" | "),
        ),
        Effect::Leave(group) => format!("leave {}", group.0),
        Effect::AskPosition(ticket) => format!("ask the position for {}", ticket.0),
        Effect::Close(code, reason) => format!("close {code} {reason}"),
    }
}

fn operation(surface: &Surface, request: &Request) -> String {
    let stream = surface.descriptors[request.resource.0].stream;
    let name = request.operation.action().name();
    let json = |value: &realtime_core::Value<'_>| value.to_json();
    let payload = |members: &serde_json::Map<String, serde_json::Value>| {
        serde_json::Value::Object(members.clone()).to_string()
    };
    let rest = match &request.operation {
        Operation::Create(members) => payload(members),
        Operation::Update(key, members) | Operation::Replace(key, members) => {
            format!("{} {}", json(key), payload(members))
        }
        Operation::Delete(key) | Operation::Retrieve(key) => json(key).to_string(),
        Operation::List(query) => format!("{query:?}"),
    };
    format!("{stream} {name} {rest}")
}
