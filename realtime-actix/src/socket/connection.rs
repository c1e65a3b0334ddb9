//! The actor of one connection: it receives, asks core, and carries the effects out.
//!
//! It is an ordinary actor beside the response body, not inside of it as `WebsocketContext` is: its timers and its
//! requests go on while the client does not read.

use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, SpawnHandle,
    StreamHandler, WrapFuture as _,
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

/// Timers of the runtime reach no further than some years: a longer one is set anew.
const LONGEST_TIMER: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a peer has to answer a close frame.
const LINGER: Duration = Duration::from_secs(2);

/// How long one that breaks the rules must have sent nothing: its answer cannot be counted on.
const QUIET: Duration = Duration::from_millis(100);

pub(super) struct ConnectionActor {
    client: Rc<Client>,
    socket: Rc<SocketState>,
    worker: Rc<Worker>,
    heartbeat: Heartbeat,
    /// When the application is asked again whether the socket may go on, in milliseconds since it was opened.
    recheck_at: u64,
    /// How often somebody has logged in by a message.
    logins: u32,
    /// What closes the socket when its identity ends.
    end: Option<SpawnHandle>,
    payload: Option<web::Payload>,
    /// What the outbox is to be written to, once it is certain that the HTTP server has written what it had.
    second: Option<TcpStream>,
    pongs: u64,
}

impl ConnectionActor {
    pub(super) fn new(
        client: Rc<Client>,
        socket: Rc<SocketState>,
        worker: Rc<Worker>,
        payload: web::Payload,
        second: Option<TcpStream>,
    ) -> Self {
        let now = socket.now_ms();
        let heartbeat = Heartbeat::new(worker.limits().heartbeat_ms, now);
        let mut actor = Self {
            client,
            socket,
            worker,
            heartbeat,
            recheck_at: 0,
            logins: 0,
            end: None,
            payload: Some(payload),
            second,
            pongs: 0,
        };
        actor.recheck_after(now);
        actor
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
        self.close_in_time(context);
        self.carry_out(effects, context);
    }

    fn close_in_time(&mut self, context: &mut Context<Self>) {
        if let Some(end) = self.end.take() {
            context.cancel_future(end);
        }
        let expires_at = self.client.identity.borrow().expires_at();
        if let Some(expires_at) = expires_at {
            // One that is over already ends at once.
            let left = (expires_at - Utc::now()).to_std().unwrap_or_default().min(LONGEST_TIMER);
            self.end = Some(context.run_later(left, |actor, context| {
                if actor.client.identity.borrow().expires_at().is_some_and(|end| end <= Utc::now()) {
                    actor.client.revoke();
                } else {
                    actor.close_in_time(context);
                }
            }));
        }
    }

    /// Looks again after the peer when it is time, and asks again whose the socket is. One timer for both: there are as
    /// many as there are sockets.
    fn look_later(&self, context: &mut Context<Self>) {
        let now = self.socket.now_ms();
        let pause = self.heartbeat.pause(now).min(self.recheck_at.saturating_sub(now).max(1));
        context.run_later(Duration::from_millis(pause).min(LONGEST_TIMER), |actor, context| {
            let now = actor.socket.now_ms();
            if now >= actor.recheck_at {
                actor.recheck_after(now);
                actor.recheck(context);
            }
            let progress = actor.client.outbox.progress();
            match actor.heartbeat.look(now, progress, !actor.socket.is_paused()) {
                Beat::Over => return actor.client.cut_off("no pong in time"),
                // Before what waits: a client that is slow to read is not silent.
                Beat::Ping => actor.client.outbox.push_urgent(frame::ping()),
                Beat::Wait => {}
            }
            actor.look_later(context);
        });
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
                actor.close_in_time(context);
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

    /// A client sends nothing before it has read the answer to its handshake, and a pong once it has read a ping (RFC 6455,
    /// sections 4.1 and 5.5.3). So whatever the HTTP server has been given is written if it was nothing but pings.
    fn write_past_server(&mut self, message: &Inbound) {
        if self.second.is_none() {
            return;
        }
        self.pongs += u64::from(*message == Inbound::Pong);
        if self.client.outbox.progress().taken <= self.pongs
            && let Some(socket) = self.second.take()
        {
            self.client.outbox.write_to(socket, Rc::clone(self.worker.writer()));
        }
    }

    fn receive(&mut self, message: Inbound, context: &mut Context<Self>) {
        let now = self.socket.now_ms();
        self.heartbeat.heard(now);
        self.write_past_server(&message);
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

    fn started(&mut self, context: &mut Self::Context) {
        let limits = self.worker.limits();
        if let Some(payload) = self.payload.take() {
            let inbound = InboundStream::new(payload, limits.message_bytes, Rc::clone(&self.socket));
            Self::add_stream(inbound, context);
        }
        self.close_in_time(context);
        self.look_later(context);
    }
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
