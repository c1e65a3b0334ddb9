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
#[diesel(table_name = comments, primary_key(topic_id, id))]
struct Composite {
    topic_id: i32,
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments, primary_key(rating))]
struct Nullable {
    rating: std::option::Option<f64>,
}

fn main() {}
