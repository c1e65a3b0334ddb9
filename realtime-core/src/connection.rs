//! One client's side of the protocol: messages in, effects out. It reads no clock, opens nothing and sends nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value as Json;

use crate::action::{Call, Operation, Outcome, Request};
use crate::change::ResourceId;
use crate::context::Principal;
use crate::cursor::Cursor;
use crate::custom::CustomAction;
use crate::encode::{self, Head};
use crate::error::{Code, Error, shown};
use crate::filter::{self, RawArgument};
use crate::known::Known;
use crate::limits::Limits;
use crate::list::{LIST_OPTIONS, ListQuery, Page};
use crate::message::{self, Message};
use crate::resource::{Action, Descriptor};
use crate::subscription::{Asked, Subscription};
use crate::value::Value;
use crate::view::View;

/// What all connections of a scope have in common.
#[derive(Debug)]
pub struct Surface {
    /// The mounted resources, in the order of their ids.
    pub descriptors: Vec<&'static Descriptor>,
    /// The limits.
    pub limits: Limits,
}

impl Surface {
    /// The resource of a stream.
    pub fn find(&self, stream: &str) -> Option<(ResourceId, &'static Descriptor)> {
        let at = self.descriptors.iter().position(|descriptor| descriptor.stream == stream)?;
        Some((ResourceId(at), self.descriptors[at]))
    }
}

/// Names a request that an effect belongs to, until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What the connection asks its owner to do. To be done in order.
#[derive(Debug)]
pub enum Effect {
    /// Send a text frame.
    Send(String),
    /// Send a text frame that says how far the events have come: it must not overtake any that are held back.
    SendInOrder(String),
    /// Carry out a request and report with [`Connection::answered`].
    Execute(Ticket, Box<Request>),
    /// Follow a subscription and report with [`Connection::joined`] before anything is sent of it. The ticket names the
    /// subscription from then on.
    Join(Ticket, Arc<Subscription>, Start),
    /// Begin anew, with a snapshot, what the first ticket names, and report with [`Connection::joined`] for the second
    /// one before anything more is sent of it.
    Renew(Ticket, Ticket),
    /// Whoever holds what the ticket names sees other rows now: nothing more may be sent of it as it was, its holder is
    /// told `lagged`, and a snapshot of it as it is follows.
    Narrow(Ticket, Arc<Subscription>),
    /// No longer follow the subscription that was joined with the ticket; none of its events may follow.
    Leave(Ticket),
    /// Ask who has the token and report with [`Connection::authenticated`]; then give back the texts that have waited for
    /// it, one by one, with [`Connection::next_held_back`] and [`Connection::text_again`].
    Authenticate(Ticket, String),
    /// Find out the position up to which all events have been sent and report with [`Connection::positioned`].
    AskPosition(Ticket),
    /// Send a close frame and end.
    Close(u16, &'static str),
}

/// How a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Send first what came after this position, if it can be had.
    pub since: Option<Cursor>,
    /// Send first a snapshot, unless what came after the position can be had.
    pub snapshot: bool,
}

#[derive(Debug)]
struct Pending {
    head: Head,
    descriptor: Option<&'static Descriptor>,
    ordered: bool,
    waits_for: WaitsFor,
}

impl Pending {
    /// About no stream.
    fn answer(head: Head, ordered: bool) -> Self {
        Self { head, descriptor: None, ordered, waits_for: WaitsFor::Answer }
    }
}

/// What a request waits for.
#[derive(Debug)]
enum WaitsFor {
    /// Its answer, and no more.
    Answer,
    /// The row groups that a subscription is about.
    RowGroups(Asked),
    /// The subscription to be followed; as what it was asked for, where that is not what is followed.
    Subscription(Arc<Subscription>, Option<String>),
}

impl WaitsFor {
    fn subscription(&self) -> Option<&Arc<Subscription>> {
        match self {
            Self::Answer => None,
            Self::RowGroups(asked) => Some(&asked.subscription),
            Self::Subscription(subscription, _) => Some(subscription),
        }
    }
}

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    count: usize,
    subscription: Arc<Subscription>,
    /// The identities of what it was asked for as, where those are not its own.
    asked_as: Vec<String>,
}

/// A request that must not overtake the one before it.
#[derive(Debug)]
struct Queued {
    head: Head,
    resource: ResourceId,
    descriptor: &'static Descriptor,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Write(Operation),
    Subscribe(Asked),
    Unsubscribe(Unsubscribe),
    /// A write that cannot be carried out: it is refused in its turn.
    Refuse(Error),
}

#[derive(Debug)]
enum Unsubscribe {
    Id(String),
    Same(Arc<Subscription>),
}

/// One connection.
///
/// Writes, subscribes and unsubscribes are carried out one after the other in the order in which they came; reads
/// overtake them. An `authenticate` has its place among them, and what comes after it, reads too, waits until it is
/// answered: it is asked as whoever that says.
#[derive(Debug)]
pub struct Connection {
    surface: Arc<Surface>,
    known: Option<Arc<Known>>,
    default_address: Option<Box<str>>,
    principal: Principal,
    /// Most hold few: they are looked through.
    held: Vec<Held>,
    /// As few as may run at a time: they are looked through, too.
    pending: Vec<(Ticket, Pending)>,
    queue: VecDeque<Queued>,
    /// Is an ordered request running?
    busy: bool,
    /// Nothing for most of a connection's life.
    login: Option<Box<Login>>,
    next_ticket: u64,
    bucket: Bucket,
    closed: bool,
}

/// Somebody logs in: it is not known whose the next requests are.
#[derive(Debug, Default)]
struct Login {
    /// Is it not known yet?
    unknown: bool,
    /// The `authenticate` that is to be known by, until it is its turn. Nothing is queued behind it.
    asked: Option<(Head, String)>,
    /// Texts that have come after it.
    held_back: VecDeque<String>,
}

/// The request-rate limit: a bucket of tokens that fills with time.
#[derive(Debug)]
struct Bucket {
    /// Thousandths of a request.
    tokens: u64,
    at_ms: u64,
    refused_in_a_row: u32,
}

impl Bucket {
    fn take(&mut self, limits: &Limits, now_ms: u64) -> bool {
        let full = u64::from(limits.request_burst) * 1_000;
        let elapsed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let refill = elapsed.saturating_mul(u64::from(limits.requests_per_second));
        self.tokens = self.tokens.saturating_add(refill).min(full);
        if self.tokens >= 1_000 {
            self.tokens -= 1_000;
            self.refused_in_a_row = 0;
            true
        } else {
            self.refused_in_a_row += 1;
            false
        }
    }
}

impl Connection {
    /// Whose connection it is.
    #[must_use]
    pub fn of(self, principal: Principal) -> Self {
        Self { principal, ..self }
    }

    /// One that shares its subscriptions with others.
    #[must_use]
    pub fn sharing(self, known: Arc<Known>) -> Self {
        Self { known: Some(known), ..self }
    }

    /// A connection of nobody in particular that has just been opened. `default_address` is that of the path form of the route.
    pub fn new(surface: Arc<Surface>, default_address: Option<String>, now_ms: u64) -> Self {
        let tokens = u64::from(surface.limits.request_burst) * 1_000;
        Self {
            surface,
            known: None,
            default_address: default_address.map(String::into_boxed_str),
            principal: Principal::anonymous(),
            held: Vec::new(),
            pending: Vec::new(),
            queue: VecDeque::new(),
            busy: false,
            login: None,
            next_ticket: 0,
            bucket: Bucket { tokens, at_ms: now_ms, refused_in_a_row: 0 },
            closed: false,
        }
    }

    /// Are as many requests running or waiting as may be? Then nothing more is to be read.
    pub fn is_full(&self) -> bool {
        let login = self.login.as_ref();
        let held = login.map_or(0, |login| usize::from(login.asked.is_some()) + login.held_back.len());
        self.pending.len() + self.queue.len() + held >= self.surface.limits.running_requests
    }

    /// A text frame has come.
    pub fn text(&mut self, text: &str, now_ms: u64) -> Vec<Effect> {
        if self.closed {
            return Vec::new();
        }
        let parsed = message::parse(text, self.default_address.as_deref());
        if !self.bucket.take(&self.surface.limits, now_ms) {
            let head = match parsed {
                Ok(message) => message.head,
                Err(malformed) => malformed.0,
            };
            return self.throttled(&head);
        }
        match parsed {
            Ok(message) => match &mut self.login {
                Some(login) if login.unknown => {
                    login.held_back.push_back(text.to_owned());
                    Vec::new()
                }
                _ => self.request(message),
            },
            Err(malformed) => refuse(&malformed.0, &malformed.1),
        }
    }

    /// The next text that has waited until it is known whose it is, if that is known now.
    pub fn next_held_back(&mut self) -> Option<String> {
        let login = self.login.as_mut().filter(|login| !login.unknown && !self.closed)?;
        let next = login.held_back.pop_front();
        if login.held_back.is_empty() {
            self.login = None;
        }
        next
    }

    /// A text is carried out that had to wait. It was counted when it came.
    pub fn text_again(&mut self, text: &str) -> Vec<Effect> {
        match message::parse(text, self.default_address.as_deref()) {
            Ok(message) => self.request(message),
            Err(malformed) => refuse(&malformed.0, &malformed.1),
        }
    }

    fn request(&mut self, message: Message) -> Vec<Effect> {
        let head = message.head.clone();
        self.dispatch(message).unwrap_or_else(|error| refuse(&head, &error))
    }

    /// A binary frame has come.
    pub fn binary(&mut self, now_ms: u64) -> Vec<Effect> {
        if self.closed {
            return Vec::new();
        }
        if !self.bucket.take(&self.surface.limits, now_ms) {
            return self.throttled(&Head::default());
        }
        refuse(&Head::default(), &Error::new(Code::UnsupportedFrame, "Only text frames are read."))
    }

    /// The answer to a text whose request could not be carried out because the server is at fault.
    pub fn failed(&self, text: &str, error: &Error) -> Vec<Effect> {
        let head = match message::parse(text, self.default_address.as_deref()) {
            Ok(message) => message.head,
            Err(malformed) => malformed.0,
        };
        refuse(&head, error)
    }

    fn throttled(&mut self, head: &Head) -> Vec<Effect> {
        if self.bucket.refused_in_a_row > self.surface.limits.throttled_in_a_row {
            self.closed = true;
            return vec![Effect::Close(4429, "too many requests")];
        }
        let seconds = 1.0 / f64::from(self.surface.limits.requests_per_second.max(1));
        refuse(head, &Error::new(Code::Throttled, "Too many requests.").retry_after(seconds))
    }

    fn dispatch(&mut self, message: Message) -> Result<Vec<Effect>, Error> {
        let Some(stream) = &message.stream else { return self.streamless(message) };
        let action = Action::from_name(&message.action);
        // The form of the message comes before what it is about.
        let form = action.map_or(Ok(()), |action| check_members(action, &message));
        let Some((resource, descriptor)) = self.surface.find(stream) else {
            return form
                .and(Err(Error::new(Code::NotFound, format!("There is no stream {}.", shown(stream)))));
        };
        if let Some(custom) = descriptor.custom(&message.action) {
            return self.call(resource, descriptor, custom, message);
        }
        let offered = action.filter(|action| descriptor.actions.contains(*action));
        let Some(action) = offered else { return form.and(Err(not_allowed(descriptor, &message.action))) };
        let admitted = form.and_then(|()| descriptor.rules.admit(&self.principal, action));
        let head = message.head.clone();
        if matches!(action, Action::List | Action::Retrieve) {
            admitted?;
            let operation = self.read(descriptor, action, message)?;
            return Ok(self.execute(head, resource, descriptor, operation, false));
        }
        let work = match admitted.and_then(|()| self.work(resource, descriptor, action, message)) {
            Ok(work) => work,
            // Writes are answered in the order in which they came, refused ones too.
            Err(error) if action.writes() => Work::Refuse(error),
            Err(error) => return Err(error),
        };
        Ok(self.enqueue(Queued { head, resource, descriptor, work }))
    }

    /// What the application has added. It is carried out in its turn, as writes are.
    fn call(
        &mut self,
        resource: ResourceId,
        descriptor: &'static Descriptor,
        custom: &'static CustomAction,
        message: Message,
    ) -> Result<Vec<Effect>, Error> {
        let head = message.head.clone();
        let asked = check_call(custom, &message)
            .and_then(|()| descriptor.rules.admit_custom(&self.principal, custom))
            .and_then(|()| Call::new(descriptor, custom, message.key.as_ref(), message.payload));
        let work = match asked {
            Ok(call) => Work::Write(Operation::Call(Box::new(call))),
            Err(error) => Work::Refuse(error),
        };
        Ok(self.enqueue(Queued { head, resource, descriptor, work }))
    }

    /// What a request that reads asks of the database.
    fn read(
        &self,
        descriptor: &'static Descriptor,
        action: Action,
        message: Message,
    ) -> Result<Operation, Error> {
        if action == Action::Retrieve {
            return Ok(Operation::Retrieve(key(descriptor, message.key.as_ref())?));
        }
        let filter = json_entries(message.payload);
        let view = descriptor.seen_by(&self.principal);
        let query = ListQuery::parse(view, filter, &message.options, &self.surface.limits)?;
        Ok(Operation::List(Box::new(query)))
    }

    /// What a request that keeps its place asks for.
    fn work(
        &self,
        resource: ResourceId,
        descriptor: &'static Descriptor,
        action: Action,
        message: Message,
    ) -> Result<Work, Error> {
        let key = || key(descriptor, message.key.as_ref());
        Ok(match action {
            Action::Update => Work::Write(Operation::Update(key()?, message.payload)),
            Action::Replace => Work::Write(Operation::Replace(key()?, message.payload)),
            Action::Delete => Work::Write(Operation::Delete(key()?)),
            Action::Unsubscribe => match message.options.iter().find(|(name, _)| name == "subscription") {
                Some((_, Json::String(id))) if message.payload.is_empty() && message.key.is_none() => {
                    Work::Unsubscribe(Unsubscribe::Id(id.clone()))
                }
                Some((_, Json::String(_))) => {
                    return Err(Error::bad_request(
                        "unsubscribe names a subscription or a filter, not both.",
                    ));
                }
                Some(_) => return Err(Error::bad_request("subscription is a string.")),
                None => Work::Unsubscribe(Unsubscribe::Same(
                    self.asked(resource, descriptor, message)?.subscription,
                )),
            },
            Action::Subscribe => Work::Subscribe(self.asked(resource, descriptor, message)?),
            Action::Create => Work::Write(Operation::Create(message.payload)),
            // Reads keep no place.
            Action::List | Action::Retrieve | Action::Custom(_) => {
                return Err(not_allowed(descriptor, action.name()));
            }
        })
    }

    fn streamless(&mut self, message: Message) -> Result<Vec<Effect>, Error> {
        if let Some((name, _)) = message.options.first() {
            return Err(unknown_member(name));
        }
        let token = match (message.action.as_str(), message.payload.get("token")) {
            ("ping", _) => None,
            (_, Some(Json::String(token))) if message.payload.len() == 1 => Some(token.clone()),
            _ => {
                return Err(Error::validation("token", "authenticate has a payload with a token, a string."));
            }
        };
        let Some(token) = token else {
            let ticket = self.issue(Pending::answer(message.head, false));
            return Ok(vec![Effect::AskPosition(ticket)]);
        };
        let login = self.login.get_or_insert_default();
        login.unknown = true;
        login.asked = Some((message.head, token));
        Ok(self.advance())
    }

    fn asked(
        &self,
        resource: ResourceId,
        descriptor: &'static Descriptor,
        message: Message,
    ) -> Result<Asked, Error> {
        // Before the filter: a key that no row can have is that of no row, whatever else is asked.
        let key = message.key.is_some().then(|| key(descriptor, message.key.as_ref())).transpose()?;
        let filter = json_entries(message.payload);
        Asked::parse(
            (resource, descriptor),
            &self.principal,
            key,
            filter,
            &message.options,
            &self.surface.limits,
        )
    }

    fn issue(&mut self, pending: Pending) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.pending.push((ticket, pending));
        ticket
    }

    fn execute(
        &mut self,
        head: Head,
        resource: ResourceId,
        descriptor: &'static Descriptor,
        operation: Operation,
        ordered: bool,
    ) -> Vec<Effect> {
        let waits_for = WaitsFor::Answer;
        let ticket = self.issue(Pending { head, descriptor: Some(descriptor), ordered, waits_for });
        vec![Effect::Execute(ticket, Box::new(Request::new(resource, operation)))]
    }

    fn enqueue(&mut self, queued: Queued) -> Vec<Effect> {
        self.queue.push_back(queued);
        self.advance()
    }

    /// Begins the next ordered requests, up to one that has to be waited for.
    fn advance(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while !self.busy {
            let Some(Queued { head, resource, descriptor, work }) = self.queue.pop_front() else {
                // Most connections ask for something once and listen from then on.
                self.queue = VecDeque::new();
                if let Some((head, token)) = self.login.as_mut().and_then(|login| login.asked.take()) {
                    self.busy = true;
                    let ticket = self.issue(Pending::answer(head, true));
                    effects.push(Effect::Authenticate(ticket, token));
                }
                break;
            };
            match work {
                Work::Write(operation) => {
                    self.busy = true;
                    effects.extend(self.execute(head, resource, descriptor, operation, true));
                }
                Work::Subscribe(asked) => effects.extend(self.subscribe(head, descriptor, asked, None)),
                Work::Refuse(error) => effects.extend(refuse(&head, &error)),
                Work::Unsubscribe(which) => effects.extend(self.unsubscribe(&head, descriptor, &which)),
            }
        }
        effects
    }

    fn subscribe(
        &mut self,
        head: Head,
        descriptor: &'static Descriptor,
        mut asked: Asked,
        asked_as: Option<String>,
    ) -> Vec<Effect> {
        if let Some(groups) = asked.row_groups.take() {
            self.busy = true;
            let resource = asked.subscription.resource();
            let ticket = self.issue(Pending {
                head,
                descriptor: Some(descriptor),
                ordered: true,
                waits_for: WaitsFor::RowGroups(asked),
            });
            let operation = Operation::FindRowGroups(groups);
            return vec![Effect::Execute(ticket, Box::new(Request::new(resource, operation)))];
        }
        let Asked { subscription, start, .. } = asked;
        // It may have waited for its turn.
        let subscription = seen_by(&self.surface, &subscription, &self.principal).unwrap_or(subscription);
        let subscription = share(self.known.as_deref(), subscription);
        let held = self.held_at(subscription.identity()).map(|at| self.held[at].ticket);
        let limit = self.surface.limits.subscriptions;
        if held.is_none() && self.held.len() >= limit {
            let detail = format!("A connection holds at most {limit} subscriptions (limit subscriptions).");
            return refuse(&head, &Error::validation(crate::error::NON_FIELD_ERRORS, detail));
        }
        self.busy = true;
        let ticket = self.issue(Pending {
            head,
            descriptor: Some(descriptor),
            ordered: true,
            waits_for: WaitsFor::Subscription(Arc::clone(&subscription), asked_as),
        });
        vec![match held {
            None => Effect::Join(ticket, subscription, start),
            Some(held) if start.snapshot => Effect::Renew(held, ticket),
            // The events flow already; only the position is missing.
            Some(_) => Effect::AskPosition(ticket),
        }]
    }

    /// Success also where nothing was held.
    fn unsubscribe(&mut self, head: &Head, descriptor: &Descriptor, which: &Unsubscribe) -> Vec<Effect> {
        let at = match which {
            Unsubscribe::Same(subscription) => self.held_as(subscription.identity()),
            Unsubscribe::Id(id) => self.held.iter().position(|held| {
                let stream = self.surface.descriptors[held.subscription.resource().0].stream;
                held.subscription.id() == *id && stream == descriptor.stream
            }),
        };
        let mut effects = Vec::new();
        if let Some(at) = at {
            let held = &mut self.held[at];
            held.count -= 1;
            // Which of equal ones is ended makes no difference, but for the last that is left.
            let wanted = match which {
                Unsubscribe::Same(asked) => held.asked_as.iter().rposition(|one| one == asked.identity()),
                Unsubscribe::Id(_) => None,
            };
            if let Some(at) = wanted {
                held.asked_as.remove(at);
            }
            held.asked_as.truncate(held.count);
            if held.count == 0 {
                effects.push(Effect::Leave(held.ticket));
                self.held.remove(at);
            }
        }
        effects.push(Effect::Send(encode::reply(head, 204, None)));
        effects
    }

    /// The place of what is held.
    fn held_at(&self, identity: &str) -> Option<usize> {
        self.held.iter().position(|held| held.subscription.identity() == identity)
    }

    /// The place of what is held as what somebody asks for: of several, the one begun last.
    fn held_as(&self, asked: &str) -> Option<usize> {
        let held = self.held.iter().enumerate();
        let held = held.filter(|(_, held)| held.asked_as.iter().any(|one| one == asked));
        held.max_by_key(|(_, held)| held.ticket.0).map(|(at, _)| at).or_else(|| self.held_at(asked))
    }

    /// A request is no longer waited for.
    fn take_pending(&mut self, ticket: Ticket) -> Option<Pending> {
        let at = self.pending.iter().position(|(asked, _)| *asked == ticket)?;
        let (_, pending) = self.pending.swap_remove(at);
        if self.pending.is_empty() {
            // As the queue, it need not keep its room.
            self.pending = Vec::new();
        }
        Some(pending)
    }

    /// The subscription is followed from now on: its events begin after the cursor. Is that the one that was asked for?
    pub fn joined(&mut self, ticket: Ticket, cursor: Cursor, recovered: bool) -> Vec<Effect> {
        let Some(pending) = self.take_pending(ticket) else { return vec![Effect::Leave(ticket)] };
        let WaitsFor::Subscription(subscription, asked_as) = pending.waits_for else {
            return vec![Effect::Leave(ticket)];
        };
        let at = self.held_at(subscription.identity()).unwrap_or_else(|| {
            if self.held.is_empty() {
                self.held.reserve_exact(1);
            }
            let subscription = Arc::clone(&subscription);
            self.held.push(Held { ticket, count: 0, subscription, asked_as: Vec::new() });
            self.held.len() - 1
        });
        let held = &mut self.held[at];
        held.count += 1;
        held.asked_as.extend(asked_as);
        // He may have become somebody else, as far as he sees, while it was begun.
        let narrowed = seen_by(&self.surface, &held.subscription, &self.principal)
            .map(|narrowed| share(self.known.as_deref(), narrowed));
        if let Some(narrowed) = &narrowed {
            held.subscription = Arc::clone(narrowed);
        }
        let held = held.ticket;
        let reply = Effect::Send(subscribed(&pending.head, &subscription, cursor, recovered));
        let mut effects = self.finish(pending.ordered, reply);
        if let Some(narrowed) = narrowed {
            effects.insert(1, Effect::Narrow(held, narrowed));
        }
        effects
    }

    /// All events up to the cursor have been sent. `time` is the present time in RFC 3339.
    pub fn positioned(&mut self, ticket: Ticket, cursor: Cursor, time: &str) -> Vec<Effect> {
        let Some(pending) = self.take_pending(ticket) else { return Vec::new() };
        let text = match pending.waits_for {
            WaitsFor::Subscription(subscription, asked_as) => {
                if let Some(at) = self.held_at(subscription.identity()) {
                    let held = &mut self.held[at];
                    held.count += 1;
                    held.asked_as.extend(asked_as);
                }
                subscribed(&pending.head, &subscription, cursor, false)
            }
            WaitsFor::Answer | WaitsFor::RowGroups(_) => {
                let data = format!(r#"{{"time":"{time}","cursor":"{cursor}"}}"#);
                encode::reply(&pending.head, 200, Some(&data))
            }
        };
        self.finish(pending.ordered, Effect::SendInOrder(text))
    }

    /// The token of an `authenticate` is somebody's, until some time, or nobody's.
    pub fn authenticated(
        &mut self,
        ticket: Ticket,
        result: Result<(&Principal, Option<DateTime<Utc>>), Error>,
    ) -> Vec<Effect> {
        let Some(pending) = self.take_pending(ticket) else { return Vec::new() };
        if let Some(login) = &mut self.login {
            login.unknown = false;
        }
        self.busy = false;
        let (principal, expires_at) = match result {
            Ok(known) => known,
            Err(error) => return refuse(&pending.head, &error),
        };
        let mut effects = self.become_of(principal);
        if !self.closed {
            let end = expires_at.map(|end| end.to_rfc3339_opts(SecondsFormat::AutoSi, true));
            let data = format!(r#"{{"expires_at":{}}}"#, Json::from(end));
            effects.insert(0, Effect::Send(encode::reply(&pending.head, 200, Some(&data))));
        }
        effects
    }

    /// The connection's user is known anew: he may have other rights now, or have logged in. What he follows goes on with
    /// the rows and fields that he sees now. Another user ends the connection, and so does a right to follow that is lost,
    /// also where it is lost because a filter names a field that is hidden from him now.
    pub fn become_of(&mut self, principal: &Principal) -> Vec<Effect> {
        let may_follow = |subscription: &Arc<Subscription>| {
            let descriptor = self.surface.descriptors[subscription.resource().0];
            descriptor.rules.admit(principal, Action::Subscribe).is_ok()
                && subscription.is_known_to(descriptor, principal)
        };
        let held = self.held.iter().map(|held| &held.subscription);
        let begun = self.pending.iter().filter_map(|(_, pending)| pending.waits_for.subscription());
        let waiting = self.queue.iter().filter_map(|queued| match &queued.work {
            Work::Subscribe(asked) => Some(&asked.subscription),
            _ => None,
        });
        if !self.principal.may_become(principal) || !held.chain(begun).chain(waiting).all(may_follow) {
            self.closed = true;
            return vec![Effect::Close(4401, "another session has begun")];
        }
        self.principal = principal.clone();
        let mut effects = Vec::new();
        for held in &mut self.held {
            if let Some(subscription) = seen_by(&self.surface, &held.subscription, &self.principal) {
                let subscription = share(self.known.as_deref(), subscription);
                held.subscription = Arc::clone(&subscription);
                effects.push(Effect::Narrow(held.ticket, subscription));
            }
        }
        effects
    }

    /// A request has been carried out; `feed` is the position that a list is true at.
    pub fn answered(&mut self, ticket: Ticket, result: Result<(Outcome, Cursor), Error>) -> Vec<Effect> {
        let Some(pending) = self.take_pending(ticket) else { return Vec::new() };
        if let (WaitsFor::RowGroups(asked), Some(descriptor), Ok((Outcome::RowGroups(groups), _))) =
            (&pending.waits_for, pending.descriptor, &result)
        {
            let asked_as = asked.subscription.identity().to_owned();
            let asked = asked.clone().to_row_groups(descriptor, &self.principal, groups.clone());
            self.busy = false;
            let mut effects = self.subscribe(pending.head, descriptor, asked, Some(asked_as));
            effects.extend(self.advance());
            return effects;
        }
        let text = match (result, pending.descriptor) {
            (Ok((outcome, feed)), Some(descriptor)) => {
                answer(&pending.head, descriptor.seen_by(&self.principal), &outcome, feed)
            }
            (Ok(_), None) => encode::reply(&pending.head, 200, None),
            (Err(error), _) => encode::error_reply(&pending.head, &error),
        };
        self.finish(pending.ordered, Effect::Send(text))
    }

    fn finish(&mut self, ordered: bool, reply: Effect) -> Vec<Effect> {
        let mut effects = vec![reply];
        if ordered {
            self.busy = false;
            effects.extend(self.advance());
        }
        effects
    }
}

fn refuse(head: &Head, error: &Error) -> Vec<Effect> {
    vec![Effect::Send(encode::error_reply(head, error))]
}

/// The subscription as somebody sees it now; `None` where that is as it is.
fn seen_by(
    surface: &Surface,
    subscription: &Arc<Subscription>,
    principal: &Principal,
) -> Option<Arc<Subscription>> {
    let descriptor = surface.descriptors[subscription.resource().0];
    let now = Subscription::clone(subscription).seen_by(descriptor, principal);
    (now.group_identity() != subscription.group_identity()).then(|| Arc::new(now))
}

fn share(known: Option<&Known>, subscription: Arc<Subscription>) -> Arc<Subscription> {
    match known {
        Some(known) => known.share(subscription),
        None => subscription,
    }
}

fn subscribed(head: &Head, subscription: &Subscription, cursor: Cursor, recovered: bool) -> String {
    let id = subscription.id();
    let data = format!(r#"{{"subscription":"{id}","cursor":"{cursor}","recovered":{recovered}}}"#);
    encode::reply(head, 200, Some(&data))
}

fn answer(head: &Head, view: View<'_>, outcome: &Outcome, feed: Cursor) -> String {
    match outcome {
        Outcome::Created(row) => encode::reply(head, 201, Some(&encode::object(view, row.as_ref()))),
        Outcome::CreatedBefore(object) => encode::reply(head, 201, Some(object)),
        Outcome::Object(row) => encode::reply(head, 200, Some(&encode::object(view, row.as_ref()))),
        // Groups are for a subscription, which is answered when it begins.
        Outcome::Deleted | Outcome::Nothing | Outcome::RowGroups(_) => encode::reply(head, 204, None),
        Outcome::Answer(json) => encode::reply(head, 200, Some(json)),
        Outcome::DoneBefore(_, json) if json.is_empty() => encode::reply(head, 204, None),
        Outcome::DoneBefore(_, json) => encode::reply(head, 200, Some(json)),
        Outcome::Page(page) => {
            let links = [page.next.clone(), page.previous.clone()];
            encode::reply(head, 200, Some(&page_object(view, page, links, Some(feed))))
        }
    }
}

/// A page as an object, with the links in the form of the transport: next, then previous.
pub fn page_object<'a>(
    view: impl Into<View<'a>>,
    page: &Page,
    [next, previous]: [Option<String>; 2],
    feed: Option<Cursor>,
) -> String {
    let mut view = view.into();
    if let Some(fields) = &page.fields {
        view = view.only(fields);
    }
    let mut out = String::with_capacity(64 + page.rows.len() * 192);
    out.push_str(r#"{"results":["#);
    for (at, row) in page.rows.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        encode::write_object(view.descriptor(), row.as_ref(), view.shown(), &mut out);
        if !page.expanded.is_empty() {
            // The key is always there, so a comma is right.
            out.pop();
            for expanded in &page.expanded {
                expanded.write(row.as_ref(), &mut out);
            }
            out.push('}');
        }
    }
    out.push(']');
    for (name, link) in [("next", next), ("previous", previous)] {
        out.push_str(&format!(r#","{name}":{}"#, Json::from(link)));
    }
    out.push_str(&format!(r#","count":{}"#, Json::from(page.count)));
    if let Some(feed) = feed {
        out.push_str(&format!(r#","feed":"{feed}""#));
    }
    out.push('}');
    out
}

/// 405, with the actions that there are.
pub fn not_allowed(descriptor: &Descriptor, action: &str) -> Error {
    let offered: Vec<&str> = Action::ALL
        .iter()
        .filter(|action| descriptor.actions.contains(**action))
        .map(|action| action.name())
        .chain(descriptor.custom.iter().map(|custom| custom.name))
        .collect();
    let detail = format!(
        "{:?} does not offer {}; its actions are {}.",
        descriptor.stream,
        shown(action),
        offered.join(", ")
    );
    Error::new(Code::ActionNotAllowed, detail)
}

/// The key that a request names. A key of the wrong type is that of no row: 404.
///
/// # Errors
/// 404.
pub fn key(descriptor: &Descriptor, json: Option<&Json>) -> Result<Value<'static>, Error> {
    json.and_then(|json| filter::parse_key(descriptor.lookup_field().kind, json)).ok_or_else(Error::not_found)
}

fn json_entries(payload: serde_json::Map<String, Json>) -> impl Iterator<Item = (String, RawArgument)> {
    payload.into_iter().map(|(key, json)| (key, RawArgument::Json(json)))
}

fn unknown_member(name: &str) -> Error {
    Error::bad_request(format!("{} is not a member of this message.", shown(name)))
}

/// The members that an action needs, and those that it takes.
fn check_members(action: Action, message: &Message) -> Result<(), Error> {
    check_options(action, &message.options)?;
    if action.needs_key() && message.key.is_none() {
        return Err(Error::bad_request(format!("{} needs a pk.", action.name())));
    }
    if matches!(action, Action::Create | Action::List) && message.key.is_some() {
        return Err(Error::bad_request(format!("{} takes no pk.", action.name())));
    }
    Ok(())
}

/// The same of an action of the application's.
fn check_call(custom: &CustomAction, message: &Message) -> Result<(), Error> {
    if let Some((name, _)) = message.options.first() {
        return Err(unknown_member(name));
    }
    match (custom.on_row, &message.key) {
        (true, None) => Err(Error::bad_request(format!("{} needs a pk.", custom.name))),
        (false, Some(_)) => Err(Error::bad_request(format!("{} takes no pk.", custom.name))),
        _ => Ok(()),
    }
}

/// The options that an action has beside its payload; any other member is a mistake that must not be ignored.
fn check_options(action: Action, options: &[(String, Json)]) -> Result<(), Error> {
    let known: &[&str] = match action {
        Action::List => LIST_OPTIONS,
        Action::Subscribe => &["form", "fields", "actions", "snapshot", "since"],
        Action::Unsubscribe => &["form", "fields", "actions", "snapshot", "since", "subscription"],
        _ => &[],
    };
    match options.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(unknown_member(name)),
        None => Ok(()),
    }
}
