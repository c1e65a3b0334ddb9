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
    #[realtime(validate(range(5)))]
    count: i32,
    #[realtime(validate(range(min)))]
    ratio: f64,
    #[realtime(validate(range(min = "1e5")))]
    price: realtime_core::types::Decimal,
    #[realtime(validate(range(max = "2026-02-30")))]
    day: chrono::NaiveDate,
}

fn main() {}
