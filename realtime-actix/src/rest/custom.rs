//! `POST /{stream}/{action}/` and `POST /{stream}/{pk}/{action}/`: the actions that the application has added.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use realtime_core::action::{Call, Operation, Request};
use realtime_core::connection::not_allowed;
use realtime_core::{Condition, CustomAction, Error, Principal};
use serde_json::Value as Json;

use super::{Found, accept, answer, body, condition, describe, private, problem};
use crate::socket::worker::Worker;

/// What a route of an action allows.
pub(super) const ALLOW: &str = "POST, OPTIONS";

/// The action that a path's last segment names: on the row before it, or on the collection.
pub(super) fn named(
    request: &HttpRequest,
    worker: &Worker,
    segment: &str,
    on_row: bool,
) -> Option<(Found, &'static CustomAction)> {
    let found = worker.surface().find(request.match_info().get("stream")?)?;
    let name = realtime_core::url_decoded(request.match_info().get(segment)?)?;
    let custom = found.1.custom(&name).filter(|custom| custom.on_row == on_row)?;
    Some((found, custom))
}

/// Carries it out.
pub(super) async fn serve(
    request: &HttpRequest,
    payload: web::Payload,
    worker: &Worker,
    (found, custom): (Found, &'static CustomAction),
) -> HttpResponse {
    if let Err(error) = accept::check(request, accept::JSON) {
        return problem::response(&error);
    }
    match *request.method() {
        Method::POST => {}
        Method::OPTIONS => return describe::custom(request, worker, found, custom).await,
        _ => {
            let error = not_allowed(found.1, request.method().as_str());
            return problem::method_not_allowed(ALLOW, &error);
        }
    }
    let principal = match admit(request, worker, found, custom).await {
        Ok(principal) => principal,
        Err(error) => return problem::response(&error),
    };
    match carry_out(request, payload, worker, (found, custom), &principal).await {
        Ok(mut response) => {
            private(&mut response, &principal);
            response
        }
        Err(error) => problem::response(&error),
    }
}

async fn admit(
    request: &HttpRequest,
    worker: &Worker,
    found: Found,
    custom: &CustomAction,
) -> Result<Principal, Error> {
    let principal = super::identify(request, worker, custom.action()).await?;
    found.1.rules.admit_custom(&principal, custom)?;
    worker.database().throttle(found, custom.action(), &principal)?;
    Ok(principal)
}

async fn carry_out(
    request: &HttpRequest,
    payload: web::Payload,
    worker: &Worker,
    ((resource, descriptor), custom): (Found, &'static CustomAction),
    principal: &Principal,
) -> Result<HttpResponse, Error> {
    let condition = condition::of(request)?;
    let once = condition::once(request, worker.limits())?;
    let arguments = body::optional_json_object(request, payload, worker.limits().body_bytes).await?;
    let pk = request.match_info().get("pk").and_then(realtime_core::url_decoded).map(Json::from);
    let call = Call::new(descriptor, custom, pk.as_ref(), arguments)?;
    let operation = Operation::Call(Box::new(call));
    let asked = Request { condition, once, ..Request::new(resource, operation) };
    let (outcome, feed, _) = worker.database().execute(asked, principal.clone(), None).await?;
    let view = descriptor.seen_by(principal);
    answer(request, worker, view, &outcome, feed, &Condition::default())
}
