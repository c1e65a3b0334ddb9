use realtime_core::RealtimeEnum;

#[derive(RealtimeEnum)]
enum Data {
    Plain,
    Number(i32),
    Named { name: String },
}

#[derive(RealtimeEnum)]
enum Empty {}

#[derive(RealtimeEnum)]
enum Generic<T> {
    A(T),
}

#[derive(RealtimeEnum)]
struct NotAnEnum {
    id: i64,
}

fn main() {}
