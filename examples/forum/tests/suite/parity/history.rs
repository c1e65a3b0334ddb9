//! A history of writes by everybody and by another program: whoever follows is told what the rules show him of it, over
//! sockets, event streams, polls and by going on from a cursor.

use std::collections::HashMap;

use realtime_tests::{EventStream, Key, position};
use serde_json::{Value as Json, json};

use super::model::{Change, Interest, Object, Stream, Who, Write};
use super::people::{Town, cursor};
use super::probe::Probe;
use super::writing::attempt;

/// SplitMix64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).expect("an index")
    }

    fn one<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// What an event says, without the position and the group.
fn said(event: &Json) -> Json {
    let members = ["action", "pk", "data", "diff"].map(|name| (name.to_owned(), event[name].clone()));
    Json::Object(members.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// In which order a transaction's events come no rule says: by the key, here.
fn sorted(mut events: Vec<Json>) -> Vec<Json> {
    events.sort_by_key(|event| Key::of(&event["pk"]));
    events
}

/// Somebody's subscriptions over one transport.
struct Follower {
    at: usize,
    who: Who,
    /// By the subscription's id, where the transport has several.
    interests: Vec<(String, Interest)>,
    how: How,
}

#[derive(Debug)]
enum How {
    /// His socket.
    Socket,
    /// Another socket of his each time, from where the last one ended.
    Resumed(String),
    /// A stream that ends with a word that all of them see.
    Stream(Box<EventStream>),
    Poll(String),
}

impl Follower {
    /// What he must have been told, for each of his subscriptions and each transaction.
    fn expected(&self, transactions: &[Vec<Change>]) -> Vec<Vec<Vec<Json>>> {
        let of = |interest: &Interest, changes: &Vec<Change>| {
            changes.iter().filter_map(|change| interest.told(self.who, change)).collect()
        };
        let told = |(_, interest): &(String, Interest)| {
            transactions.iter().map(|changes| of(interest, changes)).collect()
        };
        self.interests.iter().map(told).collect()
    }

    /// What he has been told.
    async fn told(&mut self, town: &mut Town, wanted: u64, expected: &[Vec<Vec<Json>>]) -> Vec<Vec<Json>> {
        let person = &mut town.people[self.at];
        match &mut self.how {
            How::Socket => self.interests_of(person.socket.kept()),
            How::Resumed(since) => {
                let mut socket = person.another_socket().await;
                let mut last = since.clone();
                for (id, interest) in &self.interests {
                    let mut message = interest.message();
                    message["since"] = since.as_str().into();
                    let reply = socket.request(message).await;
                    assert_eq!(reply["data"]["recovered"], true, "{reply}");
                    assert_eq!(reply["data"]["subscription"], id.as_str());
                }
                socket.reach(wanted).await;
                let ping = socket.request(json!({"action": "ping"})).await;
                ping["data"]["cursor"].as_str().expect("a cursor").clone_into(&mut last);
                *since = last;
                self.interests_of(socket.kept())
            }
            How::Stream(stream) => {
                let mut events = Vec::new();
                let all: usize = expected[0].iter().map(Vec::len).sum();
                while events.len() < all {
                    events.push(said(&stream.next().await.1));
                }
                vec![events]
            }
            How::Poll(since) => {
                let mut events = Vec::new();
                while position(since) < wanted {
                    let interest = &self.interests[0].1;
                    let path = format!(
                        "/api/{}/changes?wait=0&since={since}&{}",
                        interest.stream.name(),
                        interest.query()
                    );
                    let answer = person.rest("GET", &path, None).await;
                    assert_eq!(answer.status, 200, "{}", answer.whole);
                    events.extend(answer.json["events"].as_array().expect("events").iter().map(said));
                    answer.json["cursor"].as_str().expect("a cursor").clone_into(since);
                }
                vec![events]
            }
        }
    }

    fn interests_of(&self, events: Vec<Json>) -> Vec<Vec<Json>> {
        let mut told: HashMap<&str, Vec<Json>> = HashMap::new();
        let known = |event: &Json| self.interests.iter().find(|(id, _)| event["subscription"] == id.as_str());
        for event in &events {
            let (id, _) = known(event).unwrap_or_else(|| panic!("unexpected: {event}"));
            told.entry(id).or_default().push(said(event));
        }
        self.interests.iter().map(|(id, _)| told.remove(id.as_str()).unwrap_or_default()).collect()
    }
}

/// What everybody follows, of the streams that he may read.
fn interests(town: &Town, who: Who) -> Vec<Interest> {
    let comments: Vec<&Object> = town.world.rows(Stream::Comments).collect();
    let drafts = Object::from_iter([("status".to_owned(), json!("draft"))]);
    let with = |probe| Interest { probe, ..Interest::all(Stream::Comments) };
    let of = |field, lookup, negated, row: &Object| {
        let kind = Stream::Comments.fields().iter().find(|(name, _)| *name == field).expect("a field").1;
        Probe::of((field, kind), lookup, negated, row, row)
    };
    let mut interests = vec![
        Interest::all(Stream::Comments),
        Interest { full: true, ..Interest::all(Stream::Comments) },
        Interest { fields: Some(&["body"]), ..Interest::all(Stream::Comments) },
        with(of("status", "exact", false, &drafts)),
        with(of("topic_id", "exact", true, comments[0])),
        with(of("score", "gte", false, comments[comments.len() / 2])),
        with(of("author_id", "exact", false, comments[0])),
        with(of("rating", "isnull", false, comments[0])),
        Interest::all(Stream::Topics),
        Interest::all(Stream::Notes),
        Interest { full: true, ..Interest::all(Stream::Notes) },
    ];
    for (probe, fields) in [(None, None), (of("topic_id", "exact", false, comments[0]), Some(&["body"][..]))]
    {
        let groups = town.world.groups(who, Stream::Feed, probe.as_ref());
        interests.push(Interest { probe, fields, groups, ..Interest::all(Stream::Feed) });
    }
    interests.retain(|interest| who.reads(interest.stream));
    interests
}

async fn followers(town: &mut Town) -> Vec<Follower> {
    let mut followers = Vec::new();
    for at in 0..town.people.len() {
        let who = town.people[at].who;
        let mut held = Vec::new();
        let mut since = String::new();
        for interest in interests(town, who) {
            let answer = town.people[at].say(interest.message()).await;
            assert_eq!(answer.status, 200, "{}", answer.whole);
            since = cursor(&answer);
            held.push((answer.json["subscription"].as_str().expect("an id").to_owned(), interest));
        }
        // The sentinel is seen by whoever follows all comments.
        for interest in [held[0].1.clone(), held[1].1.clone(), held[2].1.clone()] {
            let path = format!("/api/comments/events?{}", interest.query());
            let how = How::Stream(Box::new(town.people[at].stream(path).await));
            followers.push(Follower { at, who, interests: vec![(String::new(), interest)], how });
        }
        let whole_topics =
            held.iter().map(|(_, interest)| interest).filter(|interest| interest.groups.is_some());
        for interest in whole_topics.cloned().collect::<Vec<_>>() {
            let path = format!("/api/topic-feed/events?{}", interest.query());
            let how = How::Stream(Box::new(town.people[at].stream(path).await));
            followers.push(Follower { at, who, interests: vec![(String::new(), interest)], how });
        }
        // Where the topics are those of the rows of the moment, there is nothing to go on from.
        let can_go_on = |interest: &Interest| {
            interest.groups.is_none() || interest.probe.as_ref().and_then(Probe::named_topics).is_some()
        };
        let resumed: Vec<(String, Interest)> =
            held.iter().filter(|(_, interest)| can_go_on(interest)).cloned().collect();
        for (_, interest) in &resumed {
            let how = How::Poll(since.clone());
            followers.push(Follower { at, who, interests: vec![(String::new(), interest.clone())], how });
        }
        followers.push(Follower { at, who, interests: resumed, how: How::Resumed(since) });
        followers.push(Follower { at, who, interests: held, how: How::Socket });
    }
    followers
}

/// A value of a field, or another one.
fn value(town: &mut Town, random: &mut Random, field: &str) -> Json {
    let topics: Vec<Json> = town.world.rows(Stream::Topics).map(|row| row["id"].clone()).collect();
    match field {
        "body" | "title" if random.below(12) == 0 => "".into(),
        "body" | "title" => town.mint.text().into(),
        "score" => town.mint.number().into(),
        "rating" => random.one(&[Json::Null, 0.into()]).as_i64().map_or(Json::Null, |_| {
            json!(format!("{}.5", town.mint.number()).parse::<f64>().expect("a number"))
        }),
        "status" => random.one(&["draft", "published", "published", "hidden"]).into(),
        "topic_id" if random.below(10) == 0 => Stream::Topics.missing(),
        "topic_id" => random.one(&topics),
        "locked" | "pinned" => (random.below(2) == 0).into(),
        "amount" => format!("{}.25", town.mint.number()).into(),
        "due" => town.mint.date().into(),
        "tags" => json!([town.mint.text()]),
        _ => panic!("{field} is not written"),
    }
}

fn payload(
    town: &mut Town,
    random: &mut Random,
    stream: Stream,
    needed: &[&str],
    at_will: &[&str],
) -> Object {
    let mut payload = Object::new();
    for field in needed {
        payload.insert((*field).to_owned(), value(town, random, field));
    }
    for field in at_will {
        if random.below(3) == 0 {
            payload.insert((*field).to_owned(), value(town, random, field));
        }
    }
    assert!(payload.keys().all(|name| stream.fields().iter().any(|(field, _)| field == name)));
    payload
}

/// Something that somebody tries.
fn try_something(town: &mut Town, random: &mut Random) -> (Stream, Write) {
    let stream = random.one(&[
        Stream::Comments,
        Stream::Comments,
        Stream::Comments,
        Stream::Comments,
        Stream::Notes,
        Stream::Notes,
        Stream::Topics,
    ]);
    let (needed, at_will): (&[&str], &[&str]) = match stream {
        Stream::Comments => (&["topic_id", "body"], &["score", "rating", "status"]),
        Stream::Notes => (&["title"], &["body", "tags", "pinned", "due", "amount"]),
        Stream::Topics | Stream::Users | Stream::Feed => (&["title"], &["locked"]),
    };
    let topics: Vec<Json> = town.world.rows(Stream::Topics).map(|row| row["id"].clone()).collect();
    match random.below(24) {
        0 | 1 => {
            return (Stream::Topics, Write::Lock(random.one(&topics), random.below(2) == 0));
        }
        2 => {
            let topic = Object::from_iter([("topic_id".to_owned(), random.one(&topics))]);
            return (Stream::Comments, Write::Hide(topic));
        }
        _ => {}
    }
    let keys: Vec<Json> = town.world.rows(stream).map(|row| row["id"].clone()).collect();
    let key = if random.below(12) == 0 || keys.is_empty() { stream.missing() } else { random.one(&keys) };
    let write = match random.below(10) {
        0..=2 => Write::Create(payload(town, random, stream, needed, at_will)),
        3..=6 => Write::Update(key, payload(town, random, stream, &[], &[needed, at_will].concat())),
        7 | 8 => Write::Replace(key, payload(town, random, stream, needed, at_will)),
        // A topic takes much along.
        _ if stream == Stream::Topics && random.below(4) > 0 => {
            Write::Update(key, payload(town, random, stream, needed, at_will))
        }
        _ => Write::Delete(key),
    };
    (stream, write)
}

/// A value in SQL.
fn quoted(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), |text| format!("'{text}'"))
}

/// What another program does: it makes, moves, gives away and hides rows.
fn meddle(town: &mut Town, random: &mut Random, sentinel: &Json) -> Vec<Change> {
    let stream = random.one(&[Stream::Comments, Stream::Comments, Stream::Notes]);
    let rows: Vec<Object> = town.world.rows(stream).filter(|row| row["id"] != *sentinel).cloned().collect();
    let users: Vec<Json> = town.world.rows(Stream::Users).map(|row| row["id"].clone()).collect();
    let Some(before) = (!rows.is_empty()).then(|| random.one(&rows)) else { return Vec::new() };
    let mut after = before.clone();
    if random.below(8) == 0 {
        town.forum.write(&format!("DELETE FROM {} WHERE id = {};", stream.name(), quoted(&before["id"])));
        return town.world.put(stream, &before["id"], None);
    }
    let (owner, text) =
        if stream == Stream::Comments { ("author_id", "body") } else { ("owner_id", "title") };
    let mut set = vec![(owner, random.one(&users)), (text, town.mint.text().into())];
    if stream == Stream::Comments {
        set.push(("status", random.one(&["draft", "published", "hidden"]).into()));
    }
    set.remove(random.below(set.len()));
    for (name, value) in &set {
        after.insert((*name).to_owned(), value.clone());
    }
    let set: Vec<String> = set.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
    let sql =
        format!("UPDATE {} SET {} WHERE id = {};", stream.name(), set.join(", "), quoted(&before["id"]));
    town.forum.write(&sql);
    town.show(stream, &after);
    town.world.put(stream, &before["id"], Some(after))
}

#[tokio::test]
async fn whoever_follows_is_told_what_the_rules_show_him() {
    let mut town = Town::start().await;
    let seed = std::env::var("PARITY_SEED").map_or(20_261_125, |seed| seed.parse().expect("a number"));
    let rounds: usize = std::env::var("PARITY_ROUNDS").map_or(16, |rounds| rounds.parse().expect("a number"));
    let mut random = Random(seed);
    // What every follower of all comments sees change last: in a topic that nobody but staff can touch.
    let (title, body) = (town.mint.text(), town.mint.text());
    let staff = town.people.len() - 1;
    let make = |payload: Json| Write::Create(payload.as_object().expect("an object").clone());
    let made = attempt(&mut town, staff, Stream::Topics, &make(json!({"title": title})), false).await;
    let topic = made[0].2.as_ref().expect("it was made")["id"].clone();
    let made =
        attempt(&mut town, staff, Stream::Comments, &make(json!({"topic_id": topic, "body": body})), false)
            .await;
    let sentinel = made[0].2.as_ref().expect("it was made")["id"].clone();
    town.catch_up().await;
    let mut followers = followers(&mut town).await;
    let mut told_in_all = 0;
    for _ in 0..rounds {
        let mut transactions = Vec::new();
        for _ in 0..12 {
            if random.below(4) == 0 {
                transactions.push(meddle(&mut town, &mut random, &sentinel));
                // What another program has written since the feed looked counts as one transaction.
                town.feed().await;
                continue;
            }
            let at = random.below(town.people.len());
            let (stream, write) = try_something(&mut town, &mut random);
            let hides_it = matches!(&write, Write::Hide(payload) if payload["topic_id"] == topic);
            if write.key() != Some(&sentinel) && write.key() != Some(&topic) && !hides_it {
                let over_socket = random.below(2) == 0;
                transactions.push(attempt(&mut town, at, stream, &write, over_socket).await);
            }
        }
        let mut last = town.world.row(Stream::Comments, &sentinel).expect("nobody touches it").clone();
        last.insert("body".to_owned(), town.mint.text().into());
        town.forum
            .write(&format!("UPDATE comments SET body = {} WHERE id = {sentinel};", quoted(&last["body"])));
        town.show(Stream::Comments, &last);
        transactions.push(town.world.put(Stream::Comments, &sentinel, Some(last)));

        let wanted = town.catch_up().await;
        for follower in &mut followers {
            let expected = follower.expected(&transactions);
            let told = follower.told(&mut town, wanted, &expected).await;
            for ((told, expected), (_, interest)) in told.into_iter().zip(expected).zip(&follower.interests) {
                told_in_all += told.len();
                let mut told = told.into_iter();
                let by_transaction: Vec<Vec<Json>> = expected
                    .iter()
                    .map(|events| sorted(told.by_ref().take(events.len()).collect()))
                    .collect();
                let expected: Vec<Vec<Json>> = expected.into_iter().map(sorted).collect();
                assert_eq!(
                    by_transaction, expected,
                    "{:?} follows {interest:?} by {:?}",
                    follower.who, follower.how
                );
                assert_eq!(
                    told.next(),
                    None,
                    "{:?} follows {interest:?} by {:?}",
                    follower.who,
                    follower.how
                );
            }
        }
        for at in 0..town.people.len() {
            for stream in Stream::ALL {
                super::reading::ask(&mut town, at, stream, None, false).await;
            }
        }
        town.assert_nothing_leaked();
    }
    eprintln!(
        "{told_in_all} events, {} cells, {} canaries, {} bytes",
        town.cells,
        town.canaries.count(),
        town.bytes
    );
}
