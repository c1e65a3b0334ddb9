use chrono::{DateTime, Utc};
use realtime_core::RealtimeResource;

diesel::table! {
    rows (id) {
        id -> Integer,
        day -> Date,
        at -> realtime_core::types::sql::UtcTimestamp,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = rows)]
#[realtime(zone = Utc)]
struct NothingToReadInIt {
    id: i32,
    day: chrono::NaiveDate,
}

#[derive(RealtimeResource)]
#[diesel(table_name = rows)]
#[realtime(zone = Some(Utc))]
struct NoZone {
    id: i32,
    at: DateTime<Utc>,
}

fn main() {}
