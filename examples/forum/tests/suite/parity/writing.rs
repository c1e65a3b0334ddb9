//! Single rows, read, followed and written by everybody; and that what he does not see is what there is not.

use serde_json::{Value as Json, json};

use super::model::{Object, Stream, Verdict, Write};
use super::people::{Answer, Town, cursor, path};

/// An answer about a row that somebody does not see is, to the letter, the answer about one that there is not.
#[track_caller]
fn assert_same(there: &Answer, nowhere: &Answer, what: &str) {
    assert_eq!(there.whole, nowhere.whole, "{what}");
    assert!([401, 404, 405].contains(&there.status), "{what}: {}", there.whole);
}

#[tokio::test]
async fn single_rows_are_shown_and_followed_by_whom_the_rules_say_and_are_missing_for_others() {
    let mut town = Town::start().await;
    for stream in Stream::ALL {
        let rows: Vec<Object> = town.world.rows(stream).cloned().collect();
        for at in 0..town.people.len() {
            for row in &rows {
                look_at(&mut town, at, stream, row).await;
            }
            // Whoever does not read answers no ping.
            town.catch_up().await;
        }
        town.assert_nothing_leaked();
    }
}

async fn look_at(town: &mut Town, at: usize, stream: Stream, row: &Object) {
    let person = &mut town.people[at];
    let (who, key) = (person.who, &row["id"]);
    let what = format!("{who:?} asks for {key} of {}", stream.name());
    let over_socket =
        |action: &str, key: &Json| json!({"stream": stream.name(), "action": action, "pk": key});
    let answers = [
        person.rest("GET", &path(stream, key), None).await,
        person.rest("HEAD", &path(stream, key), None).await,
        person.say(over_socket("retrieve", key)).await,
    ];
    if who.reads(stream) && who.sees(stream, row) {
        assert_eq!(answers.each_ref().map(|answer| answer.status), [200; 3], "{what}");
        for answer in [&answers[0], &answers[2]] {
            assert_eq!(answer.json, Json::Object(stream.face(row)), "{what}");
        }
    } else {
        let missing = stream.missing();
        let nowhere = [
            person.rest("GET", &path(stream, &missing), None).await,
            person.rest("HEAD", &path(stream, &missing), None).await,
            person.say(over_socket("retrieve", &missing)).await,
        ];
        for (there, nowhere) in answers.iter().zip(&nowhere) {
            assert_same(there, nowhere, &what);
        }
        // Nor does it have a state that could be asked about.
        for (method, condition) in [
            ("GET", ("if-none-match", "*")),
            ("GET", ("if-match", "\"x\"")),
            ("PATCH", ("if-match", "*")),
            ("PUT", ("if-none-match", "*")),
            ("DELETE", ("if-match", "\"x\"")),
        ] {
            let body = Object::new();
            let ask = async |key: &Json| {
                let body = (method != "GET" && method != "DELETE").then_some(&body);
                person.rest_with(method, &path(stream, key), &[condition], body).await
            };
            assert_same(&ask(key).await, &ask(&missing).await, &what);
        }
    }
    // Who follows a row learns nothing from being allowed to: not even whether there is one.
    let mut subscribed = Vec::new();
    let mut ids = Vec::new();
    for key in [key.clone(), stream.missing()] {
        let answer = person.say(over_socket("subscribe", &key)).await;
        assert_eq!(answer.status, if who.reads(stream) { 200 } else { 401 }, "{what}");
        if answer.status == 200 {
            let id = answer.json["subscription"].as_str().expect("an id");
            assert_eq!(id.len(), 22, "{what}");
            ids.push(id.to_owned());
            subscribed.push(answer.whole.replace(id, "").replace(&cursor(&answer), ""));
        } else {
            subscribed.push(answer.whole.clone());
        }
        let unsubscribed = person.say(over_socket("unsubscribe", &key)).await;
        assert_eq!(unsubscribed.status, if who.reads(stream) { 204 } else { 401 }, "{what}");
        // Once more, where nothing is held.
        let unheld = person.say(over_socket("unsubscribe", &key)).await;
        assert_eq!(unheld.whole, unsubscribed.whole, "{what}");
        subscribed.push(unheld.whole);
    }
    assert_eq!(subscribed[..2], subscribed[2..], "{what}");
    if stream == Stream::Feed && !who.sees(stream, row) {
        // Not even by the topic that is followed for its sake.
        assert_eq!(ids[0], ids[1], "{what}");
    }
    town.cells += 4 * stream.fields().len();
}

/// A change of a row that would be allowed to whoever may change it at all.
fn change(town: &mut Town, stream: Stream) -> Object {
    let (text, number) = (town.mint.text(), town.mint.number());
    let payload = match stream {
        Stream::Topics => json!({"title": text}),
        Stream::Comments => json!({"body": text, "score": number}),
        Stream::Notes => json!({"title": text, "amount": format!("{number}.00")}),
        // Other names would close sockets.
        Stream::Users => json!({}),
        Stream::Feed => json!({"body": text}),
    };
    payload.as_object().expect("an object").clone()
}

fn replacement(town: &mut Town, stream: Stream, row: &Object) -> Object {
    let mut payload = change(town, stream);
    match stream {
        Stream::Comments => {
            // As it is: to publish what was hidden, or to leave its topic, has rules of its own.
            for name in ["topic_id", "status"] {
                payload.insert(name.to_owned(), row[name].clone());
            }
        }
        Stream::Users => {
            payload.insert("username".to_owned(), row["username"].clone());
        }
        Stream::Topics | Stream::Notes | Stream::Feed => {}
    }
    payload
}

#[tokio::test]
async fn single_rows_are_written_by_whom_the_rules_say_and_are_missing_for_others() {
    let mut town = Town::start().await;
    for stream in Stream::ALL {
        let keys: Vec<Json> = town.world.rows(stream).map(|row| row["id"].clone()).collect();
        for (number, key) in keys.iter().enumerate() {
            // Everybody in turn, also once it is deleted.
            for round in 0..town.people.len() * 6 {
                let at = (round + number) % town.people.len();
                let Some(row) = town.world.row(stream, key).cloned() else { break };
                let write = match round / town.people.len() {
                    0 | 1 => Write::Update(key.clone(), change(&mut town, stream)),
                    2 => Write::Replace(key.clone(), replacement(&mut town, stream, &row)),
                    3 if stream == Stream::Topics => Write::Lock(key.clone(), row["locked"] == false),
                    4 if stream == Stream::Topics => Write::Lock(key.clone(), false),
                    3 | 4 => continue,
                    _ => Write::Delete(key.clone()),
                };
                for over_socket in [false, true] {
                    attempt(&mut town, at, stream, &write, over_socket).await;
                }
            }
            town.catch_up().await;
            town.assert_nothing_leaked();
        }
    }
}

#[tokio::test]
async fn the_comments_of_a_topic_are_hidden_by_whom_the_rules_say_and_then_for_whom_they_say() {
    let mut town = Town::start().await;
    let topics: Vec<Json> = town.world.rows(Stream::Topics).map(|row| row["id"].clone()).collect();
    for topic in topics.iter().chain([&Stream::Topics.missing()]) {
        for at in 0..town.people.len() {
            let hide = Write::Hide(Object::from_iter([("topic_id".to_owned(), topic.clone())]));
            for over_socket in [false, true] {
                attempt(&mut town, at, Stream::Comments, &hide, over_socket).await;
            }
        }
        // Until it is told, a snapshot may be that of who asked before it.
        town.catch_up().await;
        for at in 0..town.people.len() {
            for stream in [Stream::Comments, Stream::Feed] {
                super::reading::ask(&mut town, at, stream, None, true).await;
            }
        }
        town.assert_nothing_leaked();
    }
}

/// Tries a write, and takes over what becomes of it.
pub(super) async fn attempt(
    town: &mut Town,
    at: usize,
    stream: Stream,
    write: &Write,
    over_socket: bool,
) -> Vec<super::model::Change> {
    let who = town.people[at].who;
    let what = format!("{who:?} tries {write:?} of {}", stream.name());
    let verdict = town.world.judge(who, stream, write);
    let before = write.key().and_then(|key| town.world.row(stream, key)).cloned();
    let answer = town.people[at].write(stream, write, over_socket).await;
    town.cells += stream.fields().len();
    match verdict {
        Verdict::Refused(status) => {
            assert_eq!(answer.status, status, "{what}: {}", answer.whole);
            let is_hidden = before.is_some_and(|row| !who.sees(stream, &row));
            if is_hidden || who.key.is_none() && write.key().is_some() {
                let nowhere = town.people[at].write(stream, &write.of(stream.missing()), over_socket).await;
                assert_same(&answer, &nowhere, &what);
            }
            Vec::new()
        }
        Verdict::Deleted => {
            assert_eq!((answer.status, &answer.json), (204, &Json::Null), "{what}: {}", answer.whole);
            town.world.put(stream, write.key().expect("a key"), None)
        }
        Verdict::Hidden(count) => {
            assert_eq!((answer.status, &answer.json), (200, &json!({"count": count})), "{what}");
            town.world.hide(&write.payload().expect("it names a topic")["topic_id"])
        }
        Verdict::Written(status, mut after, of_server) => {
            assert_eq!(answer.status, status, "{what}: {}", answer.whole);
            for name in of_server {
                assert!(!answer.json[name].is_null(), "{what}: no {name} in {}", answer.json);
                after.insert(name.to_owned(), answer.json[name].clone());
            }
            assert_eq!(answer.json, Json::Object(after.clone()), "{what}");
            town.show(stream, &after);
            town.world.put(stream, &answer.json["id"], Some(after))
        }
    }
}
