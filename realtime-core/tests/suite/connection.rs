//! The connection as a machine: a script of what comes in, and the effects that it answers with.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use realtime_core::action::{Operation, Outcome, Request};
use realtime_core::connection::{Connection, Effect, Surface, Ticket};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::list::Page;
use realtime_core::{Code, Error, Limits, Principal};

use crate::model::{Note, surface};

/// Runs a script against a new connection and compares what it does, input by input.
///
/// ```text
/// > {json}                a text frame
/// binary                  a binary frame
/// at 1500                 the clock now shows so many milliseconds
/// joined 1                the group of ticket 1 has been joined
/// recovered 1 5           it has been joined and its events begin after 5, as was asked
/// positioned 1            the position that ticket 1 asked for
/// answered 1 object 5     ticket 1 is answered: object, created, deleted, page or error
/// authenticated 1 7       the token of ticket 1 is that of user 7, or nobody's; then what has waited is carried out
/// full?                   is nothing more to be read?
/// ```
///
/// `< {json}` is a frame that is sent, `<~ {json}` one that must not overtake events that are held back.
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
            "joined" => connection.joined(ticket(), cursor(), false),
            "recovered" => {
                let since = Cursor { position: Position(words[2].parse().unwrap()), ..cursor() };
                connection.joined(ticket(), since, true)
            }
            "positioned" => connection.positioned(ticket(), cursor(), "2026-02-03T04:05:06Z"),
            "answered" => connection.answered(ticket(), result(&words[2..])),
            "authenticated" => {
                let principal = words[2].parse::<i32>().map(Principal::user);
                let known = principal.as_ref().map(|principal| (principal, None));
                let mut effects =
                    connection.authenticated(ticket(), known.map_err(|_| Error::not_authenticated()));
                while let Some(text) = connection.next_held_back() {
                    effects.extend(connection.text_again(&text));
                }
                effects
            }
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
            fields: None,
            expanded: Vec::new(),
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
        // Behind events that are held back.
        Effect::SendInOrder(text) => {
            serde_json::from_str::<serde_json::Value>(text).expect("every frame is JSON");
            format!("<~ {text}")
        }
        Effect::Execute(ticket, request) => format!("execute {} {}", ticket.0, operation(surface, request)),
        Effect::Join(ticket, subscription, start) => format!(
            "join {} {} {} [{}]{}{}",
            ticket.0,
            surface.descriptors[subscription.resource().0].stream,
            subscription.id(),
            subscription.identity().split('\n').skip(1).collect::<Vec<_>>().join(" | "),
            start.since.map(|since| format!(" since {since}")).unwrap_or_default(),
            if start.snapshot { " with a snapshot" } else { "" },
        ),
        Effect::Narrow(ticket, subscription) => {
            format!("narrow {} {}", ticket.0, subscription.group_identity().split('\n').next_back().unwrap())
        }
        Effect::Renew(held, ticket) => format!("renew {} for {}", held.0, ticket.0),
        Effect::Leave(ticket) => format!("leave {}", ticket.0),
        Effect::Authenticate(ticket, token) => format!("authenticate {} {token:?}", ticket.0),
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
        Operation::FindRowGroups(query) => format!("{query:?}"),
        Operation::Call(call) => format!("{:?} {}", call.key, payload(&call.payload)),
    };
    format!("{stream} {name} {rest}")
}

// Section 2: the forms of a message.

#[test]
fn both_forms_of_an_address_mean_the_same() {
    check(
        r#"
        > {"request_id": 7, "stream": "notes/update/3/", "payload": {"body": "hi"}}
        answered 1 object 3
        > {"request_id": 7, "stream": "notes", "action": "update", "pk": 3, "payload": {"body": "hi"}}
        answered 2 object 3
        > {"stream": "notes/update", "pk": "3", "payload": {"body": "hi"}}
        "#,
        expect![[r#"
            execute 1 notes update 3 {"body":"hi"}
            < {"type":"reply","request_id":7,"stream":"notes","action":"update","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 2 notes update 3 {"body":"hi"}
            < {"type":"reply","request_id":7,"stream":"notes","action":"update","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 3 notes update 3 {"body":"hi"}
        "#]],
    );
}

#[test]
fn slashes_around_an_address_are_ignored() {
    check(
        r#"
        > {"stream": "/notes/retrieve/3"}
        > {"stream": "//notes/retrieve/3//"}
        > {"stream": "/notes/", "action": "retrieve", "pk": 3}
        > {"stream": "notes//retrieve/3"}
        > {"stream": "notes/retrieve//3"}
        > {"stream": "/", "action": "list"}
        > {"stream": "", "action": "list"}
        "#,
        expect![[r#"
            execute 1 notes retrieve 3
            execute 2 notes retrieve 3
            execute 3 notes retrieve 3
            < {"type":"reply","request_id":null,"stream":"notes","action":"","status":400,"error":{"code":"bad_request","detail":"An address has at most three segments: stream, action and pk."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"An address has at most three segments: stream, action and pk."}}
            < {"type":"reply","request_id":null,"stream":null,"action":"list","status":400,"error":{"code":"bad_request","detail":"A message names a stream."}}
            < {"type":"reply","request_id":null,"stream":null,"action":"list","status":400,"error":{"code":"bad_request","detail":"A message names a stream."}}
        "#]],
    );
}

#[test]
fn the_segments_of_an_address_are_url_decoded_one_by_one() {
    check(
        r#"
        > {"stream": "tags/retrieve/a%2Fb"}
        > {"stream": "tags/retrieve/gr%C3%BCn%20blau"}
        > {"stream": "tags/retrieve/a+b"}
        > {"stream": "ta%67s/retri%65ve/x"}
        > {"stream": "tags/retrieve/%2F"}
        "#,
        expect![[r#"
            execute 1 tags retrieve "a/b"
            execute 2 tags retrieve "grün blau"
            execute 3 tags retrieve "a+b"
            execute 4 tags retrieve "x"
            execute 5 tags retrieve "/"
        "#]],
    );
}

#[test]
fn an_address_that_is_not_url_encoded_text_is_refused_and_what_was_readable_is_repeated() {
    check(
        r#"
        > {"request_id": 1, "stream": "tags/retrieve/%"}
        > {"request_id": 2, "stream": "tags/retrieve/%4"}
        > {"request_id": 3, "stream": "tags/retrieve/%zz"}
        > {"request_id": 4, "stream": "tags/retrieve/%ff"}
        > {"request_id": 5, "stream": "tags/%zz/3"}
        > {"request_id": 6, "stream": "%zz/retrieve/3"}
        > {"request_id": 7, "stream": "%+1/retrieve/3"}
        "#,
        expect![[r#"
            < {"type":"reply","request_id":1,"stream":"tags","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"The address is not URL-encoded text."}}
            < {"type":"reply","request_id":2,"stream":"tags","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"The address is not URL-encoded text."}}
            < {"type":"reply","request_id":3,"stream":"tags","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"The address is not URL-encoded text."}}
            < {"type":"reply","request_id":4,"stream":"tags","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"The address is not URL-encoded text."}}
            < {"type":"reply","request_id":5,"stream":"tags","action":null,"status":400,"error":{"code":"bad_request","detail":"The address is not URL-encoded text."}}
            < {"type":"reply","request_id":6,"stream":null,"action":"retrieve","status":400,"error":{"code":"bad_request","detail":"The address is not URL-encoded text."}}
            < {"type":"reply","request_id":7,"stream":null,"action":"retrieve","status":400,"error":{"code":"bad_request","detail":"The address is not URL-encoded text."}}
        "#]],
    );
}

#[test]
fn an_address_and_members_that_disagree_are_refused() {
    check(
        r#"
        > {"stream": "notes/update/3", "action": "update", "pk": 3}
        answered 1 object 3
        > {"stream": "notes/update/3", "action": "update", "pk": "3"}
        answered 2 object 3
        > {"stream": "notes/update/3", "action": "delete"}
        > {"stream": "notes/update/3", "pk": 4}
        > {"stream": "notes/update/3", "pk": "03"}
        > {"stream": "notes/update/3", "action": "UPDATE"}
        "#,
        expect![[r#"
            execute 1 notes update 3 {}
            < {"type":"reply","request_id":null,"stream":"notes","action":"update","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 2 notes update 3 {}
            < {"type":"reply","request_id":null,"stream":"notes","action":"update","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"delete","status":400,"error":{"code":"bad_request","detail":"The address and the member action disagree."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"update","status":400,"error":{"code":"bad_request","detail":"The address and the member pk disagree."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"update","status":400,"error":{"code":"bad_request","detail":"The address and the member pk disagree."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"UPDATE","status":400,"error":{"code":"bad_request","detail":"The address and the member action disagree."}}
        "#]],
    );
}

#[test]
fn an_address_with_too_many_segments_is_refused() {
    check(
        r#"
        > {"stream": "notes/update/3/4", "request_id": "x"}
        > {"stream": "nosuch/update/3/4"}
        > {"stream": "notes/update/3/4/5/6/7"}
        "#,
        expect![[r#"
            < {"type":"reply","request_id":"x","stream":"notes","action":"update","status":400,"error":{"code":"bad_request","detail":"An address has at most three segments: stream, action and pk."}}
            < {"type":"reply","request_id":null,"stream":"nosuch","action":"update","status":400,"error":{"code":"bad_request","detail":"An address has at most three segments: stream, action and pk."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"update","status":400,"error":{"code":"bad_request","detail":"An address has at most three segments: stream, action and pk."}}
        "#]],
    );
}

#[test]
fn a_request_id_is_any_string_or_number_and_comes_back() {
    check(
        r#"
        > {"stream": "notes", "request_id": 7}
        > {"stream": "notes", "request_id": -1.5}
        > {"stream": "notes", "request_id": 18446744073709551615}
        > {"stream": "notes", "request_id": ""}
        > {"stream": "notes", "request_id": "a \"quoted\" \u0000 ü 😀 \\ \u2028"}
        > {"stream": "notes", "request_id": null}
        > {"stream": "notes"}
        > {"stream": "notes", "request_id": true}
        > {"stream": "notes", "request_id": [1]}
        > {"stream": "notes", "request_id": {}}
        "#,
        expect![[r#"
            < {"type":"reply","request_id":7,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            < {"type":"reply","request_id":-1.5,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            < {"type":"reply","request_id":18446744073709551615,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            < {"type":"reply","request_id":"","stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            < {"type":"reply","request_id":"a \"quoted\" \u0000 ü 😀 \\  ","stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"request_id is a string or a number."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"request_id is a string or a number."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"request_id is a string or a number."}}
        "#]],
    );
}

#[test]
fn a_payload_is_an_object_or_nothing() {
    check(
        r#"
        > {"stream": "notes/create"}
        answered 1 created 3
        > {"stream": "notes/create", "payload": null}
        answered 2 created 3
        > {"stream": "notes/create", "payload": {}}
        answered 3 created 3
        > {"stream": "notes/create", "payload": []}
        > {"stream": "notes/create", "payload": "{}"}
        > {"stream": "notes/create", "payload": 0}
        > {"stream": "notes/create", "payload": false}
        "#,
        expect![[r#"
            execute 1 notes create {}
            < {"type":"reply","request_id":null,"stream":"notes","action":"create","status":201,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 2 notes create {}
            < {"type":"reply","request_id":null,"stream":"notes","action":"create","status":201,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 3 notes create {}
            < {"type":"reply","request_id":null,"stream":"notes","action":"create","status":201,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"create","status":400,"error":{"code":"bad_request","detail":"payload is an object."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"create","status":400,"error":{"code":"bad_request","detail":"payload is an object."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"create","status":400,"error":{"code":"bad_request","detail":"payload is an object."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"create","status":400,"error":{"code":"bad_request","detail":"payload is an object."}}
        "#]],
    );
}

#[test]
fn what_is_no_message_is_refused_and_the_next_message_is_served() {
    check(
        r#"
        > not json
        > {"stream": "notes"
        > {"request_id": 1, "stream": "notes/list"} x
        > []
        > null
        > "notes/list"
        > 7
        > {}
        > {"request_id": 2, "action": "list"}
        > {"request_id": 3, "stream": 5, "action": "list"}
        > {"request_id": 4, "stream": "notes", "action": 5}
        > {"request_id": 5, "stream": "notes"}
        > {"request_id": 6, "stream": "notes", "action": ""}
        > {"request_id": 7, "stream": "notes/retrieve", "pk": [3]}
        > {"request_id": 8, "stream": "notes/retrieve", "pk": {"id": 3}}
        binary
        > {"request_id": 9, "stream": "notes/retrieve/3"}
        "#,
        expect![[r#"
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"parse_error","detail":"The message is not JSON: expected ident at line 1 column 2."}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"parse_error","detail":"The message is not JSON: EOF while parsing an object at line 1 column 18."}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"parse_error","detail":"The message is not JSON: trailing characters at line 1 column 43."}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"bad_request","detail":"A message is one JSON object."}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"bad_request","detail":"A message is one JSON object."}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"bad_request","detail":"A message is one JSON object."}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"bad_request","detail":"A message is one JSON object."}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"bad_request","detail":"A message names a stream."}}
            < {"type":"reply","request_id":2,"stream":null,"action":"list","status":400,"error":{"code":"bad_request","detail":"A message names a stream."}}
            < {"type":"reply","request_id":3,"stream":null,"action":"list","status":400,"error":{"code":"bad_request","detail":"stream is a string."}}
            < {"type":"reply","request_id":4,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"action is a string."}}
            < {"type":"reply","request_id":5,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            < {"type":"reply","request_id":6,"stream":"notes","action":"","status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            < {"type":"reply","request_id":7,"stream":"notes","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"pk is a value, not a list or an object."}}
            < {"type":"reply","request_id":8,"stream":"notes","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"pk is a value, not a list or an object."}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"unsupported_frame","detail":"Only text frames are read."}}
            execute 1 notes retrieve 3
        "#]],
    );
}

#[test]
fn a_frame_of_nothing_but_brackets_is_a_parse_error() {
    let effects = play(Limits::default(), None, &format!("> {}", "[".repeat(200_000)));
    expect![[r#"
        < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"parse_error","detail":"The message is not JSON: recursion limit exceeded at line 1 column 128."}}
    "#]].assert_eq(&effects);
    let deep = format!(
        r#"> {{"request_id": 1, "stream": "notes/create", "payload": {}1{}}}"#,
        r#"{"a":"#.repeat(500),
        "}".repeat(500)
    );
    expect![[r#"
        < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"parse_error","detail":"The message is not JSON: recursion limit exceeded at line 1 column 686."}}
    "#]].assert_eq(&play(Limits::default(), None, &deep));
}

#[test]
fn a_frame_without_stream_goes_to_the_default_address() {
    check_with(
        Limits::default(),
        Some("notes/retrieve/3/"),
        r#"
        > {"request_id": 1}
        > {"request_id": 2, "action": "retrieve", "pk": 3}
        > {"request_id": 3, "action": "delete"}
        > {"request_id": 4, "stream": "notes/retrieve/4"}
        > {"request_id": 5, "stream": null}
        > {"request_id": 6, "action": "ping"}
        > {"request_id": 7, "stream": ""}
        "#,
        expect![[r#"
            execute 1 notes retrieve 3
            execute 2 notes retrieve 3
            < {"type":"reply","request_id":3,"stream":"notes","action":"delete","status":400,"error":{"code":"bad_request","detail":"The address and the member action disagree."}}
            execute 3 notes retrieve 4
            execute 4 notes retrieve 3
            ask the position for 5
            < {"type":"reply","request_id":7,"stream":null,"action":null,"status":400,"error":{"code":"bad_request","detail":"A message names a stream."}}
        "#]],
    );
    check_with(
        Limits::default(),
        Some("notes"),
        r#"
        > {"request_id": 1, "action": "retrieve", "pk": 3}
        > {"request_id": 2, "stream": "retrieve/3"}
        > {"request_id": 3}
        "#,
        expect![[r#"
            execute 1 notes retrieve 3
            < {"type":"reply","request_id":2,"stream":"retrieve","action":"3","status":404,"error":{"code":"not_found","detail":"There is no stream \"retrieve\"."}}
            < {"type":"reply","request_id":3,"stream":"notes","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
        "#]],
    );
}

// Sections 3 and 9: which requests exist, and the order of the checks.

#[test]
fn an_unknown_stream_is_404_and_an_unknown_action_405() {
    check(
        r#"
        > {"stream": "nosuch/list"}
        > {"stream": "nosuch/fly/3", "payload": {"x": 1}}
        > {"stream": "Notes/list"}
        > {"stream": "notes/fly"}
        > {"stream": "notes/LIST"}
        > {"stream": "tags/delete/x"}
        > {"stream": "tags/update/x", "payload": {"nosuch": 1}}
        > {"stream": "tags/unsubscribe", "payload": {}}
        > {"stream": "notes/ping"}
        > {"stream": "notes", "action": "authenticate"}
        "#,
        expect![[r#"
            < {"type":"reply","request_id":null,"stream":"nosuch","action":"list","status":404,"error":{"code":"not_found","detail":"There is no stream \"nosuch\"."}}
            < {"type":"reply","request_id":null,"stream":"nosuch","action":"fly","status":404,"error":{"code":"not_found","detail":"There is no stream \"nosuch\"."}}
            < {"type":"reply","request_id":null,"stream":"Notes","action":"list","status":404,"error":{"code":"not_found","detail":"There is no stream \"Notes\"."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"fly","status":405,"error":{"code":"action_not_allowed","detail":"\"notes\" does not offer \"fly\"; its actions are create, update, replace, delete, retrieve, list, subscribe, unsubscribe."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"LIST","status":405,"error":{"code":"action_not_allowed","detail":"\"notes\" does not offer \"LIST\"; its actions are create, update, replace, delete, retrieve, list, subscribe, unsubscribe."}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"delete","status":405,"error":{"code":"action_not_allowed","detail":"\"tags\" does not offer \"delete\"; its actions are create, replace, retrieve, list, subscribe, unsubscribe."}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"update","status":405,"error":{"code":"action_not_allowed","detail":"\"tags\" does not offer \"update\"; its actions are create, replace, retrieve, list, subscribe, unsubscribe."}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":null,"stream":"notes","action":"ping","status":405,"error":{"code":"action_not_allowed","detail":"\"notes\" does not offer \"ping\"; its actions are create, update, replace, delete, retrieve, list, subscribe, unsubscribe."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"authenticate","status":405,"error":{"code":"action_not_allowed","detail":"\"notes\" does not offer \"authenticate\"; its actions are create, update, replace, delete, retrieve, list, subscribe, unsubscribe."}}
        "#]],
    );
}

#[test]
fn an_action_on_one_row_needs_a_pk_and_others_take_none() {
    check(
        r#"
        > {"stream": "notes/update", "payload": {"body": "x"}}
        > {"stream": "notes/replace"}
        > {"stream": "notes/delete"}
        > {"stream": "notes/retrieve"}
        > {"stream": "notes/retrieve", "pk": null}
        > {"stream": "notes/create/3"}
        > {"stream": "notes/list/3"}
        "#,
        expect![[r#"
            < {"type":"reply","request_id":null,"stream":"notes","action":"update","status":400,"error":{"code":"bad_request","detail":"update needs a pk."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"replace","status":400,"error":{"code":"bad_request","detail":"replace needs a pk."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"delete","status":400,"error":{"code":"bad_request","detail":"delete needs a pk."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"retrieve needs a pk."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"retrieve needs a pk."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"create","status":400,"error":{"code":"bad_request","detail":"create takes no pk."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"bad_request","detail":"list takes no pk."}}
        "#]],
    );
}

#[test]
fn a_pk_of_the_wrong_type_is_that_of_no_row() {
    check(
        r#"
        > {"stream": "notes/retrieve/three"}
        > {"stream": "notes/retrieve", "pk": 1.5}
        > {"stream": "notes/retrieve", "pk": true}
        > {"stream": "notes/retrieve", "pk": ""}
        > {"stream": "notes/retrieve", "pk": " 3"}
        > {"stream": "notes/retrieve", "pk": "+3"}
        > {"stream": "notes/retrieve", "pk": 9223372036854775808}
        > {"stream": "notes/retrieve", "pk": "99999999999999999999999999999999999999999999999"}
        > {"stream": "notes/update/x", "payload": {"nosuch": 1}}
        > {"stream": "notes/replace/x", "payload": {"nosuch": 1}}
        > {"stream": "notes/delete/x"}
        > {"stream": "notes/subscribe/x"}
        > {"stream": "notes/subscribe/x", "payload": {"nosuch": 1}}
        > {"stream": "notes/unsubscribe/x"}
        > {"stream": "tags/retrieve", "pk": 5}
        > {"stream": "tags/retrieve", "pk": "a\u0000b"}
        "#,
        expect![[r#"
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"update","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"replace","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"delete","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"retrieve","status":404,"error":{"code":"not_found","detail":"Not found."}}
        "#]],
    );
}

#[test]
fn a_pk_is_exact_beyond_the_integers_of_a_double() {
    check(
        r#"
        > {"stream": "notes/retrieve/9007199254740993"}
        > {"stream": "notes/retrieve", "pk": 9007199254740993}
        > {"stream": "notes/retrieve", "pk": "-9223372036854775808"}
        > {"stream": "notes/retrieve", "pk": 9223372036854775807}
        > {"stream": "notes/retrieve", "pk": 3.0}
        > {"stream": "notes/retrieve/-0"}
        "#,
        expect![[r#"
            execute 1 notes retrieve 9007199254740993
            execute 2 notes retrieve 9007199254740993
            execute 3 notes retrieve -9223372036854775808
            execute 4 notes retrieve 9223372036854775807
            execute 5 notes retrieve 3
            execute 6 notes retrieve 0
        "#]],
    );
}

#[test]
fn a_member_that_is_no_option_of_the_action_is_refused() {
    check(
        r#"
        > {"stream": "notes/list", "form": "full"}
        > {"stream": "notes/create", "limit": 3}
        > {"stream": "notes/retrieve/3", "fields": ["id"]}
        > {"stream": "notes/delete/3", "body": "x"}
        > {"stream": "notes/subscribe", "limit": 3}
        > {"stream": "notes/subscribe", "subscription": "x"}
        > {"stream": "nosuch/list", "form": "full"}
        > {"action": "ping", "form": "full"}
        "#,
        expect![[r#"
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"bad_request","detail":"\"form\" is not a member of this message."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"create","status":400,"error":{"code":"bad_request","detail":"\"limit\" is not a member of this message."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"retrieve","status":400,"error":{"code":"bad_request","detail":"\"fields\" is not a member of this message."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"delete","status":400,"error":{"code":"bad_request","detail":"\"body\" is not a member of this message."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"\"limit\" is not a member of this message."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"\"subscription\" is not a member of this message."}}
            < {"type":"reply","request_id":null,"stream":"nosuch","action":"list","status":400,"error":{"code":"bad_request","detail":"\"form\" is not a member of this message."}}
            < {"type":"reply","request_id":null,"stream":null,"action":"ping","status":400,"error":{"code":"bad_request","detail":"\"form\" is not a member of this message."}}
        "#]],
    );
}

#[test]
fn each_outcome_has_its_status_and_its_data() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/create", "payload": {"title": "t"}}
        answered 1 created 3
        > {"request_id": 2, "stream": "notes/update/3"}
        answered 2 object 3
        > {"request_id": 3, "stream": "notes/replace/3", "payload": {"title": "t"}}
        answered 3 object 3
        > {"request_id": 4, "stream": "notes/retrieve/3"}
        answered 4 object 3
        > {"request_id": 5, "stream": "notes/list"}
        answered 5 page 3 12
        > {"request_id": 6, "stream": "notes/list", "count": false}
        answered 6 page 3
        > {"request_id": 7, "stream": "notes/delete/3"}
        answered 7 deleted
        > {"request_id": 8, "stream": "notes/create"}
        answered 8 error
        "#,
        expect![[r#"
            execute 1 notes create {"title":"t"}
            < {"type":"reply","request_id":1,"stream":"notes","action":"create","status":201,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 2 notes update 3 {}
            < {"type":"reply","request_id":2,"stream":"notes","action":"update","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 3 notes replace 3 {"title":"t"}
            < {"type":"reply","request_id":3,"stream":"notes","action":"replace","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 4 notes retrieve 3
            < {"type":"reply","request_id":4,"stream":"notes","action":"retrieve","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 5 notes list ListQuery { filter: Filter { terms: [], canonical: "", ends: [] }, related: [], fields: None, expand: [], order: [OrderKey { field: 0, descending: false }], limit: 100, start: Offset(0), count: true, scanned_rows: 100000, key: None }
            < {"type":"reply","request_id":5,"stream":"notes","action":"list","status":200,"data":{"results":[{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}],"next":"next-cursor","previous":null,"count":12,"feed":"000000000000feed-7"}}
            execute 6 notes list ListQuery { filter: Filter { terms: [], canonical: "", ends: [] }, related: [], fields: None, expand: [], order: [OrderKey { field: 0, descending: false }], limit: 100, start: Offset(0), count: false, scanned_rows: 100000, key: None }
            < {"type":"reply","request_id":6,"stream":"notes","action":"list","status":200,"data":{"results":[{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}],"next":"next-cursor","previous":null,"count":null,"feed":"000000000000feed-7"}}
            execute 7 notes delete 3
            < {"type":"reply","request_id":7,"stream":"notes","action":"delete","status":204}
            execute 8 notes create {}
            < {"type":"reply","request_id":8,"stream":"notes","action":"create","status":409,"error":{"code":"conflict","detail":"Taken.","errors":{"title":["This value is taken."]}}}
        "#]],
    );
}

#[test]
fn a_ticket_is_answered_once() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/retrieve/3"}
        answered 1 object 3
        answered 1 object 3
        positioned 1
        positioned 99
        joined 1
        joined 99
        "#,
        expect![[r#"
            execute 1 notes retrieve 3
            < {"type":"reply","request_id":1,"stream":"notes","action":"retrieve","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            -
            -
            -
            leave 1
            leave 99
        "#]],
    );
}

#[test]
fn ping_tells_the_time_and_the_newest_position() {
    check(
        r#"
        > {"request_id": 1, "action": "ping"}
        positioned 1
        > {"request_id": 2, "action": "ping", "payload": {"ignored": 1}}
        positioned 2
        > {"action": "ping", "stream": null}
        positioned 3
        "#,
        expect![[r#"
            ask the position for 1
            <~ {"type":"reply","request_id":1,"stream":null,"action":"ping","status":200,"data":{"time":"2026-02-03T04:05:06Z","cursor":"000000000000feed-7"}}
            ask the position for 2
            <~ {"type":"reply","request_id":2,"stream":null,"action":"ping","status":200,"data":{"time":"2026-02-03T04:05:06Z","cursor":"000000000000feed-7"}}
            ask the position for 3
            <~ {"type":"reply","request_id":null,"stream":null,"action":"ping","status":200,"data":{"time":"2026-02-03T04:05:06Z","cursor":"000000000000feed-7"}}
        "#]],
    );
}

#[test]
fn a_list_takes_its_filter_and_its_options() {
    check(
        r#"
        > {"stream": "notes/list", "payload": {"rank__gte": 2}, "limit": 5, "ordering": "-rank", "offset": 10}
        > {"stream": "notes/list", "limit": 0}
        > {"stream": "notes/list", "limit": 1001}
        > {"stream": "notes/list", "limit": 1.5}
        > {"stream": "notes/list", "limit": -1}
        > {"stream": "notes/list", "offset": -1}
        > {"stream": "notes/list", "offset": 1, "cursor": "x"}
        > {"stream": "notes/list", "cursor": "x"}
        > {"stream": "notes/list", "cursor": 5}
        > {"stream": "notes/list", "ordering": "nosuch"}
        > {"stream": "tags/list", "ordering": "colour"}
        > {"stream": "notes/list", "ordering": 5}
        > {"stream": "notes/list", "count": 5}
        > {"stream": "notes/list", "search": "x"}
        > {"stream": "notes/list", "payload": {"nosuch": 1}}
        > {"stream": "notes/list", "payload": {"rank__icontains": "x"}}
        > {"stream": "notes/list", "payload": {"rank": "x", "done": 5, "mood": "cross", "ids": [1, null]}}
        > {"stream": "tags/list", "payload": {"colour": "red"}}
        > {"stream": "tags/list", "payload": {"secret": "hidden"}}
        > {"stream": "tags/list", "payload": {"name__icontains": "x"}}
        "#,
        expect![[r#"
            execute 1 notes list ListQuery { filter: Filter { terms: [Is(Predicate { field: 1, part: None, zone: None, negated: false, condition: Between { lower: Some((Int(2), true)), upper: None } })], canonical: "rank>=2", ends: [] }, related: [], fields: None, expand: [], order: [OrderKey { field: 1, descending: true }, OrderKey { field: 0, descending: false }], limit: 5, start: Offset(10), count: true, scanned_rows: 100000, key: None }
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"limit":["A number from 1 to 1000 is required."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"limit":["A number from 1 to 1000 is required."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"limit":["A number from 1 to 1000 is required."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"limit":["A number from 1 to 1000 is required."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"offset":["A number from 0 is required."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"cursor":["A list has an offset, a page or a cursor, not several of them."]}}}
            execute 2 notes list ListQuery { filter: Filter { terms: [], canonical: "", ends: [] }, related: [], fields: None, expand: [], order: [OrderKey { field: 0, descending: false }], limit: 100, start: Sealed("x"), count: true, scanned_rows: 100000, key: None }
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"cursor":["Not a cursor of this list."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"ordering":["\"nosuch\" is not a field to order by; the choices are id, rank, score, title, body, done, mood, created, edited."]}}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"ordering":["\"colour\" is not a field to order by; the choices are name."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"ordering":["Not a valid string."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"count":["Must be a valid boolean."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"search":["This stream has no search."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"unknown_field","detail":"\"nosuch\" is not a filter of this stream.","errors":{"nosuch":["Choices are ids, name, at_least, has_body, id, rank, score, title, body, done, mood, created, edited."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"unknown_lookup","detail":"\"icontains\" is not a lookup of \"rank\".","errors":{"rank__icontains":["Lookups of \"rank\" are exact, in, gt, gte, lt, lte, range, isnull."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"list","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"done":["Must be a valid boolean; the choices are true, false."],"ids":["null is no value of a list; use isnull."],"mood":["\"cross\" is not a valid choice; the choices are calm, quite-angry, sad."],"rank":["A valid integer is required."]}}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"list","status":400,"error":{"code":"unknown_field","detail":"\"colour\" is not a filter of this stream.","errors":{"colour":["Choices are name."]}}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"list","status":400,"error":{"code":"unknown_field","detail":"\"secret\" is not a filter of this stream.","errors":{"secret":["Choices are name."]}}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"list","status":400,"error":{"code":"unknown_lookup","detail":"\"icontains\" is not a lookup of \"name\".","errors":{"name__icontains":["Lookups of \"name\" are exact, contains, in."]}}}
        "#]],
    );
}

// Section 5: subscriptions.

#[test]
fn a_snapshot_is_asked_for_beside_a_position_and_begins_anew_what_is_held() {
    check(
        r#"
        > {"stream": "notes/subscribe", "request_id": 1, "snapshot": true, "since": "000000000000feed-3"}
        joined 1
        > {"stream": "notes/subscribe", "request_id": 2, "snapshot": true}
        > {"stream": "notes/unsubscribe", "request_id": 3, "snapshot": true}
        joined 2
        > {"stream": "notes/unsubscribe", "request_id": 4}
        > {"stream": "notes/subscribe", "request_id": 5}
        "#,
        expect![[r#"
            join 1 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7] since 000000000000feed-3 with a snapshot
            < {"type":"reply","request_id":1,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            renew 1 for 2
            -
            < {"type":"reply","request_id":2,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":3,"stream":"notes","action":"unsubscribe","status":204}
            leave 1
            < {"type":"reply","request_id":4,"stream":"notes","action":"unsubscribe","status":204}
            join 3 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7]
        "#]],
    );
}

#[test]
fn a_subscription_is_answered_when_its_group_has_been_joined() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/subscribe", "payload": {"rank__gte": 3}}
        joined 1
        > {"request_id": 2, "stream": "notes/subscribe/3"}
        joined 2
        > {"request_id": 3, "stream": "notes/subscribe", "pk": 3, "payload": {"rank__gte": 3}}
        joined 3
        > {"request_id": 4, "stream": "notes/subscribe"}
        answered 4 error
        > {"request_id": 5, "stream": "notes/subscribe"}
        joined 5
        "#,
        expect![[r#"
            join 1 notes YRBxHFpEwjdTKKPMGER59w [rank>=3 | * | Diff | 7]
            < {"type":"reply","request_id":1,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"YRBxHFpEwjdTKKPMGER59w","cursor":"000000000000feed-7","recovered":false}}
            join 2 notes rVrYwr5G4QVBCeOGlusUxA [id=[3] | * | Diff | 7]
            < {"type":"reply","request_id":2,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"rVrYwr5G4QVBCeOGlusUxA","cursor":"000000000000feed-7","recovered":false}}
            join 3 notes o5cTNbWEHNMEOm6WmH8vtw [id=[3]&rank>=3 | * | Diff | 7]
            < {"type":"reply","request_id":3,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"o5cTNbWEHNMEOm6WmH8vtw","cursor":"000000000000feed-7","recovered":false}}
            join 4 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7]
            < {"type":"reply","request_id":4,"stream":"notes","action":"subscribe","status":409,"error":{"code":"conflict","detail":"Taken.","errors":{"title":["This value is taken."]}}}
            join 5 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7]
            < {"type":"reply","request_id":5,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
        "#]],
    );
}

#[test]
fn the_options_of_a_subscription_are_part_of_what_it_is() {
    check(
        r#"
        > {"stream": "notes/subscribe"}
        joined 1
        > {"stream": "notes/subscribe", "form": "diff"}
        positioned 2
        > {"stream": "notes/subscribe", "form": "full"}
        joined 3
        > {"stream": "notes/subscribe", "fields": ["title", "rank"]}
        joined 4
        > {"stream": "notes/subscribe", "fields": ["rank", "id", "title", "rank"]}
        positioned 5
        > {"stream": "notes/subscribe", "fields": []}
        joined 6
        > {"stream": "notes/subscribe", "fields": ["id", "rank", "score", "title", "body", "done", "mood", "created", "edited"]}
        positioned 7
        > {"stream": "notes/subscribe", "actions": ["delete", "create"]}
        joined 8
        > {"stream": "notes/subscribe", "actions": ["create", "delete", "create"]}
        positioned 9
        > {"stream": "notes/subscribe", "actions": ["update", "create", "delete"]}
        positioned 10
        > {"stream": "notes/subscribe", "snapshot": false, "since": null}
        positioned 11
        "#,
        expect![[r#"
            join 1 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 2
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            join 3 notes FRhPNC1a7iSt52FsVzHSHQ [ | * | Full | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"FRhPNC1a7iSt52FsVzHSHQ","cursor":"000000000000feed-7","recovered":false}}
            join 4 notes lUMdPAHjBsidKmF8VEUiiA [ | id,rank,title | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"lUMdPAHjBsidKmF8VEUiiA","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 5
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"lUMdPAHjBsidKmF8VEUiiA","cursor":"000000000000feed-7","recovered":false}}
            join 6 notes VNQ5k1BQ6PhtXvmYw2DQiw [ | id | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"VNQ5k1BQ6PhtXvmYw2DQiw","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 7
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            join 8 notes 59Rfsrq_njHn0Q1gKe3ppA [ | * | Diff | 5]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"59Rfsrq_njHn0Q1gKe3ppA","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 9
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"59Rfsrq_njHn0Q1gKe3ppA","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 10
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 11
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
        "#]],
    );
}

#[test]
fn a_subscription_goes_on_from_a_cursor() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/subscribe", "since": "000000000000feed-5"}
        > {"request_id": 2, "stream": "notes/subscribe", "since": "000000000000feed-5"}
        recovered 1 5
        positioned 2
        > {"request_id": 3, "stream": "tags/subscribe", "since": "000000000000beef-900"}
        joined 3
        > {"request_id": 4, "stream": "notes/unsubscribe", "since": "000000000000feed-5"}
        > {"request_id": 5, "stream": "notes/unsubscribe"}
        "#,
        expect![[r#"
            join 1 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7] since 000000000000feed-5
            -
            < {"type":"reply","request_id":1,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-5","recovered":true}}
            ask the position for 2
            <~ {"type":"reply","request_id":2,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            join 3 tags P3gEjsEZMyUXL85MnwUnLQ [ | * | Diff | 7] since 000000000000beef-900
            < {"type":"reply","request_id":3,"stream":"tags","action":"subscribe","status":200,"data":{"subscription":"P3gEjsEZMyUXL85MnwUnLQ","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":4,"stream":"notes","action":"unsubscribe","status":204}
            leave 1
            < {"type":"reply","request_id":5,"stream":"notes","action":"unsubscribe","status":204}
        "#]],
    );
}

#[test]
fn a_subscription_that_cannot_be_recovered_is_answered_and_holds_up_nothing() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/subscribe", "since": "000000000000feed-5"}
        > {"request_id": 2, "stream": "notes/subscribe"}
        answered 1 error
        joined 2
        "#,
        expect![[r#"
            join 1 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7] since 000000000000feed-5
            -
            < {"type":"reply","request_id":1,"stream":"notes","action":"subscribe","status":409,"error":{"code":"conflict","detail":"Taken.","errors":{"title":["This value is taken."]}}}
            join 2 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7]
            < {"type":"reply","request_id":2,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
        "#]],
    );
}

#[test]
fn options_of_a_subscription_that_make_no_sense_are_refused() {
    check(
        r#"
        > {"stream": "notes/subscribe", "form": "short"}
        > {"stream": "notes/subscribe", "form": 5}
        > {"stream": "notes/subscribe", "fields": "title"}
        > {"stream": "notes/subscribe", "fields": ["nosuch"]}
        > {"stream": "tags/subscribe", "fields": ["secret"]}
        > {"stream": "notes/subscribe", "fields": [5]}
        > {"stream": "notes/subscribe", "actions": []}
        > {"stream": "notes/subscribe", "actions": "create"}
        > {"stream": "notes/subscribe", "actions": ["replace"]}
        > {"stream": "notes/subscribe", "snapshot": "yes"}
        > {"stream": "notes/subscribe", "since": 7}
        > {"stream": "notes/subscribe", "since": false}
        > {"stream": "notes/subscribe", "since": "nonsense"}
        > {"stream": "notes/unsubscribe", "since": "nonsense"}
        > {"stream": "notes/subscribe", "payload": {"nosuch": 1}}
        > {"stream": "notes/subscribe", "payload": {"rank": "x"}}
        "#,
        expect![[r#"
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"form is \"diff\" or \"full\"."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"form is \"diff\" or \"full\"."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"fields is a list of names."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"unknown_field","detail":"\"nosuch\" is not a field of this stream.","errors":{"fields":["Choices are id, rank, score, title, body, done, mood, created, edited."]}}}
            < {"type":"reply","request_id":null,"stream":"tags","action":"subscribe","status":400,"error":{"code":"unknown_field","detail":"\"secret\" is not a field of this stream.","errors":{"fields":["Choices are name, colour."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"unknown_field","detail":"5 is not a field of this stream.","errors":{"fields":["Choices are id, rank, score, title, body, done, mood, created, edited."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"actions is a list of at least one of create, update and delete."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"actions is a list of at least one of create, update and delete."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"actions is a list of at least one of create, update and delete."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"snapshot is true or false."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"since is a cursor: that of an event, a reply, a ping or a list's feed."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"since is a cursor: that of an event, a reply, a ping or a list's feed."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"bad_request","detail":"since is a cursor: that of an event, a reply, a ping or a list's feed."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":400,"error":{"code":"bad_request","detail":"since is a cursor: that of an event, a reply, a ping or a list's feed."}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"unknown_field","detail":"\"nosuch\" is not a filter of this stream.","errors":{"nosuch":["Choices are ids, name, at_least, has_body, id, rank, score, title, body, done, mood, created, edited."]}}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"rank":["A valid integer is required."]}}}
        "#]],
    );
}

#[test]
fn filters_that_are_written_differently_are_one_subscription() {
    check(
        r#"
        > {"stream": "notes/subscribe", "payload": {"id__in": [3, 1, 2], "done": true}}
        joined 1
        > {"stream": "notes/subscribe", "payload": {"done__exact": "true", "ids": ["1", 2.0, 3, 3]}}
        positioned 2
        > {"stream": "notes/subscribe", "payload": {"pk__in": [1, 2, 3], "done__in": [true, true]}}
        positioned 3
        > {"stream": "notes/subscribe/5"}
        joined 4
        > {"stream": "notes/subscribe", "payload": {"pk": 5}}
        positioned 5
        > {"stream": "notes/subscribe", "payload": {"ids": ["5"]}}
        positioned 6
        > {"stream": "notes/subscribe", "payload": {"body": null}}
        joined 7
        > {"stream": "notes/subscribe", "payload": {"has_body": "true"}}
        positioned 8
        > {"stream": "notes/subscribe", "payload": {"title__icontains": "ΣΑΣ"}}
        joined 9
        > {"stream": "notes/subscribe", "payload": {"title__icontains": "σας"}}
        positioned 10
        > {"stream": "notes/subscribe", "payload": {"score__gte": -0.0}}
        joined 11
        > {"stream": "notes/subscribe", "payload": {"score__gte": 0}}
        positioned 12
        > {"stream": "notes/subscribe", "payload": {"created": "2026-01-31"}}
        joined 13
        > {"stream": "notes/subscribe", "payload": {"created__in": ["2026-01-31T01:00:00+01:00"]}}
        positioned 14
        > {"stream": "notes/subscribe", "payload": {"rank__range": [1, 2]}}
        joined 15
        > {"stream": "notes/subscribe", "payload": {"rank__gt": 2147483648}}
        joined 16
        > {"stream": "notes/subscribe", "payload": {"ids": []}}
        joined 17
        > {"stream": "notes/subscribe", "payload": {"pk": 9223372036854775808}}
        positioned 18
        "#,
        expect![[r#"
            join 1 notes ALuDi_1sTXHOZZA2iZrfrg [done=[true]&id=[1,2,3] | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"ALuDi_1sTXHOZZA2iZrfrg","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 2
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"ALuDi_1sTXHOZZA2iZrfrg","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 3
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"ALuDi_1sTXHOZZA2iZrfrg","cursor":"000000000000feed-7","recovered":false}}
            join 4 notes ZViqUIg2ysROJcX_v14p9Q [id=[5] | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"ZViqUIg2ysROJcX_v14p9Q","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 5
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"ZViqUIg2ysROJcX_v14p9Q","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 6
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"ZViqUIg2ysROJcX_v14p9Q","cursor":"000000000000feed-7","recovered":false}}
            join 7 notes CqoVVmWdlYYg7Qt7VvQAgw [body?true | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"CqoVVmWdlYYg7Qt7VvQAgw","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 8
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"CqoVVmWdlYYg7Qt7VvQAgw","cursor":"000000000000feed-7","recovered":false}}
            join 9 notes gGgC6BHY70vxqJutahi4kA [title~icontains"σασ" | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"gGgC6BHY70vxqJutahi4kA","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 10
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"gGgC6BHY70vxqJutahi4kA","cursor":"000000000000feed-7","recovered":false}}
            join 11 notes WBZlIbtrA5opVn6eENNKew [score>=0.0 | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"WBZlIbtrA5opVn6eENNKew","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 12
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"WBZlIbtrA5opVn6eENNKew","cursor":"000000000000feed-7","recovered":false}}
            join 13 notes 4wDEP8kNRZc75_TjYaQ_0A [created=["2026-01-31T00:00:00Z"] | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"4wDEP8kNRZc75_TjYaQ_0A","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 14
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"4wDEP8kNRZc75_TjYaQ_0A","cursor":"000000000000feed-7","recovered":false}}
            join 15 notes RgOexVpjL4OMVjYs5Rqvmw [rank>=1<=2 | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"RgOexVpjL4OMVjYs5Rqvmw","cursor":"000000000000feed-7","recovered":false}}
            join 16 notes vMC1Y8D8z5vne_QN-kndPA [rank=[] | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"vMC1Y8D8z5vne_QN-kndPA","cursor":"000000000000feed-7","recovered":false}}
            join 17 notes 2cHh6McO9LmyRvMurC237g [id=[] | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"2cHh6McO9LmyRvMurC237g","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 18
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"2cHh6McO9LmyRvMurC237g","cursor":"000000000000feed-7","recovered":false}}
        "#]],
    );
}

#[test]
fn equal_subscriptions_of_a_connection_are_counted() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/subscribe", "payload": {"rank": 1}}
        joined 1
        > {"request_id": 2, "stream": "notes/subscribe", "payload": {"rank": 1}}
        positioned 2
        > {"request_id": 3, "stream": "notes/unsubscribe", "payload": {"rank": 1}}
        > {"request_id": 4, "stream": "notes/unsubscribe", "payload": {"rank": 1}}
        > {"request_id": 5, "stream": "notes/unsubscribe", "payload": {"rank": 1}}
        > {"request_id": 6, "stream": "notes/subscribe", "payload": {"rank": 1}}
        "#,
        expect![[r#"
            join 1 notes 6AHarcOJ3WqhG4M95GPnRw [rank=[1] | * | Diff | 7]
            < {"type":"reply","request_id":1,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"6AHarcOJ3WqhG4M95GPnRw","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 2
            <~ {"type":"reply","request_id":2,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"6AHarcOJ3WqhG4M95GPnRw","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":3,"stream":"notes","action":"unsubscribe","status":204}
            leave 1
            < {"type":"reply","request_id":4,"stream":"notes","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":5,"stream":"notes","action":"unsubscribe","status":204}
            join 3 notes 6AHarcOJ3WqhG4M95GPnRw [rank=[1] | * | Diff | 7]
        "#]],
    );
}

#[test]
fn an_equal_subscription_waits_for_the_first_to_be_answered() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/subscribe"}
        > {"request_id": 2, "stream": "notes/subscribe"}
        > {"request_id": 3, "stream": "notes/unsubscribe"}
        > {"request_id": 4, "stream": "notes/unsubscribe"}
        joined 1
        positioned 2
        "#,
        expect![[r#"
            join 1 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7]
            -
            -
            -
            < {"type":"reply","request_id":1,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            ask the position for 2
            <~ {"type":"reply","request_id":2,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":3,"stream":"notes","action":"unsubscribe","status":204}
            leave 1
            < {"type":"reply","request_id":4,"stream":"notes","action":"unsubscribe","status":204}
        "#]],
    );
    check(
        r#"
        > {"request_id": 1, "stream": "notes/subscribe"}
        > {"request_id": 2, "stream": "notes/subscribe"}
        answered 1 error
        joined 2
        "#,
        expect![[r#"
            join 1 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7]
            -
            < {"type":"reply","request_id":1,"stream":"notes","action":"subscribe","status":409,"error":{"code":"conflict","detail":"Taken.","errors":{"title":["This value is taken."]}}}
            join 2 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7]
            < {"type":"reply","request_id":2,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
        "#]],
    );
}

#[test]
fn unsubscribing_by_id_names_the_stream_and_the_id() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/subscribe", "payload": {"rank": 1}, "form": "full"}
        joined 1
        > {"request_id": 2, "stream": "tags/unsubscribe", "subscription": "-c05P8i57pKXmBd4UeilJQ"}
        > {"request_id": 3, "stream": "notes/unsubscribe", "subscription": "nosuch"}
        > {"request_id": 4, "stream": "notes/unsubscribe", "subscription": 5}
        > {"request_id": 5, "stream": "notes/unsubscribe", "subscription": "x", "payload": {"rank": 1}}
        > {"request_id": 6, "stream": "notes/unsubscribe/3", "subscription": "x"}
        > {"request_id": 7, "stream": "notes/unsubscribe", "subscription": "-c05P8i57pKXmBd4UeilJQ"}
        > {"request_id": 8, "stream": "notes/unsubscribe", "subscription": "-c05P8i57pKXmBd4UeilJQ"}
        "#,
        expect![[r#"
            join 1 notes -c05P8i57pKXmBd4UeilJQ [rank=[1] | * | Full | 7]
            < {"type":"reply","request_id":1,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"-c05P8i57pKXmBd4UeilJQ","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":2,"stream":"tags","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":3,"stream":"notes","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":4,"stream":"notes","action":"unsubscribe","status":400,"error":{"code":"bad_request","detail":"subscription is a string."}}
            < {"type":"reply","request_id":5,"stream":"notes","action":"unsubscribe","status":400,"error":{"code":"bad_request","detail":"unsubscribe names a subscription or a filter, not both."}}
            < {"type":"reply","request_id":6,"stream":"notes","action":"unsubscribe","status":400,"error":{"code":"bad_request","detail":"unsubscribe names a subscription or a filter, not both."}}
            leave 1
            < {"type":"reply","request_id":7,"stream":"notes","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":8,"stream":"notes","action":"unsubscribe","status":204}
        "#]],
    );
}

#[test]
fn unsubscribing_by_filter_names_the_same_options() {
    check(
        r#"
        > {"stream": "notes/subscribe", "payload": {"rank": 1}, "form": "full", "fields": ["title"]}
        joined 1
        > {"stream": "notes/unsubscribe", "payload": {"rank": 1}}
        > {"stream": "notes/unsubscribe", "payload": {"rank": 1}, "form": "full"}
        > {"stream": "notes/unsubscribe", "payload": {"rank": 1}, "form": "full", "fields": ["title"], "actions": ["create"]}
        > {"stream": "notes/unsubscribe", "payload": {"rank": 2}, "form": "full", "fields": ["title"]}
        > {"stream": "notes/unsubscribe", "payload": {"nosuch": 2}}
        > {"stream": "notes/unsubscribe", "payload": {"rank__in": ["1"]}, "form": "full", "fields": ["id", "title"]}
        > {"stream": "notes/unsubscribe"}
        "#,
        expect![[r#"
            join 1 notes K8I_FtghOfj9wom4wCu2UA [rank=[1] | id,title | Full | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"K8I_FtghOfj9wom4wCu2UA","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":400,"error":{"code":"unknown_field","detail":"\"nosuch\" is not a filter of this stream.","errors":{"nosuch":["Choices are ids, name, at_least, has_body, id, rank, score, title, body, done, mood, created, edited."]}}}
            leave 1
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
        "#]],
    );
}

#[test]
fn a_subscription_to_a_row_is_ended_by_its_pk() {
    check(
        r#"
        > {"stream": "notes/subscribe/3"}
        joined 1
        > {"stream": "notes/unsubscribe/4"}
        > {"stream": "notes", "action": "unsubscribe", "pk": 3}
        "#,
        expect![[r#"
            join 1 notes rVrYwr5G4QVBCeOGlusUxA [id=[3] | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"rVrYwr5G4QVBCeOGlusUxA","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
            leave 1
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
        "#]],
    );
}

fn subscribe(rank: usize) -> String {
    format!(r#"> {{"stream": "notes/subscribe", "payload": {{"rank": {rank}}}}}"#)
}

#[test]
fn a_connection_holds_as_many_subscriptions_as_the_limit_says() {
    let mut limits = Limits::default();
    limits.subscriptions = 2;
    let script = format!(
        "{}\njoined 1\n{}\njoined 2\n{}\n{}\npositioned 3\n> {}\n> {}\n> {}\njoined 4\n{}",
        subscribe(1),
        subscribe(2),
        subscribe(3),
        // Equal ones count once.
        subscribe(2),
        r#"{"stream": "notes/unsubscribe", "payload": {"rank": 2}}"#,
        r#"{"stream": "notes/unsubscribe", "payload": {"rank": 2}}"#,
        r#"{"stream": "notes/subscribe", "payload": {"rank": 3}}"#,
        subscribe(4),
    );
    check_with(
        limits,
        None,
        &script,
        expect![[r#"
            join 1 notes 6AHarcOJ3WqhG4M95GPnRw [rank=[1] | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"6AHarcOJ3WqhG4M95GPnRw","cursor":"000000000000feed-7","recovered":false}}
            join 2 notes eaJSuybjM30Ig1SuPAOf1w [rank=[2] | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"eaJSuybjM30Ig1SuPAOf1w","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"non_field_errors":["A connection holds at most 2 subscriptions (limit subscriptions)."]}}}
            ask the position for 3
            <~ {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"eaJSuybjM30Ig1SuPAOf1w","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
            leave 2
            < {"type":"reply","request_id":null,"stream":"notes","action":"unsubscribe","status":204}
            join 4 notes 9C-Rcbae4J_oYwm6Zf4rpQ [rank=[3] | * | Diff | 7]
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"9C-Rcbae4J_oYwm6Zf4rpQ","cursor":"000000000000feed-7","recovered":false}}
            < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"non_field_errors":["A connection holds at most 2 subscriptions (limit subscriptions)."]}}}
        "#]],
    );
}

#[test]
fn the_default_limit_is_128_subscriptions() {
    let mut script = String::new();
    for at in 1..=129 {
        script.push_str(&subscribe(at));
        script.push_str(&format!("\njoined {at}\n"));
    }
    let lines = play(Limits::default(), None, &script);
    let joins = lines.lines().filter(|line| line.starts_with("join ")).count();
    assert_eq!(joins, 128);
    // The last subscribe is refused, so there is no ticket 129 to be joined: its group is left again.
    expect![[r#"
        < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"non_field_errors":["A connection holds at most 128 subscriptions (limit subscriptions)."]}}}
        leave 129"#]].assert_eq(&lines.lines().skip(256).collect::<Vec<_>>().join("\n"));
}

#[test]
fn waiting_subscribes_cannot_pass_the_limit_together() {
    let mut limits = Limits::default();
    limits.subscriptions = 1;
    let script = format!("{}\n{}\njoined 1", subscribe(1), subscribe(2));
    check_with(
        limits,
        None,
        &script,
        expect![[r#"
        join 1 notes 6AHarcOJ3WqhG4M95GPnRw [rank=[1] | * | Diff | 7]
        -
        < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"6AHarcOJ3WqhG4M95GPnRw","cursor":"000000000000feed-7","recovered":false}}
        < {"type":"reply","request_id":null,"stream":"notes","action":"subscribe","status":400,"error":{"code":"validation_error","detail":"Some values are not acceptable.","errors":{"non_field_errors":["A connection holds at most 1 subscriptions (limit subscriptions)."]}}}
    "#]],
    );
}

// Section 3: order and concurrency.

#[test]
fn a_write_is_not_carried_out_before_the_one_before_it_is_answered() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/create", "payload": {"title": "a"}}
        > {"request_id": 2, "stream": "notes/update/3", "payload": {"title": "b"}}
        > {"request_id": 3, "stream": "notes/replace/4", "payload": {"title": "b"}}
        > {"request_id": 4, "stream": "notes/delete/3"}
        answered 1 created 3
        answered 2 error
        answered 3 object 3
        answered 4 deleted
        "#,
        expect![[r#"
            execute 1 notes create {"title":"a"}
            -
            -
            -
            < {"type":"reply","request_id":1,"stream":"notes","action":"create","status":201,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 2 notes update 3 {"title":"b"}
            < {"type":"reply","request_id":2,"stream":"notes","action":"update","status":409,"error":{"code":"conflict","detail":"Taken.","errors":{"title":["This value is taken."]}}}
            execute 3 notes replace 4 {"title":"b"}
            < {"type":"reply","request_id":3,"stream":"notes","action":"replace","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 4 notes delete 3
            < {"type":"reply","request_id":4,"stream":"notes","action":"delete","status":204}
        "#]],
    );
}

#[test]
fn reads_overtake_writes_and_each_other() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/create", "payload": {"title": "a"}}
        > {"request_id": 2, "stream": "notes/create", "payload": {"title": "b"}}
        > {"request_id": 3, "stream": "notes/retrieve/3"}
        > {"request_id": 4, "stream": "notes/list"}
        > {"request_id": 5, "action": "ping"}
        positioned 4
        answered 3 page 3 1
        answered 2 object 3
        answered 1 created 3
        "#,
        expect![[r#"
            execute 1 notes create {"title":"a"}
            -
            execute 2 notes retrieve 3
            execute 3 notes list ListQuery { filter: Filter { terms: [], canonical: "", ends: [] }, related: [], fields: None, expand: [], order: [OrderKey { field: 0, descending: false }], limit: 100, start: Offset(0), count: true, scanned_rows: 100000, key: None }
            ask the position for 4
            <~ {"type":"reply","request_id":5,"stream":null,"action":"ping","status":200,"data":{"time":"2026-02-03T04:05:06Z","cursor":"000000000000feed-7"}}
            < {"type":"reply","request_id":4,"stream":"notes","action":"list","status":200,"data":{"results":[{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}],"next":"next-cursor","previous":null,"count":1,"feed":"000000000000feed-7"}}
            < {"type":"reply","request_id":3,"stream":"notes","action":"retrieve","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            < {"type":"reply","request_id":1,"stream":"notes","action":"create","status":201,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 5 notes create {"title":"b"}
        "#]],
    );
}

#[test]
fn a_subscribe_keeps_its_place_among_writes() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/create", "payload": {"title": "a"}}
        > {"request_id": 2, "stream": "notes/subscribe"}
        > {"request_id": 3, "stream": "notes/create", "payload": {"title": "b"}}
        > {"request_id": 4, "stream": "notes/unsubscribe"}
        > {"request_id": 5, "stream": "notes/create", "payload": {"title": "c"}}
        answered 1 created 3
        joined 2
        answered 3 created 4
        "#,
        expect![[r#"
            execute 1 notes create {"title":"a"}
            -
            -
            -
            -
            < {"type":"reply","request_id":1,"stream":"notes","action":"create","status":201,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            join 2 notes KV-xF0Jkw685M13j4cK0ww [ | * | Diff | 7]
            < {"type":"reply","request_id":2,"stream":"notes","action":"subscribe","status":200,"data":{"subscription":"KV-xF0Jkw685M13j4cK0ww","cursor":"000000000000feed-7","recovered":false}}
            execute 3 notes create {"title":"b"}
            < {"type":"reply","request_id":3,"stream":"notes","action":"create","status":201,"data":{"id":4,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            leave 2
            < {"type":"reply","request_id":4,"stream":"notes","action":"unsubscribe","status":204}
            execute 4 notes create {"title":"c"}
        "#]],
    );
}

#[test]
fn a_write_that_is_refused_is_answered_in_its_turn_and_any_other_request_at_once() {
    check(
        r#"
        > {"request_id": 1, "stream": "notes/create", "payload": {"title": "a"}}
        > {"request_id": 2, "stream": "notes/delete"}
        > {"request_id": 3, "stream": "notes/subscribe", "payload": {"nosuch": 1}}
        > {"request_id": 4, "stream": "notes/create", "payload": {"title": "b"}}
        answered 1 created 3
        "#,
        expect![[r#"
            execute 1 notes create {"title":"a"}
            -
            < {"type":"reply","request_id":3,"stream":"notes","action":"subscribe","status":400,"error":{"code":"unknown_field","detail":"\"nosuch\" is not a filter of this stream.","errors":{"nosuch":["Choices are ids, name, at_least, has_body, id, rank, score, title, body, done, mood, created, edited."]}}}
            -
            < {"type":"reply","request_id":1,"stream":"notes","action":"create","status":201,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            < {"type":"reply","request_id":2,"stream":"notes","action":"delete","status":400,"error":{"code":"bad_request","detail":"delete needs a pk."}}
            execute 2 notes create {"title":"b"}
        "#]],
    );
}

#[test]
fn a_connection_is_full_with_as_many_requests_as_may_run() {
    let mut limits = Limits::default();
    limits.running_requests = 3;
    check_with(
        limits,
        None,
        r#"
        full?
        > {"request_id": 1, "stream": "notes/create"}
        > {"request_id": 2, "stream": "notes/create"}
        full?
        > {"request_id": 3, "stream": "notes/retrieve/3"}
        full?
        > {"request_id": 4, "stream": "nosuch"}
        full?
        answered 2 object 3
        full?
        > {"action": "ping"}
        full?
        answered 1 created 3
        full?
        "#,
        expect![[r#"
            full: false
            execute 1 notes create {}
            -
            full: false
            execute 2 notes retrieve 3
            full: true
            < {"type":"reply","request_id":4,"stream":"nosuch","action":null,"status":400,"error":{"code":"bad_request","detail":"A message names an action."}}
            full: true
            < {"type":"reply","request_id":3,"stream":"notes","action":"retrieve","status":200,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            full: false
            ask the position for 3
            full: true
            < {"type":"reply","request_id":1,"stream":"notes","action":"create","status":201,"data":{"id":3,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}}
            execute 4 notes create {}
            full: false
        "#]],
    );
}

// Section 7: who is asking.

#[test]
fn what_comes_after_an_authenticate_waits_until_it_is_known_who_asks() {
    check(
        r#"
        > {"request_id": 1, "action": "authenticate", "payload": {"token": "a"}}
        > {"request_id": 2, "stream": "notes/list"}
        > {"request_id": 3, "action": "ping"}
        > {"request_id": 4, "stream": "notes/delete/4"}
        > not json
        > {"request_id": 5, "action": "authenticate", "payload": {"token": "b"}}
        > {"request_id": 6, "stream": "notes/retrieve/6"}
        > {"request_id": 7, "stream": "nowhere/list"}
        authenticated 1 7
        > {"request_id": 8, "stream": "notes/retrieve/8"}
        answered 4 deleted
        authenticated 5 nobody
        > {"request_id": 9, "stream": "notes/retrieve/9"}
        "#,
        expect![[r#"
            authenticate 1 "a"
            -
            -
            -
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"parse_error","detail":"The message is not JSON: expected ident at line 1 column 2."}}
            -
            -
            -
            < {"type":"reply","request_id":1,"stream":null,"action":"authenticate","status":200,"data":{"expires_at":null}}
            execute 2 notes list ListQuery { filter: Filter { terms: [], canonical: "", ends: [] }, related: [], fields: None, expand: [], order: [OrderKey { field: 0, descending: false }], limit: 100, start: Offset(0), count: true, scanned_rows: 100000, key: None }
            ask the position for 3
            execute 4 notes delete 4
            -
            < {"type":"reply","request_id":4,"stream":"notes","action":"delete","status":204}
            authenticate 5 "b"
            < {"type":"reply","request_id":5,"stream":null,"action":"authenticate","status":401,"error":{"code":"not_authenticated","detail":"Authentication credentials were not provided."}}
            execute 6 notes retrieve 6
            < {"type":"reply","request_id":7,"stream":"nowhere","action":"list","status":404,"error":{"code":"not_found","detail":"There is no stream \"nowhere\"."}}
            execute 7 notes retrieve 8
            execute 8 notes retrieve 9
        "#]],
    );
}

#[test]
fn an_authenticate_waits_for_the_writes_before_it_and_reading_pauses_where_too_much_waits() {
    let mut limits = Limits::default();
    limits.running_requests = 4;
    check_with(
        limits,
        None,
        r#"
        > {"request_id": 1, "stream": "notes/delete/1"}
        > {"request_id": 2, "action": "authenticate", "payload": {"token": "a"}}
        > {"request_id": 3, "stream": "notes/delete/3"}
        full?
        > {"request_id": 4, "stream": "notes/retrieve/4"}
        full?
        answered 1 deleted
        full?
        authenticated 2 7
        full?
        "#,
        expect![[r#"
            execute 1 notes delete 1
            -
            -
            full: false
            -
            full: true
            < {"type":"reply","request_id":1,"stream":"notes","action":"delete","status":204}
            authenticate 2 "a"
            full: false
            < {"type":"reply","request_id":2,"stream":null,"action":"authenticate","status":200,"data":{"expires_at":null}}
            execute 3 notes delete 3
            execute 4 notes retrieve 4
            full: false
        "#]],
    );
}

#[test]
fn what_has_waited_for_another_user_is_not_carried_out() {
    check(
        r#"
        > {"request_id": 1, "action": "authenticate", "payload": {"token": "a"}}
        authenticated 1 7
        > {"request_id": 2, "action": "authenticate", "payload": {"token": "b"}}
        > {"request_id": 3, "stream": "notes/delete/3"}
        authenticated 2 8
        "#,
        expect![[r#"
            authenticate 1 "a"
            < {"type":"reply","request_id":1,"stream":null,"action":"authenticate","status":200,"data":{"expires_at":null}}
            authenticate 2 "b"
            -
            close 4401 another session has begun
        "#]],
    );
}

// Section 9: the rate limit.

#[test]
fn requests_over_the_rate_are_throttled_until_time_has_passed() {
    let mut limits = Limits::default();
    limits.requests_per_second = 2;
    limits.request_burst = 2;
    check_with(
        limits,
        None,
        r#"
        > {"request_id": 1, "stream": "notes/retrieve/1"}
        binary
        > {"request_id": 3, "stream": "notes/retrieve/3"}
        binary
        > not json
        at 1499
        > {"request_id": 4, "stream": "notes", "action": "retrieve", "pk": 4}
        at 1500
        > {"request_id": 5, "stream": "notes/retrieve/5"}
        > {"request_id": 6, "stream": "notes/retrieve/6"}
        at 1200
        > {"request_id": 7, "stream": "notes/retrieve/7"}
        at 900000
        > {"request_id": 8, "stream": "notes/retrieve/8"}
        > {"request_id": 9, "stream": "notes/retrieve/9"}
        > {"request_id": 10, "stream": "notes/retrieve/10"}
        "#,
        expect![[r#"
            execute 1 notes retrieve 1
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":400,"error":{"code":"unsupported_frame","detail":"Only text frames are read."}}
            < {"type":"reply","request_id":3,"stream":"notes","action":"retrieve","status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":0.5}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":0.5}}
            < {"type":"reply","request_id":null,"stream":null,"action":null,"status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":0.5}}
            < {"type":"reply","request_id":4,"stream":"notes","action":"retrieve","status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":0.5}}
            execute 2 notes retrieve 5
            < {"type":"reply","request_id":6,"stream":"notes","action":"retrieve","status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":0.5}}
            < {"type":"reply","request_id":7,"stream":"notes","action":"retrieve","status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":0.5}}
            execute 3 notes retrieve 8
            execute 4 notes retrieve 9
            < {"type":"reply","request_id":10,"stream":"notes","action":"retrieve","status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":0.5}}
        "#]],
    );
}

#[test]
fn a_connection_that_goes_on_over_the_rate_is_closed_with_4429() {
    let mut limits = Limits::default();
    limits.requests_per_second = 1;
    limits.request_burst = 1;
    limits.throttled_in_a_row = 2;
    check_with(
        limits,
        None,
        r#"
        > {"request_id": 1, "action": "ping"}
        > {"request_id": 2, "action": "ping"}
        > {"request_id": 3, "action": "ping"}
        at 2000
        > {"request_id": 4, "action": "ping"}
        > {"request_id": 5, "action": "ping"}
        > {"request_id": 6, "action": "ping"}
        > {"request_id": 7, "action": "ping"}
        at 9000
        > {"request_id": 8, "action": "ping"}
        binary
        "#,
        expect![[r#"
            ask the position for 1
            < {"type":"reply","request_id":2,"stream":null,"action":"ping","status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":1.0}}
            < {"type":"reply","request_id":3,"stream":null,"action":"ping","status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":1.0}}
            ask the position for 2
            < {"type":"reply","request_id":5,"stream":null,"action":"ping","status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":1.0}}
            < {"type":"reply","request_id":6,"stream":null,"action":"ping","status":429,"error":{"code":"throttled","detail":"Too many requests.","retry_after":1.0}}
            close 4429 too many requests
            -
            -
        "#]],
    );
}

#[test]
fn the_default_burst_is_2000_requests_and_the_rate_1000_a_second() {
    let surface = surface(Limits::default());
    let mut connection = Connection::new(surface, None, 0);
    let mut served = |now_ms| {
        (0..3_000)
            .filter(|_| match connection.binary(now_ms).as_slice() {
                [Effect::Send(text)] => text.contains("unsupported_frame"),
                _ => panic!("not yet closed"),
            })
            .count()
    };
    assert_eq!(served(0), 2_000);
    assert_eq!(served(1), 1);
    assert_eq!(served(501), 500);
    assert_eq!(served(3_600_000), 2_000);
}
