//! Nobody writes rows of a view.

use realtime_core::{Draft, RealtimeResource};

diesel::table! {
    comments (id) {
        id -> BigInt,
        body -> Text,
        score -> Integer,
    }
}

diesel::table! {
    good_comments (id) {
        id -> BigInt,
        body -> Text,
        score -> Integer,
    }
}

fn in_order(_: &mut Draft) {}

#[derive(RealtimeResource)]
#[diesel(table_name = good_comments)]
#[realtime(view_of(comments(id)), allowed_actions(list, create, delete), validate(in_order))]
struct GoodComment {
    id: i64,
    #[realtime(required, validate(length(max = 10)))]
    body: String,
    #[realtime(default = 0)]
    score: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = good_comments)]
#[realtime(stream = "others", view_of(comments(id)))]
struct Other {
    id: i64,
    #[realtime(write_only)]
    body: String,
    #[realtime(read_only, on_create = |_| 1, on_update = |_| 2)]
    score: i32,
}

fn main() {}
