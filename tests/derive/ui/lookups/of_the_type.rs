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
    lookups(pinned(exact, gt), score(icontains), rating(isnull, startswith), body(path)),
    subscription_field_mapping(text = "topic_id__iexact")
)]
struct Comment {
    id: i64,
    topic_id: i32,
    body: String,
    score: i32,
    rating: Option<f64>,
    pinned: bool,
}

fn main() {}
