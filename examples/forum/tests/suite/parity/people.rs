//! Nobody, four users, and how they ask.

use std::time::Duration;

use realtime_tests::{EventStream, Handshake, Socket, Store, StreamRequest, at, position, within};
use serde_json::{Value as Json, json};

use super::canary::{Canaries, Mint};
use super::model::{Object, Stream, Who, World, Write};
use super::tap::Tap;
use crate::running::Forum;

/// Somebody, with a socket of his, and with a proxy that keeps what he receives.
pub(super) struct Person {
    pub(super) who: Who,
    pub(super) socket: Socket,
    token: Option<String>,
    tap: Tap,
    http: reqwest::Client,
}

/// What a request was answered with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names and values, but for the time and the feed's position, and the body: everything that could tell a
    /// difference.
    pub(super) whole: String,
    pub(super) json: Json,
    pub(super) feed: Option<String>,
}

impl Person {
    async fn new(forum: &Forum, who: Who, token: Option<String>) -> Self {
        let tap = Tap::before(forum.address).await;
        // The server closes what is idle for longer.
        let http = reqwest::Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(2));
        let http = http.build().expect("an HTTP client");
        let socket = open(&tap, token.as_deref()).await;
        Self { who, socket, token, tap, http }
    }

    /// Another socket of his.
    pub(super) async fn another_socket(&self) -> Socket {
        open(&self.tap, self.token.as_deref()).await
    }

    pub(super) async fn stream(&self, path: String) -> EventStream {
        let mut request = StreamRequest::to(path);
        if let Some(token) = &self.token {
            request = request.token(token);
        }
        request.open_at(self.tap.address).await
    }

    pub(super) async fn rest(&self, method: &str, path: &str, body: Option<&Object>) -> Answer {
        self.rest_with(method, path, &[], body).await
    }

    pub(super) async fn rest_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Object>,
    ) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("http://{}{path}", self.tap.address));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            let body = serde_json::to_string(body).expect("JSON");
            request = request.header("content-type", "application/json").body(body);
        }
        let response = within("an answer", request.send()).await.expect("the request is answered");
        let status = response.status().as_u16();
        let mut whole: Vec<String> = response
            .headers()
            .iter()
            .filter(|(name, _)| *name != "date" && *name != "realtime-cursor")
            .map(|(name, value)| {
                // Lists of names are in the order of a set, which each worker has another of.
                let mut names: Vec<&str> = value.to_str().expect("a text").split(", ").collect();
                names.sort_unstable();
                format!("{name}: {}", names.join(", "))
            })
            .collect();
        whole.sort();
        let feed =
            response.headers().get("realtime-cursor").map(|feed| feed.to_str().expect("a cursor").into());
        let text = within("a body", response.text()).await.expect("a body");
        let json = serde_json::from_str(&text).unwrap_or_default();
        whole.push(text);
        Answer { status, whole: whole.join("\n"), json, feed }
    }

    /// Asks over his socket, always with the same number, so that equal replies are equal to the letter.
    pub(super) async fn say(&mut self, mut message: Json) -> Answer {
        message["request_id"] = 1.into();
        let reply = self.socket.request(message).await;
        let status =
            reply["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
        let json = if status < 300 { reply["data"].clone() } else { reply["error"].clone() };
        Answer { status, whole: reply.to_string(), json, feed: None }
    }

    /// Writes over REST, or over his socket.
    pub(super) async fn write(&mut self, stream: Stream, write: &Write, over_socket: bool) -> Answer {
        let (action, method) = match write {
            Write::Create(_) => ("create", "POST"),
            Write::Update(..) => ("update", "PATCH"),
            Write::Replace(..) => ("replace", "PUT"),
            Write::Delete(_) => ("delete", "DELETE"),
            Write::Lock(_, true) => ("lock", "POST"),
            Write::Lock(_, false) => ("unlock", "POST"),
            Write::Hide(_) => ("bulk-hide", "POST"),
        };
        if over_socket {
            let mut message = json!({"stream": stream.name(), "action": action});
            if let Some(key) = write.key() {
                message["pk"] = key.clone();
            }
            if let Some(payload) = write.payload() {
                message["payload"] = Json::Object(payload.clone());
            }
            return self.say(message).await;
        }
        let mut path =
            write.key().map_or_else(|| format!("/api/{}/", stream.name()), |key| path(stream, key));
        if matches!(write, Write::Lock(..) | Write::Hide(_)) {
            path += action;
        }
        self.rest(method, &path, write.payload()).await
    }
}

async fn open(tap: &Tap, token: Option<&str>) -> Socket {
    let mut handshake = Handshake::to("/api/ws");
    if let Some(token) = token {
        handshake = handshake.header("authorization", format!("Bearer {token}"));
    }
    handshake.open_at(tap.address).await.expect("the server accepts the socket").0
}

pub(super) fn path(stream: Stream, key: &Json) -> String {
    let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    format!("/api/{}/{key}/", stream.name())
}

/// A running forum, everybody in it, what its database holds, and who has been shown what.
pub(super) struct Town {
    pub(super) forum: Forum,
    /// Nobody, three users, and one of the staff. The third user owns nothing.
    pub(super) people: Vec<Person>,
    pub(super) world: World,
    pub(super) mint: Mint,
    pub(super) canaries: Canaries,
    /// How much has been compared: fields of rows in answers.
    pub(super) cells: usize,
    pub(super) bytes: usize,
}

impl Town {
    pub(super) async fn start() -> Self {
        let forum = Forum::start_on(&Store::fresh(), &["--no-demo-data", "--limits", "off"]).await;
        let mut mint = Mint::default();
        let mut world = World::default();
        let mut canaries = Canaries::default();
        let mut logins = Vec::new();
        let mut sql = String::new();
        for staff in [false, false, false, true] {
            let name = mint.text();
            let login = forum.register(&name, "long enough").await;
            let (joined, hash) = (mint.time(), mint.text());
            sql += &format!(
                "UPDATE users SET is_staff = {staff}, joined_at = '{joined}', password_hash = '{hash}' WHERE id = {};",
                login.id
            );
            canaries.show(&hash, []);
            let joined = in_json(&joined);
            let row = json!({"id": login.id, "username": name, "is_staff": staff, "joined_at": joined});
            world.put(Stream::Users, &row["id"], row.as_object().cloned());
            logins.push((Who { key: Some(login.id), staff }, login.token));
        }
        canaries.show("$argon2id$", []);
        let owners = [logins[0].0, logins[1].0, logins[3].0].map(|who| who.key.expect("a user"));
        sql += &furnish(&mut world, &mut mint, owners);
        forum.write(&sql);
        // Sockets of users who change are closed: none is opened before that is over.
        let mut nobody = Person::new(&forum, Who { key: None, staff: false }, None).await;
        let wanted = nobody.rest("GET", "/api/topics/?limit=1", None).await.feed.expect("a position");
        nobody.socket.reach(position(&wanted)).await;
        let mut people = vec![nobody];
        for (who, token) in logins {
            people.push(Person::new(&forum, who, Some(token)).await);
        }
        let mut town = Self { forum, people, world, mint, canaries, cells: 0, bytes: 0 };
        for stream in Stream::ALL {
            let rows: Vec<Object> = town.world.rows(stream).cloned().collect();
            rows.iter().for_each(|row| town.show(stream, row));
        }
        town
    }

    /// Somebody registers, and is the last one.
    pub(super) async fn join(&mut self, name: &str) -> usize {
        let login = self.forum.register(name, "long enough").await;
        let who = Who { key: Some(login.id), staff: false };
        let person = Person::new(&self.forum, who, Some(login.token)).await;
        let row = person.rest("GET", &path(Stream::Users, &login.id.into()), None).await;
        assert_eq!((row.status, &row.json["username"]), (200, &json!(name)));
        self.people.push(person);
        self.world.put(Stream::Users, &row.json["id"], row.json.as_object().cloned());
        for stream in Stream::ALL {
            let rows: Vec<Object> = self.world.rows(stream).cloned().collect();
            rows.iter().for_each(|row| self.show(stream, row));
        }
        self.people.len() - 1
    }

    /// Somebody is gone. Nobody takes his place.
    pub(super) async fn leave(&mut self, at: usize) {
        self.people[at] = Person::new(&self.forum, Who { key: None, staff: false }, None).await;
    }

    /// Notes that whoever sees a row may receive what it holds.
    pub(super) fn show(&mut self, stream: Stream, row: &Object) {
        let seeing = |(at, person): (usize, &Person)| person.who.sees(stream, row).then_some(at);
        let seeing: Vec<usize> = self.people.iter().enumerate().filter_map(seeing).collect();
        self.canaries.show(&Json::Object(row.clone()).to_string(), seeing);
    }

    /// Nobody has received what he was never shown, in whatever came since the last time.
    #[track_caller]
    pub(super) fn assert_nothing_leaked(&mut self) {
        for (at, person) in self.people.iter().enumerate() {
            let (taken, new) = person.tap.take();
            self.bytes += new;
            for bytes in taken {
                let leaks = self.canaries.leaks(&bytes, at);
                assert!(
                    leaks.is_empty(),
                    "{:?} received {leaks:?}: {}",
                    person.who,
                    String::from_utf8_lossy(&bytes)
                );
            }
        }
    }

    /// How far the database has come, and nobody's socket with it.
    pub(super) async fn feed(&mut self) -> u64 {
        let nobody = &mut self.people[0];
        let wanted = nobody.rest("GET", "/api/topics/?limit=1", None).await.feed.expect("a position");
        nobody.socket.reach(position(&wanted)).await
    }

    /// How far the database has come, and all sockets with it.
    pub(super) async fn catch_up(&mut self) -> u64 {
        let wanted = self.feed().await;
        for person in &mut self.people {
            person.socket.reach(wanted).await;
        }
        wanted
    }

    /// An answer shows exactly these rows, whole, in this order.
    #[track_caller]
    pub(super) fn assert_shows(&mut self, stream: Stream, shown: &Json, expected: &[Object], what: &str) {
        let expected: Vec<Json> = expected.iter().map(|row| Json::Object(stream.face(row))).collect();
        assert_eq!(*shown, Json::Array(expected), "{what}");
        // Rows that are not shown are compared too: they are not there.
        self.cells += self.world.rows(stream).count() * stream.fields().len();
    }
}

/// A time of SQL, as it is shown.
pub(super) fn in_json(time: &str) -> String {
    format!("{}Z", time.replace(' ', "T"))
}

/// Topics, comments of every status and notes, of each owner, and the SQL that makes them.
fn furnish(world: &mut World, mint: &mut Mint, owners: [i64; 3]) -> String {
    let mut sql = String::new();
    let mut topics = Vec::new();
    for (owner, locked) in [(owners[0], false), (owners[1], true), (owners[2], false)] {
        let (id, title, time) = (mint.number(), mint.text(), mint.time());
        sql += &format!("INSERT INTO topics VALUES ({id}, '{title}', {locked}, {owner}, '{time}');");
        let row = json!({"id": id, "title": title, "locked": locked, "owner_id": owner, "created_at": in_json(&time)});
        world.put(Stream::Topics, &row["id"], row.as_object().cloned());
        topics.push(id);
    }
    for (number, owner) in owners.iter().cycle().take(27).enumerate() {
        let status = ["published", "draft", "hidden"][number / 3 % 3];
        let topic = topics[number / 9];
        let (id, body, score) = (mint.number(), mint.text(), mint.number());
        let (rating, edited, created) = (mint.number(), mint.time(), mint.time());
        let rating = (number % 4 > 0).then_some(format!("{rating}.5"));
        let edited = (number % 5 > 0).then_some(edited);
        let value = |text: &Option<String>, quote| match text {
            Some(text) => format!("{quote}{text}{quote}"),
            None => "NULL".to_owned(),
        };
        sql += &format!(
            "INSERT INTO comments VALUES ({id}, {topic}, {owner}, '{body}', {score}, {}, '{status}', {}, '{created}');",
            value(&rating, ""),
            value(&edited, "'")
        );
        let rating = rating.map(|rating| rating.parse::<f64>().expect("a number"));
        let row = json!({
            "id": id, "topic_id": topic, "author_id": owner, "body": body, "score": score, "rating": rating,
            "status": status, "edited_at": edited.map(|time| in_json(&time)), "created_at": in_json(&created)
        });
        world.put(Stream::Comments, &row["id"], row.as_object().cloned());
    }
    for (number, owner) in owners.iter().cycle().take(12).enumerate() {
        let id = format!("00000000-0000-4000-8000-10{}", mint.number());
        let (title, body, tag) = (mint.text(), mint.text(), mint.text());
        let (pinned, due, amount) = (number % 2 == 0, mint.date(), mint.number());
        sql += &format!(
            "INSERT INTO notes VALUES ('{id}', {owner}, '{title}', '{body}', '[\"{tag}\"]', {pinned}, '{due}', '{amount}.50');"
        );
        let row = json!({
            "id": id, "owner_id": owner, "title": title, "body": body, "tags": [tag], "pinned": pinned, "due": due,
            "amount": format!("{amount}.50")
        });
        world.put(Stream::Notes, &row["id"], row.as_object().cloned());
    }
    sql
}

/// The cursor of a reply to a subscription.
pub(super) fn cursor(answer: &Answer) -> String {
    at(&answer.json, "cursor").as_str().expect("a cursor").to_owned()
}
