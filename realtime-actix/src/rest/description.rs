//! `GET /openapi.json` and `GET /asyncapi.json`.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse};
use realtime_core::schema::{Subject, asyncapi, openapi};
use realtime_core::{Code, Error, Principal};
use serde_json::Value as Json;

use super::{accept, json, may_use, private, problem};
use crate::realtime::Api;
use crate::scope::CurrentWorker;
use crate::socket::worker::Worker;

/// `GET /openapi.json`: the REST side as the caller sees it.
pub(crate) async fn rest(request: HttpRequest, CurrentWorker(worker): CurrentWorker) -> HttpResponse {
    answer(&request, &worker, openapi).await
}

/// `GET /asyncapi.json`: the socket side as the caller sees it.
pub(crate) async fn socket(request: HttpRequest, CurrentWorker(worker): CurrentWorker) -> HttpResponse {
    answer(&request, &worker, asyncapi).await
}

async fn answer(request: &HttpRequest, worker: &Worker, describe: fn(&Subject<'_>) -> Json) -> HttpResponse {
    if let Err(error) = accept::check(request, accept::JSON) {
        return problem::response(&error);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let error = Error::new(Code::ActionNotAllowed, "The description is read only.");
        return problem::method_not_allowed("GET, HEAD", &error);
    }
    let identity = match worker.shared().identify_request(request).await {
        Ok(identity) => identity,
        Err(error) => return problem::response(&error),
    };
    let path = request.path().trim_end_matches('/');
    let base = path.rsplit_once('/').map_or("", |(base, _)| base);
    let subject = subject(worker, worker.shared().api(), base, identity.principal());
    let mut response = json(200, describe(&subject).to_string());
    private(&mut response, identity.principal());
    response
}

fn subject<'a>(worker: &'a Worker, api: &Api, base: &str, principal: &Principal) -> Subject<'a> {
    let used = worker.surface().descriptors.iter().filter(|descriptor| may_use(descriptor, principal));
    Subject {
        views: used.map(|descriptor| descriptor.seen_by(principal)).collect(),
        base: base.to_owned(),
        title: api.title.clone(),
        version: api.version.clone(),
        limits: worker.limits().clone(),
        undecided: worker.database().undecided(),
    }
}
