//! A user whom another program deletes, and whoever registers next: he has nothing of the former's.

use realtime_tests::on_postgres;
use serde_json::{Value as Json, json};

use super::model::{Kind, Object, Stream, Write};
use super::people::{Town, cursor};
use super::probe::Probe;
use super::writing::attempt;

/// The same request is the same creation, of the same user.
async fn once(town: &mut Town, at: usize, payload: &Object) {
    let key = [("idempotency-key", "the-same-for-both")];
    let made = town.people[at].rest_with("POST", "/api/notes/", &key, Some(payload)).await;
    assert_eq!(made.status, 201, "{}", made.whole);
    assert!(!made.whole.contains("idempotent-replayed: "), "{}", made.whole);
    assert_eq!(made.json["owner_id"].as_i64(), town.people[at].who.key);
    let row = made.json.as_object().expect("an object").clone();
    town.show(Stream::Notes, &row);
    town.world.put(Stream::Notes, &row["id"].clone(), Some(row));
}

#[tokio::test]
async fn whoever_registers_after_a_deletion_is_shown_what_the_rules_show_a_new_user() {
    let mut town = Town::start().await;
    let staff = town.people.len() - 1;
    let name = town.mint.text();
    let leaving = town.join(&name).await;
    let key: Json = town.people[leaving].who.key.into();
    let open = town.world.rows(Stream::Topics).find(|row| row["locked"] == false).expect("a topic");
    let topic = open["id"].clone();
    let mut of_him = Vec::new();
    for status in ["draft", "published", "published", "draft"] {
        let body = town.mint.text();
        let comment = json!({"topic_id": topic, "body": body, "status": status});
        let make = Write::Create(comment.as_object().expect("an object").clone());
        let made = attempt(&mut town, leaving, Stream::Comments, &make, of_him.len() % 2 == 0).await;
        of_him.push(made[0].2.clone().expect("it was made"));
    }
    let hide = json!({"status": "hidden"}).as_object().expect("an object").clone();
    let hide = Write::Update(of_him[1]["id"].clone(), hide);
    attempt(&mut town, staff, Stream::Comments, &hide, true).await;
    let title = town.mint.text();
    let note = json!({"title": title}).as_object().expect("an object").clone();
    let subscribed = town.people[leaving].say(json!({"stream": "notes", "action": "subscribe"})).await;
    let since = cursor(&subscribed);
    once(&mut town, leaving, &note).await;
    let notes: Vec<Json> = town
        .world
        .rows(Stream::Notes)
        .filter(|row| row["owner_id"] == key)
        .map(|row| row["id"].clone())
        .collect();
    assert_eq!(notes.len(), 1);
    town.catch_up().await;

    // PostgreSQL looks after foreign keys, whoever writes.
    town.forum.write(&if on_postgres() {
        format!("DELETE FROM comments WHERE author_id = {key}; DELETE FROM users WHERE id = {key};")
    } else {
        format!("PRAGMA foreign_keys = OFF; DELETE FROM users WHERE id = {key};")
    });
    assert_eq!(town.people[leaving].socket.closed().await, Some(4401));
    assert_eq!(town.people[leaving].rest("GET", "/api/topics/", None).await.status, 401);
    town.assert_nothing_leaked();
    town.leave(leaving).await;
    town.world.put(Stream::Users, &key, None);
    for note in &notes {
        town.world.put(Stream::Notes, note, None);
    }
    if on_postgres() {
        for comment in &of_him {
            town.world.put(Stream::Comments, &comment["id"], None);
        }
    }

    // Under the same name, too.
    let next = town.join(&name).await;
    assert!(town.people[next].who.key > key.as_i64(), "a key is not given twice");
    // What he missed is nothing of his.
    let on = json!({"stream": "notes", "action": "subscribe", "since": since});
    assert_eq!(town.people[next].say(on).await.json["recovered"], true);
    town.catch_up().await;
    assert_eq!(town.people[next].socket.kept(), Vec::<Json>::new());
    let unsubscribe = json!({"stream": "notes", "action": "unsubscribe"});
    assert_eq!(town.people[next].say(unsubscribe).await.status, 204);
    once(&mut town, next, &note).await;
    let of_former = |lookup| Probe::of(("author_id", Kind::Int), lookup, false, &of_him[0], &of_him[0]);
    for at in 0..town.people.len() {
        for stream in Stream::ALL {
            super::reading::ask(&mut town, at, stream, None, true).await;
        }
        for lookup in ["exact", "gte"] {
            super::reading::ask(&mut town, at, Stream::Comments, of_former(lookup).as_ref(), false).await;
        }
        for over_socket in [false, true] {
            for comment in &of_him {
                let body = json!({"score": town.mint.number()}).as_object().expect("an object").clone();
                let write = Write::Update(comment["id"].clone(), body);
                attempt(&mut town, at, Stream::Comments, &write, over_socket).await;
            }
            for note in &notes {
                attempt(&mut town, at, Stream::Notes, &Write::Delete(note.clone()), over_socket).await;
            }
        }
    }
    town.catch_up().await;
    town.assert_nothing_leaked();
}
