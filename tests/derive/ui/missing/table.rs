use realtime_core::RealtimeResource;

/// The model is used as well: only the mistake is reported.
#[derive(RealtimeResource)]
struct BlogPost {
    id: i64,
}

fn stream<T: RealtimeResource>() -> &'static str {
    T::DESCRIPTOR.stream
}

#[allow(dead_code)]
const STREAM: fn() -> &'static str = stream::<BlogPost>;

fn main() {}
