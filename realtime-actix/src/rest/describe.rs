//! `OPTIONS`: what there is, and what the caller may send.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use realtime_core::action::{Operation, Outcome, Request};
use realtime_core::change::ResourceId;
use realtime_core::connection::key;
use realtime_core::metadata::{described, metadata, of_custom};
use realtime_core::{Action, CustomAction, Descriptor, Error, Principal};
use serde_json::{Map, Value as Json};

use super::{Methods, allow, json, private, problem};
use crate::socket::worker::Worker;

/// The answer about the index.
pub(super) fn index(allow: &str) -> HttpResponse {
    response(&described("index", "The streams that the caller may use, with links."), allow, None)
}

/// The answer about a route of a resource.
///
/// A row that does not exist is answered like one on which nothing may be done, so that nobody learns which it is.
pub(super) async fn resource(
    request: &HttpRequest,
    worker: &Worker,
    (resource, descriptor): (ResourceId, &'static Descriptor),
    methods: Methods,
) -> HttpResponse {
    let principal = match worker.shared().identify_request(request).await {
        Ok(identity) => identity.principal().clone(),
        Err(error) => return problem::response(&error),
    };
    if let Err(error) = may_look(descriptor, methods, &principal) {
        return problem::response(&error);
    }
    // A key that no row can have is that of no route.
    let pk = request.match_info().get("pk").and_then(realtime_core::url_decoded).map(Json::from);
    if let (Some(pk), true) = (&pk, methods.iter().any(|(_, action)| action.needs_key()))
        && let Err(error) = key(descriptor, Some(pk))
    {
        return problem::response(&error);
    }
    let mut forms = Vec::new();
    for (method, action) in [("POST", Action::Create), ("PUT", Action::Replace)] {
        let is_here = methods.iter().any(|(_, offered)| *offered == action);
        if !is_here || !descriptor.actions.contains(action) {
            continue;
        }
        match may_send(request, worker, (resource, descriptor), action, &principal).await {
            Ok(()) => forms.push(method),
            // A fault is no answer to the question.
            Err(error) if error.status() >= 500 => return problem::response(&error),
            Err(_) => {}
        }
    }
    response(
        &metadata(&descriptor.seen_by(&principal), &forms),
        &allow(descriptor, methods),
        Some(&principal),
    )
}

/// The answer about the route of an action of the application's. As above nobody learns whether there is a row.
pub(super) async fn custom(
    request: &HttpRequest,
    worker: &Worker,
    (resource, descriptor): (ResourceId, &'static Descriptor),
    custom: &'static CustomAction,
) -> HttpResponse {
    let described = async {
        let principal = worker.shared().identify_request(request).await?.principal().clone();
        descriptor.rules.admit_custom(&principal, custom)?;
        let mut may_do = true;
        if custom.on_row {
            let pk = request.match_info().get("pk").and_then(realtime_core::url_decoded).map(Json::from);
            let asked = Request::new(resource, Operation::Retrieve(key(descriptor, pk.as_ref())?));
            may_do = match worker.database().execute(asked, principal.clone(), None).await {
                Ok((Outcome::Object(row), ..)) => {
                    descriptor.rules.admit_custom_to(&principal, custom, row.as_ref()).is_ok()
                }
                // A fault is no answer to the question.
                Err(error) if error.status() >= 500 => return Err(error),
                _ => false,
            };
        }
        Ok((of_custom(custom, may_do), principal))
    };
    match described.await {
        Ok((members, principal)) => response(&members, super::custom::ALLOW, Some(&principal)),
        Err(error) => problem::response(&error),
    }
}

/// Who may do nothing here is told so.
fn may_look(descriptor: &Descriptor, methods: Methods, principal: &Principal) -> Result<(), Error> {
    let mut refused = Ok(());
    for (_, action) in methods.iter().filter(|(_, action)| descriptor.actions.contains(*action)) {
        match descriptor.rules.admit(principal, *action) {
            Ok(()) => return Ok(()),
            error => refused = refused.and(error),
        }
    }
    refused
}

async fn may_send(
    request: &HttpRequest,
    worker: &Worker,
    (resource, descriptor): (ResourceId, &'static Descriptor),
    action: Action,
    principal: &Principal,
) -> Result<(), Error> {
    descriptor.rules.admit(principal, action)?;
    if !action.needs_key() {
        return Ok(());
    }
    let pk = request.match_info().get("pk").and_then(realtime_core::url_decoded).map(Json::from);
    let operation = Operation::Retrieve(key(descriptor, pk.as_ref())?);
    let asked = Request::new(resource, operation);
    let (outcome, _, _) = worker.database().execute(asked, principal.clone(), None).await?;
    match outcome {
        Outcome::Object(row) => descriptor.rules.admit_to(principal, action, row.as_ref()),
        _ => Err(Error::not_found()),
    }
}

fn response(members: &Map<String, Json>, allow: &str, principal: Option<&Principal>) -> HttpResponse {
    let mut response = json(200, Json::Object(members.clone()).to_string());
    if let Ok(allow) = header::HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    if let Some(principal) = principal {
        private(&mut response, principal);
    }
    response
}
