//! The actor of one connection: it receives, asks core, and carries the effects out.
//!
//! It is an ordinary actor beside the response body, not inside of it as `WebsocketContext` is: its timers and its
//! requests go on while the client does not read.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, StreamHandler,
    WrapFuture as _,
};
use actix_web::web;
use realtime_core::Principal;
use realtime_core::action::Request;
use realtime_core::connection::{Effect, Ticket};

use super::client::Client;
use super::frame;
use super::inbound::{Inbound, InboundStream};
use super::worker::Worker;

/// How long a peer has to answer a close frame.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct ConnectionActor {
    client: Rc<Client>,
    worker: Rc<Worker>,
    principal: Principal,
    heard: Instant,
    payload: Option<web::Payload>,
}

impl ConnectionActor {
    pub(super) fn new(
        client: Rc<Client>,
        worker: Rc<Worker>,
        principal: Principal,
        payload: web::Payload,
    ) -> Self {
        Self { client, worker, principal, heard: Instant::now(), payload: Some(payload) }
    }

    fn carry_out(&mut self, effects: Vec<Effect>, context: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Send(_) | Effect::SendInOrder(_) | Effect::Close(..) => {
                    self.client.carry_out(vec![effect]);
                }
                Effect::Execute(ticket, request) => self.execute(ticket, *request, context),
                Effect::Join(ticket, subscription, since) => {
                    self.worker.join(&self.client, ticket, subscription, since);
                }
                Effect::Leave(group) => self.worker.leave(&self.client, group),
                Effect::AskPosition(ticket) => self.worker.ask_position(&self.client, ticket),
            }
        }
    }

    fn execute(&self, ticket: Ticket, request: Request, context: &mut Context<Self>) {
        let writes = request.operation.action().writes();
        let gate = writes.then(|| self.client.outbox.gate().clone());
        let database = self.worker.database();
        let principal = self.principal.clone();
        let future = async move { database.execute(request, principal, gate).await };
        context.spawn(future.into_actor(self).map(move |answer, actor, context| {
            let (result, hold) = match answer {
                Ok((outcome, cursor, hold)) => (Ok((outcome, cursor)), hold),
                Err(error) => (Err(error), None),
            };
            let effects = actor.client.connection.borrow_mut().answered(ticket, result);
            let mut effects = effects.into_iter();
            // The reply is the first effect. Once it is queued, the events that waited for it may follow.
            actor.client.carry_out(effects.next().into_iter().collect());
            drop(hold);
            actor.client.outbox.release();
            actor.carry_out(effects.collect(), context);
        }));
    }

    fn receive(&mut self, message: Inbound, context: &mut Context<Self>) {
        self.heard = Instant::now();
        let now = self.client.now_ms();
        match message {
            Inbound::Text(text) => {
                let effects = self.client.connection.borrow_mut().text(&text, now);
                self.carry_out(effects, context);
            }
            Inbound::Binary => {
                let effects = self.client.connection.borrow_mut().binary(now);
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
            Inbound::Violation(code, reason) => self.client.close(code, reason),
        }
    }
}

impl Actor for ConnectionActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let limits = self.worker.limits();
        if let Some(payload) = self.payload.take() {
            let inbound = InboundStream::new(payload, limits.message_bytes, Rc::clone(&self.client));
            Self::add_stream(inbound, context);
        }
        let heartbeat = Duration::from_millis(limits.heartbeat_ms.max(1));
        context.run_interval(heartbeat, move |actor, _| {
            if actor.heard.elapsed() > heartbeat * 2 && !actor.client.is_paused() {
                actor.client.cut_off("no pong in time");
            } else if actor.client.outbox.push_frame(frame::ping()).is_err() {
                actor.client.cut_off("too slow");
            }
        });
    }

    fn stopped(&mut self, _context: &mut Self::Context) {
        self.client.outbox.end();
        self.worker.forget(&self.client);
    }
}

impl StreamHandler<Inbound> for ConnectionActor {
    fn handle(&mut self, message: Inbound, context: &mut Self::Context) {
        if !self.client.outbox.is_closed() {
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
