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
    #[realtime(read_only = true)]
    id: i64,
    #[realtime(rename = text, skip(all), default)]
    body: String,
    #[realtime(default(0))]
    score: i32,
    #[realtime = "skip"]
    topic_id: i32,
    #[realtime("skip")]
    pinned: bool,
}

fn main() {}
