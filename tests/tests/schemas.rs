//! The descriptions of the API: what they say is what there is.

use realtime_tests::{Server, Setup, Socket, at, people};
use serde_json::{Value as Json, json};

async fn with_users() -> Server {
    let users = people();
    users.set_admin(&users.named("ann"), true);
    Setup::memory().configure(move |connect| connect.authenticator(users).api("Tests", "7")).start().await
}

/// Every `$ref` of a document leads somewhere.
fn assert_references(document: &Json, part: &Json) {
    match part {
        Json::Object(members) => {
            if let Some(Json::String(reference)) = members.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("within the document");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            members.values().for_each(|member| assert_references(document, member));
        }
        Json::Array(items) => items.iter().for_each(|item| assert_references(document, item)),
        _ => {}
    }
}

fn parameter<'a>(operation: &'a Json, name: &str) -> &'a Json {
    let parameters = operation["parameters"].as_array().expect("parameters");
    parameters.iter().find(|parameter| parameter["name"] == name).unwrap_or(&Json::Null)
}

#[tokio::test]
async fn openapi_has_every_route_and_types_every_lookup() {
    let server = with_users().await;
    let answer = server.get("/api/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = answer.json;
    assert_eq!(
        (&document["openapi"], &document["info"]),
        (&json!("3.1.0"), &json!({"title": "Tests", "version": "7"}))
    );
    assert_references(&document, &document);
    let paths = document["paths"].as_object().expect("paths");
    for path in [
        "/api/",
        "/api/comments/",
        "/api/comments/{pk}/",
        "/api/comments/events",
        "/api/comments/changes",
        "/api/topics/{pk}/comments/",
        "/api/topic-feed/{pk}/",
        "/api/labels/{pk}/",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let methods =
        |path: &str| paths[path].as_object().expect("an item").keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(methods("/api/comments/"), "get options post");
    assert_eq!(methods("/api/topic-feed/"), "get options");
    assert_eq!(methods("/api/comments/{pk}/"), "delete get options parameters patch put");
    let list = &paths["/api/comments/"]["get"];
    for (name, schema) in [
        ("topic_id", json!({"type": "integer"})),
        ("topic", json!({"type": "integer"})),
        ("body__icontains", json!({"type": "string", "maxLength": 256})),
        ("rating__isnull", json!({"type": "boolean"})),
        ("created_at__gte", json!({"type": "string", "format": "date-time"})),
        (
            "created_at__year__range",
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
        ),
        ("created_at__date", json!({"type": "string", "format": "date"})),
        ("status", json!({"type": "string", "enum": ["draft", "published", "hidden"]})),
        ("topic__title__istartswith", json!({"type": "string", "maxLength": 256})),
        ("expand", json!({"type": "array", "items": {"type": "string", "enum": ["topic"]}})),
    ] {
        assert_eq!(parameter(list, name)["schema"], schema, "{name}");
    }
    assert_eq!(
        parameter(&paths["/api/comments/events"]["get"], "topic__title"),
        &Json::Null,
        "not to be followed"
    );
    let row = at(&document, "components.schemas");
    assert_eq!(row["comments"]["required"].as_array().map(Vec::len), Some(9));
    assert_eq!(row["comments.payload"]["required"], json!(["topic_id", "body"]));
    assert_eq!(row["comments.changes"]["required"], Json::Null);
}

/// Every key that the description has is one that a list takes, with a value of its type.
#[tokio::test]
async fn every_parameter_that_is_described_is_taken() {
    let server = with_users().await;
    let document = server.read("/api/openapi.json").await;
    let mut taken = 0;
    for stream in ["topics", "comments", "labels", "topic-feed"] {
        let path = format!("/api/{stream}/");
        for parameter in document["paths"][&path]["get"]["parameters"].as_array().expect("parameters") {
            let (name, schema) = (parameter["name"].as_str().expect("a name"), &parameter["schema"]);
            if name == "cursor" {
                continue;
            }
            let value = match schema["type"].as_str() {
                Some("array") => {
                    let value = sample(&schema["items"]);
                    if schema["minItems"] == 2 { format!("{value},{value}") } else { value }
                }
                _ => sample(schema),
            };
            let answer = server.get(&format!("{path}?{name}={value}")).await;
            assert_eq!(answer.status, 200, "{path}?{name}={value}: {}", answer.text);
            taken += 1;
        }
    }
    assert!(taken > 200, "{taken} parameters were tried");
}

fn sample(schema: &Json) -> String {
    if let Some(first) = schema["enum"].as_array().and_then(|names| names.first()) {
        return first.as_str().expect("a name").to_owned();
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("integer" | "number"), _) => "1".to_owned(),
        (Some("boolean"), _) => "true".to_owned(),
        (_, Some("date-time")) => "2026-01-31T12:00:00Z".to_owned(),
        (_, Some("date")) => "2026-01-31".to_owned(),
        _ => "x".to_owned(),
    }
}

/// What the description says of objects holds of them.
#[tokio::test]
async fn objects_have_the_fields_that_are_described() {
    let server = with_users().await;
    let document = server.read("/api/openapi.json").await;
    server.http("POST", "/api/labels/", &[("content-type", "application/json")], r#"{"name": "a"}"#).await;
    for (stream, path) in [("topics", "/api/topics/1/"), ("labels", "/api/labels/a/")] {
        let object = server.read(path).await;
        let described = &document["components"]["schemas"][stream]["properties"];
        let names = |json: &Json| json.as_object().expect("members").keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&object), names(described), "{stream}");
    }
}

/// What the descriptions say of events holds of them, whoever is told.
#[tokio::test]
async fn events_have_the_members_that_are_described() {
    let server = with_users().await;
    let (openapi, asyncapi) =
        (server.read("/api/openapi.json").await, server.read("/api/asyncapi.json").await);
    let mut socket = Socket::open(&server).await;
    let message = json!({"stream": "labels/subscribe", "payload": {}});
    let since = at(&socket.request(message).await, "data.cursor").as_str().expect("a cursor").to_owned();
    server.create("labels", json!({"name": "a"})).await;
    server.send("PATCH", "/api/labels/a/", &json!({"weight": 5})).await;
    server.send("DELETE", "/api/labels/a/", &Json::Null).await;

    let polled = server.read(&format!("/api/labels/changes?since={since}")).await["events"].clone();
    let items = &openapi["paths"]["/api/labels/changes"]["get"]["responses"]["200"]["content"]["application/json"]
        ["schema"]["properties"]["events"]["items"];
    let message = &asyncapi["components"]["messages"]["labels.event"]["payload"];
    for polled in polled.as_array().expect("events") {
        let told = socket.next_event().await;
        for (event, described) in [(polled, items), (&told, message)] {
            let properties = described["properties"].as_object().expect("properties");
            for (name, value) in event.as_object().expect("an event") {
                let property = properties.get(name).unwrap_or_else(|| panic!("{name} of {event}"));
                assert!(property["const"].is_null() || &property["const"] == value, "{name}: {value}");
                if let Some(part) = property["$ref"].as_str() {
                    let part = &openapi.pointer(&part[1..]).expect("a schema")["properties"];
                    assert!(
                        value.as_object().expect("fields").keys().all(|field| !part[field].is_null()),
                        "{value}"
                    );
                }
            }
            for required in described["required"].as_array().expect("names") {
                assert!(!event[required.as_str().expect("a name")].is_null(), "{required} of {event}");
            }
        }
    }
    assert_eq!(polled.as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn asyncapi_has_every_message_and_each_is_answered_as_it_says() {
    let server = with_users().await;
    let document = server.read("/api/asyncapi.json").await;
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_references(&document, &document);
    let operations = document["operations"].as_object().expect("operations");
    for name in
        ["comments.create", "comments.subscribe", "comments.told", "topic-feed.list", "ping", "authenticate"]
    {
        assert!(operations.contains_key(name), "{name}");
    }
    assert!(!operations.contains_key("topic-feed.create"));
    let mut socket = Socket::open(&server).await;
    let mut asked = 0;
    for (name, operation) in operations {
        if operation["action"] != "receive" || name == "authenticate" {
            continue;
        }
        let message = &document["components"]["messages"][name]["payload"]["properties"];
        let mut request = json!({"action": message["action"]["const"], "payload": {}});
        if !message["stream"].is_null() {
            request["stream"] = message["stream"]["const"].clone();
        }
        if !message["pk"].is_null()
            && name.split('.').nth(1) != Some("subscribe")
            && name.split('.').nth(1) != Some("unsubscribe")
        {
            request["pk"] = json!("1");
        }
        let reply = socket.request(request).await;
        let status = reply["status"].as_u64().expect("a status");
        assert!(
            ![404, 405].contains(&status)
                || name.starts_with("labels")
                || name.starts_with("comments")
                || name.starts_with("topic-feed.retrieve"),
            "{name}: {reply}"
        );
        let described =
            &document["components"]["messages"][&format!("{name}.reply")]["payload"]["properties"];
        assert_eq!(reply["action"], described["action"]["const"], "{name}");
        assert_eq!(reply["stream"], described["stream"]["const"], "{name}");
        asked += 1;
    }
    assert!(asked > 20, "{asked}");
}

#[tokio::test]
async fn descriptions_are_read_only() {
    let server = with_users().await;
    for path in ["/api/openapi.json", "/api/asyncapi.json"] {
        let refused = server.http("POST", path, &[], "").await;
        assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"));
        assert_eq!(server.http("HEAD", path, &[], "").await.status, 200);
    }
}
