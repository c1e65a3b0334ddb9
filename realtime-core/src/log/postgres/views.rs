//! The triggers of tables that database views read: they note which rows a view has before and after a change, as far as
//! the changed row has a part in them.

use super::install::{Kind, image};
use super::pgoutput::{LOST, TOLD};
use crate::log::Entry;
use crate::log::watch::{Link, Viewed, quoted};

/// The triggers of one table for one view.
///
/// It is looked before the change by the last of the triggers that come before it, since any of them may change the row or
/// keep it as it is; a name that sorts late makes it that. The lock is taken before any row is locked; by the trigger of a
/// row where none of a statement is called: of a partition that is written by itself, and of what is replicated to here.
pub(super) fn kinds(layout: i64) -> Vec<Kind> {
    let kind = |name: String, event, rows| Kind { name: name.into(), event, rows };
    vec![
        kind(
            format!("!realtime_{layout:x}_lock"),
            "BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE",
            "FOR EACH STATEMENT",
        ),
        kind(format!("~realtime_{layout:x}_before"), "BEFORE INSERT OR UPDATE OR DELETE", "FOR EACH ROW"),
        kind(format!("!realtime_{layout:x}_after"), "AFTER INSERT OR UPDATE OR DELETE", "FOR EACH ROW"),
        kind(format!("!realtime_{layout:x}_truncated"), "AFTER TRUNCATE", "FOR EACH STATEMENT"),
    ]
}

/// The function that all of them call.
///
/// What a row of a view is may depend on rows that other transactions write at the same time, each without seeing what the
/// others do. So only one at a time writes what such a view reads. One that keeps the snapshot it began with does not see
/// what was written before it by then: those who follow the view begin anew.
pub(super) fn source(
    schema: &str,
    relation: &str,
    viewed: &Viewed,
    layout: i64,
    links: &[(usize, &Link)],
    replicated: bool,
) -> String {
    let log = format!("{}.{}", quoted(schema), if replicated { TOLD } else { "realtime_log" });
    let columns = &viewed.columns;
    let row = image("seen", columns);
    let note = |entry: Entry, token: &str, only: &str| {
        let code = entry.code();
        match entry {
            Entry::Again => {
                format!("INSERT INTO {log} (layout, operation, before) VALUES ({layout}, {code}, {token});")
            }
            Entry::Seen => format!(
                "INSERT INTO {log} (layout, operation, before, after) \
                 SELECT {layout}, {code}, {row}, {token} FROM {relation} AS seen{only};"
            ),
            _ => format!(
                "INSERT INTO {log} (layout, operation, before, after) \
                 SELECT {layout}, {code}, {token}, {row} FROM {relation} AS seen{only};"
            ),
        }
    };
    let lost = format!("INSERT INTO {log} (layout, operation) VALUES ({layout}, {LOST});");
    let look = |place: usize, link: &Link, side: &str| {
        let value = format!("{side}.{}", quoted(link.column));
        let token = format!("int4send({place}) || record_send(ROW({value}))");
        let only = format!(" WHERE seen.{} = {value}", quoted(link.of));
        format!(
            "
            IF TG_WHEN = 'BEFORE' THEN
                {}
            ELSE
                {}
                {}
            END IF;",
            note(Entry::Seen, &token, &only),
            note(Entry::Again, &token, ""),
            note(Entry::Found, &token, &only),
        )
    };
    let looks: String = links
        .iter()
        .map(|(place, link)| {
            let column = quoted(link.column);
            format!(
                "
        is_new := TG_OP <> 'DELETE';
        IF TG_OP <> 'INSERT' THEN{}
        END IF;
        IF TG_OP = 'UPDATE' THEN
            is_new := OLD.{column} IS DISTINCT FROM NEW.{column};
        END IF;
        IF is_new THEN{}
        END IF;",
                look(*place, link, "OLD"),
                look(*place, link, "NEW"),
            )
        })
        .collect();
    let sees_all = "current_setting('transaction_isolation') = 'read committed'";
    let (begin, end) = match replicated {
        false => (String::new(), String::new()),
        // What is told stays in the table no longer than it takes to tell it.
        true => {
            let next = format!("nextval('{}.{TOLD}_id_seq')", quoted(schema).replace('\'', "''"));
            (format!("\n    told := {next};"), format!("\n    DELETE FROM {log} WHERE id > told;"))
        }
    };
    format!(
        "
DECLARE
    is_new boolean;
    told bigint;
BEGIN{begin}
    IF TG_WHEN = 'BEFORE' THEN
        PERFORM pg_advisory_xact_lock({layout});
    END IF;
    IF TG_LEVEL = 'STATEMENT' THEN
        IF TG_OP = 'TRUNCATE' THEN
            IF NOT {sees_all} THEN
                {lost}
            ELSIF TG_WHEN = 'BEFORE' THEN
                {}
            ELSE
                {}
                {}
            END IF;
        END IF;
    ELSIF {sees_all} THEN{looks}
    ELSIF TG_WHEN = 'AFTER' THEN
        {lost}
    END IF;{end}
    IF TG_LEVEL = 'STATEMENT' OR TG_WHEN = 'AFTER' THEN
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
",
        note(Entry::Seen, "NULL", ""),
        note(Entry::Again, "NULL", ""),
        note(Entry::Found, "NULL", ""),
    )
}
