//! docs/from-django.md.

use realtime_actix::RealtimeResource;
use realtime_actix::policy::{IsAuthenticated, ReadOnly};

mod schema {
    diesel::table! {
        comments (id) {
            id -> BigInt,
            body -> Text,
        }
    }
}

use schema::comments;

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(
    stream = "comments",
    subscription_field_mapping(ids = "pk__in", text = "body__icontains"),
    permission = ReadOnly.or(IsAuthenticated)
)]
struct Comment {
    #[realtime(read_only)]
    id: i64,
    body: String,
}
