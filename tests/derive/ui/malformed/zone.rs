use chrono::{DateTime, Utc};
use realtime_core::RealtimeResource;

diesel::table! {
    rows (id) {
        id -> Integer,
        at -> realtime_core::types::sql::UtcTimestamp,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = rows)]
#[realtime(zone = "Europe/Berlin")]
struct ByName {
    id: i32,
    at: DateTime<Utc>,
}

#[derive(RealtimeResource)]
#[diesel(table_name = rows)]
#[realtime(zone)]
struct Without {
    id: i32,
    at: DateTime<Utc>,
}

#[derive(RealtimeResource)]
#[diesel(table_name = rows)]
#[realtime(zone(Utc))]
struct InBrackets {
    id: i32,
    at: DateTime<Utc>,
}

fn main() {}
