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
#[realtime(subscription_field_mapping(pk = "id", limit = "score", not__topic = "topic_id", topic__is = "topic_id"))]
struct Comment {
    id: i64,
    #[realtime(rename = "topic__id")]
    topic_id: i32,
    #[realtime(rename = "not__body")]
    body: String,
    #[realtime(rename = "pk")]
    score: i32,
    #[realtime(rename = "1st rating")]
    rating: Option<f64>,
    #[diesel(column_name = pinned)]
    search: bool,
}

fn main() {}
