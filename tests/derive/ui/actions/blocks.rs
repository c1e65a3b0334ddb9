use realtime_core::{Context, Error, RealtimeResource, Store, actions};

diesel::table! {
    topics (id) {
        id -> Integer,
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(actions(list, retrieve))]
struct Topic {
    id: i32,
}

#[actions]
impl Topic {
    async fn lock(&self, _: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        Ok(())
    }
}

#[actions(path = core)]
impl Default for Topic {
    #[action]
    fn default() -> Self {
        Self { id: 1 }
    }
}

fn main() {}
