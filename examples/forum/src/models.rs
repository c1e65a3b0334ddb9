//! The models, each made live by one derive, and what the forum adds to their writes.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use diesel::prelude::{ExpressionMethods as _, QueryDsl as _, Queryable, Selectable};
use diesel::sql_types::Text;
use realtime_actix::policy::{
    Ask, IsAuthenticated, IsOwner, Permission as _, Policy, ReadOnly, Rule as _, Verdict,
};
use realtime_actix::types::{Decimal, Uuid};
use realtime_actix::{
    Action, Context, Draft, Error, Field as _, Fields, Hooks, Principal, RealtimeEnum, RealtimeResource,
    Rows, Store, Value, actions,
};
use serde::{Deserialize, Serialize};

use crate::identity::Caller;
use crate::schema::{comments, notes, topics, users};

/// Somebody who can log in. The password is no part of the resource.
#[derive(Debug, PartialEq, Queryable, Selectable, RealtimeResource)]
#[diesel(table_name = users)]
#[realtime(
    stream = "users",
    subscription_field_mapping(ids = "pk__in", name = "username__istartswith"),
    lookups(id(all), username(all)),
    ordering(all),
    search(username),
    allowed_actions(list, retrieve, subscribe, update, replace),
    permission = IsAuthenticated.and(ReadOnly.or(IsOwner(users::id)).or(Caller::is_staff))
)]
pub(crate) struct User {
    #[realtime(read_only)]
    pub(crate) id: i32,
    #[realtime(validate(
        length(min = 3, max = 30),
        pattern = "^[a-z0-9_]*$",
        message = "A user name has 3 to 30 characters, of a to z, 0 to 9 and _."
    ))]
    pub(crate) username: String,
    #[realtime(read_only)]
    pub(crate) is_staff: bool,
    #[realtime(read_only)]
    joined_at: DateTime<Utc>,
}

impl User {
    /// What is wrong with a user name, in the words that the resource has for it.
    pub(crate) fn mistakes_in_name(name: &str) -> Vec<String> {
        let username = Self::DESCRIPTOR.field("username");
        username.map(|username| username.mistakes(&mut Value::from(name).into_owned())).unwrap_or_default()
    }
}

/// What a discussion is about.
#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(
    stream = "topics",
    subscription_field_mapping(ids = "pk__in", name = "title__istartswith"),
    lookups(all),
    ordering(all),
    search(title),
    permission = ReadOnly
        .or(IsAuthenticated.on(&[Action::Create]))
        .or(IsOwner(topics::owner_id))
        .or(Caller::is_staff),
    actions
)]
pub(crate) struct Topic {
    #[realtime(read_only)]
    id: i32,
    #[realtime(validate(length(min = 1, max = 200)))]
    title: String,
    #[realtime(default = false)]
    locked: bool,
    /// The user who made it.
    #[realtime(read_only, on_create = |context| context.user_key())]
    owner_id: i32,
    #[realtime(read_only, on_create = |context| context.now)]
    created_at: DateTime<Utc>,
}

#[actions]
impl Topic {
    /// Nothing more is said in it, but by staff.
    #[action]
    async fn lock(&self, _: &Context<'_>, store: &mut Store<'_>) -> Result<Arc<Self>, Error> {
        self.set_locked(true, store).await
    }

    /// Everybody who is logged in may comment again.
    #[action]
    async fn unlock(&self, _: &Context<'_>, store: &mut Store<'_>) -> Result<Arc<Self>, Error> {
        self.set_locked(false, store).await
    }

    async fn set_locked(&self, locked: bool, store: &mut Store<'_>) -> Result<Arc<Self>, Error> {
        let mut draft = Draft::of::<Self>();
        draft.set("locked", locked);
        store.update(self, &draft).await
    }
}

/// What somebody says in a topic.
#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(
    stream = "comments",
    subscription_field_mapping(
        ids = "pk__in",
        topic = "topic_id__exact",
        min_score = "score__gte",
        text = "body__icontains"
    ),
    lookups(all),
    ordering(all),
    search(body),
    policy,
    hooks,
    actions
)]
pub(crate) struct Comment {
    #[realtime(read_only)]
    id: i64,
    #[realtime(references = Topic, nested)]
    topic_id: i32,
    #[realtime(references = User, read_only, on_create = |context| context.user_key())]
    author_id: i32,
    #[realtime(validate(length(min = 1, max = 10_000)))]
    body: String,
    #[realtime(default = 0)]
    score: i32,
    rating: Option<f64>,
    #[realtime(default = Status::Published)]
    status: Status,
    #[realtime(read_only)]
    edited_at: Option<DateTime<Utc>>,
    #[realtime(read_only, on_create = |context| context.now)]
    created_at: DateTime<Utc>,
}

impl Hooks for Comment {
    fn validate(draft: &mut Draft, before: Option<&Self>, context: &Context<'_>) -> Result<(), Error> {
        if let Some(before) = before
            && draft.get("body").is_some_and(|body| !body.is_same(&before.body.as_str().into()))
        {
            draft.set("edited_at", Some(context.now));
        }
        let was_hidden = before.is_some_and(|before| before.status == Status::Hidden);
        let is_hidden =
            draft.get("status").map_or(was_hidden, |status| status.is_same(&Status::Hidden.to_value()));
        // What staff have hidden is not its author's to show again.
        if is_hidden != was_hidden && !Caller::is_staff(context.principal) {
            return Err(Error::permission_denied("Only staff may hide a comment, or show it again."));
        }
        Ok(())
    }

    /// Nothing is put into a locked topic, but by staff.
    async fn check(
        draft: &Draft,
        before: Option<&Self>,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> Result<(), Error> {
        let Some(topic) = draft.value::<i32>("topic_id") else { return Ok(()) };
        if before.is_some_and(|before| before.topic_id == topic) || Caller::is_staff(context.principal) {
            return Ok(());
        }
        match store.find::<Topic>(topic).await? {
            Some(topic) if topic.locked => Err(Error::permission_denied("The topic is locked.")),
            // A topic that is not there is the foreign key's to refuse.
            _ => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct BulkHide {
    topic_id: i32,
}

#[derive(Serialize)]
struct Hidden {
    count: usize,
}

#[actions]
impl Comment {
    /// Hides all comments of a topic, whoever wrote them.
    #[action(permission = Caller::is_staff)]
    async fn bulk_hide(
        BulkHide { topic_id }: BulkHide,
        _: &Context<'_>,
        store: &mut Store<'_>,
    ) -> Result<Hidden, Error> {
        let of_topic = comments::table.filter(comments::topic_id.eq(topic_id));
        let hide = diesel::update(of_topic).set(comments::status.eq(Status::Hidden));
        Ok(Hidden { count: store.execute(hide).await? })
    }
}

impl Policy for Comment {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        ReadOnly
            .or(IsAuthenticated.on(&[Action::Create]))
            .or(IsOwner(comments::author_id))
            .or(Caller::is_staff)
            .decide(ask)
    }

    /// What is published; the rest only its author and staff.
    fn visible(principal: &Principal) -> Rows<Self> {
        let published = Rows::equal(comments::status, Status::Published);
        match principal.user_key::<i32>() {
            Ok(_) if Caller::is_staff(principal) => Rows::all(),
            Ok(user) => published.or(Rows::equal(comments::author_id, user)),
            Err(_) => published,
        }
    }
}

/// What is published in a topic, to be followed as a whole.
#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(
    stream = "topic-feed",
    allowed_actions(list, retrieve, subscribe),
    subscription_field_mapping(topic = "topic_id__exact"),
    lookups(id(exact, in), topic_id(exact, in), author_id(exact, in), created_at(gt, gte, lt, lte, range)),
    ordering(all),
    group_by = topic_id,
    policy
)]
pub(crate) struct FeedItem {
    id: i64,
    topic_id: i32,
    author_id: i32,
    body: String,
    status: Status,
    created_at: DateTime<Utc>,
}

impl Policy for FeedItem {
    fn visible(_: &Principal) -> Rows<Self> {
        Rows::equal(comments::status, Status::Published)
    }

    /// It is there to be looked at by the rule above.
    fn hidden(_: &Principal) -> Fields<Self> {
        Fields::of(comments::status)
    }
}

/// Who sees a comment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, AsExpression, FromSqlRow, RealtimeEnum,
)]
#[diesel(sql_type = Text)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Its author and staff, before it is for everybody.
    Draft,
    /// Everybody.
    Published,
    /// Its author and staff, because staff said so. Only they take it back.
    Hidden,
}

/// What somebody keeps to himself.
#[derive(RealtimeResource)]
#[diesel(table_name = notes)]
#[realtime(
    stream = "notes",
    lookups(id(all), owner_id(all), title(all), body(all), pinned(all), due(all), amount(all)),
    ordering(all),
    search(title, body),
    policy
)]
pub(crate) struct Note {
    #[realtime(read_only, on_create = |_| Uuid(uuid::Uuid::now_v7()))]
    id: Uuid,
    #[realtime(read_only, on_create = |context| context.user_key())]
    owner_id: i32,
    #[realtime(validate(length(min = 1, max = 200)))]
    title: String,
    body: Option<String>,
    #[realtime(default = serde_json::json!([]))]
    tags: serde_json::Value,
    #[realtime(default = false)]
    pinned: bool,
    due: Option<NaiveDate>,
    /// With two places.
    #[realtime(validate(digits(total = 12, places = 2)))]
    amount: Option<Decimal>,
}

impl Policy for Note {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        IsAuthenticated.decide(ask)
    }

    /// One's own. For others, staff among them, it does not exist.
    fn visible(principal: &Principal) -> Rows<Self> {
        principal.user_key::<i32>().map_or_else(|_| Rows::none(), |user| Rows::equal(notes::owner_id, user))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use realtime_core::change::{Batch, ResourceId};
    use realtime_core::connection::{Connection, Effect, Surface};
    use realtime_core::cursor::{Cursor, Epoch, Position};
    use realtime_core::group::{Groups, WorkerId};
    use realtime_core::{Limits, Row};

    use super::*;

    const USERS: i32 = 1_000;

    /// A thousand users, one of the staff and nobody, all in the same topic.
    struct Crowd {
        groups: Groups,
        position: i64,
    }

    impl Crowd {
        fn new() -> Self {
            let surface = Surface { descriptors: vec![Comment::DESCRIPTOR], limits: Limits::default() };
            let surface = Arc::new(surface);
            let at = Cursor { epoch: Epoch(1), position: Position(0) };
            let mut groups = Groups::new(vec![Comment::DESCRIPTOR], at);
            let users = (1..=USERS).map(Principal::user);
            let others = [Principal::user(USERS + 1).with(Caller::STAFF), Principal::anonymous()];
            let mut ids = HashSet::new();
            for principal in users.chain(others) {
                let mut connection = Connection::new(Arc::clone(&surface), None, 0).of(principal);
                let subscribe = r#"{"stream": "comments/subscribe", "payload": {"topic": 1}}"#;
                match connection.text(subscribe, 0).pop() {
                    Some(Effect::Join(_, subscription, _)) => {
                        ids.insert(subscription.id().to_owned());
                        groups.join(WorkerId(0), &subscription);
                    }
                    other => panic!("not joined: {other:?}"),
                }
            }
            assert_eq!(ids.len(), 1, "they have asked for the same");
            Self { groups, position: 0 }
        }

        /// How many of them are told of a change, in how many different words, and how often something was written for
        /// that.
        fn tell(&mut self, before: Option<&Comment>, after: Option<&Comment>) -> (usize, usize, usize) {
            self.position += 1;
            let row = |comment: Option<&Comment>| comment.map(|comment| Arc::new(copy(comment)) as Row);
            let change = realtime_core::change::Change {
                resource: ResourceId(0),
                key: Value::Int(1),
                before: row(before),
                after: row(after),
                cursor: Position(self.position),
            };
            let position = Position(self.position);
            let batch = Batch { changes: vec![change], position, ..Batch::default() };
            let deliveries = self.groups.publish(&batch);
            let events = || deliveries.iter().flat_map(|delivery| &delivery.events);
            let words: HashSet<&str> = events().map(|event| &*event.text).collect();
            let written: HashSet<usize> = events().map(|event| Arc::as_ptr(&event.text).addr()).collect();
            (events().count(), words.len(), written.len())
        }
    }

    fn copy(comment: &Comment) -> Comment {
        Comment { body: comment.body.clone(), ..*comment }
    }

    #[test]
    fn a_change_is_written_once_for_each_thing_to_be_said_however_many_users_there_are() {
        let mut crowd = Crowd::new();
        let all = usize::try_from(USERS).expect("a number") + 2;
        // Each may have a draft in the topic; others are neither told of it nor written for.
        for author in (1..=USERS).step_by(20) {
            let draft = Comment {
                id: author.into(),
                topic_id: 1,
                author_id: author,
                body: "a draft".into(),
                score: 0,
                rating: None,
                status: Status::Draft,
                edited_at: None,
                created_at: DateTime::UNIX_EPOCH,
            };
            let published = Comment { status: Status::Published, ..copy(&draft) };
            let edited = Comment { body: "changed".into(), ..copy(&published) };
            let hidden = Comment { status: Status::Hidden, ..copy(&edited) };
            let scored = Comment { score: 1, ..copy(&hidden) };
            // Its author and the staff; the others it appears for, and disappears for.
            for (before, after, expected) in [
                (None, Some(&draft), (2, 1, 1)),
                (Some(&draft), Some(&published), (all, 2, 2)),
                (Some(&published), Some(&edited), (all, 1, 1)),
                (Some(&edited), Some(&hidden), (all, 2, 2)),
                (Some(&hidden), Some(&scored), (2, 1, 1)),
                (Some(&scored), None, (2, 1, 1)),
            ] {
                assert_eq!(crowd.tell(before, after), expected, "of user {author}");
            }
        }
    }
}
