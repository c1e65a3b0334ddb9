//! A rule and an implementation of one's own, and neither written as it is.

use realtime_core::RealtimeResource;
use realtime_core::policy::AllowAny;

diesel::table! {
    comments (id) {
        id -> BigInt,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(permission = AllowAny, policy)]
struct Both {
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(permission, permissions = AllowAny)]
struct NoValue {
    id: i64,
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(policy = AllowAny)]
struct Value {
    #[realtime(permission = AllowAny)]
    id: i64,
}

fn main() {}
