use realtime_core::RealtimeEnum;

#[derive(RealtimeEnum)]
#[realtime(rename_all = "lowercase")]
enum Status {
    #[realtime(rename = "draft")]
    Draft,
}

fn main() {}
