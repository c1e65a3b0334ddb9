use realtime_core::RealtimeResource;

diesel::table! {
    comments (id) {
        id -> BigInt,
        topic_id -> Integer,
        body -> Text,
        score -> Integer,
        rating -> Nullable<Double>,
        pinned -> Bool,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
enum Choice {
    A,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
union Either {
    a: i32,
    b: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
struct Tuple(i64, String);

fn main() {}
