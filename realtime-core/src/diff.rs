//! The difference between two images of one row.

use serde_json::{Map, Value as Json};

use crate::resource::Record;

/// The fields, among the given ones, of which something else is shown.
pub fn diff(before: &dyn Record, after: &dyn Record, fields: &[usize]) -> Vec<usize> {
    fields.iter().copied().filter(|field| !before.shown(*field).is_same(&after.shown(*field))).collect()
}

/// Replays a diff: `{...object, ...diff}`, shallow, as a client does.
pub fn apply(diff: &Map<String, Json>, object: &mut Map<String, Json>) {
    for (name, value) in diff {
        object.insert(name.clone(), value.clone());
    }
}
