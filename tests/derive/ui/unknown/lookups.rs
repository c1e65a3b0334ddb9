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
    subscription_field_mapping(text = "body__icontain", other = "not__body__exact", title = "body__title__exact"),
    lookups(body(starts_with, like))
)]
struct Comment {
    id: i64,
    body: String,
}

fn main() {}
