//! Rules that are none, rules about columns that the model has not, and a policy that is announced and not there.

use realtime_core::policy::{IsAuthenticated, IsOwner, ReadOnly};
use realtime_core::{Principal, RealtimeResource, Rows};

diesel::table! {
    comments (id) {
        id -> BigInt,
        author_id -> Integer,
        secret -> Text,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(permission = "everybody")]
struct NoRule {
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(permission = ReadOnly.or(IsOwner(comments::author_id)))]
struct NoField {
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(policy)]
struct NoPolicy {
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(permission = ReadOnly.or(IsAuthenticated).or(|principal: &Principal| principal.is_anonymous()))]
struct Right {
    id: i64,
    author_id: i32,
}

fn rows() -> [Rows<Right>; 2] {
    [Rows::equal(comments::secret, "x".to_owned()), Rows::equal(comments::author_id, "7".to_owned())]
}

fn main() {}
