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
    #[realtime(validate(length(maximum = 5)))]
    name: String,
    #[realtime(validate(range(mn = 5)))]
    count: i32,
    #[realtime(validate(digits(place = 2)))]
    price: realtime_core::types::Decimal,
}

fn main() {}
