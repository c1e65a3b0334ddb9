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
    #[realtime(validate(digits))]
    price: realtime_core::types::Decimal,
    #[realtime(validate(digits(total = 30)))]
    count: i32,
    #[realtime(validate(digits(total = 2, places = 3)))]
    ratio: f64,
}

fn main() {}
