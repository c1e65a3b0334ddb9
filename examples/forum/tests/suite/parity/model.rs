//! The rules of the forum, said once more: who sees which rows, who may do what, and who is told what of it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use realtime_tests::Key;
use serde_json::{Map, Value as Json, json};

use super::probe::Probe;

pub(super) type Object = Map<String, Json>;

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Float,
    Decimal,
    Bool,
    Choice,
    Date,
    Time,
    Uuid,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Topics,
    Comments,
    Notes,
    Users,
    /// The same rows as those of the comments.
    Feed,
}

impl Stream {
    pub(super) const ALL: [Self; 5] = [Self::Topics, Self::Comments, Self::Notes, Self::Users, Self::Feed];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Topics => "topics",
            Self::Comments => "comments",
            Self::Notes => "notes",
            Self::Users => "users",
            Self::Feed => "topic-feed",
        }
    }

    /// The stream whose rows these are.
    pub(super) fn table(self) -> Self {
        if self == Self::Feed { Self::Comments } else { self }
    }

    pub(super) fn fields(self) -> &'static [(&'static str, Kind)] {
        match self {
            Self::Topics => &[
                ("id", Kind::Int),
                ("title", Kind::Text),
                ("locked", Kind::Bool),
                ("owner_id", Kind::Int),
                ("created_at", Kind::Time),
            ],
            Self::Comments => &[
                ("id", Kind::Int),
                ("topic_id", Kind::Int),
                ("author_id", Kind::Int),
                ("body", Kind::Text),
                ("score", Kind::Int),
                ("rating", Kind::Float),
                ("status", Kind::Choice),
                ("edited_at", Kind::Time),
                ("created_at", Kind::Time),
            ],
            Self::Notes => &[
                ("id", Kind::Uuid),
                ("owner_id", Kind::Int),
                ("title", Kind::Text),
                ("body", Kind::Text),
                ("tags", Kind::Json),
                ("pinned", Kind::Bool),
                ("due", Kind::Date),
                ("amount", Kind::Decimal),
            ],
            Self::Users => &[
                ("id", Kind::Int),
                ("username", Kind::Text),
                ("is_staff", Kind::Bool),
                ("joined_at", Kind::Time),
            ],
            Self::Feed => &[
                ("id", Kind::Int),
                ("topic_id", Kind::Int),
                ("author_id", Kind::Int),
                ("body", Kind::Text),
                ("created_at", Kind::Time),
            ],
        }
    }

    /// What it shows of a row.
    pub(super) fn face(self, row: &Object) -> Object {
        let fields = self.fields().iter().map(|(name, _)| ((*name).to_owned(), row[*name].clone()));
        fields.collect()
    }

    /// The fields that lists can be filtered by.
    pub(super) fn filterable(self) -> impl Iterator<Item = (&'static str, Kind)> {
        let is_offered = move |name: &str| match self {
            Self::Users => name == "id" || name == "username",
            Self::Feed => name != "body",
            _ => true,
        };
        self.fields().iter().copied().filter(move |(name, kind)| *kind != Kind::Json && is_offered(name))
    }

    /// By what a field can be filtered.
    pub(super) fn lookups(self, (name, kind): (&str, Kind)) -> Vec<&'static str> {
        match (self, name) {
            (Self::Feed, "created_at") => vec!["gt", "gte", "lt", "lte", "range"],
            (Self::Feed, _) => vec!["exact", "in"],
            _ => kind.lookups(),
        }
    }

    /// The fields of text that `search` looks in.
    pub(super) fn searched(self) -> &'static [&'static str] {
        match self {
            Self::Topics => &["title"],
            Self::Comments => &["body"],
            Self::Notes => &["title", "body"],
            Self::Users => &["username"],
            Self::Feed => &[],
        }
    }

    /// A key like those of its rows that none of them has.
    pub(super) fn missing(self) -> Json {
        match self {
            Self::Notes => "00000000-0000-4000-8000-999999999999".into(),
            _ => 1_999_999_999.into(),
        }
    }
}

/// Somebody who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    /// None before he logs in.
    pub(super) key: Option<i64>,
    pub(super) staff: bool,
}

impl Who {
    /// May he ask for rows of a stream at all?
    pub(super) fn reads(self, stream: Stream) -> bool {
        self.key.is_some() || matches!(stream, Stream::Topics | Stream::Comments | Stream::Feed)
    }

    fn is(self, row: &Object, field: &str) -> bool {
        self.key.is_some() && row[field].as_i64() == self.key
    }

    pub(super) fn sees(self, stream: Stream, row: &Object) -> bool {
        match stream {
            Stream::Topics => true,
            Stream::Comments => row["status"] == "published" || self.staff || self.is(row, "author_id"),
            Stream::Notes => self.is(row, "owner_id"),
            Stream::Users => self.key.is_some(),
            Stream::Feed => row["status"] == "published",
        }
    }

    /// May he make rows?
    pub(super) fn creates(self, stream: Stream) -> bool {
        self.key.is_some() && matches!(stream, Stream::Topics | Stream::Comments | Stream::Notes)
    }

    /// May he change a row that he sees?
    pub(super) fn changes(self, stream: Stream, row: &Object) -> bool {
        match stream {
            Stream::Topics => self.staff || self.is(row, "owner_id"),
            Stream::Comments => self.staff || self.is(row, "author_id"),
            Stream::Notes => true,
            Stream::Users => self.staff || self.is(row, "id"),
            Stream::Feed => false,
        }
    }
}

/// What somebody wants to write.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Create(Object),
    Update(Json, Object),
    Replace(Json, Object),
    Delete(Json),
    /// To lock a topic, or to unlock it.
    Lock(Json, bool),
    /// To hide all comments of the topic that the payload names.
    Hide(Object),
}

impl Write {
    pub(super) fn key(&self) -> Option<&Json> {
        match self {
            Self::Create(_) | Self::Hide(_) => None,
            Self::Update(key, _) | Self::Replace(key, _) | Self::Delete(key) | Self::Lock(key, _) => {
                Some(key)
            }
        }
    }

    pub(super) fn payload(&self) -> Option<&Object> {
        match self {
            Self::Create(payload)
            | Self::Update(_, payload)
            | Self::Replace(_, payload)
            | Self::Hide(payload) => Some(payload),
            Self::Delete(_) | Self::Lock(..) => None,
        }
    }

    /// The same of another row, where it is about one.
    pub(super) fn of(&self, key: Json) -> Self {
        match self.clone() {
            Self::Update(_, payload) => Self::Update(key, payload),
            Self::Replace(_, payload) => Self::Replace(key, payload),
            Self::Delete(_) => Self::Delete(key),
            Self::Lock(_, locked) => Self::Lock(key, locked),
            about_none @ (Self::Create(_) | Self::Hide(_)) => about_none,
        }
    }
}

/// What becomes of a write.
#[derive(Debug)]
pub(super) enum Verdict {
    Refused(u16),
    /// The row as it is then, but for what only the server knows: those fields are to be taken from its answer.
    Written(u16, Object, Vec<&'static str>),
    Deleted,
    /// So many comments are hidden.
    Hidden(usize),
}

/// Everything that is in the database.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    rows: BTreeMap<(Stream, Key), Object>,
}

/// One row before and after.
pub(super) type Change = (Stream, Option<Object>, Option<Object>);

impl World {
    pub(super) fn rows(&self, stream: Stream) -> impl Iterator<Item = &Object> + Clone {
        self.rows.iter().filter(move |((of, _), _)| *of == stream.table()).map(|(_, row)| row)
    }

    pub(super) fn row(&self, stream: Stream, key: &Json) -> Option<&Object> {
        self.rows.get(&(stream.table(), Key::of(key)))
    }

    /// The topics that a subscription to whole topics is about, where it is one.
    pub(super) fn groups(&self, who: Who, stream: Stream, probe: Option<&Probe>) -> Option<Vec<Json>> {
        if stream != Stream::Feed {
            return None;
        }
        let selected =
            || self.shown(who, stream, probe).into_iter().map(|row| row["topic_id"].clone()).collect();
        Some(probe.and_then(Probe::named_topics).unwrap_or_else(selected))
    }

    /// What a subscription begins with.
    pub(super) fn followed(&self, who: Who, stream: Stream, probe: Option<&Probe>) -> Vec<&Object> {
        match self.groups(who, stream, probe) {
            None => self.shown(who, stream, probe),
            Some(groups) => {
                let mut rows = self.shown(who, stream, None);
                rows.retain(|row| groups.contains(&row["topic_id"]));
                rows
            }
        }
    }

    /// What a list shows somebody, ordered by the key.
    pub(super) fn shown(&self, who: Who, stream: Stream, probe: Option<&Probe>) -> Vec<&Object> {
        let is_shown = |row: &&Object| who.sees(stream, row) && probe.is_none_or(|probe| probe.holds(row));
        self.rows(stream).filter(is_shown).collect()
    }

    /// What an ordered list shows him: `NULL` is the greatest, and what is equal is ordered by the key.
    pub(super) fn ordered(
        &self,
        who: Who,
        stream: Stream,
        (field, kind): (&str, Kind),
        down: bool,
    ) -> Vec<&Object> {
        let mut rows = self.shown(who, stream, None);
        rows.sort_by(|left, right| {
            let ordering = match (&left[field], &right[field]) {
                (Json::Null, Json::Null) => Ordering::Equal,
                (Json::Null, _) => Ordering::Greater,
                (_, Json::Null) => Ordering::Less,
                (left, right) => kind.compare(left, right),
            };
            if down { ordering.reverse() } else { ordering }
        });
        rows
    }

    /// What the server makes of a write.
    pub(super) fn judge(&self, who: Who, stream: Stream, write: &Write) -> Verdict {
        let has_no_such = match write {
            Write::Create(_) | Write::Delete(_) => matches!(stream, Stream::Users | Stream::Feed),
            Write::Update(..) | Write::Replace(..) => stream == Stream::Feed,
            Write::Lock(..) | Write::Hide(_) => false,
        };
        if has_no_such {
            return Verdict::Refused(405);
        }
        if who.key.is_none() {
            return Verdict::Refused(401);
        }
        if let Write::Hide(payload) = write {
            let of_topic = self.rows(stream).filter(|row| row["topic_id"] == payload["topic_id"]);
            return if who.staff { Verdict::Hidden(of_topic.count()) } else { Verdict::Refused(403) };
        }
        let before = match write.key() {
            None => None,
            Some(key) => match self.row(stream, key).filter(|row| who.sees(stream, row)) {
                None => return Verdict::Refused(404),
                Some(row) if !who.changes(stream, row) => return Verdict::Refused(403),
                Some(row) => Some(row),
            },
        };
        if let (Write::Lock(_, locked), Some(before)) = (write, before) {
            let mut after = before.clone();
            after.insert("locked".to_owned(), (*locked).into());
            return Verdict::Written(200, after, Vec::new());
        }
        let Some(payload) = write.payload() else { return Verdict::Deleted };
        let (mut after, mut unknown) = match (write, before) {
            (Write::Update(..), Some(before)) => (before.clone(), Vec::new()),
            (_, before) => fresh(stream, who, before),
        };
        for (name, value) in payload {
            after.insert(name.clone(), value.clone());
        }
        if let Some(status) = self.refusal(who, stream, before, &after) {
            return Verdict::Refused(status);
        }
        if stream == Stream::Comments && before.is_some_and(|before| before["body"] != after["body"]) {
            unknown.push("edited_at");
        }
        Verdict::Written(if before.is_some() { 200 } else { 201 }, after, unknown)
    }

    /// Why values are not acceptable, in the order in which the server looks.
    fn refusal(&self, who: Who, stream: Stream, before: Option<&Object>, after: &Object) -> Option<u16> {
        let text = match stream {
            Stream::Topics | Stream::Notes => "title",
            Stream::Comments | Stream::Feed => "body",
            Stream::Users => "username",
        };
        if after[text] == "" {
            return Some(400);
        }
        if stream == Stream::Users {
            let has_the_name =
                |row: &&Object| row["username"] == after["username"] && row["id"] != after["id"];
            return self.rows(stream).find(has_the_name).map(|_| 409);
        }
        if stream != Stream::Comments || who.staff {
            let exists = stream != Stream::Comments || self.row(Stream::Topics, &after["topic_id"]).is_some();
            return (!exists).then_some(400);
        }
        // To hide and to show again is for staff.
        let was_hidden = before.is_some_and(|before| before["status"] == "hidden");
        if (after["status"] == "hidden") != was_hidden {
            return Some(403);
        }
        let moves = before.is_none_or(|before| before["topic_id"] != after["topic_id"]);
        match self.row(Stream::Topics, &after["topic_id"]) {
            None => Some(400),
            Some(topic) => (moves && topic["locked"] == true).then_some(403),
        }
    }

    /// Hides all comments of a topic.
    pub(super) fn hide(&mut self, topic: &Json) -> Vec<Change> {
        let of_topic = self.rows(Stream::Comments).filter(|row| row["topic_id"] == *topic);
        let mut changes = Vec::new();
        for mut row in of_topic.cloned().collect::<Vec<_>>() {
            row.insert("status".to_owned(), "hidden".into());
            changes.extend(self.put(Stream::Comments, &row["id"].clone(), Some(row)));
        }
        changes
    }

    /// Puts a row in place of that with a key, or removes it with all that belongs to it.
    pub(super) fn put(&mut self, stream: Stream, key: &Json, after: Option<Object>) -> Vec<Change> {
        let place = (stream, Key::of(key));
        let before = match &after {
            Some(row) => self.rows.insert(place, row.clone()),
            None => self.rows.remove(&place),
        };
        let mut changes = vec![(stream, before, after)];
        if stream == Stream::Topics && changes[0].2.is_none() {
            let inside = self.rows(Stream::Comments).filter(|row| row["topic_id"] == *key);
            let inside: Vec<Json> = inside.map(|row| row["id"].clone()).collect();
            for comment in inside {
                changes.extend(self.put(Stream::Comments, &comment, None));
            }
        }
        changes
    }
}

/// A row of which only the defaults are known, and the names of what the server adds.
fn fresh(stream: Stream, who: Who, before: Option<&Object>) -> (Object, Vec<&'static str>) {
    let (defaults, of_server): (Json, &[&'static str]) = match stream {
        Stream::Topics => (json!({"locked": false, "owner_id": who.key}), &["id", "created_at"]),
        Stream::Comments => (
            json!({"author_id": who.key, "score": 0, "rating": null, "status": "published", "edited_at": null}),
            &["id", "created_at"],
        ),
        Stream::Notes => (
            json!({
                "owner_id": who.key, "body": null, "tags": [], "pinned": false, "due": null, "amount": null
            }),
            &["id"],
        ),
        Stream::Users => (json!({}), &["id", "is_staff", "joined_at"]),
        Stream::Feed => (json!({}), &[]),
    };
    let mut row = defaults.as_object().expect("an object").clone();
    let Some(before) = before else { return (row, of_server.to_vec()) };
    // What the server sets is no client's to replace.
    for name in of_server.iter().copied().chain(["owner_id", "author_id", "edited_at"]) {
        if let Some(value) = before.get(name) {
            row.insert(name.to_owned(), value.clone());
        }
    }
    (row, Vec::new())
}

/// What somebody follows, and how.
#[derive(Clone, Debug)]
pub(super) struct Interest {
    pub(super) stream: Stream,
    pub(super) probe: Option<Probe>,
    pub(super) fields: Option<&'static [&'static str]>,
    pub(super) full: bool,
    /// Whole topics, whatever else was asked for.
    pub(super) groups: Option<Vec<Json>>,
}

impl Interest {
    pub(super) fn all(stream: Stream) -> Self {
        Self { stream, probe: None, fields: None, full: false, groups: None }
    }

    pub(super) fn shows(&self, row: &Object) -> Object {
        let is_asked = |name: &str| self.fields.is_none_or(|fields| name == "id" || fields.contains(&name));
        self.stream.face(row).into_iter().filter(|(name, _)| is_asked(name)).collect()
    }

    /// What he is told of a change, if anything.
    pub(super) fn told(&self, who: Who, (stream, before, after): &Change) -> Option<Json> {
        if *stream != self.stream.table() {
            return None;
        }
        let matches = |row: &&Object| {
            let is_selected = match &self.groups {
                Some(topics) => topics.contains(&row["topic_id"]),
                None => self.probe.as_ref().is_none_or(|probe| probe.holds(row)),
            };
            who.sees(self.stream, row) && is_selected
        };
        match (before.as_ref().filter(matches), after.as_ref().filter(matches)) {
            (None, None) => None,
            (None, Some(row)) => Some(json!({"action": "create", "pk": row["id"], "data": self.shows(row)})),
            (Some(row), None) => Some(json!({"action": "delete", "pk": row["id"]})),
            (Some(before), Some(after)) => {
                let (before, after) = (self.shows(before), self.shows(after));
                let diff: Object = after
                    .iter()
                    .filter(|(name, value)| before[*name] != **value)
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                let (member, said) = if self.full { ("data", after.clone()) } else { ("diff", diff.clone()) };
                (!diff.is_empty()).then(|| json!({"action": "update", "pk": after["id"], member: said}))
            }
        }
    }

    /// As the message that asks for it.
    pub(super) fn message(&self) -> Json {
        let mut message = json!({"stream": self.stream.name(), "action": "subscribe"});
        if let Some(probe) = &self.probe {
            message["payload"] = probe.payload();
        }
        if let Some(fields) = self.fields {
            message["fields"] = json!(fields);
        }
        if self.full {
            message["form"] = "full".into();
        }
        message
    }

    /// As a query string.
    pub(super) fn query(&self) -> String {
        let filter = self.probe.as_ref().map(Probe::query);
        let fields = self.fields.map(|fields| format!("fields={}", fields.join(",")));
        let form = self.full.then(|| "form=full".to_owned());
        filter.into_iter().chain(fields).chain(form).collect::<Vec<_>>().join("&")
    }
}
