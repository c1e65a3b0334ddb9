//! The lobby as everybody writes it: actix's chat example, shortened to what a broadcast passes through.
//!
//! One actor per connection, one lobby actor, a `String` clone and a `do_send` per recipient. It shows what an
//! application gets without the framework. Nothing is tuned, on purpose; it also has no limits: a client that stops
//! reading fills its mailbox without end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient, Running, StreamHandler,
};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;

use crate::process::announce;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Message)]
#[rtype(result = "()")]
struct Text(String);

#[derive(Message)]
#[rtype(usize)]
struct Join(Recipient<Text>);

#[derive(Message)]
#[rtype(result = "()")]
struct Leave(usize);

#[derive(Message)]
#[rtype(result = "()")]
struct Broadcast(String);

#[derive(Default)]
struct Lobby {
    members: HashMap<usize, Recipient<Text>>,
    next_id: usize,
}

impl Actor for Lobby {
    type Context = Context<Self>;
}

impl Handler<Join> for Lobby {
    type Result = usize;

    fn handle(&mut self, Join(member): Join, _: &mut Context<Self>) -> usize {
        self.next_id += 1;
        self.members.insert(self.next_id, member);
        self.next_id
    }
}

impl Handler<Leave> for Lobby {
    type Result = ();

    fn handle(&mut self, Leave(id): Leave, _: &mut Context<Self>) {
        self.members.remove(&id);
    }
}

impl Handler<Broadcast> for Lobby {
    type Result = ();

    fn handle(&mut self, Broadcast(text): Broadcast, _: &mut Context<Self>) {
        for member in self.members.values() {
            member.do_send(Text(text.clone()));
        }
    }
}

struct Client {
    lobby: Addr<Lobby>,
    id: usize,
    last_seen: Instant,
}

impl Actor for Client {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(HEARTBEAT_INTERVAL, |client, context| {
            if client.last_seen.elapsed() > CLIENT_TIMEOUT {
                context.stop();
            } else {
                context.ping(b"");
            }
        });
        let join = actix::fut::wrap_future::<_, Self>(self.lobby.send(Join(context.address().recipient())));
        context.wait(actix::fut::ActorFutureExt::map(join, |id, client, context| match id {
            Ok(id) => client.id = id,
            Err(_) => context.stop(),
        }));
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.lobby.do_send(Leave(self.id));
        Running::Stop
    }
}

impl Handler<Text> for Client {
    type Result = ();

    fn handle(&mut self, Text(text): Text, context: &mut Self::Context) {
        context.text(text);
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Client {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, context: &mut Self::Context) {
        match message {
            Ok(ws::Message::Ping(payload)) => {
                self.last_seen = Instant::now();
                context.pong(&payload);
            }
            Ok(ws::Message::Pong(_)) => self.last_seen = Instant::now(),
            Ok(ws::Message::Close(reason)) => {
                context.close(reason);
                context.stop();
            }
            Ok(_) => {}
            Err(_) => context.stop(),
        }
    }
}

async fn connect(
    request: HttpRequest,
    stream: web::Payload,
    lobby: web::Data<Addr<Lobby>>,
) -> Result<HttpResponse, Error> {
    let client = Client { lobby: lobby.get_ref().clone(), id: 0, last_seen: Instant::now() };
    ws::start(client, &request, stream)
}

async fn create(body: String, lobby: web::Data<Addr<Lobby>>) -> HttpResponse {
    lobby.do_send(Broadcast(body));
    HttpResponse::Created().finish()
}

/// Serves until the process is ended.
pub(crate) fn serve() -> Result<(), String> {
    actix_web::rt::System::new().block_on(run()).map_err(|error| format!("naive server: {error}"))
}

async fn run() -> std::io::Result<()> {
    let lobby = web::Data::new(Lobby::default().start());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(lobby.clone())
            .route("/api/ws", web::get().to(connect))
            .route("/api/comments/", web::post().to(create))
    })
    .workers(1)
    .bind("127.0.0.1:0")?;
    announce(server.addrs()[0])?;
    server.run().await
}
