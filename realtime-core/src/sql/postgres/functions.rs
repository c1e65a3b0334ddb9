//! The functions that the statements use, and what the database must be like for them.
//!
//! `realtime_fold(text)` folds as the protocol says. ICU lower-cases nearly all characters as we do, many times faster
//! than SQL can; which ones it does not depends on the server's version of Unicode and on ours, so it is asked when the
//! function is made. `realtime_decimal(numeric)` rounds as [`Decimal`](crate::types::Decimal) does where a number has
//! more digits than that can keep. Both are immutable, so that an index can be made of them.

use std::fmt::Write as _;

use diesel::pg::Pg;

use crate::fold::fold;
use crate::resource::Descriptor;
use crate::sql::Statement;

/// What changes when the text of the functions does, apart from the versions of Unicode.
const REVISION: u32 = 1;

/// The one character whose folded form is two.
const TWO: char = 'İ';

/// The statements that make the functions, or make them anew where the server's ICU or our Unicode have changed, to be
/// run as a batch. They fail with a sentence for the operator where the encoding of the database is not UTF-8 and where
/// a column that a resource shows is `char(n)`.
pub fn install(resources: &[&Descriptor]) -> String {
    let (from, to) = pairs();
    INSTALL
        .replace("{character column}", &character_column(resources))
        .replace("{version}", &version())
        .replace("{from}", &escaped(&from))
        .replace("{to}", &escaped(&to))
        .replace("{two}", &escaped(&TWO.to_string()))
        .replace("{two folded}", &escaped(&fold(&TWO.to_string())))
        .replace("{sigma}", &escaped("ς"))
        .replace("{sigma folded}", &escaped("σ"))
}

/// A query whose one value is whether [`install`] would change nothing and refuse nothing.
pub fn are_installed(resources: &[&Descriptor]) -> Statement<Pg> {
    let mut statement = Statement::new("SELECT ");
    statement.sql(format!(
        "coalesce(obj_description(to_regprocedure('realtime_fold(text)'), 'pg_proc') = {}, false) \
         AND to_regprocedure('realtime_decimal(numeric)') IS NOT NULL \
         AND current_setting('server_encoding') = 'UTF8' \
         AND ({}) IS NULL",
        version(),
        character_column(resources)
    ));
    statement
}

/// An expression for the versions that the functions are made for.
fn version() -> String {
    let (major, minor, update) = char::UNICODE_VERSION;
    format!(
        "'realtime {REVISION}, Unicode {major}.{minor}.{update}, ICU ' || coalesce((
            SELECT pg_collation_actual_version(oid) FROM pg_collation
            WHERE collname = 'und-x-icu' AND collnamespace = 'pg_catalog'::regnamespace
        ), 'none')"
    )
}

/// A query for the name of a column of the type `char(n)`.
fn character_column(resources: &[&Descriptor]) -> String {
    let mut columns = String::new();
    for resource in resources {
        let table = literal(&format!("\"{}\"", resource.table.replace('"', "\"\"")));
        for field in resource.fields {
            let comma = if columns.is_empty() { "" } else { ", " };
            let _ = write!(columns, "{comma}({table}, {})", literal(field.column));
        }
    }
    if columns.is_empty() {
        columns.push_str("('pg_class', '')");
    }
    format!(
        "SELECT format('%s.%I', attrelid::regclass, attname)
        FROM (VALUES {columns}) AS asked (of_table, of_column)
        JOIN pg_attribute ON attrelid = to_regclass(asked.of_table) AND attname = asked.of_column
        JOIN pg_type ON pg_type.oid = atttypid
        WHERE 'bpchar'::regtype IN (pg_type.oid, typbasetype)
        LIMIT 1"
    )
}

/// The characters beyond ASCII that folding changes into one other, and those others.
fn pairs() -> (String, String) {
    let (mut from, mut to) = (String::new(), String::new());
    for character in ('\u{80}'..=char::MAX).filter(|character| *character != TWO) {
        let mut folded = fold(character.encode_utf8(&mut [0; 4])).chars().collect::<Vec<_>>();
        if folded != [character] && folded.len() == 1 {
            from.push(character);
            to.extend(folded.drain(..));
        }
    }
    (from, to)
}

/// The text for a string of PostgreSQL's with escapes. A database of another encoding could not even read the characters
/// themselves, and is to be refused with a sentence.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        let code = u32::from(character);
        let _ = if character.is_ascii_alphanumeric() {
            write!(out, "{character}")
        } else if code <= 0xffff {
            write!(out, "\\u{code:04x}")
        } else {
            write!(out, "\\U{code:08x}")
        };
    }
    out
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `added` has the characters that ICU leaves alone and we fold, which can be done after it; `odd` those others of which
/// the two have another opinion: a text with one of these is folded by our table alone, as is every text where there is
/// no ICU.
const INSTALL: &str = r#"
DO $realtime$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the encoding of this database is %, and realtime needs UTF8: CREATE DATABASE .. ENCODING ''UTF8''',
            current_setting('server_encoding');
    END IF;
END
$realtime$;
DO $realtime$
DECLARE
    version text := {version};
    has_icu boolean := version NOT LIKE '%ICU none';
    changed text := E'{from}';
    changed_folded text := E'{to}';
    two text := E'{two}';
    two_folded text := E'{two folded}';
    sigma text := E'{sigma}';
    sigma_folded text := E'{sigma folded}';
    by_table text := format(
        'translate(replace(lower($1 COLLATE "C"), %L, %L), %L, %L)', two, two_folded, changed, changed_folded
    );
    character_column text := ({character column});
    added text := '';
    added_folded text := '';
    odd text := '';
BEGIN
    IF character_column IS NOT NULL THEN
        RAISE EXCEPTION 'the column % is of the type char(n), whose comparisons ignore spaces: make it text or varchar(n)',
            character_column;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('realtime_fold'));
    IF obj_description(to_regprocedure('realtime_fold(text)'), 'pg_proc') = version
        AND to_regprocedure('realtime_decimal(numeric)') IS NOT NULL
    THEN
        RETURN;
    END IF;
    IF has_icu THEN
        WITH ours AS (
            SELECT substr(changed, at, 1) COLLATE "C" AS plain, substr(changed_folded, at, 1) COLLATE "C" AS folded
            FROM generate_series(1, char_length(changed)) AS at
            UNION ALL SELECT two, two_folded
        ), theirs AS MATERIALIZED (
            SELECT plain, folded
            FROM (
                SELECT chr(code) COLLATE "C" AS plain,
                    translate(lower(chr(code) COLLATE "und-x-icu"), sigma, sigma_folded) COLLATE "C" AS folded
                FROM generate_series(128, 1114111) AS code
                WHERE code NOT BETWEEN 55296 AND 57343
            ) AS characters
            WHERE folded <> plain
        ), different AS (
            SELECT plain, coalesce(ours.folded, plain) AS folded,
                theirs.folded IS NULL AND char_length(ours.folded) = 1 AND plain NOT IN (SELECT folded FROM theirs)
                    AS can_be_added
            FROM ours FULL JOIN theirs USING (plain)
            WHERE coalesce(ours.folded, plain) <> coalesce(theirs.folded, plain)
        )
        SELECT coalesce(string_agg(plain, '' ORDER BY plain) FILTER (WHERE can_be_added), ''),
            coalesce(string_agg(folded, '' ORDER BY plain) FILTER (WHERE can_be_added), ''),
            coalesce(string_agg(plain, '' ORDER BY plain) FILTER (WHERE NOT can_be_added), '')
        INTO added, added_folded, odd
        FROM different;
    END IF;
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION realtime_fold(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L',
        'SELECT CASE WHEN octet_length($1) = char_length($1) THEN lower($1 COLLATE "C") COLLATE "C"'
        || CASE WHEN NOT has_icu THEN ' ELSE ' || by_table || ' COLLATE "C"'
            WHEN odd = '' THEN ''
            ELSE format(' WHEN $1 COLLATE "C" ~ %L THEN ', '[' || odd || ']') || by_table || ' COLLATE "C"'
        END
        || CASE WHEN NOT has_icu THEN ''
            ELSE format(
                ' ELSE translate(lower($1 COLLATE "und-x-icu"), %L, %L) COLLATE "C"',
                sigma || added, sigma_folded || added_folded
            )
        END
        || ' END'
    );
    EXECUTE format('COMMENT ON FUNCTION realtime_fold(text) IS %L', version);
    CREATE OR REPLACE FUNCTION realtime_decimal(numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $decimal$
        SELECT CASE
            WHEN scale($1) <= 14 AND abs($1) < 100000000000000 THEN $1
            WHEN min_scale($1) <= 28
                AND abs($1) * ('1e' || min_scale($1))::numeric < 79228162514264337593543950336
            THEN $1
            WHEN abs($1) < 1 THEN round($1, 28)
            ELSE round($1, greatest(0, 28 - length(trunc(abs($1))::text)))
        END
    $decimal$;
END
$realtime$;
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_stand_in_quotes() {
        let (from, to) = pairs();
        assert_eq!(from.chars().count(), to.chars().count());
        assert!(from.chars().count() > 1_300);
        for text in [&from, &to] {
            assert!(text.chars().all(|character| character.is_alphabetic() || character.len_utf8() > 1));
        }
        assert!(from.contains('Σ') && from.contains('ς') && !from.contains('σ') && !from.contains(TWO));
    }

    #[test]
    fn names_of_columns_are_quoted() {
        assert_eq!(literal("it's"), "'it''s'");
        let install = install(&[]);
        assert!(install.is_ascii() && !install.contains(['{', '}']));
    }
}
