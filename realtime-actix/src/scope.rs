//! The service that an `App` mounts.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::{AppService, HttpServiceFactory, Payload};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use futures_util::FutureExt as _;

use crate::realtime::Shared;
use crate::rest::problem;
use crate::socket::worker::Worker;
use crate::{fault, poll, rest, socket, sse};

/// REST, socket, event streams and long polls of all resources, under one path.
pub struct RealtimeScope {
    path: String,
    shared: Arc<Shared>,
    #[cfg(feature = "conformance")]
    echoes: bool,
}

impl RealtimeScope {
    pub(crate) fn new(path: &str, shared: Arc<Shared>) -> Self {
        Self {
            path: path.trim_end_matches('/').to_owned(),
            shared,
            #[cfg(feature = "conformance")]
            echoes: false,
        }
    }

    /// Adds the route `/echo`: a socket that sends back every message, through all that the socket of the streams goes
    /// through. For programs that check how it speaks WebSocket, as [Autobahn|Testsuite] does.
    ///
    /// [Autobahn|Testsuite]: https://github.com/crossbario/autobahn-testsuite
    #[cfg(feature = "conformance")]
    #[must_use]
    pub fn with_echo(self) -> Self {
        Self { echoes: true, ..self }
    }
}

impl HttpServiceFactory for RealtimeScope {
    /// Called on every worker's thread: each gets a relay of its own.
    fn register(self, config: &mut AppService) {
        let worker = Worker::start(self.shared);
        let scope = web::scope(&self.path).app_data(CurrentWorker(worker));
        #[cfg(feature = "conformance")]
        let scope = if self.echoes {
            scope.service(web::resource("/echo").to(
                |request: HttpRequest, payload: web::Payload, CurrentWorker(worker): CurrentWorker| {
                    guarded(socket::echo(request, payload, worker))
                },
            ))
        } else {
            scope
        };
        scope
            .service(web::resource(["/ws", "/ws/", "/ws/{address:.*}"]).to(
                |request: HttpRequest, payload: web::Payload, CurrentWorker(worker): CurrentWorker| {
                    guarded(socket::handshake(request, payload, worker))
                },
            ))
            .service(web::resource(["", "/"]).to(rest::index))
            .service(web::resource(["/openapi.json", "/openapi.json/"]).to(
                |request: HttpRequest, worker: CurrentWorker| {
                    guarded(rest::description::rest(request, worker))
                },
            ))
            .service(web::resource(["/asyncapi.json", "/asyncapi.json/"]).to(
                |request: HttpRequest, worker: CurrentWorker| {
                    guarded(rest::description::socket(request, worker))
                },
            ))
            .service(web::resource(["/{stream}", "/{stream}/"]).to(
                |request: HttpRequest, payload: web::Payload, worker: CurrentWorker| {
                    guarded(rest::collection(request, payload, worker))
                },
            ))
            .service(
                web::resource(["/{stream}/events", "/{stream}/events/"])
                    .to(|request: HttpRequest, worker: CurrentWorker| guarded(sse::events(request, worker))),
            )
            .service(
                web::resource(["/{stream}/changes", "/{stream}/changes/"]).to(
                    |request: HttpRequest, worker: CurrentWorker| guarded(poll::changes(request, worker)),
                ),
            )
            .service(web::resource(["/{stream}/{pk}", "/{stream}/{pk}/"]).to(
                |request: HttpRequest, payload: web::Payload, worker: CurrentWorker| {
                    guarded(rest::object(request, payload, worker))
                },
            ))
            .service(web::resource(["/{stream}/{pk}/{nested}", "/{stream}/{pk}/{nested}/"]).to(
                |request: HttpRequest, payload: web::Payload, worker: CurrentWorker| {
                    guarded(rest::nested(request, payload, worker))
                },
            ))
            .default_service(web::to(rest::nothing_here))
            .register(config);
    }
}

/// A panic of the application's rules in a handler's hands ends its request, and is answered as over the socket.
async fn guarded(handled: impl Future<Output = HttpResponse>) -> HttpResponse {
    let response = AssertUnwindSafe(handled).catch_unwind().await;
    response.unwrap_or_else(|panic| problem::response(&fault::panicked("a request", &*panic)))
}

/// The present worker, for handlers.
#[derive(Clone)]
pub(crate) struct CurrentWorker(pub(crate) Rc<Worker>);

impl FromRequest for CurrentWorker {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        std::future::ready(
            request.app_data::<Self>().cloned().ok_or_else(|| {
                actix_web::error::ErrorInternalServerError("the handler is outside of its scope")
            }),
        )
    }
}
