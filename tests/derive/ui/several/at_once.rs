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
#[realtime(stream = "a/b", ordering(nme), allowed_actions(lst), rename_all = "Camel")]
struct Row {
    id: i32,
    #[realtime(writeonly, validate(lenght(max = 5)))]
    name: String,
    #[realtime(rename = "na-me", default)]
    note: Option<String>,
    #[realtime(validate(range(min = 5, max = 1)), read_only = true)]
    count: i32,
    #[realtime(required, default = 0)]
    day: chrono::NaiveDate,
}

fn main() {}
