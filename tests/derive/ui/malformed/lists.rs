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
#[realtime(lookups(id, body = "exact", score(gt lt), all), ordering("id"), allowed_actions())]
struct Comment {
    id: i64,
    body: String,
    score: i32,
}

fn main() {}
