//! What a client knows of one subscription, and what may be told to it at which moment.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::position;

/// A key, in the order in which a database gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A number.
    Number(i64),
    /// A text, by code point.
    Text(String),
}

impl Key {
    /// The key of a message or of a row.
    ///
    /// # Panics
    /// Where it is neither a number nor a text.
    pub fn of(json: &Json) -> Self {
        match (json.as_i64(), json.as_str()) {
            (Some(number), _) => Self::Number(number),
            (None, Some(text)) => Self::Text(text.to_owned()),
            (None, None) => panic!("{json} is no key"),
        }
    }
}

/// A client that applies what it is told, and does not put up with a gap or a repetition.
#[derive(Clone, Debug)]
pub struct View {
    key: &'static str,
    /// The rows, by key.
    pub rows: BTreeMap<Key, Json>,
    /// Where to go on from: none while there is only a part of a snapshot.
    pub cursor: Option<String>,
    /// The position of the last message.
    at: u64,
    /// Is a snapshot under way? Then the last key that it has told.
    partial: Option<Option<Key>>,
    batch: Vec<Json>,
    /// How often it was told that it has lagged behind: with events to follow, and with a snapshot.
    pub lagged: (usize, usize),
    /// Pages of snapshots.
    pub pages: usize,
    /// May what the client sees change, while the database stays as it is? Then a batch may have the cursor of the one
    /// before it.
    pub is_seen_anew: bool,
}

impl View {
    /// One that knows nothing. `key` names the field of the key.
    pub fn new(key: &'static str) -> Self {
        Self {
            key,
            rows: BTreeMap::new(),
            cursor: None,
            at: 0,
            partial: Some(None),
            batch: Vec::new(),
            lagged: (0, 0),
            pages: 0,
            is_seen_anew: false,
        }
    }

    /// Takes the data of the reply to a `subscribe` with `snapshot` and, where there was one, `since`.
    pub fn subscribed(&mut self, data: &Json) {
        self.batch.clear();
        if data["recovered"] == true {
            assert_eq!(data["cursor"].as_str(), self.cursor.as_deref(), "it goes on from where it was");
        } else {
            self.begin();
        }
    }

    /// Takes the data of the reply to a `subscribe` without `snapshot`, where there are no rows to begin with.
    ///
    /// # Panics
    /// Where there is no cursor.
    #[must_use]
    pub fn live(mut self, data: &Json) -> Self {
        self.cursor = Some(data["cursor"].as_str().expect("a cursor").to_owned());
        self.partial = None;
        self
    }

    /// A snapshot is about to come.
    pub fn begin(&mut self) {
        self.rows.clear();
        self.batch.clear();
        self.cursor = None;
        self.partial = Some(None);
    }

    /// Are the rows whole?
    pub fn is_whole(&self) -> bool {
        self.partial.is_none() && self.batch.is_empty()
    }

    /// Takes a message about the subscription.
    ///
    /// # Panics
    /// Where it may not be told at this moment.
    pub fn take(&mut self, message: &Json) {
        let cursor = message["cursor"].as_str().expect("a cursor");
        let at = position(cursor);
        assert!(at >= self.at, "cursors go forward: {message} after {}", self.at);
        match message["type"].as_str() {
            Some("event") => self.event(message, cursor),
            Some("snapshot") => self.page(message, cursor),
            Some("lagged") => {
                assert!(self.batch.is_empty(), "a batch is not interrupted: {message}");
                if message["resync"] == "snapshot" {
                    self.lagged.1 += 1;
                    self.begin();
                } else {
                    assert_eq!(message["resync"], "events");
                    self.lagged.0 += 1;
                    assert!(self.partial.is_none(), "{message} in a snapshot");
                }
            }
            _ => panic!("unexpected: {message}"),
        }
        self.at = at;
    }

    fn page(&mut self, message: &Json, cursor: &str) {
        assert!(self.batch.is_empty(), "a batch is not interrupted: {message}");
        self.pages += 1;
        let last = self.partial.as_mut().unwrap_or_else(|| panic!("no snapshot was asked for: {message}"));
        for row in message["data"].as_array().expect("rows") {
            let key = Key::of(&row[self.key]);
            assert!(last.as_ref().is_none_or(|last| *last < key), "{key:?} after {last:?}");
            *last = Some(key.clone());
            assert!(self.rows.insert(key, row.clone()).is_none(), "there already: {row}");
        }
        if message["done"] == true {
            self.partial = None;
            self.cursor = Some(cursor.to_owned());
        }
    }

    /// A batch is applied whole.
    fn event(&mut self, message: &Json, cursor: &str) {
        if let Some(first) = self.batch.first() {
            assert_eq!(first["cursor"], message["cursor"], "a batch is not interrupted");
        } else {
            let is_later = position(cursor) > self.at || self.is_seen_anew;
            assert!(is_later, "told already: {message} at {}", self.at);
        }
        if let Some(last) = &mut self.partial {
            let key = Key::of(&message["pk"]);
            if last.as_ref().is_none_or(|last| *last < key) {
                // A row that was looked at and did not match, behind the last one that did: pages come after it.
                assert_eq!(message["action"], "create", "not told yet: {message} after {last:?}");
                *last = Some(key);
            }
        }
        self.batch.push(message.clone());
        if message.get("more").is_some() {
            return;
        }
        for event in std::mem::take(&mut self.batch) {
            let key = Key::of(&event["pk"]);
            match event["action"].as_str() {
                Some("create") => {
                    let old = self.rows.insert(key, event["data"].clone());
                    assert!(old.is_none(), "made twice: {event}");
                }
                Some("update") => {
                    let row = self.rows.get_mut(&key).unwrap_or_else(|| panic!("not there: {event}"));
                    match event.get("diff") {
                        Some(diff) => {
                            for (name, value) in diff.as_object().expect("a diff") {
                                row[name] = value.clone();
                            }
                        }
                        None => *row = event["data"].clone(),
                    }
                }
                _ => assert!(self.rows.remove(&key).is_some(), "not there: {event}"),
            }
        }
        if self.partial.is_none() {
            self.cursor = Some(cursor.to_owned());
        }
    }

    /// The connection has ended. What was not whole is forgotten.
    pub fn interrupted(&mut self) {
        self.batch.clear();
        if self.partial.is_some() {
            self.begin();
        }
        // What was told of a batch that was not whole is told again.
        self.at = self.cursor.as_deref().map_or(0, position);
    }
}
