//! Deciding whether a row is in a filter allocates nothing: it is done for every change and every group.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "suite/model.rs"]
#[allow(dead_code, reason = "each test uses a part of the models")]
mod model;

use allocation_counter::measure;
use realtime_core::filter::{Filter, RawArgument, parse};
use realtime_core::{Descriptor, Limits, RealtimeResource, Record};
use serde_json::{Value as Json, json};

use self::model::{Moment, Mood, Note};

fn parsed(descriptor: &Descriptor, filter: &Json) -> Filter {
    let members = filter.as_object().unwrap().clone();
    let entries = members.into_iter().map(|(key, json)| (key, RawArgument::Json(json)));
    parse(descriptor, entries, &Limits::default()).unwrap()
}

#[track_caller]
fn check(descriptor: &Descriptor, rows: &[&dyn Record], filter: &Json) {
    let filter = parsed(descriptor, filter);
    // The first time a thread folds there is something to keep.
    for row in rows {
        let _ = filter.matches(*row);
    }
    let counted = measure(|| {
        for _ in 0..100 {
            for row in rows {
                std::hint::black_box(filter.matches(*row));
            }
        }
    });
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0), "{}", filter.canonical());
}

#[test]
fn evaluation_allocates_nothing_once_warmed() {
    let full = Note {
        rank: 5,
        score: Some(1.5),
        title: "STRAẞE ".repeat(1_000),
        body: Some("a%b_c".into()),
        mood: Mood::QuiteAngry,
        ..Note::plain(1)
    };
    let notes: [&dyn Record; 2] = [&full, &Note::plain(2)];
    for filter in [
        json!({}),
        json!({"rank__in": [1, 5, 9], "rank__gte": 2, "title": "t"}),
        json!({"title__in": ["a", "t"], "body": null, "done": false, "mood__in": ["quite-angry"]}),
        json!({"score__range": ["-Infinity", 2], "id__lt": 10, "created__gte": "2026-01-31", "edited__isnull": true}),
        json!({"title__contains": "E S"}),
        json!({"title__startswith": "STR"}),
        json!({"title__endswith": " "}),
        json!({"title__iexact": "straße"}),
        json!({"title__icontains": "e strasse"}),
        json!({"title__istartswith": "straße"}),
        json!({"not__title__iendswith": "E "}),
        json!({"title__regex": "E S[a-z]+$"}),
        json!({"title__iregex": "straße x"}),
        json!({"created__year": 2026, "created__week_day": 7, "created__quarter__lt": 2, "created__date": "2026-01-31"}),
        json!({"created__month__in": [1], "created__day__range": [1, 31], "created__hour": 12, "created__minute": 0}),
    ] {
        check(Note::DESCRIPTOR, &notes, &filter);
    }
    let moment = Moment {
        day: "2024-02-29".parse().ok(),
        clock: "12:30:00".parse().ok(),
        local: "2026-01-31T12:30:00".parse().ok(),
        bytes: Some(b"abc".to_vec()),
        ..Moment { id: 1, small: 2, day: None, clock: None, local: None, bytes: None }
    };
    for filter in [
        json!({"small__in": [1, 2], "day": "2024-02-29", "clock__gt": "12:00", "local__lte": "2027-01-01"}),
        json!({"bytes": "YWJj", "day__week_day": 5, "local__hour": 12}),
    ] {
        check(Moment::DESCRIPTOR, &[&moment], &filter);
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1_u8; 100]))).count_total, 1);
}
