use realtime_core::RealtimeResource;

diesel::table! {
    rows (id) {
        id -> Integer,
        name -> Text,
        note -> Nullable<Text>,
        count -> Integer,
        ratio -> Double,
        price -> realtime_core::types::sql::DecimalNumber,
        day -> Date,
        at -> Nullable<Timestamp>,
        data -> Json,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = rows)]
struct Row {
    id: i32,
    #[realtime(validate(range(min = 5, max = -5)))]
    count: i32,
    #[realtime(validate(range(min = 1.5, max = 0.5)))]
    ratio: f64,
    #[realtime(validate(range(min = "2026-02-01", max = "2026-01-01")))]
    day: chrono::NaiveDate,
}

fn main() {}
