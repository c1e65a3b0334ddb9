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
#[diesel(table_name = coments)]
struct Comment {
    id: i64,
    body: String,
}

fn main() {}
