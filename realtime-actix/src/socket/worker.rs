//! What the sockets of one actix worker share: who is a member of which group, and who waits for which answer.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor as _, Addr};
use actix_web::HttpResponse;
use chrono::{SecondsFormat, Utc};
use realtime_core::Limits;
use realtime_core::connection::{Connection, Effect, Surface, Ticket};
use realtime_core::cursor::{Cursor, Position};
use realtime_core::group::{GroupId, WorkerId};
use realtime_core::subscription::Subscription;
use tokio::sync::mpsc;

use super::client::{Client, ClientId, OutboxStream};
use super::connection::ConnectionActor;
use super::group::{AddRelay, AskPosition, GroupActor, Join, Leave};
use super::recovery::Recovery;
use super::relay::Relay;
use crate::auth::{Identity, Revocation};
use crate::database::Database;
use crate::realtime::Shared;

/// Messages of the groups that wait for a relay, at most. More make the feed wait.
const RELAY_QUEUE: usize = 256;

/// One actix worker's sockets.
pub(crate) struct Worker {
    id: WorkerId,
    shared: Arc<Shared>,
    groups: Addr<GroupActor>,
    clients: RefCell<HashMap<ClientId, Rc<Client>>>,
    members: RefCell<HashMap<GroupId, BTreeMap<ClientId, Rc<Client>>>>,
    waiting: RefCell<HashMap<u64, Waiting>>,
    next: Cell<u64>,
    draining: Cell<bool>,
}

/// A request that the groups have not answered yet.
struct Waiting {
    client: Rc<Client>,
    ticket: Ticket,
    /// What is to be recovered, and from where on.
    since: Option<(Arc<Subscription>, Cursor)>,
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
            next: Cell::new(0),
            draining: Cell::new(false),
        });
        worker.groups.do_send(AddRelay { worker: id, relay });
        Relay::new(Rc::clone(&worker), messages).start();
        worker
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn surface(&self) -> &Arc<Surface> {
        self.shared.surface()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.surface().limits
    }

    pub(crate) fn database(&self) -> Arc<Database> {
        Arc::clone(self.shared.database())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    fn issue(&self) -> u64 {
        let next = self.next.get() + 1;
        self.next.set(next);
        next
    }

    /// Begins the actor of a connection and answers the handshake with the body that its frames go to.
    pub(super) fn connect(
        self: &Rc<Self>,
        mut response: actix_web::HttpResponseBuilder,
        payload: actix_web::web::Payload,
        default_address: Option<String>,
        identity: Identity,
    ) -> HttpResponse {
        let opened = Instant::now();
        let connection =
            Connection::new(Arc::clone(self.surface()), default_address, 0).of(identity.principal().clone());
        let client =
            Rc::new(Client::new(ClientId(self.issue()), connection, identity, self.limits(), opened));
        self.clients.borrow_mut().insert(client.id, Rc::clone(&client));
        let actor = ConnectionActor::new(Rc::clone(&client), Rc::clone(self), payload);
        client.set_address(actor.start());
        response.streaming(OutboxStream(client))
    }

    /// Joins the group of a subscription, and recovers what came after `since` if it can be had.
    pub(super) fn join(
        self: &Rc<Self>,
        client: &Rc<Client>,
        ticket: Ticket,
        subscription: Arc<Subscription>,
        since: Option<Cursor>,
    ) {
        let Some(since) = since else { return self.join_group(client, ticket, subscription, None) };
        let (worker, client) = (Rc::clone(self), Rc::clone(client));
        actix::spawn(async move {
            match worker.database().reaches_back_to(since).await {
                Ok(true) => worker.join_group(&client, ticket, subscription, Some(since)),
                Ok(false) => worker.join_group(&client, ticket, subscription, None),
                Err(error) => {
                    let effects = client.connection.borrow_mut().answered(ticket, Err(error));
                    worker.carry_out(&client, effects);
                }
            }
        });
    }

    fn join_group(
        &self,
        client: &Rc<Client>,
        ticket: Ticket,
        subscription: Arc<Subscription>,
        since: Option<Cursor>,
    ) {
        let not_before = since.map_or(Position(0), |since| since.position);
        let since = since.map(|since| (Arc::clone(&subscription), since));
        let request = self.wait(Waiting { client: Rc::clone(client), ticket, since });
        self.groups.do_send(Join { worker: self.id, request, subscription, not_before });
    }

    pub(super) fn ask_position(&self, client: &Rc<Client>, ticket: Ticket) {
        let request = self.wait(Waiting { client: Rc::clone(client), ticket, since: None });
        self.groups.do_send(AskPosition { worker: self.id, request });
    }

    fn wait(&self, waiting: Waiting) -> u64 {
        let request = self.issue();
        self.waiting.borrow_mut().insert(request, waiting);
        request
    }

    /// Carries out what core has decided on, in order. A group is left at once: none of its events may follow.
    pub(super) fn carry_out(&self, client: &Client, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Leave(group) => self.leave(client, group),
                other => client.carry_out(vec![other]),
            }
        }
    }

    pub(super) fn leave(&self, client: &Client, group: GroupId) {
        client.end_backlog(group);
        let mut members = self.members.borrow_mut();
        if let Some(of_group) = members.get_mut(&group) {
            of_group.remove(&client.id);
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
        client.set_gone();
        self.clients.borrow_mut().remove(&client.id);
        let groups: Vec<GroupId> = client.connection.borrow().groups().collect();
        for group in groups {
            self.leave(client, group);
        }
    }

    /// The group has been joined: what it is sent from now on is for the client too.
    pub(super) fn joined(self: &Rc<Self>, request: u64, group: GroupId, cursor: Cursor) {
        let Some(Waiting { client, ticket, since }) = self.waiting.borrow_mut().remove(&request) else {
            return;
        };
        if client.is_gone() {
            self.groups.do_send(Leave { worker: self.id, group });
            return;
        }
        self.members.borrow_mut().entry(group).or_default().insert(client.id, Rc::clone(&client));
        match since {
            Some((subscription, since)) if since != cursor => {
                let run = client.backlog.begin(group);
                let recovery = Recovery {
                    worker: Rc::clone(self),
                    client,
                    ticket,
                    group,
                    run,
                    subscription,
                    since,
                    until: cursor,
                };
                actix::spawn(recovery.run());
            }
            since => self.tell_joined(&client, ticket, group, cursor, since.is_some()),
        }
    }

    /// Answers a subscribe: its events begin right after the cursor.
    pub(super) fn tell_joined(
        &self,
        client: &Client,
        ticket: Ticket,
        group: GroupId,
        cursor: Cursor,
        recovered: bool,
    ) {
        let effects = client.connection.borrow_mut().joined(ticket, group, cursor, recovered);
        self.carry_out(client, effects);
    }

    pub(super) fn positioned(&self, request: u64, cursor: Cursor) {
        let Some(Waiting { client, ticket, .. }) = self.waiting.borrow_mut().remove(&request) else { return };
        if client.is_gone() {
            return;
        }
        let time = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let effects = client.connection.borrow_mut().positioned(ticket, cursor, &time);
        self.carry_out(&client, effects);
    }

    /// Hands the frames of a group to every member on this worker: shared bytes, nothing is copied.
    pub(super) fn deliver(&self, group: GroupId, bytes: &bytes::Bytes, frames: usize) {
        if let Some(members) = self.members.borrow().get(&group) {
            for client in members.values() {
                client.deliver(group, bytes.clone(), frames);
            }
        }
    }

    /// Closes the sockets of a group's members: a change that they should have seen cannot be read. Never a silent gap.
    pub(super) fn lose(&self, group: GroupId) {
        if let Some(members) = self.members.borrow().get(&group) {
            for client in members.values() {
                client.close(4408, "a change was lost; begin anew");
            }
        }
    }

    /// Closes the sockets of somebody, or has them looked at anew.
    pub(super) fn revoke(&self, revocation: &Revocation) {
        for client in self.clients.borrow().values() {
            if revocation.concerns(&client.identity.borrow()) {
                if revocation.ends() {
                    client.revoke();
                } else {
                    client.recheck();
                }
            }
        }
    }

    /// Closes every socket with 1001.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        for client in self.clients.borrow().values() {
            client.close(1001, "the server is shutting down");
        }
    }
}
