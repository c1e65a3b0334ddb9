//! The other ways to ask for rows: searches, relations, nested lists, pages by number and their links, metadata; names
//! that are nobody's to ask for, and payloads that are not acceptable.

use serde_json::{Value as Json, json};

use super::model::{Object, Stream, Who, Write};
use super::people::{Answer, Town, path};

/// Asks for a list over REST and over the socket, each with the same options.
async fn list(town: &mut Town, at: usize, stream: Stream, filter: Json, options: Json) -> [Answer; 2] {
    let text = |json: &Json| json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    let encoded = |text: String| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let members = [&filter, &options].into_iter().flat_map(|members| members.as_object().expect("members"));
    let query: Vec<String> =
        members.map(|(name, value)| format!("{name}={}", encoded(text(value)))).collect();
    let mut message = options;
    message["stream"] = stream.name().into();
    message["action"] = "list".into();
    message["payload"] = filter;
    let person = &mut town.people[at];
    [
        person.rest("GET", &format!("/api/{}/?{}", stream.name(), query.join("&")), None).await,
        person.say(message).await,
    ]
}

/// Both show exactly these rows.
#[track_caller]
fn assert_lists(town: &mut Town, answers: &[Answer; 2], stream: Stream, rows: &[Object], what: &str) {
    for answer in answers {
        assert_eq!(answer.status, 200, "{what}: {}", answer.whole);
        assert_eq!(answer.json["count"], rows.len(), "{what}");
        town.assert_shows(stream, &answer.json["results"], rows, what);
    }
}

#[track_caller]
fn assert_refused(answers: &[Answer], status: u16, what: &str) {
    for answer in answers {
        assert_eq!(answer.status, status, "{what}: {}", answer.whole);
    }
}

fn rows_of(town: &Town, who: Who, stream: Stream, is: impl Fn(&Object) -> bool) -> Vec<Object> {
    town.world.shown(who, stream, None).into_iter().filter(|row| is(row)).cloned().collect()
}

fn text(json: &Json) -> &str {
    json.as_str().expect("a text")
}

#[tokio::test]
async fn a_search_finds_what_the_rules_show() {
    let mut town = Town::start().await;
    for stream in Stream::ALL {
        // Words of rows that not everybody sees, and of two at once.
        let mut words = vec!["zq".to_owned(), "zqqqqqqqq".to_owned()];
        for row in town.world.rows(stream).step_by(2) {
            words.extend(stream.searched().iter().map(|name| text(&row[*name])[..7].to_uppercase()));
        }
        let two = format!("\"{}\", {}", words[words.len() - 1], words[words.len() / 2]);
        words.push(two);
        for at in 0..town.people.len() {
            let who = town.people[at].who;
            for word in &words {
                let what = format!("{who:?} searches {} for {word}", stream.name());
                let options = json!({"search": word, "limit": 1000});
                let answers = list(&mut town, at, stream, json!({}), options).await;
                if !who.reads(stream) {
                    assert_refused(&answers, 401, &what);
                } else if stream.searched().is_empty() {
                    assert_refused(&answers, 400, &what);
                } else {
                    let terms: Vec<String> =
                        word.split(", ").map(|term| term.trim_matches('"').to_lowercase()).collect();
                    let found = |row: &Object| {
                        let has = |term: &String| {
                            let mut fields = stream.searched().iter();
                            fields.any(|name| row[*name].as_str().is_some_and(|text| text.contains(term)))
                        };
                        terms.iter().all(has)
                    };
                    let rows = rows_of(&town, who, stream, found);
                    assert_lists(&mut town, &answers, stream, &rows, &what);
                }
            }
        }
        town.catch_up().await;
        town.assert_nothing_leaked();
    }
}

#[tokio::test]
async fn relations_lead_to_what_the_rules_show() {
    let mut town = Town::start().await;
    let comments = Stream::Comments;
    let mut keys: Vec<Json> = town.world.rows(Stream::Topics).map(|row| row["id"].clone()).collect();
    keys.push(Stream::Topics.missing());
    for at in 0..town.people.len() {
        let who = town.people[at].who;
        let rows = rows_of(&town, who, comments, |_| true);
        // The rows with those that they lead to.
        let options = json!({"expand": "topic,author", "limit": 1000});
        for answer in list(&mut town, at, comments, json!({}), options).await {
            let expanded: Vec<Json> = rows
                .iter()
                .map(|row| {
                    let led_to = |stream: Stream, field: &str| {
                        let row = town.world.row(stream, &row[field]).filter(|row| who.sees(stream, row));
                        row.map_or(Json::Null, |row| Json::Object(stream.face(row)))
                    };
                    let mut row = row.clone();
                    row.insert("topic".into(), led_to(Stream::Topics, "topic_id"));
                    row.insert("author".into(), led_to(Stream::Users, "author_id"));
                    Json::Object(row)
                })
                .collect();
            assert_eq!((answer.status, &answer.json["results"]), (200, &json!(expanded)), "{who:?}");
            town.cells += town.world.rows(comments).count() * (comments.fields().len() + 9);
        }
        // What a row leads to is asked about.
        for (relation, field, of, name) in [
            ("topic", "topic_id", Stream::Topics, "title"),
            ("author", "author_id", Stream::Users, "username"),
        ] {
            let led_to: Vec<Object> = town.world.rows(of).cloned().collect();
            for (number, target) in led_to.iter().enumerate() {
                for negated in [false, true] {
                    let lookup = ["startswith", "iexact", "gte"][number % 3];
                    let not = if negated { "not__" } else { "" };
                    let value = match lookup {
                        "startswith" => &text(&target[name])[..6],
                        _ => text(&target[name]),
                    };
                    let filter = json!({format!("{not}{relation}__{name}__{lookup}"): value});
                    let what = format!("{who:?} asks comments for {filter}");
                    let answers = list(&mut town, at, comments, filter, json!({"limit": 1000})).await;
                    if !who.reads(of) {
                        assert_refused(&answers, 401, &what);
                        continue;
                    }
                    let holds = |row: &Object| {
                        let target = town.world.row(of, &row[field]).filter(|row| who.sees(of, row));
                        let is = target.is_some_and(|target| match lookup {
                            "startswith" => text(&target[name]).starts_with(value),
                            "iexact" => text(&target[name]) == value,
                            _ => text(&target[name]) >= value,
                        });
                        is != negated
                    };
                    let rows = rows_of(&town, who, comments, holds);
                    assert_lists(&mut town, &answers, comments, &rows, &what);
                }
            }
        }
        for key in &keys {
            let nested = format!("/api/topics/{key}/comments/?limit=1000");
            let what = format!("{who:?} reads {nested}");
            let person = &town.people[at];
            let answer = person.rest("GET", &nested, None).await;
            let counted = person.rest("GET", &format!("{nested}&count=false&fields=body"), None).await;
            let rows = rows_of(&town, who, comments, |row| row["topic_id"] == *key);
            assert_eq!((answer.status, &answer.json["count"]), (200, &json!(rows.len())), "{what}");
            town.assert_shows(comments, &answer.json["results"], &rows, &what);
            let bodies: Vec<Json> =
                rows.iter().map(|row| json!({"id": row["id"], "body": row["body"]})).collect();
            assert_eq!(counted.json["results"], json!(bodies), "{what}");
            assert_eq!(counted.json["count"], Json::Null, "{what}");
        }
        town.catch_up().await;
        town.assert_nothing_leaked();
    }
}

#[tokio::test]
async fn pages_by_number_and_their_links_show_what_the_rules_show() {
    let mut town = Town::start().await;
    for stream in Stream::ALL {
        for at in 0..town.people.len() {
            let who = town.people[at].who;
            let what = format!("{who:?} reads pages of {}", stream.name());
            let rows = rows_of(&town, who, stream, |_| true);
            let mut walks: [Vec<Json>; 2] = Default::default();
            // One beyond the end is empty.
            for number in 1..=rows.len().div_ceil(4) + 1 {
                let options = json!({"page": number, "page_size": 4});
                let pages = list(&mut town, at, stream, json!({}), options).await;
                if !who.reads(stream) {
                    assert_refused(&pages, 401, &what);
                    continue;
                }
                for (page, walk) in pages.iter().zip(&mut walks) {
                    assert_eq!((page.status, &page.json["count"]), (200, &json!(rows.len())), "{what}");
                    walk.extend(page.json["results"].as_array().expect("rows").iter().cloned());
                    assert_eq!(page.json["next"].is_null(), number * 4 >= rows.len(), "{what}");
                }
                // The header has the links of the body, and no more.
                let mut links: Vec<String> = [("next", "next"), ("previous", "prev")]
                    .into_iter()
                    .filter_map(|(member, rel)| Some((pages[0].json[member].as_str()?, rel)))
                    .map(|(link, rel)| format!("<{link}>; rel=\"{rel}\""))
                    .collect();
                // As an answer has the parts of a header.
                links.sort_unstable();
                let header = pages[0].whole.lines().find_map(|line| line.strip_prefix("link: "));
                assert_eq!(
                    header.map(str::to_owned),
                    (!links.is_empty()).then(|| links.join(", ")),
                    "{what}"
                );
                if let Some(next) = pages[0].json["next"].as_str() {
                    let page = town.people[at].rest("GET", next, None).await;
                    let expected = &rows[(number * 4).min(rows.len())..(number * 4 + 4).min(rows.len())];
                    town.assert_shows(stream, &page.json["results"], expected, &what);
                }
            }
            for walk in walks.into_iter().filter(|_| who.reads(stream)) {
                town.assert_shows(stream, &Json::Array(walk), &rows, &what);
            }
        }
        town.catch_up().await;
        town.assert_nothing_leaked();
    }
}

#[tokio::test]
async fn metadata_tells_of_no_row_that_the_rules_do_not_show() {
    let mut town = Town::start().await;
    for stream in Stream::ALL {
        let rows: Vec<Object> = town.world.rows(stream).cloned().collect();
        for at in 0..town.people.len() {
            let who = town.people[at].who;
            let what = format!("{who:?} asks what he can do with {}", stream.name());
            let person = &town.people[at];
            let names = |answer: &Answer, method: &str| -> Vec<String> {
                let fields = answer.json["actions"][method].as_object();
                fields.into_iter().flatten().map(|(name, _)| name.clone()).collect()
            };
            let mut fields: Vec<String> =
                stream.fields().iter().map(|(name, _)| (*name).to_owned()).collect();
            fields.sort_unstable();
            let forms = |may: bool| if may { fields.clone() } else { Vec::new() };
            let collection = person.rest("OPTIONS", &format!("/api/{}/", stream.name()), None).await;
            let may_look = who.reads(stream) || who.creates(stream);
            assert_eq!(collection.status, if may_look { 200 } else { 401 }, "{what}: {}", collection.whole);
            assert_eq!(names(&collection, "POST"), forms(who.creates(stream)), "{what}");
            let nowhere = person.rest("OPTIONS", &path(stream, &stream.missing()), None).await;
            assert_eq!(nowhere.status, collection.status, "{what}");
            for row in &rows {
                let there = person.rest("OPTIONS", &path(stream, &row["id"]), None).await;
                if who.sees(stream, row) && who.key.is_some() && who.changes(stream, row) {
                    assert_eq!((there.status, names(&there, "PUT")), (200, forms(true)), "{what}: {row:?}");
                } else {
                    assert_eq!(there.whole, nowhere.whole, "{what}: {row:?}");
                }
                town.cells += stream.fields().len();
            }
        }
        town.assert_nothing_leaked();
    }
}

/// Names that a table or another stream has and this one has not, each with one of the same length that nothing has.
const NOWHERE: &[(Stream, &[(&str, &str)])] = &[
    (
        Stream::Feed,
        &[("status", "statux"), ("score", "scorx"), ("rating", "ratinx"), ("edited_at", "edited_ax")],
    ),
    (Stream::Users, &[("password_hash", "password_hasx")]),
    (Stream::Comments, &[("password", "passworx"), ("author__password_hash", "author__password_hasx")]),
];

#[tokio::test]
async fn a_column_that_is_not_shown_is_no_name() {
    let mut town = Town::start().await;
    for (stream, names) in NOWHERE {
        for at in 0..town.people.len() {
            for (hidden, nothing) in *names {
                let last = |name: &'static str| name.rsplit("__").next().expect("a name");
                let as_if_hidden = |whole: &str| whole.replace(last(nothing), last(hidden));
                for lookup in
                    ["", "__exact", "__in", "__startswith", "__gte", "__isnull", "__year", "__nonsense"]
                {
                    for not in ["", "not__"] {
                        let filter = |name: &str| json!({format!("{not}{name}{lookup}"): "1"});
                        let there = list(&mut town, at, *stream, filter(hidden), json!({})).await;
                        let nowhere = list(&mut town, at, *stream, filter(nothing), json!({})).await;
                        for (there, nowhere) in there.iter().zip(&nowhere) {
                            assert_eq!(there.whole, as_if_hidden(&nowhere.whole));
                            assert!([400, 401].contains(&there.status), "{}", there.whole);
                        }
                        let subscribe = |name| json!({"stream": stream.name(), "action": "subscribe", "payload": filter(name)});
                        let there = town.people[at].say(subscribe(hidden)).await;
                        let nowhere = town.people[at].say(subscribe(nothing)).await;
                        assert_eq!(there.whole, as_if_hidden(&nowhere.whole));
                    }
                }
                for option in ["ordering", "fields", "expand"] {
                    let there = list(&mut town, at, *stream, json!({}), json!({option: hidden})).await;
                    let nowhere = list(&mut town, at, *stream, json!({}), json!({option: nothing})).await;
                    for (there, nowhere) in there.iter().zip(&nowhere) {
                        assert_eq!(there.whole, as_if_hidden(&nowhere.whole));
                        assert!([400, 401].contains(&there.status), "{}", there.whole);
                    }
                }
                town.cells += 60;
            }
        }
        town.catch_up().await;
        town.assert_nothing_leaked();
    }
}

/// Payloads that are not acceptable, and the fields that are found wanting in them.
fn nonsense(stream: Stream, word: &str) -> (Object, Vec<&'static str>) {
    let (payload, mistakes) = match stream {
        Stream::Topics => (json!({"title": "", "locked": word}), vec!["locked", "nonsense", "title"]),
        Stream::Comments => (
            json!({"body": 5, "topic_id": word, "status": word}),
            vec!["body", "nonsense", "status", "topic_id"],
        ),
        Stream::Notes => (
            json!({"title": "x".repeat(201), "due": word, "amount": "1.234"}),
            vec!["amount", "due", "nonsense", "title"],
        ),
        Stream::Users => (json!({"username": "X!"}), vec!["nonsense", "username"]),
        Stream::Feed => (json!({"body": 5}), vec![]),
    };
    let mut payload = payload.as_object().expect("an object").clone();
    payload.insert("nonsense".to_owned(), word.into());
    (payload, mistakes)
}

#[tokio::test]
async fn what_is_wrong_with_a_payload_is_said_to_whom_the_rules_let_write() {
    let mut town = Town::start().await;
    for stream in Stream::ALL {
        let keys: Vec<Json> = town.world.rows(stream).map(|row| row["id"].clone()).collect();
        for at in 0..town.people.len() {
            let who = town.people[at].who;
            let (payload, mistakes) = nonsense(stream, "w");
            let mut writes = vec![(Write::Create(payload.clone()), who.creates(stream).then_some(400))];
            for key in &keys {
                let row = town.world.row(stream, key).expect("a row");
                let verdict = match who.sees(stream, row) {
                    false => 404,
                    true if !who.changes(stream, row) => 403,
                    true => 400,
                };
                for write in [
                    Write::Update(key.clone(), payload.clone()),
                    Write::Replace(key.clone(), payload.clone()),
                ] {
                    writes.push((write, who.key.is_some().then_some(verdict)));
                }
            }
            for (number, (write, verdict)) in writes.into_iter().enumerate() {
                let has_no_such = stream == Stream::Feed || stream == Stream::Users && write.key().is_none();
                let status = if has_no_such { 405 } else { verdict.unwrap_or(401) };
                for over_socket in [false, true] {
                    let what = format!("{who:?} tries {write:?} of {}", stream.name());
                    let answer = town.people[at].write(stream, &write, over_socket).await;
                    assert_eq!(answer.status, status, "{what}: {}", answer.whole);
                    let found = answer.json["errors"].as_object().into_iter().flatten();
                    let found: Vec<&String> = found.map(|(name, _)| name).collect();
                    assert_eq!(found, if status == 400 { mistakes.clone() } else { vec![] }, "{what}");
                    if status == 404 && number % 2 == 0 {
                        let missing = Write::Replace(stream.missing(), payload.clone());
                        let nowhere = town.people[at].write(stream, &missing, over_socket).await;
                        assert_eq!(nowhere.whole, answer.whole, "{what}");
                    }
                    town.cells += stream.fields().len();
                }
            }
            // A name that is taken, by somebody whom he sees.
            if let (Stream::Users, Some(key)) = (stream, who.key) {
                let others: Vec<Json> = town
                    .world
                    .rows(stream)
                    .filter(|row| row["id"] != key)
                    .map(|row| row["username"].clone())
                    .collect();
                for name in others {
                    let taken = Write::Update(
                        key.into(),
                        json!({"username": name}).as_object().expect("one").clone(),
                    );
                    for over_socket in [false, true] {
                        let answer = town.people[at].write(stream, &taken, over_socket).await;
                        let errors = json!({"username": ["This value is already taken."]});
                        assert_eq!((answer.status, &answer.json["errors"]), (409, &errors));
                    }
                }
            }
        }
        town.catch_up().await;
        town.assert_nothing_leaked();
    }
}
