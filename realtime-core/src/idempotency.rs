//! A create that is sent once more, because its answer was lost, makes no second row.
//!
//! What was answered is kept in the database, written in the transaction of the row itself: it is there exactly where
//! the row is, for every process and after every crash.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::action::{Failure, Refusal, Transaction, other_failure};
use crate::context::Context;
use crate::error::{Code, Error};
use crate::resource::Descriptor;
use crate::sql::{Dialect, Statement, Table};
use crate::view::View;

/// The table of answers.
pub(crate) const TABLE: &str = "realtime_idempotency";

/// Bytes that a key may have.
pub const KEY_BYTES: Range<usize> = 1..256;

/// Answers that are looked at, whether they are too old, whenever one is added.
const PRUNED_AT_ONCE: i64 = 16;

/// What makes requests of one principal the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The client's key.
    pub key: String,
    /// For how many seconds the answer is kept.
    pub seconds: u32,
    /// How many answers are kept in all.
    pub answers: u32,
}

/// Claims a key for a request; the answer, where it was carried out before.
///
/// Where another transaction holds the key, this waits for its end.
pub(crate) async fn begin<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    once: &Once,
    asked: (&str, &Map<String, Json>),
    context: &Context<'_>,
) -> Result<Option<String>, Refusal> {
    let descriptor = table.descriptor();
    let fail = |failure| of_table(descriptor, failure);
    let (name, request) = (once.name(context), fingerprint(descriptor, asked));
    let mut claim = Statement::new("INSERT INTO realtime_idempotency (name, request, answer, at) VALUES (");
    for text in [name.clone(), request.clone(), String::new()] {
        T::Backend::write_text(&mut claim, text);
        claim.sql(", ");
    }
    T::Backend::write_number(&mut claim, context.now.timestamp());
    claim.sql(") ON CONFLICT (name) DO NOTHING RETURNING name");
    if !transaction.texts(claim).await.map_err(fail)?.is_empty() {
        return Ok(None);
    }
    let stored = async |transaction: &mut T, sql| {
        let mut statement = Statement::new(sql);
        T::Backend::write_text(&mut statement, name.clone());
        Ok::<_, Refusal>(transaction.texts(statement).await.map_err(fail)?.into_iter().next())
    };
    let same = stored(transaction, "SELECT request FROM realtime_idempotency WHERE name = ").await?;
    if same.is_some_and(|before| before != request) {
        let detail =
            "The Idempotency-Key was sent with another request: each request needs a key of its own.";
        return Err(Error::new(Code::Conflict, detail).into());
    }
    stored(transaction, "SELECT answer FROM realtime_idempotency WHERE name = ").await
}

/// Keeps what is answered, and forgets what is too old or too much.
pub(crate) async fn finish<T: Transaction>(
    transaction: &mut T,
    table: &Table<T::Backend>,
    once: &Once,
    answer: &str,
    context: &Context<'_>,
) -> Result<(), Refusal> {
    let fail = |failure| of_table(table.descriptor(), failure);
    let mut keep = Statement::new("UPDATE realtime_idempotency SET answer = ");
    // An encoding may lack a character that the answer has and the row has not, such as that of a choice's name.
    let is_any_text = T::Backend::has_text(table, String::new()).is_none();
    T::Backend::write_text(&mut keep, if is_any_text { answer.to_owned() } else { in_ascii(answer) });
    keep.sql(" WHERE name = ");
    T::Backend::write_text(&mut keep, once.name(context));
    transaction.execute(keep).await.map_err(fail)?;
    // Only the oldest are looked at, so that it costs the same however many there are.
    let mut forget = Statement::new(
        "DELETE FROM realtime_idempotency WHERE seq IN (SELECT seq FROM realtime_idempotency WHERE seq IN \
         (SELECT seq FROM realtime_idempotency ORDER BY seq LIMIT ",
    );
    T::Backend::write_number(&mut forget, PRUNED_AT_ONCE);
    forget.sql(") AND (at < ");
    T::Backend::write_number(&mut forget, context.now.timestamp() - i64::from(once.seconds));
    forget.sql(" OR seq <= (SELECT max(seq) FROM realtime_idempotency) - ");
    T::Backend::write_number(&mut forget, i64::from(once.answers));
    forget.sql(")");
    forget.sql(T::Backend::FREE_ROW_LOCK).sql(")");
    transaction.execute(forget).await.map(drop).map_err(fail)
}

/// The same JSON in ASCII.
fn in_ascii(json: &str) -> String {
    let mut out = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

impl Once {
    /// The name of the answer: a key is its principal's own.
    fn name(&self, context: &Context<'_>) -> String {
        let user = context.principal.user_json().unwrap_or_default();
        hashed([user.as_str(), self.key.as_str()])
    }
}

/// Requests that ask for the same have the same. The order of a payload's members is none of it.
fn fingerprint(descriptor: &Descriptor, (target, payload): (&str, &Map<String, Json>)) -> String {
    let members: BTreeMap<&String, &Json> = payload.iter().collect();
    let members = json!(members).to_string();
    match target {
        "" => hashed([descriptor.stream, members.as_str()]),
        target => hashed([format!("{}/{target}", descriptor.stream).as_str(), members.as_str()]),
    }
}

fn hashed(parts: [&str; 2]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Nothing of the table is the caller's: whatever a constraint of it says is a fault.
fn of_table(descriptor: &Descriptor, failure: Failure) -> Refusal {
    match failure {
        failure @ (Failure::Unavailable(_) | Failure::Fault(_)) => {
            other_failure(&View::from(descriptor), failure)
        }
        other => Refusal::Fault(format!("the table {TABLE} refuses: {other:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_ascii_is_the_same_json() {
        let json = json!({"ä€😀": ["\\\"é\n", 1]});
        let ascii = in_ascii(&json.to_string());
        assert!(ascii.is_ascii());
        assert_eq!(serde_json::from_str::<Json>(&ascii).ok(), Some(json));
    }
}
