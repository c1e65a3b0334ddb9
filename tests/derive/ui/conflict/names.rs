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
#[realtime(subscription_field_mapping(body = "body__icontains", topic_id = "topic_id__exact", score = "topic_id"))]
struct Comment {
    id: i64,
    topic_id: i32,
    body: String,
    #[realtime(rename = "body")]
    score: i32,
    #[realtime(rename = "pinned")]
    rating: Option<f64>,
    pinned: bool,
}

fn main() {}
