//! The REST side: the same actions as over the socket, in HTTP's manners.

pub(crate) mod body;
pub(crate) mod problem;
mod query;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use realtime_core::action::{Operation, Outcome, Request};
use realtime_core::change::ResourceId;
use realtime_core::connection::{key, not_allowed, page_object};
use realtime_core::cursor::Cursor;
use realtime_core::list::{LIST_OPTIONS, ListQuery};
use realtime_core::subscription::Asked;
use realtime_core::{Action, Code, Descriptor, Error, Principal, View};
use serde_json::Value as Json;

use crate::admission::Seat;
use crate::auth::Identity;
use crate::scope::CurrentWorker;
use crate::socket::worker::Worker;

/// `GET /`: the streams, with links.
pub(crate) async fn index(request: HttpRequest, CurrentWorker(worker): CurrentWorker) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return problem::method_not_allowed(
            "GET, HEAD",
            &Error::new(Code::ActionNotAllowed, "The index is read only."),
        );
    }
    let base = request.path().trim_end_matches('/');
    let streams = &worker.surface().descriptors;
    let links: serde_json::Map<String, Json> = streams
        .iter()
        .map(|descriptor| (descriptor.stream.to_owned(), format!("{base}/{}/", descriptor.stream).into()))
        .collect();
    json(200, Json::Object(links).to_string())
}

/// `/{stream}/`: list and create.
pub(crate) async fn collection(
    request: HttpRequest,
    payload: web::Payload,
    CurrentWorker(worker): CurrentWorker,
) -> HttpResponse {
    const METHODS: &[(Method, Action)] =
        &[(Method::GET, Action::List), (Method::HEAD, Action::List), (Method::POST, Action::Create)];
    serve(&request, payload, &worker, METHODS).await
}

/// `/{stream}/{pk}/`: retrieve, replace, update and delete.
pub(crate) async fn object(
    request: HttpRequest,
    payload: web::Payload,
    CurrentWorker(worker): CurrentWorker,
) -> HttpResponse {
    const METHODS: &[(Method, Action)] = &[
        (Method::GET, Action::Retrieve),
        (Method::HEAD, Action::Retrieve),
        (Method::PUT, Action::Replace),
        (Method::PATCH, Action::Update),
        (Method::DELETE, Action::Delete),
    ];
    serve(&request, payload, &worker, METHODS).await
}

/// Any other path of the scope.
pub(crate) async fn nothing_here() -> HttpResponse {
    problem::response(&Error::not_found())
}

/// What a request that follows a stream asks for: the filter and the options are in its query string, as far as
/// `options` knows them and has not taken them out.
pub(crate) async fn follow(
    request: &HttpRequest,
    worker: &Worker,
    what: &str,
    known: &[&str],
    options: impl FnOnce(&mut query::Options) -> Result<(), Error>,
) -> Result<(Asked, Identity, Seat), Error> {
    let found = find(request, worker)?;
    let (_, descriptor) = found;
    if !descriptor.actions.contains(Action::Subscribe) {
        return Err(not_allowed(descriptor, Action::Subscribe.name()));
    }
    if *request.method() != Method::GET {
        return Err(Error::new(Code::ActionNotAllowed, format!("There is {what} for GET only.")));
    }
    let seat = worker.shared().seat(request)?;
    let identity = worker.shared().identify_request(request).await?;
    seat.pass_to(identity.principal())?;
    descriptor.rules.admit(identity.principal(), Action::Subscribe)?;
    let (filter, mut asked) = query::parse(request.query_string(), what, known)?;
    query::typed(&mut asked);
    options(&mut asked)?;
    let asked = Asked::parse(found, identity.principal(), None, filter, &asked, worker.limits())?;
    Ok((asked, identity, seat))
}

/// The answer to a request that follows a stream and may not. GET is the only method, and none where nobody may follow it.
pub(crate) fn not_followed(request: &HttpRequest, error: &Error) -> HttpResponse {
    let allow = if *request.method() == Method::GET { "" } else { "GET" };
    match error.code() {
        Code::ActionNotAllowed => problem::method_not_allowed(allow, error),
        _ => problem::response(error),
    }
}

fn find(request: &HttpRequest, worker: &Worker) -> Result<(ResourceId, &'static Descriptor), Error> {
    let stream = request.match_info().get("stream").unwrap_or_default();
    let unknown = || Error::new(Code::NotFound, format!("There is no stream {stream:?}."));
    worker.surface().find(stream).ok_or_else(unknown)
}

async fn serve(
    request: &HttpRequest,
    payload: web::Payload,
    worker: &Worker,
    methods: &[(Method, Action)],
) -> HttpResponse {
    let (resource, descriptor) = match find(request, worker) {
        Ok(found) => found,
        Err(error) => return problem::response(&error),
    };
    let offered = |(_, action): &&(Method, Action)| descriptor.actions.contains(*action);
    let Some((_, action)) = methods.iter().filter(offered).find(|(method, _)| method == request.method())
    else {
        let allow: Vec<&str> = methods.iter().filter(offered).map(|(method, _)| method.as_str()).collect();
        let error = not_allowed(descriptor, request.method().as_str());
        return problem::method_not_allowed(&allow.join(", "), &error);
    };
    let admitted = identify(request, worker, *action).await.and_then(|principal| {
        descriptor.rules.admit(&principal, *action)?;
        Ok(principal)
    });
    let principal = match admitted {
        Ok(principal) => principal,
        Err(error) => return problem::response(&error),
    };
    let view = descriptor.seen_by(&principal);
    match carry_out(request, payload, worker, (resource, &view), *action, principal).await {
        Ok((outcome, feed)) => answer(request, view, &outcome, feed),
        Err(error) => problem::response(&error),
    }
}

/// Who asks. A browser that another site makes write in his name is refused.
async fn identify(request: &HttpRequest, worker: &Worker, action: Action) -> Result<Principal, Error> {
    let shared = worker.shared();
    let identity = shared.identify_request(request).await?;
    if action.writes() {
        shared.refuse_cross_site(request)?;
    }
    Ok(identity.principal().clone())
}

async fn carry_out(
    request: &HttpRequest,
    payload: web::Payload,
    worker: &Worker,
    (resource, view): (ResourceId, &View<'_>),
    action: Action,
    principal: Principal,
) -> Result<(Outcome, Cursor), Error> {
    // The router leaves `%25`, `%2F` and `%2B` as they are, so that they are no part of the path's form.
    let pk = request.match_info().get("pk").and_then(realtime_core::url_decoded).map(Json::from);
    let (limits, descriptor) = (worker.limits(), view.descriptor());
    let body = || body::json_object(request, payload, limits.body_bytes);
    let operation = match action {
        Action::List => {
            let (filter, options) = query::parse(request.query_string(), "a list", LIST_OPTIONS)?;
            Operation::List(Box::new(ListQuery::parse(view.clone(), filter, &options, limits)?))
        }
        Action::Create => Operation::Create(body().await?),
        Action::Update => {
            let body = body().await?;
            Operation::Update(key(descriptor, pk.as_ref())?, body)
        }
        Action::Replace => {
            let body = body().await?;
            Operation::Replace(key(descriptor, pk.as_ref())?, body)
        }
        Action::Delete => Operation::Delete(key(descriptor, pk.as_ref())?),
        Action::Retrieve | Action::Subscribe | Action::Unsubscribe => {
            Operation::Retrieve(key(descriptor, pk.as_ref())?)
        }
    };
    let (outcome, cursor, _) =
        worker.database().execute(Request { resource, operation }, principal, None).await?;
    Ok((outcome, cursor))
}

fn answer(request: &HttpRequest, view: View<'_>, outcome: &Outcome, feed: Cursor) -> HttpResponse {
    match outcome {
        Outcome::Created(row) => {
            let key = match row.value(view.descriptor().key).to_json() {
                Json::String(text) => query::encoded(&text),
                other => other.to_string(),
            };
            let location = format!("{}/{key}/", request.path().trim_end_matches('/'));
            let mut response = json(201, realtime_core::object(view, row.as_ref()));
            if let Ok(location) = header::HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Outcome::Object(row) => json(200, realtime_core::object(view, row.as_ref())),
        Outcome::Deleted => HttpResponse::NoContent().finish(),
        Outcome::Page(page) => {
            let link = |cursor: &Option<String>| {
                cursor.as_ref().map(|cursor| query::page_link(request.path(), request.query_string(), cursor))
            };
            let mut response =
                json(200, page_object(view, page, [link(&page.next), link(&page.previous)], None));
            if let Ok(cursor) = header::HeaderValue::from_str(&feed.to_string()) {
                response.headers_mut().insert(header::HeaderName::from_static("realtime-cursor"), cursor);
            }
            response
        }
    }
}

fn json(status: u16, body: String) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(status).content_type("application/json").body(body)
}
