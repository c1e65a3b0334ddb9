//! What the fuzz targets do with their bytes; `tests/fuzz_corpus.rs` does the same with the corpus that is kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use diesel::sql_types::Text;
use realtime_core::connection::{Connection, Effect, Surface};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::filter::{Filter, RawArgument, parse};
use realtime_core::{Error, Limits, Principal, RealtimeEnum, RealtimeResource, url_decoded};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

diesel::table! {
    things (id) {
        id -> BigInt,
        small -> SmallInt,
        rank -> Integer,
        score -> Nullable<Double>,
        title -> Text,
        body -> Nullable<Text>,
        done -> Bool,
        mood -> Text,
        at -> Nullable<realtime_core::types::sql::UtcTimestamp>,
        local -> Nullable<Timestamp>,
        day -> Nullable<Date>,
        clock -> Nullable<Time>,
        bytes -> Nullable<Binary>,
    }
}

/// A field of every kind.
#[derive(Clone, Debug, RealtimeResource)]
#[diesel(table_name = things)]
#[realtime(
    permission = realtime_core::policy::AllowAny,
    lookups(all),
    ordering(all),
    subscription_field_mapping(ids = "pk__in", name = "title__istartswith", year = "at__year")
)]
struct Thing {
    id: i64,
    small: i16,
    rank: i32,
    score: Option<f64>,
    title: String,
    body: Option<String>,
    done: bool,
    mood: Mood,
    at: Option<DateTime<Utc>>,
    local: Option<NaiveDateTime>,
    day: Option<NaiveDate>,
    clock: Option<NaiveTime>,
    bytes: Option<Vec<u8>>,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, AsExpression, FromSqlRow, RealtimeEnum,
)]
#[diesel(sql_type = Text)]
#[serde(rename_all = "kebab-case")]
enum Mood {
    Calm,
    QuiteAngry,
}

/// One ordinary, one empty, one at the edges.
fn rows() -> &'static [Thing] {
    static ROWS: OnceLock<Vec<Thing>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let full = Thing {
            id: 1,
            small: 2,
            rank: 3,
            score: Some(1.5),
            title: "Straße, ΣΟΦΟΣ".into(),
            body: Some("a%b_c\\d\ne".into()),
            done: true,
            mood: Mood::QuiteAngry,
            at: "2026-01-31T12:30:00.5Z".parse().ok(),
            local: "2026-01-31T12:30:00".parse().ok(),
            day: "2024-02-29".parse().ok(),
            clock: "12:30:00".parse().ok(),
            bytes: Some(b"abc".to_vec()),
        };
        let empty = Thing {
            id: 0,
            small: 0,
            rank: 0,
            score: None,
            title: String::new(),
            body: None,
            done: false,
            mood: Mood::Calm,
            at: None,
            local: None,
            day: None,
            clock: None,
            bytes: None,
        };
        let edges = Thing {
            id: i64::MIN,
            small: i16::MAX,
            rank: i32::MAX,
            score: Some(f64::NAN),
            title: "\0İ😀".into(),
            body: Some("e\u{301}".into()),
            at: Some(DateTime::<Utc>::MAX_UTC),
            local: Some(NaiveDateTime::MIN),
            day: Some(NaiveDate::MAX),
            clock: "23:59:59.999999999".parse().ok(),
            bytes: Some(vec![0, 255]),
            ..empty.clone()
        };
        vec![full, empty, edges]
    })
}

/// The entries of a filter: an object of JSON where the bytes are one, else a query string.
fn entries(text: &str) -> Option<Vec<(String, RawArgument)>> {
    if text.trim_start().starts_with('{') {
        let Ok(Json::Object(members)) = serde_json::from_str(text) else { return None };
        return Some(members.into_iter().map(|(key, json)| (key, RawArgument::Json(json))).collect());
    }
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in text.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        values.entry(url_decoded(key)?).or_default().push(value.replace('+', "%20"));
    }
    Some(values.into_iter().map(|(key, values)| (key, RawArgument::Query(values))).collect())
}

fn parsed(entries: &[(String, RawArgument)]) -> Result<Filter, Error> {
    parse(Thing::DESCRIPTOR, entries.iter().cloned(), &Limits::default())
}

/// Bytes are a filter or a 400. The same entries are the same filter, in whatever order; a negation selects the rows
/// that the filter does not.
pub(crate) fn filter(bytes: &[u8]) {
    let Some(entries) = entries(&String::from_utf8_lossy(bytes)) else { return };
    let first = match parsed(&entries) {
        Ok(filter) => filter,
        Err(error) => {
            assert_eq!(error.status(), 400, "{error:?}");
            assert_eq!(parsed(&entries).map(|filter| filter.canonical().to_owned()), Err(error));
            return;
        }
    };
    let again = parsed(&entries.iter().rev().cloned().collect::<Vec<_>>()).expect("parsed once already");
    assert_eq!(first.canonical(), again.canonical());
    let selects = |filter: &Filter| rows().iter().map(|row| filter.matches(row)).collect::<Vec<_>>();
    let selected = selects(&first);
    assert_eq!(selected, selects(&again));
    if let [(key, argument)] = &entries[..] {
        let other = key.strip_prefix("not__").map_or_else(|| format!("not__{key}"), str::to_owned);
        let opposite = parsed(&[(other, argument.clone())]).expect("parsed without the negation");
        assert!(selected.iter().zip(selects(&opposite)).all(|(one, other)| *one != other), "{key}");
    }
}

/// Lines of bytes are the messages of one client. All is answered; every answer is JSON.
pub(crate) fn message(bytes: &[u8]) {
    let text: Cow<'_, str> = String::from_utf8_lossy(bytes);
    let surface = Arc::new(Surface { descriptors: vec![Thing::DESCRIPTOR], limits: Limits::default() });
    let mut connection = Connection::new(surface, None, 0);
    let cursor = Cursor { epoch: Epoch(1), position: Position(2) };
    for (at, line) in text.lines().enumerate() {
        if connection.is_full() {
            break;
        }
        let mut effects = connection.text(line, at as u64);
        let mut answers = 0;
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Send(text) | Effect::SendInOrder(text) => {
                        let object: Json = serde_json::from_str(&text).expect("an answer is JSON");
                        answers += usize::from(object["type"] == "reply");
                    }
                    Effect::Join(ticket, subscription, start) => {
                        let _ = subscription.filter().matches(&rows()[0]);
                        next.extend(connection.joined(
                            ticket,
                            start.since.unwrap_or(cursor),
                            start.since.is_some(),
                        ));
                    }
                    Effect::Renew(_, ticket) => next.extend(connection.joined(ticket, cursor, false)),
                    Effect::AskPosition(ticket) => {
                        next.extend(connection.positioned(ticket, cursor, "2026-01-31T12:00:00Z"));
                    }
                    Effect::Authenticate(ticket, token) => {
                        let known = Principal::user(1);
                        let result =
                            if token.is_empty() { Err(Error::not_found()) } else { Ok((&known, None)) };
                        next.extend(connection.authenticated(ticket, result));
                    }
                    Effect::Execute(ticket, _) => {
                        next.extend(connection.answered(ticket, Err(Error::not_found())));
                    }
                    Effect::Leave(_) | Effect::Narrow(..) | Effect::Close(..) => {}
                }
            }
            effects = next;
        }
        assert!(answers <= 1, "one message has one reply");
    }
}
