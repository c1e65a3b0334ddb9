use realtime_core::{Context, Error, RealtimeResource, Store, actions};

diesel::table! {
    topics (id) {
        id -> Integer,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
struct Topic {
    id: i32,
}

#[actions]
impl Topic {
    #[action]
    async fn lock(&self, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(actions)]
struct Announced {
    id: i32,
}

fn main() {}
