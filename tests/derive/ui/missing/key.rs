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
struct Comment {
    number: i64,
    body: String,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments, primary_key(topic))]
struct Named {
    topic_id: i32,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(primary_key = bdy)]
struct Slip {
    id: i64,
    body: String,
}

fn main() {}
