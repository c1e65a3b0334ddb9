//! Lists, snapshots, streams, polls and single rows: for everybody, by every lookup and order.

use serde_json::{Value as Json, json};

use super::model::{Object, Stream};
use super::people::{Answer, Town};
use super::probe::Probe;

/// Filters of each field and lookup, with values of rows that not everybody sees.
fn probes(town: &Town, stream: Stream) -> Vec<Probe> {
    let rows: Vec<&Object> = town.world.rows(stream).collect();
    let mut probes = Vec::new();
    for (field, kind) in stream.filterable() {
        for (number, lookup) in stream.lookups((field, kind)).into_iter().enumerate() {
            let from = probes.len() * 5 + number;
            let with_value = (0..rows.len()).map(|at| rows[(from + at) % rows.len()]);
            let mut with_value = with_value.filter(|row| !row[field].is_null());
            let Some(row) = with_value.next() else { continue };
            let other = with_value.next().unwrap_or(row);
            // Half of them say what must not be.
            probes.extend(Probe::of((field, kind), lookup, probes.len() % 2 == 1, row, other));
        }
    }
    probes
}

#[tokio::test]
async fn whatever_is_asked_for_is_answered_with_what_the_rules_show() {
    let mut town = Town::start().await;
    for stream in Stream::ALL {
        for (number, probe) in
            [None].into_iter().chain(probes(&town, stream).into_iter().map(Some)).enumerate()
        {
            for at in 0..town.people.len() {
                ask(&mut town, at, stream, probe.as_ref(), number % 7 == 0).await;
            }
            town.assert_nothing_leaked();
        }
        town.catch_up().await;
    }
    eprintln!("{} cells, {} canaries, {} bytes", town.cells, town.canaries.count(), town.bytes);
    assert!(town.cells >= 100_000, "{} cells", town.cells);
}

pub(super) async fn ask(
    town: &mut Town,
    at: usize,
    stream: Stream,
    probe: Option<&Probe>,
    with_stream: bool,
) {
    let who = town.people[at].who;
    let expected: Vec<Object> = town.world.shown(who, stream, probe).into_iter().cloned().collect();
    let what = format!("{who:?} asks {} for {probe:?}", stream.name());
    let (name, query) = (stream.name(), probe.map(Probe::query).unwrap_or_default());
    let payload = probe.map_or(json!({}), Probe::payload);
    let person = &mut town.people[at];
    let list = person.rest("GET", &format!("/api/{name}/?limit=1000&{query}"), None).await;
    let replied =
        person.say(json!({"stream": name, "action": "list", "payload": payload, "limit": 1000})).await;
    let subscribe = json!({"stream": name, "action": "subscribe", "payload": payload, "snapshot": true});
    let subscribed = person.say(subscribe).await;
    let changes = person.rest("GET", &format!("/api/{name}/changes?wait=0&{query}"), None).await;
    if !who.reads(stream) {
        assert_eq!([list.status, replied.status, subscribed.status, changes.status], [401; 4], "{what}");
        let stream_of = person.rest("GET", &format!("/api/{name}/events?{query}"), None).await;
        assert_eq!(stream_of.status, 401, "{what}");
        town.assert_shows(stream, &json!([]), &[], &what);
        return;
    }
    // A poll goes on from its cursor, which it cannot where the topics are those of the rows of the moment.
    let is_anew = stream == Stream::Feed && probe.and_then(Probe::named_topics).is_none();
    assert_eq!(
        [list.status, replied.status, subscribed.status, changes.status],
        [200, 200, 200, if is_anew { 400 } else { 200 }],
        "{what}: {}",
        list.json
    );
    if !is_anew {
        assert_eq!(changes.json["events"], json!([]), "{what}");
    }
    let snapshot = person.socket.next_event().await;
    let unsubscribe = json!({"stream": name, "action": "unsubscribe", "payload": payload});
    assert_eq!(person.say(unsubscribe).await.status, 204, "{what}");
    let followed: Vec<Object> = town.world.followed(who, stream, probe).into_iter().cloned().collect();
    let mut snapshots = vec![snapshot["data"].clone()];
    let mut shown = Vec::new();
    for page in [&list.json, &replied.json] {
        shown.push(page["results"].clone());
        let rest = (&page["count"], &page["next"], &page["previous"]);
        assert_eq!(rest, (&json!(expected.len()), &Json::Null, &Json::Null), "{what}");
    }
    assert_eq!(snapshot["done"], true, "{what}: {snapshot}");
    if with_stream {
        let mut events = person.stream(format!("/api/{name}/events?snapshot=true&{query}")).await;
        snapshots.push(events.next().await.1["data"].clone());
    }
    for snapshot in snapshots {
        town.assert_shows(stream, &snapshot, &followed, &what);
    }
    for shown in shown {
        town.assert_shows(stream, &shown, &expected, &what);
    }
}

/// Pages in every order, over REST by their links and over the socket by their cursors.
#[tokio::test]
async fn pages_show_what_the_rules_show_in_every_order() {
    let mut town = Town::start().await;
    for stream in Stream::ALL {
        for field in stream.fields().iter().copied().filter(|(name, _)| *name != "tags") {
            for down in [false, true] {
                for at in 0..town.people.len() {
                    walk(&mut town, at, stream, field, down).await;
                }
            }
            // Whoever does not read answers no ping.
            town.catch_up().await;
        }
        town.assert_nothing_leaked();
    }
}

async fn walk(
    town: &mut Town,
    at: usize,
    stream: Stream,
    field: (&'static str, super::model::Kind),
    down: bool,
) {
    let who = town.people[at].who;
    let ordering = format!("{}{}", if down { "-" } else { "" }, field.0);
    let what = format!("{who:?} reads {} by {ordering}", stream.name());
    let expected: Vec<Object> = town.world.ordered(who, stream, field, down).into_iter().cloned().collect();
    let first = format!("/api/{}/?limit=4&ordering={ordering}", stream.name());
    let over_socket = |cursor: &Json| {
        let mut message =
            json!({"stream": stream.name(), "action": "list", "limit": 4, "ordering": ordering});
        if !cursor.is_null() {
            message["cursor"] = cursor.clone();
        }
        message
    };
    let person = &mut town.people[at];
    if !who.reads(stream) {
        assert_eq!(person.rest("GET", &first, None).await.status, 401, "{what}");
        assert_eq!(person.say(over_socket(&Json::Null)).await.status, 401, "{what}");
        return;
    }
    let mut walks: [Vec<Json>; 2] = Default::default();
    let (mut link, mut cursor) = (Json::from(first), Json::Null);
    for turn in 0.. {
        let pages: [Answer; 2] = [
            person.rest("GET", link.as_str().expect("a link"), None).await,
            person.say(over_socket(&cursor)).await,
        ];
        for (page, walk) in pages.iter().zip(&mut walks) {
            assert_eq!((page.status, &page.json["count"]), (200, &json!(expected.len())), "{what}");
            assert_eq!(page.json["previous"].is_null(), turn == 0, "{what}");
            walk.extend(page.json["results"].as_array().expect("rows").iter().cloned());
        }
        [link, cursor] = pages.map(|page| page.json["next"].clone());
        assert_eq!(link.is_null(), cursor.is_null(), "{what}");
        if link.is_null() {
            break;
        }
    }
    for walk in walks {
        town.assert_shows(stream, &Json::Array(walk), &expected, &what);
    }
}
