//! The difference between two images of one row.

use serde_json::{Map, Value as Json};

use crate::resource::Record;

/// The fields, among the given ones, whose values differ.
pub fn diff(before: &dyn Record, after: &dyn Record, fields: &[usize]) -> Vec<usize> {
    fields.iter().copied().filter(|field| !before.value(*field).is_same(&after.value(*field))).collect()
}

/// Replays a diff: `{...object, ...diff}`, shallow, as a client does.
pub fn apply(diff: &Map<String, Json>, object: &mut Map<String, Json>) {
    for (name, value) in diff {
        object.insert(name.clone(), value.clone());
    }
}
