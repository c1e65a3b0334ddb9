//! The actor of one connection: it receives, asks core, and carries the effects out.
//!
//! It is an ordinary actor beside the response body, not inside of it as `WebsocketContext` is: its timers and its
//! requests go on while the client does not read.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler, StreamHandler,
    WrapFuture as _,
};
use actix_web::web;
use chrono::Utc;
use realtime_core::action::Request;
use realtime_core::connection::{Effect, Ticket};
use realtime_core::{Code, Error};

use super::client::{Client, SocketState};
use super::frame;
use super::heartbeat::{Beat, Heartbeat};
use super::inbound::{Inbound, InboundStream};
use super::worker::Worker;
use crate::auth::{Credentials, Identity, Since};

/// How long a peer has to answer a close frame.
const LINGER: Duration = Duration::from_secs(2);

/// How long one that breaks the rules must have sent nothing: its answer cannot be counted on.
const QUIET: Duration = Duration::from_millis(100);

/// What it holds there is as many times as there are sockets: with more than 72 bytes, its task is a size larger.
pub(super) struct ConnectionActor {
    client: Rc<Client>,
    socket: Rc<SocketState>,
    worker: Rc<Worker>,
    heartbeat: Heartbeat,
    /// When the application is asked again whether the socket may go on, of the worker's clock.
    recheck_at: u64,
    /// How often somebody has logged in by a message.
    logins: u32,
}

impl ConnectionActor {
    /// Begins to read the messages of a client.
    pub(super) fn start_reading(
        payload: web::Payload,
        client: Rc<Client>,
        socket: Rc<SocketState>,
        worker: Rc<Worker>,
    ) -> Addr<Self> {
        Self::create(|context| {
            let inbound = InboundStream::new(payload, worker.limits().message_bytes, Rc::clone(&socket));
            Self::add_stream(inbound, context);
            let now = worker.now_ms();
            let heartbeat = Heartbeat::new(now);
            let mut actor = Self { client, socket, worker, heartbeat, recheck_at: 0, logins: 0 };
            actor.recheck_after(now);
            actor.look_later();
            actor
        })
    }

    fn recheck_after(&mut self, now: u64) {
        let interval = self.worker.shared().recheck_interval().as_millis();
        self.recheck_at = now.saturating_add(u64::try_from(interval).unwrap_or(u64::MAX));
    }

    /// The socket goes on as what the application now says it is.
    fn adopt(&mut self, identity: Identity, context: &mut Context<Self>) {
        if identity.asked() < self.client.identity.borrow().asked() {
            // A later question has been answered already.
            return;
        }
        // Of another user it is closed: nothing to count, and no reason to stay.
        let may_become = self.client.identity.borrow().principal().may_become(identity.principal());
        if may_become && let Err(error) = self.client.pass_seat(identity.principal()) {
            tracing::warn!(%error, "a connection stays whose it was");
            return;
        }
        let effects = self.socket.ask(|connection| connection.become_of(identity.principal()));
        if effects.iter().any(|effect| matches!(effect, Effect::Narrow(..))) {
            self.worker.sees_otherwise(identity.principal());
        }
        *self.client.identity.borrow_mut() = identity;
        self.look_later();
        self.carry_out(effects, context);
    }

    /// Sets when to look at the socket again: after the peer, at whose it is, or because that ends then.
    fn look_later(&self) {
        let now = self.worker.now_ms();
        let mut at = self.heartbeat.next_look(self.heartbeat_interval()).min(self.recheck_at);
        let expires_at = self.client.identity.borrow().expires_at();
        // Once it ends, it need not be ended.
        if let Some(expires_at) = expires_at.filter(|_| !self.client.outbox.is_ending()) {
            let left = u64::try_from((expires_at - Utc::now()).num_milliseconds()).unwrap_or_default();
            at = at.min(now.saturating_add(left));
        }
        self.worker.look_at(&self.client, at.max(now + 1));
    }

    fn look(&mut self, context: &mut Context<Self>) {
        let now = self.worker.now_ms();
        let is_over = self.client.identity.borrow().expires_at().is_some_and(|end| end <= Utc::now());
        if is_over {
            self.client.revoke();
        }
        if now >= self.recheck_at {
            self.recheck_after(now);
            self.recheck(context);
        }
        let (progress, is_read) = (self.client.outbox.progress(), !self.socket.is_paused());
        match self.heartbeat.look(now, self.heartbeat_interval(), progress, is_read) {
            Beat::Over => return self.client.cut_off("no pong in time"),
            // Before what waits: a client that is slow to read is not silent.
            Beat::Ping => self.client.outbox.push_urgent(frame::ping()),
            Beat::Wait => {}
        }
        self.look_later();
    }

    fn heartbeat_interval(&self) -> u64 {
        self.worker.limits().heartbeat_ms.max(1)
    }

    fn recheck(&self, context: &mut Context<Self>) {
        let (shared, identity) = (Arc::clone(self.worker.shared()), self.client.identity.borrow().clone());
        let future = async move { shared.recheck(&identity).await };
        let logins = self.logins;
        context.spawn(future.into_actor(self).map(move |answer, actor, context| match answer {
            // It is about whom the socket was of before he logged in.
            _ if actor.logins != logins => context.notify(Recheck),
            Ok(identity) => {
                actor.client.checked();
                actor.adopt(identity, context);
            }
            Err(error) if error.code() == Code::NotAuthenticated => actor.client.revoke(),
            Err(error) => actor.client.not_checked(&error, actor.worker.limits()),
        }));
    }

    fn authenticate(&self, ticket: Ticket, token: String, context: &mut Context<Self>) {
        let shared = Arc::clone(self.worker.shared());
        let future = async move { shared.identify(Credentials::Token(&token)).await };
        context.spawn(future.into_actor(self).map(move |answer, actor, context| {
            let answer = answer.and_then(|identity| {
                match actor.worker.shared().since_asked(&identity) {
                    Since::Nothing => {}
                    Since::Changed => context.notify(Recheck),
                    Since::Ended => return Err(Error::not_authenticated()),
                }
                // Of another user it is closed: nothing to count.
                if actor.client.identity.borrow().principal().may_become(identity.principal()) {
                    actor.client.pass_seat(identity.principal())?;
                }
                Ok(identity)
            });
            let result = answer.as_ref().map(|identity| (identity.principal(), identity.expires_at()));
            let result = result.map_err(Clone::clone);
            let effects = actor.socket.ask(|connection| connection.authenticated(ticket, result));
            if let Ok(identity) = answer {
                actor.client.checked();
                *actor.client.identity.borrow_mut() = identity;
                actor.logins = actor.logins.wrapping_add(1);
                actor.look_later();
            }
            actor.carry_out(effects, context);
            // What came after it has waited, as long as he may be here at all.
            while !actor.client.outbox.is_ending()
                && let Some(effects) = actor.socket.next_held_back()
            {
                actor.carry_out(effects, context);
            }
        }));
    }

    fn carry_out(&mut self, effects: Vec<Effect>, context: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Send(_) | Effect::SendInOrder(_) | Effect::Close(..) => {
                    self.client.carry_out(vec![effect]);
                }
                Effect::Execute(ticket, request) => self.execute(ticket, *request, context),
                Effect::Join(ticket, subscription, start) => {
                    self.worker.follow(&self.client, ticket, subscription, start);
                }
                Effect::Narrow(ticket, subscription) => {
                    self.worker.narrow(&self.client, ticket, subscription);
                }
                Effect::Renew(held, ticket) => self.worker.renew(&self.client, held, ticket),
                Effect::Leave(ticket) => self.worker.leave(&self.client, ticket),
                Effect::Authenticate(ticket, token) => self.authenticate(ticket, token, context),
                Effect::AskPosition(ticket) => self.worker.ask_position(&self.client, ticket),
            }
        }
    }

    fn execute(&self, ticket: Ticket, request: Request, context: &mut Context<Self>) {
        let writes = request.operation.action().writes();
        let gate = writes.then(|| self.client.outbox.gate().clone());
        let database = self.worker.database();
        let principal = self.client.identity.borrow().principal().clone();
        let descriptor = self.worker.surface().descriptors[request.resource.0];
        let counted =
            database.throttle((request.resource, descriptor), request.operation.action(), &principal);
        let future = async move {
            counted?;
            database.execute(request, principal, gate).await
        };
        context.spawn(future.into_actor(self).map(move |answer, actor, context| {
            let (result, hold) = match answer {
                Ok((outcome, cursor, hold)) => (Ok((outcome, cursor)), hold),
                Err(error) => (Err(error), None),
            };
            let effects = actor.socket.ask(|connection| connection.answered(ticket, result));
            let mut effects = effects.into_iter();
            // The reply is the first effect. Once it is queued, the events that waited for it may follow.
            actor.client.carry_out(effects.next().into_iter().collect());
            drop(hold);
            actor.client.outbox.release();
            if actor.client.outbox.is_closed() {
                // A close that has waited for the reply.
                return context.notify(Linger);
            }
            actor.carry_out(effects.collect(), context);
        }));
    }

    fn receive(&mut self, message: Inbound, context: &mut Context<Self>) {
        let now = self.worker.now_ms();
        self.heartbeat.heard(now);
        self.client.outbox.heard(message == Inbound::Pong, self.worker.writer());
        #[cfg(feature = "conformance")]
        if let Some(frame) = self.socket.echo(&message) {
            if self.client.outbox.push_frame(frame).is_err() {
                self.client.cut_off("too slow");
            }
            return;
        }
        match message {
            Inbound::Text(text) => {
                let effects = self.socket.text(&text, now);
                self.carry_out(effects, context);
            }
            Inbound::Binary(_) => {
                let effects = self.socket.ask(|connection| connection.binary(now));
                self.carry_out(effects, context);
            }
            Inbound::Ping(payload) => {
                if self.client.outbox.push_frame(frame::pong(&payload)).is_err() {
                    self.client.cut_off("too slow");
                }
            }
            Inbound::Pong => {}
            Inbound::Close(code) => {
                self.client.close(code, "");
                context.stop();
            }
            Inbound::Violation(code, reason) => {
                self.client.close(code, reason);
                self.end_in_silence(context);
            }
        }
    }

    /// Ends once the peer sends nothing more.
    fn end_in_silence(&self, context: &mut Context<Self>) {
        let received = self.socket.received();
        context.run_later(QUIET, move |actor, context| {
            if actor.socket.received() == received { context.stop() } else { actor.end_in_silence(context) }
        });
    }
}

impl Actor for ConnectionActor {
    type Context = Context<Self>;
}

/// Whatever ends the actor, also a panic: the client is forgotten.
impl Drop for ConnectionActor {
    fn drop(&mut self) {
        self.client.outbox.end();
        self.worker.forget(&self.client);
    }
}

impl StreamHandler<Inbound> for ConnectionActor {
    fn handle(&mut self, message: Inbound, context: &mut Self::Context) {
        if !self.client.outbox.is_ending() {
            self.receive(message, context);
        } else if matches!(message, Inbound::Close(_)) {
            context.stop();
        }
    }
}

/// Effects that core decided on elsewhere on this worker.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Carry(pub(super) Vec<Effect>);

impl Handler<Carry> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, Carry(effects): Carry, context: &mut Self::Context) {
        self.carry_out(effects, context);
    }
}

/// A close frame is on its way. Ending at once could make the peer's TCP throw it away unread: data of his that nobody
/// has read makes the system reset the connection.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Linger;

impl Handler<Linger> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, _: Linger, context: &mut Self::Context) {
        // What it was a member of is left at once: nothing may follow the close frame.
        self.worker.forget(&self.client);
        context.run_later(LINGER, |_, context| context.stop());
    }
}

/// It is time to look at the socket.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Look;

impl Handler<Look> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, _: Look, context: &mut Self::Context) {
        self.look(context);
    }
}

/// The application is to be asked whether the client may still be here.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Recheck;

impl Handler<Recheck> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, _: Recheck, context: &mut Self::Context) {
        self.recheck(context);
    }
}

/// The connection is over.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

impl Handler<Stop> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        context.stop();
    }
}
