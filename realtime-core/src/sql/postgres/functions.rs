//! The functions that the statements use, and what the database must be like for them.
//!
//! `realtime_fold(text)` folds as the protocol says, in a database whose encoding is UTF-8. ICU lower-cases nearly all
//! characters as we do, many times faster than SQL can; which ones it does not depends on the server's version of Unicode
//! and on ours, so it is asked when the function is made. `realtime_decimal(numeric)` rounds as
//! [`Decimal`](crate::types::Decimal) does where a number has more digits than that can keep. Both are immutable, so that
//! an index can be made of them.
//!
//! In another encoding bytes are not in the order of code points, and a text that a filter asks for may not exist. There
//! everything is asked of the text in UTF-8: `realtime_utf8(text)` and `realtime_fold_utf8(text)` are its bytes and those
//! of the folded text, which may have characters that the encoding lacks. `realtime_of_utf8(bytea[])` are those of some
//! texts that exist in the encoding.

use std::fmt::Write as _;

use diesel::pg::Pg;

use crate::fold::fold;
use crate::resource::Descriptor;
use crate::sql::Statement;

/// What changes when the text of the functions does, apart from the versions of Unicode.
const REVISION: u32 = 2;

/// How a database keeps text, as far as it matters to a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8: bytes are in the order of code points.
    #[default]
    Utf8,
    /// A byte for each character: two texts are one in UTF-8 only where they are one.
    OneByte,
    /// Another, in which a character may have two forms.
    ManyBytes,
}

impl Encoding {
    /// The encoding that the answer to [`encoding`] names.
    pub fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Utf8,
            1 => Self::OneByte,
            _ => Self::ManyBytes,
        }
    }
}

/// A query whose one value, an integer, is the database's encoding for [`Encoding::from_code`].
pub fn encoding() -> Statement<Pg> {
    Statement::new(
        "SELECT CASE WHEN getdatabaseencoding() = 'UTF8' THEN 0 \
         WHEN pg_encoding_max_length(pg_char_to_encoding(getdatabaseencoding())) = 1 THEN 1 ELSE 2 END",
    )
}

/// The statements that make the functions, or make them anew where the server's ICU or our Unicode have changed, to be
/// run as a batch. They fail with a sentence for the operator where the encoding of the database is
/// `SQL_ASCII` and where a column that a resource shows is `char(n)`.
pub fn install(resources: &[&Descriptor]) -> String {
    INSTALL
        .replace("{character column}", &character_column(resources))
        .replace("{is known}", IS_KNOWN)
        .replace("{fold}", FOLD)
        .replace("{version}", &version())
        .replace("{pairs}", &pairs())
}

/// A query whose one value is whether [`install`] would change nothing and refuse nothing.
pub fn are_installed(resources: &[&Descriptor]) -> Statement<Pg> {
    let mut statement = Statement::new("SELECT ");
    statement.sql(format!(
        "coalesce(obj_description(to_regprocedure({FOLD}), 'pg_proc') = {}, false) \
         AND to_regprocedure('realtime_decimal(numeric)') IS NOT NULL \
         AND {IS_KNOWN} \
         AND ({}) IS NULL",
        version(),
        character_column(resources)
    ));
    statement
}

/// The name of the function that folds, which has the versions as its comment.
const FOLD: &str =
    "CASE WHEN getdatabaseencoding() = 'UTF8' THEN 'realtime_fold(text)' ELSE 'realtime_fold_utf8(text)' END";

/// Is it known what the texts of the database are? In `SQL_ASCII` they are whatever bytes somebody has stored, and one that
/// is no UTF-8 fails every statement that would return it. The server converts every other encoding.
const IS_KNOWN: &str = "getdatabaseencoding() <> 'SQL_ASCII'";

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

/// The characters beyond ASCII that folding changes, and what into, as the digits of their bytes in UTF-8: `c389 c3a9,…`.
/// A database of another encoding could not even read the characters themselves.
fn pairs() -> String {
    let mut pairs = String::new();
    for character in '\u{80}'..=char::MAX {
        let plain = character.to_string();
        let folded = fold(&plain);
        if folded != plain {
            let comma = if pairs.is_empty() { "" } else { "," };
            let _ = write!(pairs, "{comma}{} {}", digits(&plain), digits(&folded));
        }
    }
    pairs
}

fn digits(text: &str) -> String {
    text.bytes().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// In UTF-8: `added` has the characters that ICU leaves alone and we fold, which can be done after it; `odd` those others
/// of which the two have another opinion: a text with one of these is folded by our table alone, as is every text where
/// there is no ICU. `two` is the one character whose folded form is two.
///
/// In another encoding: `letters` has the characters that it has of those that we fold. There are few.
const INSTALL: &str = r#"
DO $realtime$
BEGIN
    IF NOT {is known} THEN
        RAISE EXCEPTION 'the encoding of this database is SQL_ASCII, so its texts may be no text: CREATE DATABASE .. ENCODING ''UTF8''';
    END IF;
END
$realtime$;
DO $realtime$
DECLARE
    version text := {version};
    is_utf8 boolean := getdatabaseencoding() = 'UTF8';
    has_icu boolean := version NOT LIKE '%ICU none';
    pairs text := '{pairs}';
    pair text;
    letters text[] := '{}';
    letters_folded bytea[] := '{}';
    changed text;
    changed_folded text;
    two text;
    two_folded text;
    sigma text;
    sigma_folded text;
    by_table text;
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
    IF obj_description(to_regprocedure({fold}), 'pg_proc') = version
        AND to_regprocedure('realtime_decimal(numeric)') IS NOT NULL
    THEN
        RETURN;
    END IF;
    IF is_utf8 THEN
        sigma := convert_from('\xcf82', 'UTF8');
        sigma_folded := convert_from('\xcf83', 'UTF8');
        WITH ours AS (
            SELECT convert_from(decode(split_part(ours, ' ', 1), 'hex'), 'UTF8') AS plain,
                convert_from(decode(split_part(ours, ' ', 2), 'hex'), 'UTF8') AS folded, at
            FROM unnest(string_to_array(pairs, ',')) WITH ORDINALITY AS pairs (ours, at)
        )
        SELECT string_agg(plain, '' ORDER BY at) FILTER (WHERE char_length(folded) = 1),
            string_agg(folded, '' ORDER BY at) FILTER (WHERE char_length(folded) = 1),
            min(plain) FILTER (WHERE char_length(folded) > 1), min(folded) FILTER (WHERE char_length(folded) > 1)
        INTO changed, changed_folded, two, two_folded
        FROM ours;
        by_table := format(
            'translate(replace(lower($1 COLLATE "C"), %L, %L), %L, %L)', two, two_folded, changed, changed_folded
        );
    END IF;
    IF is_utf8 AND has_icu THEN
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
    IF is_utf8 THEN
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
    ELSE
        CREATE OR REPLACE FUNCTION realtime_utf8(text) RETURNS bytea
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $utf8$
            SELECT convert_to($1, 'UTF8')
        $utf8$;
        CREATE OR REPLACE FUNCTION realtime_of_utf8(bytea[]) RETURNS text[]
        LANGUAGE plpgsql IMMUTABLE STRICT AS $of_utf8$
        DECLARE
            one bytea;
            texts text[] := '{}';
        BEGIN
            FOREACH one IN ARRAY $1 LOOP
                BEGIN
                    texts := array_append(texts, convert_from(one, 'UTF8'));
                EXCEPTION WHEN untranslatable_character OR character_not_in_repertoire THEN
                    NULL;
                END;
            END LOOP;
            RETURN texts;
        END
        $of_utf8$;
        FOREACH pair IN ARRAY string_to_array(pairs, ',') LOOP
            letters := letters || realtime_of_utf8(ARRAY[decode(split_part(pair, ' ', 1), 'hex')]);
            IF cardinality(letters) > cardinality(letters_folded) THEN
                letters_folded := letters_folded || decode(split_part(pair, ' ', 2), 'hex');
            END IF;
        END LOOP;
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION realtime_fold_utf8(text) RETURNS bytea
            LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS %L',
            format(
                'SELECT CASE WHEN octet_length(convert_to($1, ''UTF8'')) = char_length($1)
                    THEN convert_to(lower($1 COLLATE "C"), ''UTF8'')
                    ELSE (
                        SELECT string_agg(
                            coalesce(
                                (%L::bytea[])[array_position(%L::text[], letter COLLATE "C")],
                                convert_to(lower(letter COLLATE "C"), ''UTF8'')
                            ), '''' ORDER BY at
                        )
                        FROM unnest(string_to_array($1, NULL)) WITH ORDINALITY AS letters (letter, at)
                    )
                END',
                letters_folded, letters
            )
        );
        EXECUTE format('COMMENT ON FUNCTION realtime_fold_utf8(text) IS %L', version);
    END IF;
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
    fn the_table_has_every_character_that_changes() {
        let pairs = pairs();
        assert!(pairs.split(',').count() > 1_300);
        for pair in ["c389 c3a9", "cea3 cf83", "cf82 cf83", "c4b0 69cc87"] {
            assert!(pairs.split(',').any(|known| known == pair), "{pair}");
        }
        assert!(!pairs.split(',').any(|known| known.starts_with("cf83 ")));
    }

    #[test]
    fn names_of_columns_are_quoted() {
        assert_eq!(literal("it's"), "'it''s'");
        let install = install(&[]);
        assert!(install.is_ascii() && !install.replace("{}", "").contains(['{', '}']));
    }
}
