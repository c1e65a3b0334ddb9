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
    #[realtime(validate(range(min = 0.5, max = 3000000000)))]
    count: i32,
    #[realtime(validate(range(min = "0.5")))]
    ratio: f64,
    #[realtime(validate(range(min = 0.5)))]
    price: realtime_core::types::Decimal,
    #[realtime(validate(range(min = 2026)))]
    day: chrono::NaiveDate,
    #[realtime(validate(range(min = "2026-01-31")))]
    at: Option<chrono::NaiveDateTime>,
}

fn main() {}
