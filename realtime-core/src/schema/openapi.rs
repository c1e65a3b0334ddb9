//! OpenAPI 3.1 of the REST side.

use serde_json::{Map, Value as Json, json};

use super::{Subject, arguments, error_members, event, filters, of_resource, reference, values};
use crate::custom::{CustomAction, Replies};
use crate::error::Code;
use crate::resource::Action;
use crate::view::View;

/// Errors that any request may end with.
const ALWAYS: &[Code] = &[
    Code::BadRequest,
    Code::NotAuthenticated,
    Code::PermissionDenied,
    Code::NotAcceptable,
    Code::Internal,
    Code::Unavailable,
];

/// What describes the REST side of some resources.
pub fn openapi(subject: &Subject<'_>) -> Json {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    let mut tags = Vec::new();
    let base = subject.base.trim_end_matches('/');
    paths.insert(format!("{base}/"), index());
    for view in &subject.views {
        let descriptor = view.descriptor();
        tags.push(json!({"name": descriptor.stream, "description": descriptor.description}));
        of_resource(view, &mut schemas);
        let path = format!("{base}/{}/", descriptor.stream);
        paths.insert(path.clone(), collection(subject, view));
        paths.insert(format!("{path}{{pk}}/"), object(view));
        if descriptor.actions.contains(Action::Subscribe) {
            paths.insert(format!("{path}events"), events(subject, view));
            paths.insert(format!("{path}changes"), changes(subject, view));
        }
        for custom in descriptor.custom {
            let parent = if custom.on_row { format!("{path}{{pk}}/") } else { path.clone() };
            paths.insert(format!("{parent}{}/", custom.name), call(view, custom));
        }
        for outer in &subject.views {
            let stream = outer.descriptor().stream;
            let nested = descriptor.lists.relations.iter().any(|relation| {
                relation.nested && view.shows(relation.field) && (relation.target)().stream == stream
            });
            if nested && descriptor.actions.contains(Action::List) {
                let path = format!("{base}/{stream}/{{pk}}/{}/", descriptor.stream);
                let mut list = list(subject, view);
                list["operationId"] = format!("{}.of.{stream}", descriptor.stream).into();
                list["responses"]["404"] = json!({"$ref": "#/components/responses/404"});
                paths.insert(path, json!({"parameters": [pk(outer)], "get": list}));
            }
        }
    }
    schemas.insert("Problem".to_owned(), problem());
    schemas.insert("Metadata".to_owned(), metadata());
    json!({
        "openapi": "3.1.0",
        "info": subject.info(),
        "tags": tags,
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problems(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn index() -> Json {
    let links = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "get": {
            "operationId": "index",
            "summary": "The streams that the caller may use, with links",
            "responses": responses([("200", ok("The links, by stream", links))], &[]),
        },
        "options": options("index"),
    })
}

fn collection(subject: &Subject<'_>, view: &View<'_>) -> Json {
    let descriptor = view.descriptor();
    let mut item = Map::new();
    if descriptor.actions.contains(Action::List) {
        item.insert("get".to_owned(), list(subject, view));
    }
    if descriptor.actions.contains(Action::Create) {
        let mut created = one("The object that was made", view);
        created["headers"]["Location"] = header("Where it is");
        created["headers"]["Idempotent-Replayed"] = header("`true` where an earlier request made it");
        let mut create = operation(view, Action::Create, "Make an object");
        create["parameters"] = json!([idempotency_key()]);
        create["requestBody"] = body(&format!("{}.payload", descriptor.stream));
        create["responses"] = responses([("201", created)], WRITES);
        item.insert("post".to_owned(), create);
    }
    item.insert("options".to_owned(), options(descriptor.stream));
    item.into()
}

/// Errors that a write may end with beside the others.
const WRITES: &[Code] = &[Code::Conflict, Code::TooLarge, Code::UnsupportedMediaType];

fn list(subject: &Subject<'_>, view: &View<'_>) -> Json {
    let stream = view.descriptor().stream;
    let page = json!({
        "type": "object",
        "properties": {
            "results": {"type": "array", "items": reference(&format!("{stream}.row"))},
            "next": {"type": ["string", "null"]},
            "previous": {"type": ["string", "null"]},
            "count": {"type": ["integer", "null"], "minimum": 0},
        },
        "required": ["results", "next", "previous", "count"],
        "additionalProperties": false,
    });
    let mut found = ok("A page", page);
    found["headers"] = json!({
        "Realtime-Cursor": header("The position in the feed at which the list is true"),
        "Link": header("The pages after and before, `rel=\"next\"` and `rel=\"prev\"`"),
    });
    let mut list = operation(view, Action::List, "List objects");
    list["description"] =
        "Each filter may have `not__` before it, which selects exactly the other rows. Of `offset`, `page` and \
         `cursor` a request has one, and one of `limit` and `page_size`."
            .into();
    let mut parameters = list_options(subject, view);
    parameters.extend(filter_parameters(subject, view, true));
    list["parameters"] = parameters.into();
    list["responses"] = responses([("200", found)], &[]);
    list
}

fn list_options(subject: &Subject<'_>, view: &View<'_>) -> Vec<Json> {
    let descriptor = view.descriptor();
    let lists = &descriptor.lists;
    let most = lists.most_rows.map_or(subject.limits.page_rows, |most| most.min(subject.limits.page_rows));
    let default = lists.default_rows.unwrap_or(subject.limits.default_page_rows).min(most);
    let orders: Vec<String> = view
        .fields()
        .filter(|field| field.orderable)
        .flat_map(|field| [field.name.to_owned(), format!("-{}", field.name)])
        .collect();
    let names: Vec<&str> = view.shown().map(|field| view.descriptor().fields[field].name).collect();
    let mut options = vec![
        query("limit", json!({"type": "integer", "minimum": 1, "maximum": most, "default": default})),
        query("page_size", json!({"type": "integer", "minimum": 1, "maximum": most})),
        query("offset", json!({"type": "integer", "minimum": 0, "maximum": i64::MAX})),
        query("page", json!({"type": "integer", "minimum": 1})),
        query("cursor", json!({"type": "string"})),
        query_list("ordering", json!({"type": "string", "enum": orders})),
        query("count", json!({"type": "boolean", "default": true})),
        query_list("fields", json!({"type": "string", "enum": names})),
    ];
    if lists.search.iter().any(|field| view.shows(*field)) {
        options.push(query("search", json!({"type": "string"})));
    }
    let relations = lists.relations.iter().filter(|relation| view.shows(relation.field));
    let relations: Vec<&str> = relations.map(|relation| relation.name).collect();
    if !relations.is_empty() {
        options.push(query_list("expand", json!({"type": "string", "enum": relations})));
    }
    options
}

fn filter_parameters(subject: &Subject<'_>, view: &View<'_>, across: bool) -> Vec<Json> {
    filters::keys(subject, view)
        .into_iter()
        .filter(|key| across || !key.across)
        .map(|key| {
            let schema = key.argument(&subject.limits);
            let mut parameter =
                if key.lookup.takes_list() { listed(&key.name, schema) } else { query(&key.name, schema) };
            if !key.description.is_empty() {
                parameter["description"] = key.description.into();
            }
            parameter
        })
        .collect()
}

fn object(view: &View<'_>) -> Json {
    let descriptor = view.descriptor();
    let stream = descriptor.stream;
    let mut item = Map::new();
    item.insert("parameters".to_owned(), json!([pk(view)]));
    let if_match = if_match();
    if descriptor.actions.contains(Action::Retrieve) {
        let mut retrieve = operation(view, Action::Retrieve, "Read an object");
        let mut answers =
            responses([("200", one("The object", view))], &[Code::NotFound, Code::PreconditionFailed]);
        answers["304"] = json!({"description": "The caller has it already"});
        retrieve["responses"] = answers;
        item.insert("get".to_owned(), retrieve);
    }
    let errors = [&[Code::NotFound, Code::PreconditionFailed], WRITES].concat();
    for (method, action, summary, payload) in [
        ("put", Action::Replace, "Set all writable fields of an object", "payload"),
        ("patch", Action::Update, "Set some fields of an object", "changes"),
    ] {
        if descriptor.actions.contains(action) {
            let mut write = operation(view, action, summary);
            write["parameters"] = json!([if_match]);
            write["requestBody"] = body(&format!("{stream}.{payload}"));
            write["responses"] = responses([("200", one("The object as it is now", view))], &errors);
            item.insert(method.to_owned(), write);
        }
    }
    if descriptor.actions.contains(Action::Delete) {
        let mut delete = operation(view, Action::Delete, "Remove an object");
        delete["parameters"] = json!([if_match]);
        let errors = [Code::NotFound, Code::PreconditionFailed, Code::Conflict];
        delete["responses"] = responses([("204", json!({"description": "It is gone"}))], &errors);
        item.insert("delete".to_owned(), delete);
    }
    let mut about = options(&format!("{stream}.object"));
    about["responses"]["404"] = json!({"$ref": "#/components/responses/404"});
    item.insert("options".to_owned(), about);
    item.into()
}

/// An action of the application's.
fn call(view: &View<'_>, custom: &CustomAction) -> Json {
    let stream = view.descriptor().stream;
    let id = format!("{stream}.{}", custom.name);
    // The first sentence, if it has one.
    let summary = custom.description.lines().next().unwrap_or_default().trim_end_matches('.');
    let mut call = operation(view, custom.action(), if summary.is_empty() { custom.name } else { summary });
    if !custom.description.is_empty() {
        call["description"] = custom.description.into();
    }
    let mut parameters = vec![idempotency_key()];
    if custom.on_row {
        parameters.push(if_match());
    }
    call["parameters"] = parameters.into();
    let (arguments, required) = arguments(custom);
    call["requestBody"] =
        json!({"required": required, "content": {"application/json": {"schema": arguments}}});
    let mut done = match custom.replies {
        Replies::Nothing => json!({"description": "It is done"}),
        Replies::Object => one("The object as it is now", view),
        Replies::Value => ok("What it has answered", json!({})),
    };
    if !done["headers"].is_object() {
        done["headers"] = json!({});
    }
    done["headers"]["Idempotent-Replayed"] = header("`true` where an earlier request did it");
    let status = if custom.replies == Replies::Nothing { "204" } else { "200" };
    // An action on no row has none that could be in a state.
    let mut errors = vec![Code::PreconditionFailed, Code::Throttled];
    errors.extend(WRITES);
    if custom.on_row {
        errors.push(Code::NotFound);
    }
    call["responses"] = responses([(status, done)], &errors);
    let mut item = json!({"post": call, "options": options(&id)});
    if custom.on_row {
        item["options"]["responses"]["404"] = json!({"$ref": "#/components/responses/404"});
        item["parameters"] = json!([pk(view)]);
    }
    item
}

fn idempotency_key() -> Json {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "Makes a request that is sent once more the same request.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    })
}

fn if_match() -> Json {
    json!({
        "name": "If-Match", "in": "header", "required": false,
        "description": "Entity tags of the states for which the request is.",
        "schema": {"type": "string", "pattern": r#"^(\*|"[!#-~]*"(, "[!#-~]*")*)$"#},
    })
}

fn events(subject: &Subject<'_>, view: &View<'_>) -> Json {
    let mut follow = operation(view, Action::Subscribe, "Follow changes as Server-Sent Events");
    let mut parameters = follow_options(view);
    parameters.push(query("snapshot", json!({"type": "boolean", "default": false})));
    parameters.extend(filter_parameters(subject, view, false));
    follow["operationId"] = format!("{}.events", view.descriptor().stream).into();
    follow["parameters"] = parameters.into();
    let stream = json!({
        "description": "Events, until somebody ends it",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    });
    follow["responses"] = responses([("200", stream)], &[Code::Throttled]);
    json!({"get": follow})
}

fn changes(subject: &Subject<'_>, view: &View<'_>) -> Json {
    let mut poll = operation(view, Action::Subscribe, "Wait for changes");
    let mut parameters = follow_options(view);
    parameters.push(query("wait", json!({"type": "integer", "minimum": 0, "maximum": 60, "default": 25})));
    parameters.extend(filter_parameters(subject, view, false));
    poll["operationId"] = format!("{}.changes", view.descriptor().stream).into();
    poll["parameters"] = parameters.into();
    let told = json!({
        "type": "object",
        "properties": {
            "events": {"type": "array", "items": {
                "type": "object", "properties": event(view), "additionalProperties": false,
                "required": ["type", "stream", "action", "pk", "cursor"],
            }},
            "cursor": {"type": "string"},
        },
        "required": ["events", "cursor"],
        "additionalProperties": false,
    });
    poll["responses"] = responses([("200", ok("What has happened", told))], &[Code::Gone, Code::Throttled]);
    json!({"get": poll})
}

fn follow_options(view: &View<'_>) -> Vec<Json> {
    let names: Vec<&str> = view.shown().map(|field| view.descriptor().fields[field].name).collect();
    vec![
        query("form", json!({"type": "string", "enum": ["diff", "full"], "default": "diff"})),
        query_list("fields", json!({"type": "string", "enum": names})),
        query_list("actions", json!({"type": "string", "enum": ["create", "update", "delete"]})),
        query("since", json!({"type": "string", "maxLength": 512})),
    ]
}

fn operation(view: &View<'_>, action: Action, summary: &str) -> Json {
    let stream = view.descriptor().stream;
    json!({"operationId": format!("{stream}.{}", action.name()), "summary": summary, "tags": [stream]})
}

fn options(name: &str) -> Json {
    json!({
        "operationId": format!("{name}.options"),
        "summary": "What there is, and what the caller may send",
        "responses": responses([("200", ok("A description", reference("Metadata")))], &[]),
    })
}

fn pk(view: &View<'_>) -> Json {
    let schema = values::of_kind(view.descriptor().key_field().kind);
    json!({"name": "pk", "in": "path", "required": true, "schema": schema})
}

fn query(name: &str, schema: Json) -> Json {
    json!({"name": name, "in": "query", "required": false, "schema": schema})
}

fn query_list(name: &str, item: Json) -> Json {
    listed(name, json!({"type": "array", "items": item}))
}

/// A list between commas.
fn listed(name: &str, schema: Json) -> Json {
    let mut parameter = query(name, schema);
    parameter["style"] = "form".into();
    parameter["explode"] = false.into();
    parameter
}

fn body(schema: &str) -> Json {
    json!({"required": true, "content": {"application/json": {"schema": reference(schema)}}})
}

fn header(description: &str) -> Json {
    json!({"description": description, "schema": {"type": "string"}})
}

fn ok(description: &str, schema: Json) -> Json {
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

fn one(description: &str, view: &View<'_>) -> Json {
    let mut response = ok(description, reference(view.descriptor().stream));
    response["headers"] = json!({"ETag": header("Names the state of the object")});
    response
}

fn responses<const N: usize>(good: [(&str, Json); N], errors: &[Code]) -> Json {
    let mut responses: Map<String, Json> =
        good.into_iter().map(|(status, response)| (status.to_owned(), response)).collect();
    for code in ALWAYS.iter().chain(errors) {
        let shared = json!({"$ref": format!("#/components/responses/{}", code.status())});
        responses.insert(code.status().to_string(), shared);
    }
    responses.into()
}

/// The errors, by their status.
fn problems() -> Map<String, Json> {
    let mut problems = Map::new();
    for code in Code::ALL {
        let mut response = json!({
            "description": reason(*code),
            "content": {"application/problem+json": {"schema": reference("Problem")}},
        });
        match code {
            Code::Unavailable | Code::Throttled => {
                response["headers"] = json!({"Retry-After": header("Seconds")});
            }
            Code::NotAuthenticated => {
                response["headers"] = json!({"WWW-Authenticate": header("How to say who is asking")});
            }
            Code::ActionNotAllowed => {
                response["headers"] = json!({"Allow": header("The methods that there are")});
            }
            _ => {}
        }
        problems.insert(code.status().to_string(), response);
    }
    problems
}

fn reason(code: Code) -> &'static str {
    match code {
        Code::NotAuthenticated => "Nobody is logged in",
        Code::PermissionDenied => "The caller may not do this",
        Code::NotFound => "There is no such object for the caller",
        Code::ActionNotAllowed => "The resource does not offer the method",
        Code::NotAcceptable => "The caller reads no form of the answer",
        Code::Conflict => "It contradicts what is stored, or the Idempotency-Key is another request's",
        Code::Gone => "What came after the cursor can no longer be told",
        Code::PreconditionFailed => "The object is in another state",
        Code::TooLarge => "The body is over the limit",
        Code::UnsupportedMediaType => "The body is no JSON by its type",
        Code::Throttled => "Too many of them",
        Code::Internal => "The server failed",
        Code::Unavailable => "The server cannot serve at present",
        _ => "The request is not acceptable",
    }
}

fn problem() -> Json {
    let mut members = error_members(Code::ALL);
    members.insert("type".to_owned(), json!({"type": "string"}));
    members.insert("title".to_owned(), json!({"type": "string"}));
    members.insert("status".to_owned(), json!({"type": "integer", "minimum": 400, "maximum": 599}));
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "properties": members,
        "required": ["type", "title", "status", "code", "detail"],
    })
}

fn metadata() -> Json {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "description": {"type": "string"},
            "renders": {"type": "array", "items": {"type": "string"}},
            "parses": {"type": "array", "items": {"type": "string"}},
            "actions": {
                "type": "object",
                "additionalProperties": {"type": "object", "additionalProperties": {"type": "object"}},
            },
        },
        "required": ["name", "description", "renders", "parses"],
    })
}
