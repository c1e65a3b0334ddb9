//! The service that an `App` mounts.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::{AppService, HttpServiceFactory, Payload};
use actix_web::{FromRequest, HttpRequest, web};

use crate::realtime::Shared;
use crate::socket::worker::Worker;
use crate::{poll, rest, socket, sse};

/// REST, socket, event streams and long polls of all resources, under one path.
pub struct RealtimeScope {
    path: String,
    shared: Arc<Shared>,
}

impl RealtimeScope {
    pub(crate) fn new(path: &str, shared: Arc<Shared>) -> Self {
        Self { path: path.trim_end_matches('/').to_owned(), shared }
    }
}

impl HttpServiceFactory for RealtimeScope {
    /// Called on every worker's thread: each gets a relay of its own.
    fn register(self, config: &mut AppService) {
        let worker = Worker::start(self.shared);
        web::scope(&self.path)
            .app_data(CurrentWorker(worker))
            .service(web::resource(["/ws", "/ws/", "/ws/{address:.*}"]).to(
                |request: HttpRequest, payload: web::Payload, CurrentWorker(worker): CurrentWorker| {
                    socket::handshake(request, payload, worker)
                },
            ))
            .service(web::resource(["", "/"]).to(rest::index))
            .service(web::resource(["/{stream}", "/{stream}/"]).to(rest::collection))
            .service(web::resource(["/{stream}/events", "/{stream}/events/"]).to(sse::events))
            .service(web::resource(["/{stream}/changes", "/{stream}/changes/"]).to(poll::changes))
            .service(web::resource(["/{stream}/{pk}", "/{stream}/{pk}/"]).to(rest::object))
            .default_service(web::to(rest::nothing_here))
            .register(config);
    }
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
