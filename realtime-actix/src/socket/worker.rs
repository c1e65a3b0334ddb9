//! What the clients of one actix worker share: who is a member of which group, and who waits for which answer.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor as _, Addr};
use actix_web::{HttpResponse, HttpResponseBuilder};
use chrono::{SecondsFormat, Utc};
use realtime_core::connection::{Effect, Start, Surface, Ticket};
use realtime_core::cursor::{Cursor, Position};
use realtime_core::group::{GroupId, WorkerId};
use realtime_core::subscription::{Asked, Subscription};
use realtime_core::transition::Transition;
use realtime_core::{Action, Code, Descriptor, Lag, Limits, Principal};
use tokio::sync::{mpsc, oneshot};

use super::Handshake;
use super::backlog::Run;
use super::burst::Burst;
use super::catch_up::{CatchUp, Step};
use super::client::{Client, ClientId, OutboxStream, SocketState, Transport};
use super::connection::ConnectionActor;
use super::deadlines::Deadlines;
use super::descriptor::{GIVEN_BACK, Second};
use super::follower::Follower;
use super::group::{AddRelay, AskPosition, GroupActor, Join, Leave};
use super::relay::Relay;
use super::writer::Writer;
use crate::admission::Seat;
use crate::auth::{Identity, Revocation, Since};
use crate::database::Database;
use crate::fault;
use crate::poll::{WaitingPoll, Woken};
use crate::realtime::Shared;

/// Messages of the groups that wait for a relay, at most. More make the feed wait.
pub(super) const RELAY_QUEUE: usize = 256;

/// Milliseconds between two steps of closing all clients.
const DRAIN_STEP_MS: u64 = 50;

/// How many of those who are left are to be closed at the next of the steps that are left: all at the last one.
fn share(clients: usize, steps: u64) -> usize {
    clients.div_ceil(usize::try_from(steps).unwrap_or(usize::MAX).max(1))
}

/// One actix worker's clients.
pub(crate) struct Worker {
    id: WorkerId,
    shared: Arc<Shared>,
    groups: Addr<GroupActor>,
    clients: RefCell<HashMap<ClientId, Rc<Client>>>,
    members: RefCell<HashMap<GroupId, BTreeMap<u64, Member>>>,
    waiting: RefCell<HashMap<u64, Waiting>>,
    writer: Rc<Writer>,
    deadlines: Deadlines,
    next: Cell<u64>,
    draining: Cell<bool>,
    /// The position up to which every member here has been told of everything.
    told: Cell<Cursor>,
}

/// Who is told what its group is told.
#[derive(Clone)]
enum Member {
    Follower(Rc<Follower>),
    Poll(Rc<WaitingPoll>),
}

/// A question that the groups have not answered yet.
enum Waiting {
    /// A subscription becomes live at once.
    Join(Rc<Follower>),
    /// A subscription joins while it catches up.
    CatchUp(Rc<Follower>, Run, oneshot::Sender<Cursor>),
    /// A subscription begins with a snapshot.
    Snapshot(Rc<Follower>),
    /// What the first ticket names begins anew, with a snapshot; the second is then answered.
    Renew(Rc<Client>, Ticket, Ticket),
    /// A ping, or a subscribe of what is held already.
    Request(Rc<Client>, Ticket),
    /// A poll waits for the first event.
    Poll(Rc<WaitingPoll>, oneshot::Sender<Cursor>),
    /// A poll wants to know how far everything has been told.
    Position(oneshot::Sender<Cursor>),
    /// The event streams are to be told.
    Beat,
}

impl Worker {
    /// Starts the relay of the present worker.
    pub(crate) fn start(shared: Arc<Shared>) -> Rc<Self> {
        let id = WorkerId(shared.next_worker());
        let groups = shared.groups().clone();
        let (relay, messages) = mpsc::channel(RELAY_QUEUE);
        let worker = Rc::new(Self {
            id,
            shared,
            groups,
            clients: RefCell::default(),
            members: RefCell::default(),
            waiting: RefCell::default(),
            writer: Writer::start(),
            deadlines: Deadlines::new(),
            next: Cell::new(0),
            draining: Cell::new(false),
            told: Cell::new(Cursor::NOWHERE),
        });
        worker.groups.do_send(AddRelay { worker: id, relay });
        Relay::new(Rc::clone(&worker), messages).start();
        actix::spawn(beats(Rc::downgrade(&worker)));
        actix::spawn(look_in_time(Rc::downgrade(&worker)));
        worker
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn surface(&self) -> &Arc<Surface> {
        self.shared.surface()
    }

    /// What a subscription is about.
    pub(super) fn descriptor(&self, subscription: &Subscription) -> &'static Descriptor {
        self.surface().descriptors[subscription.resource().0]
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.surface().limits
    }

    pub(crate) fn database(&self) -> Arc<Database> {
        Arc::clone(self.shared.database())
    }

    pub(super) fn writer(&self) -> &Rc<Writer> {
        &self.writer
    }

    /// The clock of the worker's sockets, in milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.deadlines.now_ms()
    }

    /// Sets when the actor of a client's socket is to look at it next.
    pub(super) fn look_at(&self, client: &Client, at: u64) {
        let Some(socket) = client.socket() else { return };
        self.deadlines.remove(socket.set_look_at(at), client.id);
        if !client.is_gone() {
            self.deadlines.add(at, client.id);
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Begins the actor of a connection and answers the handshake with the body that its frames go to.
    pub(super) fn connect(
        self: &Rc<Self>,
        Handshake { mut response, identity, seat, second }: Handshake,
        payload: actix_web::web::Payload,
        socket: SocketState,
    ) -> HttpResponse {
        let second = match second {
            Some(Second::Open(second)) => Some(second),
            Some(Second::Scarce) => {
                let clients = self.clients.borrow();
                clients.values().filter(|client| client.outbox.give_back()).take(GIVEN_BACK).for_each(drop);
                None
            }
            None => None,
        };
        let socket = Rc::new(socket);
        let client = self.add_client(Transport::Socket(Rc::clone(&socket)), identity, seat);
        if let Some(second) = second {
            client.outbox.write_later_to(second);
        }
        let (actors_client, actors_socket) = (Rc::clone(&client), Rc::clone(&socket));
        socket.set_address(ConnectionActor::start_reading(
            payload,
            actors_client,
            actors_socket,
            Rc::clone(self),
        ));
        self.look_once_more(&client);
        response.streaming(OutboxStream { client, worker: Rc::clone(self) })
    }

    /// Answers with the events of one subscription.
    pub(crate) fn open_event_stream(
        self: &Rc<Self>,
        mut response: HttpResponseBuilder,
        asked: Asked,
        identity: Identity,
        seat: Seat,
    ) -> HttpResponse {
        let client = self.add_client(Transport::EventStream(Cell::default()), identity, seat);
        actix::spawn(watch(Rc::downgrade(self), Rc::downgrade(&client)));
        let subscription = self.shared.known().share(asked.subscription);
        self.follow(&client, Ticket(0), subscription, asked.start);
        self.look_once_more(&client);
        response.streaming(OutboxStream { client, worker: Rc::clone(self) })
    }

    /// Whoever was revoked while he was asked who he is was no client yet when the worker was told of it.
    fn look_once_more(self: &Rc<Self>, client: &Rc<Client>) {
        let since = self.shared.since_asked(&client.identity.borrow());
        match since {
            Since::Nothing => {}
            Since::Changed => self.recheck(client),
            Since::Ended => client.revoke(),
        }
    }

    /// Has the application asked whether a client may still be here.
    fn recheck(self: &Rc<Self>, client: &Rc<Client>) {
        if client.is_event_stream() {
            actix::spawn(recheck(Rc::clone(self), Rc::clone(client)));
        } else {
            client.recheck();
        }
    }

    fn add_client(&self, transport: Transport, identity: Identity, seat: Seat) -> Rc<Client> {
        let client = Rc::new(Client::new(ClientId(self.issue()), transport, identity, seat, self.limits()));
        self.clients.borrow_mut().insert(client.id, Rc::clone(&client));
        client
    }

    /// Follows a subscription: first what came after `since` if it can be had, else a snapshot if it is asked for.
    pub(super) fn follow(
        self: &Rc<Self>,
        client: &Rc<Client>,
        ticket: Ticket,
        subscription: Arc<Subscription>,
        start: Start,
    ) {
        let follower = Rc::new(Follower {
            member: self.issue(),
            client: Rc::clone(client),
            ticket,
            subscription,
            start,
            group: Cell::new(None),
            unanswered: Cell::new(Some(ticket)),
            left: Cell::new(false),
        });
        client.add(Rc::clone(&follower));
        let Some(since) = start.since else { return self.begin(follower) };
        let worker = Rc::clone(self);
        actix::spawn(async move {
            let identity = follower.client.identity.borrow().clone();
            match worker.shared.can_go_on(&identity, since, || !follower.left.get()).await {
                _ if follower.left.get() => {}
                Ok(true) => worker.catch_up(follower, Step::Follow { after: since, lagged: false }),
                // Its client knows of nothing after `since`: a page that was read after that serves.
                Ok(false) if follower.start.snapshot => {
                    let is_of_now = since.epoch == worker.database().epoch;
                    let not_before = Some(if is_of_now { since.position } else { Position(0) });
                    let lagged = follower.tells_gap();
                    worker.catch_up(follower, Step::Snapshot { not_before, lagged });
                }
                Ok(false) => worker.begin(follower),
                Err(error) => follower.refuse(&worker, error),
            }
        });
    }

    /// Begins where nothing is to be recovered.
    fn begin(&self, follower: Rc<Follower>) {
        if follower.start.snapshot {
            self.ask(Waiting::Snapshot(follower));
        } else {
            let subscription = Arc::clone(&follower.subscription);
            self.ask_to_join(Waiting::Join(follower), subscription, Position(0));
        }
    }

    /// Begins a subscription anew, with a snapshot. The second ticket is then answered.
    pub(super) fn renew(&self, client: &Rc<Client>, held: Ticket, ticket: Ticket) {
        self.ask(Waiting::Renew(Rc::clone(client), held, ticket));
    }

    /// Goes on with a subscription as its holder sees it now. He is told the difference; where he was not told of all up to
    /// one position yet, or that cannot be told, he begins anew with a snapshot.
    pub(super) fn narrow(self: &Rc<Self>, client: &Client, ticket: Ticket, subscription: Arc<Subscription>) {
        let Some(before) = client.follower(ticket) else { return };
        let unanswered = before.unanswered.take();
        let is_live = before.group.get().is_some() && !client.backlog.holds(ticket);
        let difference = if is_live {
            Transition::new(
                self.descriptor(&subscription),
                Arc::clone(&before.subscription),
                Arc::clone(&subscription),
            )
        } else {
            None
        };
        let first = match difference {
            Some(transition) => Step::Become { transition: Arc::new(transition), after: self.told.get() },
            None => Step::Snapshot { not_before: None, lagged: true },
        };
        let follower = Rc::new(Follower {
            member: self.issue(),
            client: Rc::clone(&before.client),
            ticket,
            subscription,
            start: before.start,
            group: Cell::new(None),
            unanswered: Cell::new(unanswered),
            left: Cell::new(false),
        });
        self.leave(client, ticket);
        client.add(Rc::clone(&follower));
        match unanswered {
            // Nothing has been promised yet.
            Some(_) => self.begin(follower),
            None => self.catch_up(follower, first),
        }
    }

    fn catch_up(self: &Rc<Self>, follower: Rc<Follower>, step: Step) {
        let run = follower.client.backlog.begin(follower.ticket);
        actix::spawn(CatchUp { worker: Rc::clone(self), follower, run }.run(step));
    }

    /// Joins the group of a subscription that catches up. Its live events wait from the cursor on. `None` where it is no
    /// longer wanted.
    pub(super) async fn join(
        &self,
        follower: &Rc<Follower>,
        run: Run,
        not_before: Position,
    ) -> Option<Cursor> {
        let (sender, joined) = oneshot::channel();
        let subscription = Arc::clone(&follower.subscription);
        self.ask_to_join(Waiting::CatchUp(Rc::clone(follower), run, sender), subscription, not_before);
        joined.await.ok()
    }

    /// Makes a poll wait for the first event after a position.
    pub(crate) async fn join_poll(&self, poll: &Rc<WaitingPoll>, not_before: Position) -> Option<Cursor> {
        let (sender, joined) = oneshot::channel();
        let subscription = Arc::clone(poll.subscription());
        self.ask_to_join(Waiting::Poll(Rc::clone(poll), sender), subscription, not_before);
        joined.await.ok()
    }

    /// A poll no longer waits.
    pub(crate) fn leave_poll(&self, poll: &WaitingPoll, group: GroupId) {
        self.remove_member(group, poll.member());
    }

    fn ask_to_join(&self, waiting: Waiting, subscription: Arc<Subscription>, not_before: Position) {
        let request = self.issue();
        self.waiting.borrow_mut().insert(request, waiting);
        self.groups.do_send(Join { worker: self.id, request, subscription, not_before });
    }

    pub(super) fn ask_position(&self, client: &Rc<Client>, ticket: Ticket) {
        self.ask(Waiting::Request(Rc::clone(client), ticket));
    }

    /// The position up to which everything has been told on this worker. `None` where the groups have ended.
    pub(crate) async fn position(&self) -> Option<Cursor> {
        let (sender, position) = oneshot::channel();
        self.ask(Waiting::Position(sender));
        position.await.ok()
    }

    fn ask(&self, waiting: Waiting) {
        let request = self.issue();
        self.waiting.borrow_mut().insert(request, waiting);
        self.groups.do_send(AskPosition { worker: self.id, request });
    }

    /// Carries out what core has decided on, in order. What is left is left at once: none of its events may follow.
    pub(super) fn carry_out(self: &Rc<Self>, client: &Client, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Leave(ticket) => self.leave(client, ticket),
                Effect::Narrow(ticket, subscription) => self.narrow(client, ticket, subscription),
                other => client.carry_out(vec![other]),
            }
        }
    }

    /// A client no longer follows a subscription.
    pub(super) fn leave(&self, client: &Client, ticket: Ticket) {
        if let Some(follower) = client.remove(ticket) {
            follower.left.set(true);
            self.leave_group(&follower);
        }
        client.end_backlog(ticket);
    }

    /// A client is no longer told what a group is. What it was to be told yet is none of what it goes on from next.
    pub(super) fn leave_group(&self, follower: &Follower) {
        if let Some(group) = follower.group.take() {
            self.remove_member(group, follower.member);
        }
        follower.client.backlog.clear(follower.ticket);
    }

    fn add_member(&self, group: GroupId, id: u64, member: Member) {
        self.members.borrow_mut().entry(group).or_default().insert(id, member);
    }

    fn remove_member(&self, group: GroupId, id: u64) {
        let mut members = self.members.borrow_mut();
        if let Some(of_group) = members.get_mut(&group) {
            of_group.remove(&id);
            if of_group.is_empty() {
                members.remove(&group);
            }
        }
        drop(members);
        self.groups.do_send(Leave { worker: self.id, group });
    }

    /// The connection has ended or is about to.
    pub(super) fn forget(&self, client: &Client) {
        if client.is_gone() {
            return;
        }
        self.clients.borrow_mut().remove(&client.id);
        if let Some(socket) = client.socket() {
            self.deadlines.remove(socket.set_look_at(0), client.id);
        }
        for follower in client.set_gone() {
            follower.left.set(true);
            self.leave_group(&follower);
            client.end_backlog(follower.ticket);
        }
    }

    /// The group has been joined: what it is sent from now on is for the member too.
    pub(super) fn joined(self: &Rc<Self>, request: u64, group: GroupId, cursor: Cursor) {
        self.told.set(cursor);
        let waiting = self.waiting.borrow_mut().remove(&request);
        let is_wanted = match waiting {
            Some(Waiting::Join(follower)) if !follower.left.get() => {
                follower.group.set(Some(group));
                self.add_member(group, follower.member, Member::Follower(Rc::clone(&follower)));
                follower.answer(self, cursor, false, false);
                true
            }
            Some(Waiting::CatchUp(follower, run, joined))
                if follower.client.backlog.is_behind(follower.ticket, run) =>
            {
                follower.group.set(Some(group));
                // It waits for nothing else.
                let _ = joined.send(cursor);
                self.add_member(group, follower.member, Member::Follower(follower));
                true
            }
            Some(Waiting::Poll(poll, joined)) if poll.joined(group) => {
                let _ = joined.send(cursor);
                if self.draining.get() {
                    poll.wake(|| Woken::Ended);
                }
                self.add_member(group, poll.member(), Member::Poll(poll));
                true
            }
            // Nobody waits for it any more.
            _ => false,
        };
        if !is_wanted {
            self.groups.do_send(Leave { worker: self.id, group });
        }
    }

    pub(super) fn positioned(self: &Rc<Self>, request: u64, cursor: Cursor) {
        self.told.set(cursor);
        let waiting = self.waiting.borrow_mut().remove(&request);
        match waiting {
            Some(Waiting::Request(client, ticket)) if !client.is_gone() => {
                if let Some(socket) = client.socket() {
                    let time = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
                    let effects = socket.ask(|connection| connection.positioned(ticket, cursor, &time));
                    self.carry_out(&client, effects);
                }
            }
            Some(Waiting::Renew(client, held, ticket)) => {
                // Only now: it may have become another one, and a catching-up that is given up here must not answer.
                if let Some(follower) = client.follower(held) {
                    self.leave_group(&follower);
                    follower.unanswered.set(Some(ticket));
                    follower.answer(self, cursor, false, true);
                    self.catch_up(
                        follower,
                        Step::Snapshot { not_before: Some(cursor.position), lagged: false },
                    );
                }
            }
            Some(Waiting::Snapshot(follower)) if !follower.left.get() => {
                self.leave_group(&follower);
                let lagged = follower.tells_gap();
                follower.answer(self, cursor, false, true);
                self.catch_up(follower, Step::Snapshot { not_before: Some(cursor.position), lagged });
            }
            Some(Waiting::Position(sender)) => {
                // Where the poll has ended meanwhile, nobody wants to know.
                let _ = sender.send(cursor);
            }
            Some(Waiting::Beat) => {
                let clients: Vec<Rc<Client>> = self.clients.borrow().values().cloned().collect();
                for client in clients.iter().filter(|client| client.is_event_stream()) {
                    client.beat(cursor);
                    // The kernel may keep the connection for long: nothing more is delivered to it.
                    if client.outbox.is_closed() {
                        self.forget(client);
                    }
                }
            }
            _ => {}
        }
    }

    /// Hands the events of a group to every member on this worker: shared bytes, nothing is copied.
    pub(super) fn deliver(self: &Rc<Self>, burst: &Burst) {
        // A turn tells of all that has come, group by group: only after it this is true.
        if burst.cursor().position > self.told.get().position {
            self.told.set(burst.cursor());
        }
        let mut lagging = Vec::new();
        if let Some(members) = self.members.borrow().get(&burst.group()) {
            for member in members.values() {
                match member {
                    Member::Follower(follower) => {
                        if follower.deliver(burst).is_err() {
                            lagging.push(Rc::clone(follower));
                        }
                    }
                    Member::Poll(poll) => poll.wake(|| Woken::Events(burst.poll(poll.subscription()))),
                }
            }
        }
        for follower in lagging {
            self.lag(follower, burst.before());
        }
    }

    /// A client does not keep up with a subscription: it leaves the group, so that nothing more waits for it, and goes on
    /// from the log.
    fn lag(self: &Rc<Self>, follower: Rc<Follower>, before: Cursor) {
        if self.limits().lag == Lag::Disconnect {
            follower.client.cut_off("too slow");
            return;
        }
        self.leave_group(&follower);
        // One that catches up already will find that it has been left behind once more.
        if !follower.client.backlog.holds(follower.ticket) {
            tracing::debug!(client = follower.client.id.0, "a client lags behind");
            self.catch_up(follower, Step::Follow { after: before, lagged: true });
        }
    }

    /// A change that the members of a group should have seen cannot be read: they begin anew. Never a silent gap.
    pub(super) fn lose(self: &Rc<Self>, group: GroupId) {
        let members: Vec<Member> =
            self.members.borrow().get(&group).into_iter().flat_map(BTreeMap::values).cloned().collect();
        for member in members {
            match member {
                Member::Follower(follower) => {
                    self.leave_group(&follower);
                    if follower.unanswered.get().is_some() {
                        // Nothing has been promised yet.
                        follower.client.end_backlog(follower.ticket);
                        self.begin(follower);
                    } else {
                        self.catch_up(follower, Step::Snapshot { not_before: None, lagged: true });
                    }
                }
                Member::Poll(poll) => poll.wake(|| Woken::Lost),
            }
        }
    }

    /// Ends what somebody has opened, or has it looked at anew.
    pub(super) fn revoke(self: &Rc<Self>, revocation: &Revocation) {
        let clients: Vec<Rc<Client>> = self.clients.borrow().values().cloned().collect();
        for client in clients {
            if !revocation.concerns(&client.identity.borrow()) {
                continue;
            }
            if revocation.ends() {
                client.revoke();
            } else {
                self.recheck(&client);
            }
        }
        for member in self.members.borrow().values().flat_map(BTreeMap::values) {
            if let Member::Poll(poll) = member
                && revocation.concerns(poll.identity())
            {
                poll.wake(|| if revocation.ends() { Woken::Ended } else { Woken::Changed });
            }
        }
    }

    /// Ends every connection with 1001, by and by, and then drops the sender.
    pub(super) fn drain(self: &Rc<Self>, done: mpsc::Sender<Infallible>) {
        self.draining.set(true);
        for member in self.members.borrow().values().flat_map(BTreeMap::values) {
            if let Member::Poll(poll) = member {
                poll.wake(|| Woken::Ended);
            }
        }
        let worker = Rc::clone(self);
        actix::spawn(async move {
            worker.close_by_and_by().await;
            drop(done);
        });
    }

    /// Closes the same number of clients at each step. What a client follows is delivered until then.
    async fn close_by_and_by(&self) {
        let steps = (self.limits().drain_ms / DRAIN_STEP_MS).max(1);
        for left in (1..=steps).rev() {
            let mut clients: Vec<Rc<Client>> = self.clients.borrow().values().cloned().collect();
            clients.retain(|client| !client.outbox.is_closed());
            let share = share(clients.len(), left);
            for client in clients.drain(..share) {
                client.close(1001, "the server is shutting down");
            }
            if clients.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(DRAIN_STEP_MS)).await;
        }
    }

    /// Whoever has been told of everything so far sees other rows or fields from now on.
    pub(super) fn sees_otherwise(&self, principal: &Principal) {
        self.shared.sees_otherwise(principal, self.told.get().position);
    }

    /// Names a member of groups.
    pub(crate) fn issue(&self) -> u64 {
        let next = self.next.get() + 1;
        self.next.set(next);
        next
    }
}

/// Ends an event stream when its identity ends: at a time that is known, or when the application says so at the next
/// look.
async fn watch(worker: Weak<Worker>, client: Weak<Client>) {
    loop {
        let pause = match (worker.upgrade(), client.upgrade()) {
            (Some(worker), Some(client)) if !client.is_gone() => {
                let left = client.identity.borrow().expires_at().map(|end| (end - Utc::now()).to_std());
                let recheck = worker.shared.recheck_interval();
                left.map_or(recheck, |left| left.unwrap_or_default().min(recheck))
            }
            _ => return,
        };
        tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
        if let (Some(worker), Some(client)) = (worker.upgrade(), client.upgrade())
            && !client.is_gone()
        {
            recheck(worker, client).await;
        }
    }
}

/// Asks the application whether an event stream may go on. Where its owner sees other rows or fields now, he begins anew.
async fn recheck(worker: Rc<Worker>, client: Rc<Client>) {
    let identity = client.identity.borrow().clone();
    if identity.expires_at().is_some_and(|end| end <= Utc::now()) {
        return client.revoke();
    }
    match worker.shared.recheck(&identity).await {
        Ok(now) => {
            client.checked();
            let looks_the_same = || {
                client.followers().iter().all(|follower| {
                    let descriptor = worker.descriptor(&follower.subscription);
                    descriptor.rules.admit(now.principal(), Action::Subscribe).is_ok()
                        && follower.subscription.is_known_to(descriptor, now.principal())
                        && follower.subscription.is_seen_alike(descriptor, now.principal())
                })
            };
            let goes_on = catch_unwind(AssertUnwindSafe(looks_the_same)).unwrap_or_else(|panic| {
                fault::panicked("what was asked of an event stream's owner", &*panic);
                false
            });
            if now.asked() < client.identity.borrow().asked() {
                // A later question has been answered already.
            } else if goes_on && identity.principal().may_become(now.principal()) {
                *client.identity.borrow_mut() = now;
            } else {
                if identity.principal().may_become(now.principal()) {
                    worker.sees_otherwise(now.principal());
                }
                client.revoke();
            }
        }
        Err(error) if error.code() == Code::NotAuthenticated => client.revoke(),
        Err(error) => client.not_checked(&error, worker.limits()),
    }
}

/// Has the actors of a worker's sockets look at them.
async fn look_in_time(worker: Weak<Worker>) {
    while let Some(strong) = worker.upgrade() {
        while let Some(id) = strong.deadlines.take_due() {
            let client = strong.clients.borrow().get(&id).cloned();
            if let Some(client) = client {
                client.look();
            }
        }
        let wait = strong.deadlines.wait();
        drop(strong);
        wait.await;
    }
}

/// Tells the event streams of a worker regularly how far they have come.
async fn beats(worker: Weak<Worker>) {
    loop {
        let Some(pause) = worker.upgrade().map(|worker| worker.limits().stream_heartbeat_ms) else { return };
        tokio::time::sleep(Duration::from_millis(pause.max(1))).await;
        let Some(worker) = worker.upgrade() else { return };
        if worker.clients.borrow().values().any(|client| client.is_event_stream()) {
            worker.ask(Waiting::Beat);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_closed_evenly_and_all_of_them() {
        for (clients, steps) in
            [(0, 1), (1, 1), (1, 200), (5, 200), (199, 200), (201, 200), (10_000, 200), (7, 3)]
        {
            let mut open = clients;
            let mut shares = Vec::new();
            for left in (1..=steps).rev() {
                shares.push(share(open, left));
                open -= share(open, left);
            }
            assert_eq!(open, 0, "{clients} in {steps} steps");
            let (most, least) = (shares.iter().max(), shares.iter().min());
            assert!(most <= least.map(|least| least + 1).as_ref(), "{shares:?}");
        }
    }
}
