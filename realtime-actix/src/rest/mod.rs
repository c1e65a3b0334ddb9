//! The REST side: the same actions as over the socket, in HTTP's manners.

pub(crate) mod accept;
pub(crate) mod body;
mod condition;
mod custom;
mod describe;
pub(crate) mod description;
pub(crate) mod problem;
mod query;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use realtime_core::action::{Operation, Outcome, Request};
use realtime_core::change::ResourceId;
use realtime_core::connection::{key, not_allowed, page_object};
use realtime_core::cursor::Cursor;
use realtime_core::custom::Replies;
use realtime_core::list::{LIST_OPTIONS, ListQuery};
use realtime_core::subscription::Asked;
use realtime_core::{Action, Code, Condition, Descriptor, Error, Principal, Relation, View};
use serde_json::Value as Json;

use crate::admission::Seat;
use crate::auth::Identity;
use crate::fault;
use crate::scope::CurrentWorker;
use crate::socket::worker::Worker;

/// The methods of a route, with the actions that they carry out.
type Methods = &'static [(Method, Action)];

/// `GET /`: the streams, with links.
pub(crate) async fn index(request: HttpRequest, CurrentWorker(worker): CurrentWorker) -> HttpResponse {
    const ALLOW: &str = "GET, HEAD, OPTIONS";
    if let Err(error) = accept::check(&request, accept::JSON) {
        return problem::response(&error);
    }
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return describe::index(ALLOW),
        _ => {
            let error = Error::new(Code::ActionNotAllowed, "The index is read only.");
            return problem::method_not_allowed(ALLOW, &error);
        }
    }
    let identity = match worker.shared().identify_request(&request).await {
        Ok(identity) => identity,
        Err(error) => return problem::response(&error),
    };
    let base = request.path().trim_end_matches('/');
    let streams = worker.surface().descriptors.iter();
    let links: serde_json::Map<String, Json> = streams
        .filter(|descriptor| may_use(descriptor, identity.principal()))
        .map(|descriptor| {
            let link = worker.shared().link(&format!("{base}/{}/", descriptor.stream));
            (descriptor.stream.to_owned(), link.into())
        })
        .collect();
    let mut response = json(200, Json::Object(links).to_string());
    private(&mut response, identity.principal());
    response
}

/// May somebody do anything with a resource, as far as that needs no row?
fn may_use(descriptor: &Descriptor, principal: &Principal) -> bool {
    if descriptor
        .custom
        .iter()
        .any(|custom| !custom.on_row && descriptor.rules.admit_custom(principal, custom).is_ok())
    {
        return true;
    }
    let offered = || Action::ALL.iter().filter(|action| descriptor.actions.contains(**action));
    let is_admitted = |action: &&Action| descriptor.rules.admit(principal, **action).is_ok();
    // Whoever is logged in is told of a row whether he may, not before.
    if offered().any(|action| !action.needs_key()) {
        offered().filter(|action| !action.needs_key()).any(|action| is_admitted(&action))
    } else {
        offered().any(|action| is_admitted(&action))
    }
}

/// `/{stream}/`: list and create.
pub(crate) async fn collection(
    request: HttpRequest,
    payload: web::Payload,
    CurrentWorker(worker): CurrentWorker,
) -> HttpResponse {
    const METHODS: Methods =
        &[(Method::GET, Action::List), (Method::HEAD, Action::List), (Method::POST, Action::Create)];
    serve(&request, payload, &worker, METHODS).await
}

/// `/{stream}/{pk}/`: retrieve, replace, update and delete.
pub(crate) async fn object(
    request: HttpRequest,
    payload: web::Payload,
    CurrentWorker(worker): CurrentWorker,
) -> HttpResponse {
    const METHODS: Methods = &[
        (Method::GET, Action::Retrieve),
        (Method::HEAD, Action::Retrieve),
        (Method::PUT, Action::Replace),
        (Method::PATCH, Action::Update),
        (Method::DELETE, Action::Delete),
    ];
    // The name of an action wins over a key of that spelling.
    if let Some(named) = custom::named(&request, &worker, "pk", false) {
        return custom::serve(&request, payload, &worker, named).await;
    }
    serve(&request, payload, &worker, METHODS).await
}

/// `/{stream}/{pk}/{nested}/`: the list of the rows that refer to an object, or an action of the application's on it.
pub(crate) async fn nested(
    request: HttpRequest,
    payload: web::Payload,
    CurrentWorker(worker): CurrentWorker,
) -> HttpResponse {
    if let Some(named) = custom::named(&request, &worker, "nested", true) {
        return custom::serve(&request, payload, &worker, named).await;
    }
    const METHODS: Methods = &[(Method::GET, Action::List), (Method::HEAD, Action::List)];
    let Some((found, relation)) = nested_in(&request, &worker) else { return nothing_here().await };
    if let Err(error) = accept::check(&request, accept::JSON) {
        return problem::response(&error);
    }
    serve_found(&request, None, &worker, (found, Some(relation)), METHODS).await
}

/// The resource whose rows are listed there, and by which relation.
fn nested_in(request: &HttpRequest, worker: &Worker) -> Option<(Found, &'static Relation)> {
    let surface = worker.surface();
    let (_, outer) = surface.find(request.match_info().get("stream")?)?;
    let found = surface.find(request.match_info().get("nested")?)?;
    let relations = found.1.lists.relations;
    let relation =
        relations.iter().find(|relation| relation.nested && (relation.target)().stream == outer.stream)?;
    Some((found, relation))
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
    (what, media_type): (&str, &str),
    known: &[&str],
    options: impl FnOnce(&mut query::Options) -> Result<(), Error>,
) -> Result<(Asked, Identity, Seat), Error> {
    accept::check(request, media_type)?;
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

/// The same, about the row groups of the rows that its filter selects, where it does not name them.
pub(crate) async fn to_row_groups(
    mut asked: Asked,
    worker: &Worker,
    principal: &Principal,
) -> Result<Asked, Error> {
    let Some(groups) = asked.row_groups.take() else { return Ok(asked) };
    let resource = asked.subscription.resource();
    let request = Request::new(resource, Operation::FindRowGroups(groups));
    let (outcome, ..) = worker.database().execute(request, principal.clone(), None).await?;
    let Outcome::RowGroups(groups) = outcome else { unreachable!("what was asked for are row groups") };
    Ok(asked.to_row_groups(worker.surface().descriptors[resource.0], principal, groups))
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

/// What a route of a resource allows: the methods whose actions it offers.
fn allow(descriptor: &Descriptor, methods: Methods) -> String {
    let offered = methods.iter().filter(|(_, action)| descriptor.actions.contains(*action));
    let mut allow: Vec<&str> = offered.map(|(method, _)| method.as_str()).collect();
    allow.push(Method::OPTIONS.as_str());
    allow.join(", ")
}

async fn serve(
    request: &HttpRequest,
    payload: web::Payload,
    worker: &Worker,
    methods: Methods,
) -> HttpResponse {
    match accept::check(request, accept::JSON).and_then(|()| find(request, worker)) {
        Ok(found) => serve_found(request, Some(payload), worker, (found, None), methods).await,
        Err(error) => problem::response(&error),
    }
}

/// A resource of the scope.
type Found = (ResourceId, &'static Descriptor);

async fn serve_found(
    request: &HttpRequest,
    payload: Option<web::Payload>,
    worker: &Worker,
    ((resource, descriptor), nested): (Found, Option<&'static Relation>),
    methods: Methods,
) -> HttpResponse {
    if *request.method() == Method::OPTIONS {
        return describe::resource(request, worker, (resource, descriptor), methods).await;
    }
    let offered = |(method, action): &&(Method, Action)| {
        method == request.method() && descriptor.actions.contains(*action)
    };
    let Some((_, action)) = methods.iter().find(offered) else {
        let error = not_allowed(descriptor, request.method().as_str());
        return problem::method_not_allowed(&allow(descriptor, methods), &error);
    };
    let admitted = identify(request, worker, *action).await.and_then(|principal| {
        descriptor.rules.admit(&principal, *action)?;
        worker.database().throttle((resource, descriptor), *action, &principal)?;
        Ok(principal)
    });
    let principal = match admitted {
        Ok(principal) => principal,
        Err(error) => return problem::response(&error),
    };
    let view = descriptor.seen_by(&principal);
    let carried_out =
        carry_out(request, payload, worker, (resource, &view, nested), *action, principal.clone()).await;
    let answered = carried_out
        .and_then(|(outcome, feed, condition)| answer(request, worker, view, &outcome, feed, &condition));
    match answered {
        Ok(mut response) => {
            private(&mut response, &principal);
            response
        }
        Err(error) => problem::response(&error),
    }
}

/// Says who may keep an answer: nobody what is somebody's, and everybody else asks before he uses it.
fn private(response: &mut HttpResponse, principal: &Principal) {
    let headers = response.headers_mut();
    if principal.is_anonymous() {
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, header::HeaderValue::from_static("Authorization, Cookie"));
    } else {
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
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
    payload: Option<web::Payload>,
    worker: &Worker,
    (resource, view, nested): (ResourceId, &View<'_>, Option<&'static Relation>),
    action: Action,
    principal: Principal,
) -> Result<(Outcome, Cursor, Condition), Error> {
    let condition = condition::of(request)?;
    let once = if action == Action::Create { condition::once(request, worker.limits())? } else { None };
    // The router leaves `%25`, `%2F` and `%2B` as they are, so that they are no part of the path's form.
    let pk = request.match_info().get("pk").and_then(realtime_core::url_decoded).map(Json::from);
    let (limits, descriptor) = (worker.limits(), view.descriptor());
    let body = async || match payload {
        Some(payload) => body::json_object(request, payload, limits.body_bytes).await,
        None => Err(Error::bad_request("There is no body.")),
    };
    let operation = match action {
        Action::List => {
            let (filter, options) = query::parse(request.query_string(), "a list", LIST_OPTIONS)?;
            let mut query = ListQuery::parse(view.clone(), filter, &options, limits)?;
            if let Some(relation) = nested {
                query = query.of(descriptor, relation, key((relation.target)(), pk.as_ref())?);
            }
            Operation::List(Box::new(query))
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
        Action::Retrieve | Action::Subscribe | Action::Unsubscribe | Action::Custom(_) => {
            Operation::Retrieve(key(descriptor, pk.as_ref())?)
        }
    };
    let asked = Request { condition: condition.clone(), once, ..Request::new(resource, operation) };
    let (outcome, cursor, _) = worker.database().execute(asked, principal, None).await?;
    Ok((outcome, cursor, condition))
}

fn answer(
    request: &HttpRequest,
    worker: &Worker,
    view: View<'_>,
    outcome: &Outcome,
    feed: Cursor,
    condition: &Condition,
) -> Result<HttpResponse, Error> {
    Ok(match outcome {
        Outcome::Created(row) => {
            let key = view.descriptor().lookup;
            let object = realtime_core::object(view, row.as_ref());
            created(request, worker, &row.value(key).to_json(), object)
        }
        Outcome::CreatedBefore(object) => {
            let members: serde_json::Map<String, Json> = serde_json::from_str(object)
                .map_err(|error| fault::report("a kept answer is no object", &error))?;
            let key = members.get(view.descriptor().lookup_field().name).unwrap_or(&Json::Null);
            replayed(created(request, worker, key, object.clone()))
        }
        Outcome::Object(row) => {
            let object = realtime_core::object(view, row.as_ref());
            let tag = realtime_core::tag(&object);
            if matches!(*request.method(), Method::GET | Method::HEAD) {
                if condition.is_known(&tag) {
                    return Ok(tagged(HttpResponse::NotModified().finish(), &tag));
                }
                Condition { matches_none: None, ..condition.clone() }.check(|| object.clone())?;
            }
            tagged(json(200, object), &tag)
        }
        // Groups are for a subscription, which is no answer of its own.
        Outcome::Deleted | Outcome::Nothing | Outcome::RowGroups(_) => HttpResponse::NoContent().finish(),
        Outcome::Answer(text) => json(200, text.clone()),
        Outcome::DoneBefore(replies, text) => {
            let response = match replies {
                Replies::Nothing => HttpResponse::NoContent().finish(),
                Replies::Object => tagged(json(200, text.clone()), &realtime_core::tag(text)),
                Replies::Value => json(200, text.clone()),
            };
            replayed(response)
        }
        Outcome::Page(page) => {
            let link = |cursor: &Option<String>| {
                let cursor = cursor.as_ref()?;
                let link = query::page_link(request.path(), request.query_string(), cursor);
                Some(worker.shared().link(&link))
            };
            let links = [link(&page.next), link(&page.previous)];
            let header: Vec<String> = ["next", "prev"]
                .iter()
                .zip(&links)
                .filter_map(|(relation, link)| Some(format!("<{}>; rel=\"{relation}\"", link.as_ref()?)))
                .collect();
            let mut response = json(200, page_object(view, page, links, None));
            if let (false, Ok(links)) = (header.is_empty(), header::HeaderValue::from_str(&header.join(", ")))
            {
                response.headers_mut().insert(header::LINK, links);
            }
            if let Ok(cursor) = header::HeaderValue::from_str(&feed.to_string()) {
                response.headers_mut().insert(header::HeaderName::from_static("realtime-cursor"), cursor);
            }
            response
        }
    })
}

/// 201 with the place and the state of the object.
fn created(request: &HttpRequest, worker: &Worker, key: &Json, object: String) -> HttpResponse {
    let key = match key {
        Json::String(text) => query::encoded(text),
        other => other.to_string(),
    };
    let location = worker.shared().link(&format!("{}/{key}/", request.path().trim_end_matches('/')));
    let tag = realtime_core::tag(&object);
    let mut response = tagged(json(201, object), &tag);
    if let Ok(location) = header::HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Says that an earlier request was answered so.
fn replayed(mut response: HttpResponse) -> HttpResponse {
    let name = header::HeaderName::from_static("idempotent-replayed");
    response.headers_mut().insert(name, header::HeaderValue::from_static("true"));
    response
}

fn tagged(mut response: HttpResponse, tag: &str) -> HttpResponse {
    if let Ok(tag) = header::HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn json(status: u16, body: String) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(status).content_type(accept::JSON).body(body)
}
