//! The limits of a filter and of a list, each one below, at and above.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "suite/model.rs"]
#[allow(dead_code, reason = "each test uses a part of the models")]
mod model;

use realtime_core::filter::{RawArgument, parse};
use realtime_core::list::ListQuery;
use realtime_core::{Error, Limits, Lookup, NON_FIELD_ERRORS};
use serde_json::{Value as Json, json};

use self::model::descriptor;

fn query(values: &[String]) -> RawArgument {
    RawArgument::Query(values.to_vec())
}

/// `None` where the entry is accepted, else what is said about it.
#[track_caller]
fn refusal(key: &str, argument: RawArgument, limits: &Limits) -> Option<String> {
    let error = parse(descriptor(), [(key.to_owned(), argument)], limits).err()?;
    Some(said(&error, key))
}

#[track_caller]
fn said(error: &Error, key: &str) -> String {
    assert_eq!((error.status(), error.code().name()), (400, "validation_error"), "{error:?}");
    assert_eq!(error.errors().keys().collect::<Vec<_>>(), [key]);
    error.errors()[key].join(" ")
}

/// Accepted up to `limit`; above it refused in a sentence that names the limit and the number.
#[track_caller]
fn check(name: &str, limit: usize, size: usize, refusal: Option<&str>) {
    match refusal {
        None => assert!(size <= limit, "{name} {limit}: {size} is accepted"),
        Some(said) => {
            assert!(size > limit, "{name} {limit}: {size} is refused: {said}");
            assert!(said.contains(&format!("(limit {name})")) && said.contains(&limit.to_string()), "{said}");
        }
    }
}

fn around(limit: usize) -> [usize; 3] {
    [limit - 1, limit, limit + 1]
}

#[test]
fn entries_of_a_filter() {
    let lookups = [
        "rank",
        "rank__gt",
        "rank__gte",
        "rank__lt",
        "rank__lte",
        "id",
        "id__gt",
        "id__gte",
        "id__lt",
        "id__lte",
        "pk",
        "at_least",
        "score",
        "score__gt",
        "score__gte",
        "score__lt",
        "score__lte",
    ];
    let keys: Vec<String> =
        lookups.iter().flat_map(|key| [(*key).to_owned(), format!("not__{key}")]).collect();
    for limit in [1 + 1, Limits::default().filter_predicates] {
        let mut limits = Limits::default();
        limits.filter_predicates = limit;
        for size in around(limit) {
            let json = keys[..size].iter().map(|key| (key.clone(), RawArgument::Json(json!(1))));
            let by_json = parse(descriptor(), json, &limits).err();
            let rest = keys[..size].iter().map(|key| (key.clone(), query(&["1".into()])));
            let by_rest = ListQuery::parse(descriptor(), rest, &[], &limits).err();
            assert_eq!(by_json, by_rest);
            let by_json = by_json.map(|error| said(&error, NON_FIELD_ERRORS));
            check("filter_predicates", limit, size, by_json.as_deref());
        }
    }
}

#[test]
fn regular_expressions_of_a_filter() {
    let keys = ["title__regex", "title__iregex", "not__title__regex", "not__title__iregex", "body__regex"];
    for limit in [1, 2, Limits::default().filter_regexes] {
        let mut limits = Limits::default();
        limits.filter_regexes = limit;
        for size in around(limit) {
            let entries = keys[..size].iter().map(|key| ((*key).to_owned(), RawArgument::Json(json!("x"))));
            let refused = parse(descriptor(), entries, &limits).err();
            let refused = refused.map(|error| said(&error, NON_FIELD_ERRORS));
            check("filter_regexes", limit, size, refused.as_deref());
        }
    }
}

#[test]
fn a_filter_over_the_limit_is_refused_before_its_entries_are_looked_at() {
    let endless = (0..usize::MAX).map(|at| {
        assert!(at <= 32, "no more is read than it takes to know");
        ("rank".to_owned(), RawArgument::Json(json!("x")))
    });
    let error = parse(descriptor(), endless, &Limits::default()).unwrap_err();
    assert!(said(&error, NON_FIELD_ERRORS).contains("(limit filter_predicates)"));
}

#[test]
fn values_of_a_list() {
    for limit in [2, Limits::default().filter_list] {
        let mut limits = Limits::default();
        limits.filter_list = limit;
        for size in around(limit) {
            let numbers: Vec<String> = (0..size).map(|number| number.to_string()).collect();
            let forms = [
                RawArgument::Json(json!(numbers)),
                RawArgument::Json(json!((0..size).collect::<Vec<_>>())),
                // Equal values are counted one by one.
                RawArgument::Json(json!(vec![7; size])),
                query(&[numbers.join(",")]),
                query(&[numbers.join("%2C")]),
                query(&numbers),
                query(&[String::new(), numbers[0].clone(), numbers[1..].join(",")]),
            ];
            for argument in forms {
                for key in ["ids", "rank__in", "not__score__in"] {
                    check("filter_list", limit, size, refusal(key, argument.clone(), &limits).as_deref());
                }
            }
            // A comma of the text is one where it is encoded.
            let texts = query(&[numbers.join(",") + "%2C%2C%2C"]);
            check("filter_list", limit, size, refusal("title__in", texts, &limits).as_deref());
            let empty = query(&[",".repeat(size - 1)]);
            if size > 1 {
                check("filter_list", limit, size, refusal("title__in", empty, &limits).as_deref());
            }
        }
        let range = refusal("rank__range", RawArgument::Json(json!(vec![1; limit + 1])), &limits);
        check("filter_list", limit, limit + 1, range.as_deref());
    }
    // Empty values of a query are no values of the list, however many.
    let empty = vec![String::new(); 5_000];
    assert_eq!(refusal("ids", query(&empty), &Limits::default()), None);
}

#[test]
fn bytes_of_a_pattern() {
    let patterns = Lookup::ALL.iter().map(|lookup| lookup.name()).filter(|name| {
        name.contains("contains") || name.ends_with("with") || name.ends_with("regex") || *name == "iexact"
    });
    let patterns: Vec<&str> = patterns.collect();
    assert_eq!(patterns.len(), 9);
    for limit in [4, Limits::default().filter_pattern_bytes] {
        let mut limits = Limits::default();
        limits.filter_pattern_bytes = limit;
        for size in around(limit) {
            for lookup in &patterns {
                // `İ` has two bytes, and three once it is folded: what is counted is what was sent.
                for piece in ["x", "é", "İ"] {
                    let pattern = piece.repeat(size / piece.len()) + &"y".repeat(size % piece.len());
                    let key = format!("title__{lookup}");
                    let by_json = refusal(&key, RawArgument::Json(json!(pattern)), &limits);
                    let encoded = pattern.bytes().map(|byte| format!("%{byte:02x}")).collect();
                    assert_eq!(by_json, refusal(&key, query(&[encoded]), &limits));
                    check("filter_pattern_bytes", limit, size, by_json.as_deref());
                }
            }
        }
    }
    // What is compared and not searched is bounded by the message alone.
    let long = "x".repeat(100_000);
    for (key, json) in [("title", json!(long)), ("title__in", json!([long])), ("title__gte", json!(long))] {
        assert_eq!(refusal(key, RawArgument::Json(json), &Limits::default()), None, "{key}");
    }
}

#[track_caller]
fn regex_refusal(pattern: &str, limits: &Limits) -> Option<String> {
    let by_case = ["regex", "iregex"]
        .map(|lookup| refusal(&format!("title__{lookup}"), RawArgument::Json(json!(pattern)), limits));
    by_case[0].clone().or_else(|| by_case[1].clone())
}

#[test]
fn bytes_of_a_compiled_regular_expression() {
    for pattern in ["[a-z]+b{20}", r"\d{3}", "(one|two|three)*", "(?i)straße"] {
        let with = |bytes: usize| {
            let mut limits = Limits::default();
            limits.filter_regex_bytes = bytes;
            refusal("title__regex", RawArgument::Json(json!(pattern)), &limits)
        };
        // What it takes is the crate's affair: the least limit that accepts it.
        let (mut refused, mut accepted) = (0, 1 << 20);
        while accepted - refused > 1 {
            let middle = usize::midpoint(refused, accepted);
            if with(middle).is_some() { refused = middle } else { accepted = middle }
        }
        for limit in around(accepted) {
            check("filter_regex_bytes", limit, accepted, with(limit).as_deref());
        }
    }
}

#[test]
fn hostile_regular_expressions_are_refused_or_small() {
    let refused = [
        "(a{1000}){1000}",
        "((a{100}){100}){100}",
        "(((a{0,100}){0,100}){0,100}){0,100}",
        "((((){1000}){1000}a?){1000}){1000}",
        "x{100000}",
        // What matches depends on so many characters before that each combination is a state.
        "a[ab]{400}c",
        "a.{20}b",
        "(?:a|ab|b){100}[ac]{12}b[ac]{12}",
        "(x{1000}|y{1000}){100}",
        "(?:a?){100000}",
    ];
    for pattern in refused {
        let said =
            regex_refusal(pattern, &Limits::default()).unwrap_or_else(|| panic!("{pattern} is accepted"));
        assert!(said.contains("takes at most 65536 bytes compiled (limit filter_regex_bytes)"), "{said}");
    }
    // Large for engines that know bytes and not characters.
    for pattern in
        [r"\w{100}", r"(\w{5}){20}", r"\pL{100}", r"[^\x00]{500}", "(?i)[à-ÿ]{100}", r"\b(?:\w+\W+){30}\b"]
    {
        assert_eq!(regex_refusal(pattern, &Limits::default()), None, "{pattern}");
    }
    // Hostile to engines that go back, and none to one that does not.
    let text = "a".repeat(10_000) + "!";
    for pattern in ["(a+)+$", "^(a|aa)*$", "(a*)*b", "(.*)(.*)(.*)(.*)[0-9]", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
        let filter = parse(
            descriptor(),
            [("title__regex".to_owned(), RawArgument::Json(json!(pattern)))],
            &Limits::default(),
        )
        .unwrap();
        let note = model::Note { title: text.clone(), ..model::Note::plain(1) };
        assert!(!filter.matches(&note), "{pattern}");
    }
    // No expressions at all.
    for pattern in [
        "x{99999999999}",
        "x{2,1}",
        "(",
        ")",
        "[z-a]",
        r"\p{Nosuch}",
        "(?P<a>x)(?P<a>y)",
        r"\1",
        "(?=x)",
        "*",
        r"\",
    ] {
        let said =
            regex_refusal(pattern, &Limits::default()).unwrap_or_else(|| panic!("{pattern} is accepted"));
        assert!(said.starts_with("Not a regular expression: ") && !said.contains('\n'), "{said}");
    }
}

#[test]
fn depth_of_a_regular_expression() {
    type Nest = fn(usize) -> String;
    let nests: [(&str, Nest, usize); 3] = [
        ("groups", |depth| "(".repeat(depth) + "a" + &")".repeat(depth), 1),
        ("open groups", |depth| "(?:".repeat(depth) + &")".repeat(depth), 1),
        // A class is counted, and so is what stands beside the one in it.
        ("classes", |depth| "[a".repeat(depth) + &"]".repeat(depth), 2),
    ];
    for limit in [2, Limits::default().filter_regex_nesting, 60] {
        let mut limits = Limits::default();
        limits.filter_regex_nesting = limit;
        for (name, nest, counted) in nests {
            for depth in around(limit / counted) {
                let refused = regex_refusal(&nest(depth), &limits);
                assert_eq!(
                    refused.is_some(),
                    depth > limit / counted,
                    "{name} {depth} of {limit}: {refused:?}"
                );
                let size = if depth > limit / counted { limit + 1 } else { depth };
                check("filter_regex_nesting", limit, size, refused.as_deref());
            }
        }
    }
    // Beyond a depth no stack is put to the test, whatever the limit.
    let mut limits = Limits::default();
    limits.filter_regex_nesting = usize::MAX;
    assert!(regex_refusal(&("(".repeat(100) + &")".repeat(100)), &limits).is_none());
    limits.filter_pattern_bytes = usize::MAX;
    let deep = "(".repeat(100_000) + &")".repeat(100_000);
    let said = regex_refusal(&deep, &limits).unwrap();
    assert!(said.contains("at most 250 deep"), "{said}");
    assert!(
        regex_refusal(&"(".repeat(100_000), &Limits::default()).unwrap().contains("filter_pattern_bytes")
    );
}

#[test]
fn rows_of_a_page() {
    let with = |limit: Json, limits: &Limits| {
        let options = [("limit".to_owned(), limit)];
        ListQuery::parse(descriptor(), [], &options, limits).err().map(|error| said(&error, "limit"))
    };
    for limit in [2, Limits::default().page_rows] {
        let mut limits = Limits::default();
        limits.page_rows = limit;
        for size in around(limit) {
            for form in [json!(size), json!(size.to_string())] {
                match with(form, &limits) {
                    None => assert!(size <= limit, "{size} of {limit}"),
                    Some(said) => {
                        assert!(size > limit, "{size} of {limit}");
                        assert_eq!(said, format!("A number from 1 to {limit} is required."));
                    }
                }
            }
        }
        for odd in [
            json!(0),
            json!(-1),
            json!("-1"),
            json!(""),
            json!(1.5),
            json!("1e1"),
            json!(null),
            json!(u64::MAX),
        ] {
            assert!(with(odd.clone(), &limits).is_some(), "{odd}");
        }
    }
    // A page that names no limit has no more rows than one that does.
    let mut limits = Limits::default();
    limits.page_rows = 2;
    let mut connection = model::database();
    model::insert(&mut connection, &[1, 2, 3].map(model::Note::plain));
    let query = ListQuery::parse(descriptor(), [], &[], &limits).unwrap();
    let query = query.with_key(descriptor(), &realtime_core::PageKey::new(&[7; 32])).unwrap();
    let page = model::page(&mut connection, query);
    assert_eq!((page.rows.len(), page.count, page.next.is_some()), (2, Some(3), true));
}
