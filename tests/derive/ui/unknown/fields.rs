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
#[realtime(
    subscription_field_mapping(topic = "topicid__exact", text = "body__icontains", words = "nothing"),
    lookups(scores(gt), body(contains)),
    ordering(id, topic_ids)
)]
struct Comment {
    id: i64,
    topic_id: i32,
    #[realtime(rename = "text")]
    body: String,
    score: i32,
}

fn main() {}
