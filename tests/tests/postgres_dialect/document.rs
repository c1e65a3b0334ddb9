//! `docs/lookups.md` against the code: what it says of PostgreSQL is what is written, and which index is used.

use std::collections::BTreeSet;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl as _;
use realtime_core::action::{self, Failure, ForeignKey, Operation, Request, Transaction};
use realtime_core::change::ResourceId;
use realtime_core::sql::{Statement, Table};
use realtime_core::types::{Decimal, Uuid};
use realtime_core::{Context, Kind, Limits, Lookup, Part, Principal, RealtimeResource, Row};
use serde_json::{Value as Json, json};

use crate::bench::{Bench, query};
use crate::model::{self, Moment, Note};

mod schema {
    diesel::table! {
        papers (key) {
            key -> realtime_core::types::sql::Uuid,
            amount -> Nullable<realtime_core::types::sql::DecimalNumber>,
            tags -> Nullable<Json>,
        }
    }
}

use schema::papers;

#[derive(RealtimeResource)]
#[diesel(table_name = papers, primary_key(key))]
#[realtime(lookups(all), ordering(all))]
struct Paper {
    key: Uuid,
    amount: Option<Decimal>,
    tags: Option<Json>,
}

pub(crate) const DOC: &str = include_str!("../../../docs/lookups.md");

/// Enough rows for an index to be worth its while, and the indexes that the document speaks of, by name.
const SCHEMA: &str = r#"
    CREATE TABLE notes (
        id bigint PRIMARY KEY, rank integer, score float8, title text, text text, done boolean, mood text,
        created timestamptz, edited timestamptz
    );
    CREATE TABLE moments (id bigint PRIMARY KEY, small smallint, day date, clock time, local timestamp, bytes bytea);
    CREATE TABLE papers (key uuid PRIMARY KEY, amount numeric, tags json);
    INSERT INTO notes SELECT n, n, n, n, n, false, n, now(), now() FROM generate_series(1, 2000) AS n;
    INSERT INTO moments SELECT n, n, now()::date - n, time '0:00' + n * interval '1s', now(), n::text::bytea
    FROM generate_series(1, 2000) AS n;
    INSERT INTO papers SELECT gen_random_uuid(), n, '1' FROM generate_series(1, 2000) AS n;
    CREATE INDEX column_rank ON notes (rank); CREATE INDEX column_score ON notes (score);
    CREATE INDEX column_title ON notes (title); CREATE INDEX column_text ON notes (text);
    CREATE INDEX column_done ON notes (done); CREATE INDEX column_mood ON notes (mood);
    CREATE INDEX column_created ON notes (created); CREATE INDEX column_edited ON notes (edited);
    CREATE INDEX column_day ON moments (day); CREATE INDEX column_clock ON moments (clock);
    CREATE INDEX column_local ON moments (local); CREATE INDEX column_bytes ON moments (bytes);
    CREATE INDEX column_amount ON papers (amount);
    ANALYZE;
    SET enable_seqscan = off;
"#;

/// Indexes of expressions, made after those of columns have shown what they serve.
const EXPRESSIONS: &str = r#"
    CREATE INDEX code_points_title ON notes (title COLLATE "C");
    CREATE INDEX folded_title ON notes ((realtime_fold(title) COLLATE "C"));
    CREATE INDEX rounded_amount ON papers (realtime_decimal(amount));
    ANALYZE;
"#;

/// Remembers the statement that counts, or else the one that reads rows.
#[derive(Default)]
struct Recorder(Option<Statement<Pg>>);

impl Transaction for Recorder {
    type Backend = Pg;

    async fn rows(&mut self, _table: &Table<Pg>, statement: Statement<Pg>) -> Result<Vec<Row>, Failure> {
        self.0 = Some(statement);
        Ok(Vec::new())
    }
    async fn number(&mut self, statement: Statement<Pg>) -> Result<i64, Failure> {
        self.0 = Some(statement);
        Ok(0)
    }
    fn after_commit(&mut self, work: realtime_core::AfterCommit) {
        drop(work);
    }

    async fn execute(&mut self, _statement: Statement<Pg>) -> Result<usize, Failure> {
        Ok(0)
    }
    async fn texts(&mut self, _statement: Statement<Pg>) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    async fn foreign_keys(&mut self, _table: &str) -> Result<Vec<ForeignKey>, Failure> {
        Ok(Vec::new())
    }
}

struct Explain(Statement<Pg>);

impl QueryFragment<Pg> for Explain {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
        pass.unsafe_to_cache_prepared();
        pass.push_sql("EXPLAIN ");
        self.0.walk_ast(pass)
    }
}

impl QueryId for Explain {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Explain {
    type SqlType = Text;
}

fn sample(kind: Kind, lookup: Lookup) -> Json {
    let [one, other] = match kind {
        Kind::Bool => [json!(true), json!(false)],
        Kind::Integer { .. } => [json!(3), json!(4)],
        Kind::Float => [json!(1.5), json!(2.5)],
        Kind::Text => [json!("a"), json!("b")],
        Kind::Timestamp | Kind::NaiveTimestamp => [json!("2026-01-31T12:00:00Z"), json!("2026-02-01")],
        Kind::Date => [json!("2026-01-31"), json!("2026-02-01")],
        Kind::Time => [json!("12:00"), json!("13:00")],
        Kind::Bytes => [json!("YWJj"), json!("")],
        Kind::Enum(names) => [json!(names()[0]), json!(names()[1])],
        Kind::Uuid => {
            [json!("67e55044-10b1-426f-9247-bb680e5fe0c8"), json!("67e55044-10b1-426f-9247-bb680e5fe0c9")]
        }
        Kind::Decimal => [json!("1.50"), json!("2")],
        Kind::Json => [json!("red"), json!("blue")],
    };
    match lookup {
        Lookup::In | Lookup::Range => json!([one, other]),
        Lookup::IsNull => json!(true),
        _ => one,
    }
}

/// The condition that a key becomes, and the index that serves it.
pub(crate) fn written(bench: &mut Bench, table: &Table<Pg>, key: &str) -> (String, &'static str) {
    let descriptor = table.descriptor();
    let positive = key.strip_prefix("not__").unwrap_or(key);
    let (field, rest) = positive.split_once("__").unwrap_or((positive, "exact"));
    let kind = descriptor.fields[descriptor.field_index(field).unwrap()].kind;
    let (part, lookup) = rest.split_once("__").unwrap_or((rest, "exact"));
    let argument = match (Part::from_name(part), Lookup::from_name(rest)) {
        (Some(Part::Date), _) => sample(Kind::Date, Lookup::from_name(lookup).unwrap()),
        (Some(_), _) => sample(Kind::Integer { min: 0, max: 1 }, Lookup::from_name(lookup).unwrap()),
        // A key path ends with its lookup.
        (None, None) => sample(kind, Lookup::from_name(rest.rsplit("__").next().unwrap()).unwrap()),
        (None, Some(lookup)) => sample(kind, lookup),
    };
    let list = query(descriptor, &vec![(key.to_owned(), argument)], &[]);
    let principal = Principal::anonymous();
    let context = Context { principal: &principal, now: model::time("2026-02-03T04:05:06Z") };
    let mut recorder = Recorder::default();
    let request = Request::new(ResourceId(0), Operation::List(Box::new(list)));
    assert!(model::now(action::run(&mut recorder, &[*table], &request, &context)).is_ok());
    let statement = recorder.0.unwrap();
    let text = diesel::debug_query::<Pg, _>(&statement).to_string();
    let (_, condition) = text.split_once(" WHERE ").unwrap();
    let (condition, _) =
        condition.split_once(" ORDER BY ").or_else(|| condition.split_once(" -- binds")).unwrap();
    let condition = condition.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(condition);
    let plan = Explain(statement).load::<String>(&mut bench.connection);
    let plan = bench.runtime.block_on(plan).unwrap().join("\n");
    let searched = |name: &str| plan.contains(name) && plan.contains("Index Cond");
    let index = match () {
        () if searched("column_") || searched("_pkey") => "of the column",
        () if searched("code_points_") => "of the column, `COLLATE \"C\"`",
        () if searched("folded_") => "of `realtime_fold`",
        () if searched("rounded_") => "of `realtime_decimal`",
        () if searched("bytes_title") => "of `realtime_utf8`",
        () if searched("letters_") => "of `realtime_fold_utf8`",
        () => "none",
    };
    (numbered_anew(condition), index)
}

/// Each bind as `?`: their numbers say nothing.
fn numbered_anew(condition: &str) -> String {
    let mut out = String::new();
    let mut characters = condition.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '$' && characters.next_if(char::is_ascii_digit).is_some() {
            while characters.next_if(char::is_ascii_digit).is_some() {}
            out.push('?');
        } else {
            out.push(character);
        }
    }
    out
}

/// Indexes of a text's bytes in UTF-8.
const BYTES: &str = r#"
    CREATE INDEX bytes_title ON notes (realtime_utf8(title));
    CREATE INDEX letters_title ON notes (realtime_fold_utf8(title));
    ANALYZE;
"#;

#[test]
fn the_statements_are_those_of_the_document_and_use_the_index_that_it_names() {
    let mut bench = Bench::new("");
    bench.sql(SCHEMA);
    let (seen, wrong) =
        compared(&mut bench, "\n## SQL on PostgreSQL\n", "\n### In another encoding\n", EXPRESSIONS);
    assert!(wrong.is_empty(), "docs/lookups.md is to have:\n\n{wrong}");
    let lookups = Lookup::ALL.iter().map(|lookup| lookup.name());
    for name in lookups.chain(Part::ALL.iter().map(|part| part.name())) {
        assert!(seen.contains(name), "{name} is not among the statements");
    }
    assert!(DOC.contains(&format!("at most `scanned_rows` ({})", Limits::default().scanned_rows)));
}

#[test]
fn the_statements_in_another_encoding_are_those_of_the_document() {
    let mut bench = Bench::in_encoding("LATIN1", SCHEMA);
    let (_, wrong) = compared(&mut bench, "\n### In another encoding\n", "\n## ", BYTES);
    assert!(wrong.is_empty(), "docs/lookups.md is to have:\n\n{wrong}");
}

/// What a section of the document names, and those of its lines that are to be others.
fn compared(
    bench: &mut Bench,
    heading: &str,
    end: &str,
    expressions: &str,
) -> (BTreeSet<&'static str>, String) {
    let tables: [Table<Pg>; 3] = [bench.table::<Note>(), bench.table::<Moment>(), bench.table::<Paper>()];
    let (_, section) = DOC.split_once(heading).expect("the heading");
    let section = section.split_once(end).map_or(section, |(section, _)| section);
    let lines: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    let mut seen = BTreeSet::new();
    let mut found: Vec<String> = Vec::new();
    for pass in 0..2 {
        if pass == 1 {
            bench.sql(expressions);
        }
        for (at, line) in lines.iter().enumerate() {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let key = cells[0].trim_matches('`');
            let field = key.strip_prefix("not__").unwrap_or(key).split("__").next().unwrap();
            let table = tables.iter().find(|table| table.descriptor().field_index(field).is_some()).unwrap();
            let (condition, index) = written(bench, table, key);
            let expected = format!("| `{key}` | `{condition}` | {index} | {} |", cells.last().unwrap());
            if pass == 0 {
                found.push(expected);
            } else if found[at].contains("| none |") {
                found[at] = expected;
            }
            seen.extend(key.split("__"));
            seen.insert(
                table.descriptor().fields[table.descriptor().field_index(field).unwrap()].kind.name(),
            );
        }
    }
    let wrong: Vec<&str> = found
        .iter()
        .zip(&lines)
        .filter(|(found, line)| found != *line)
        .map(|(found, _)| found.as_str())
        .collect();
    (seen, wrong.join("\n"))
}
