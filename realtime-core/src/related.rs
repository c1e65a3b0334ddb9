//! Filters across a relation: `topic__title__istartswith` selects rows by the row that their foreign key leads to.
//!
//! They are for lists only. A subscription to one would have to look up all rows that refer to a row of the other
//! resource whenever that row changes, and for each change of a row the other row as it was then; where it is refused,
//! nobody is told less than he asked for.

use crate::error::{Code, Error, shown};
use crate::filter::{self, Filter, RawArgument};
use crate::limits::Limits;
use crate::resource::{Action, Relation};
use crate::view::View;

/// The rows whose foreign key leads to a row that a filter selects, or, negated, the others.
#[derive(Clone, Debug)]
pub(crate) struct Related {
    pub(crate) relation: &'static Relation,
    pub(crate) negated: bool,
    /// Of the other resource.
    pub(crate) filter: Filter,
}

type Entries = Vec<(String, RawArgument)>;

/// The relation that a key of a filter leads across, whether it is negated, and what is asked there.
fn across<'k>(view: &View<'_>, key: &'k str) -> Option<(&'static Relation, bool, &'k str)> {
    let (negated, positive) = match key.strip_prefix("not__") {
        Some(rest) => (true, rest),
        None => (false, key),
    };
    let (name, rest) = filter::parted(positive, |name| view.descriptor().relation(name).is_some())?;
    // A field of that name comes first: its lookups are written the same.
    let relation = view.descriptor().relation(name).filter(|relation| view.shows(relation.field))?;
    (view.field_index(name).is_none() && !rest.is_empty()).then_some((relation, negated, rest))
}

/// Takes the entries that lead across relations out of a filter.
///
/// # Errors
/// 401 or 403 where the caller may not list the other resource; 400 as for filters of its own.
pub(crate) fn take(
    view: &View<'_>,
    entries: Entries,
    limits: &Limits,
) -> Result<(Entries, Vec<Related>), Error> {
    let (mut own, mut related) = (Vec::new(), Vec::new());
    let (count, mut regexes) = (entries.len(), 0);
    for (key, argument) in entries {
        let Some((relation, negated, rest)) = across(view, &key) else {
            own.push((key, argument));
            continue;
        };
        if count > limits.filter_predicates {
            return Err(filter::too_many_entries(limits));
        }
        let target = view.across(relation, Action::List)?;
        let filter = filter::parse(target, [(rest.to_owned(), argument)], limits)
            .map_err(|error| error.under(&key))?;
        regexes += filter.regexes();
        if regexes > limits.filter_regexes {
            return Err(filter::too_many_regexes(limits));
        }
        related.push(Related { relation, negated, filter });
    }
    Ok((own, related))
}

/// Refuses the entries that lead across relations, where they cannot be followed.
///
/// # Errors
/// 400 that says so.
pub(crate) fn refuse(view: &View<'_>, key: &str) -> Result<(), Error> {
    let Some((relation, _, _)) = across(view, key) else { return Ok(()) };
    let (name, target) = (relation.name, (relation.target)());
    let field = view.descriptor().fields[relation.field].name;
    let message = format!(
        "Filters across {name:?} are for lists: subscribe to {:?}, and here by {field}__in.",
        target.stream
    );
    Err(Error::new(Code::UnknownLookup, format!("{} cannot be followed.", shown(key))).and(key, message))
}
