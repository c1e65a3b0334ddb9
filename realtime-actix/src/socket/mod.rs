//! Delivery: one actor for the groups, one relay for each worker, what each client follows; and the WebSocket, with one
//! actor for each connection.

mod backlog;
mod burst;
mod catch_up;
mod client;
mod connection;
mod deadlines;
pub(crate) mod descriptor;
mod follower;
mod frame;
pub(crate) mod group;
mod heartbeat;
mod inbound;
mod outbox;
mod relay;
pub(crate) mod worker;
mod writer;

use std::rc::Rc;
use std::sync::Arc;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use actix_web_actors::ws;
use realtime_core::connection::Connection;
use realtime_core::{Code, Error};

use self::client::SocketState;
use self::descriptor::{Second, take_second};
pub use self::group::GroupCounts;
use self::worker::Worker;
use crate::admission::Seat;
use crate::auth::Identity;
use crate::rest::problem;

/// The subprotocol that is spoken. A client that offers none gets it too.
const SUBPROTOCOL: &str = "realtime.v1.json";

/// `GET /ws` and `GET /ws/{address}`.
pub(crate) async fn handshake(
    request: HttpRequest,
    payload: web::Payload,
    worker: Rc<Worker>,
) -> HttpResponse {
    let address = request.match_info().get("address").filter(|address| !address.is_empty());
    let address = address.map(str::to_owned);
    let connection = Connection::new(Arc::clone(worker.surface()), address, worker.now_ms());
    match upgrade(&request, &worker).await {
        Ok(handshake) => {
            let known = Arc::clone(worker.shared().known());
            let principal = handshake.identity.principal().clone();
            worker.connect(handshake, payload, SocketState::new(connection.of(principal).sharing(known)))
        }
        Err(error) => refused(&error),
    }
}

/// `GET /echo`: a socket that sends back what it is sent.
#[cfg(feature = "conformance")]
pub(crate) async fn echo(request: HttpRequest, payload: web::Payload, worker: Rc<Worker>) -> HttpResponse {
    match upgrade(&request, &worker).await {
        Ok(handshake) => {
            let socket =
                SocketState::new(Connection::new(Arc::clone(worker.surface()), None, worker.now_ms()))
                    .echoing();
            worker.connect(handshake, payload, socket)
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &Error) -> HttpResponse {
    match error.code() {
        Code::ActionNotAllowed => problem::method_not_allowed(Method::GET.as_str(), error),
        _ => problem::response(error),
    }
}

/// A handshake that nothing is against.
struct Handshake {
    response: HttpResponseBuilder,
    identity: Identity,
    seat: Seat,
    second: Option<Second>,
}

async fn upgrade(request: &HttpRequest, worker: &Worker) -> Result<Handshake, Error> {
    if *request.method() != Method::GET {
        return Err(Error::new(Code::ActionNotAllowed, "A socket is opened by GET."));
    }
    if worker.is_draining() {
        return Err(Error::new(Code::Unavailable, "The server is shutting down.").retry_after(1.0));
    }
    if !worker.shared().origins().allow(request) {
        return Err(Error::permission_denied("This origin may not open a socket here."));
    }
    let offered = offered_subprotocols(request)
        .ok_or_else(|| Error::bad_request("Sec-WebSocket-Protocol is not a list of names."))?;
    if !offered.is_empty() && !offered.iter().any(|name| name == SUBPROTOCOL) {
        return Err(Error::bad_request(format!("The only subprotocol is {SUBPROTOCOL}.")));
    }
    let response = ws::handshake_with_protocols(request, &[SUBPROTOCOL])
        .map_err(|error| Error::bad_request(format!("This route speaks WebSocket: {error}.")))?;
    let seat = worker.shared().seat(request)?;
    // Last: a ticket is used up by it.
    let identity = worker.shared().identify_handshake(request, &offered).await?;
    seat.pass_to(identity.principal())?;
    Ok(Handshake { response, identity, seat, second: take_second(request) })
}

fn offered_subprotocols(request: &HttpRequest) -> Option<Vec<String>> {
    let mut offered = Vec::new();
    for value in request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        let names = value.to_str().ok()?.split(',');
        offered.extend(names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
    }
    Some(offered)
}
