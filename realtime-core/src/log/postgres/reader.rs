//! Rows of the log as batches.

use std::collections::BTreeMap;

use diesel::deserialize::Result;
use diesel::pg::Pg;
use diesel::sql_types::{Binary, Integer, Nullable};

use super::image::Image;
use super::pgoutput::LOST;
use super::snapshot::Mark;
use super::{cell, number, text};
use crate::change::{Batch, Change, ResourceId, coalesce};
use crate::cursor::Position;
use crate::log::Entry;
use crate::log::sighting::{Sightings, Token};
use crate::log::watch::EyesOf;
use crate::resource::{Columns, Row};
use crate::sql::Table;

/// What each value of an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its number in the log.
    pub id: i64,
    /// The table.
    pub table: String,
    /// Its columns, in the order of the values.
    pub columns: Vec<String>,
}

impl Layout {
    /// Reads one of the answers to [`layouts`](super::layouts).
    ///
    /// # Errors
    /// Where it is not one.
    pub fn read(columns: &dyn Columns<Pg>) -> Result<Self> {
        let names = serde_json::from_str(&text(columns, 2)?)?;
        Ok(Self { id: number(columns, 0)?, table: text(columns, 1)?, columns: names })
    }
}

/// A row of the log.
#[derive(Clone, Debug)]
pub struct LogRow {
    seq: i64,
    xid: u64,
    layout: i64,
    operation: i32,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

impl LogRow {
    /// Reads one of the answers to [`rows`](super::rows).
    ///
    /// # Errors
    /// Where it is not one.
    pub fn read(columns: &dyn Columns<Pg>) -> Result<Self> {
        let image = |at| cell::<Option<Vec<u8>>, Nullable<Binary>>(columns, at);
        Ok(Self {
            seq: number(columns, 0)?,
            xid: number(columns, 1)?.unsigned_abs(),
            layout: number(columns, 2)?,
            operation: cell::<i32, Integer>(columns, 3)?,
            before: image(4)?,
            after: image(5)?,
        })
    }

    /// The row's layout.
    pub fn layout(&self) -> i64 {
        self.layout
    }
}

/// How the log of a database is read.
pub struct Reader {
    tables: Vec<Table<Pg>>,
    eyes: EyesOf,
    layouts: BTreeMap<i64, Watchers>,
    /// That of a row whose layout is not known: whose row it is cannot be said.
    unknown: Watchers,
}

/// Who looks at the rows of one layout, and where each of his fields is. He has none where the layout was made for others
/// that show less.
type Watchers = Vec<(ResourceId, Option<Vec<usize>>)>;

/// What was read of the log.
#[derive(Debug, Default)]
pub struct Read {
    /// Whole transactions.
    pub batch: Batch,
    /// The resources of which a row could not be decoded, and why. They are also the batch's lost ones.
    pub corrupt: Vec<(ResourceId, String)>,
}

impl Reader {
    /// Knows no layouts yet.
    pub fn new(tables: Vec<Table<Pg>>) -> Self {
        let unknown = (0..tables.len()).map(|at| (ResourceId(at), None)).collect();
        Self { eyes: EyesOf::resources(&tables), tables, layouts: BTreeMap::new(), unknown }
    }

    /// Takes note of a layout.
    pub fn learn(&mut self, layout: &Layout) {
        let watchers = self
            .tables
            .iter()
            .enumerate()
            .filter(|(_, table)| table.descriptor().table == layout.table)
            .map(|(at, table)| {
                let fields = table.descriptor().fields.iter();
                let place = |name: &str| layout.columns.iter().position(|column| column == name);
                (ResourceId(at), fields.map(|field| place(field.column)).collect())
            })
            .collect();
        self.layouts.insert(layout.id, watchers);
    }

    /// Is every row's layout known? Another process may have brought one since.
    pub fn knows(&self, rows: &[LogRow]) -> bool {
        rows.iter().all(|row| self.layouts.contains_key(&row.layout))
    }

    /// Makes a batch of the rows between a mark and the last of those after it: mark by mark, within each whole
    /// transactions in the order of their last number, each one's changes coalesced.
    pub fn read(&self, after: &Mark, marks: &[Mark], rows: Vec<LogRow>) -> Read {
        let position = marks.last().map_or(after.position, |mark| mark.position);
        let mut read = Read { batch: Batch { position, ..Batch::default() }, ..Read::default() };
        let expected = position.0 - after.position.0;
        if i64::try_from(rows.len()) != Ok(expected) {
            let reason = format!("{} rows instead of {expected} up to position {}", rows.len(), position.0);
            read.corrupt.extend(self.unknown.iter().map(|(id, _)| (*id, reason.clone())));
        }
        let mut transactions: BTreeMap<(usize, u64), Vec<LogRow>> = BTreeMap::new();
        for row in rows {
            // Who is seen once is seen from then on.
            let mark = marks.partition_point(|mark| !mark.snapshot.sees(row.xid));
            transactions.entry((mark, row.xid)).or_default().push(row);
        }
        let mut transactions: Vec<(usize, Vec<LogRow>)> =
            transactions.into_iter().map(|((mark, _), rows)| (mark, rows)).collect();
        for (_, rows) in &mut transactions {
            rows.sort_unstable_by_key(|row| row.seq);
        }
        transactions.sort_by_key(|(mark, rows)| (*mark, rows.last().map(|row| row.seq)));
        for (mark, rows) in transactions {
            let position = marks.get(mark).map_or(position, |mark| mark.position);
            let (mut changes, mut sightings) = (Vec::new(), Sightings::default());
            for row in &rows {
                self.decode(row, position, (&mut changes, &mut sightings), &mut read.corrupt);
            }
            read.batch.changes.extend(coalesce(changes, |resource, row| {
                row.value(self.tables[resource.0].descriptor().key).into_owned()
            }));
            read.batch.changes.extend(sightings.end());
        }
        for (resource, _) in &read.corrupt {
            if !read.batch.lost.contains(resource) {
                read.batch.lost.push(*resource);
            }
        }
        read
    }

    fn decode(
        &self,
        row: &LogRow,
        position: Position,
        (changes, sightings): (&mut Vec<Change>, &mut Sightings),
        corrupt: &mut Vec<(ResourceId, String)>,
    ) {
        let watchers = self.layouts.get(&row.layout).unwrap_or(&self.unknown);
        let mut fail =
            |id: &ResourceId, reason: String| corrupt.push((*id, format!("row {}: {reason}", row.seq)));
        let images = Images::of(row);
        for (id, places) in watchers {
            let table = &self.tables[id.0];
            let (images, places) = match (&images, places) {
                (Ok(images), Some(places)) => (images, places),
                (Err(reason), _) => {
                    fail(id, reason.clone());
                    continue;
                }
                (_, None) => {
                    fail(id, "its layout is not that of the resource".to_owned());
                    continue;
                }
            };
            let decode = |image: &Option<Image<'_>>| -> Result<Option<Row>> {
                image.as_ref().map(|image| table.decode(image, places)).transpose()
            };
            let mut tell = || -> Result<()> {
                let (entry, token) = (images.entry, images.token.clone());
                let rows = (decode(&images.before)?, decode(&images.after)?);
                match (entry, rows) {
                    (Entry::Again, _) => sightings.look_again(*id, token, position),
                    (Entry::Seen, (Some(row), _)) | (Entry::Found, (_, Some(row))) => {
                        let eyes = self.eyes.of(*id, table.descriptor());
                        sightings.see(eyes, entry, token, row, position);
                    }
                    (_, (before, after)) => {
                        let Some(row) = before.as_ref().or(after.as_ref()) else { return Ok(()) };
                        let key = row.value(table.descriptor().key).into_owned();
                        changes.push(Change { resource: *id, key, before, after, cursor: position });
                    }
                }
                Ok(())
            };
            if let Err(error) = tell() {
                fail(id, error.to_string());
            }
        }
    }
}

/// What a row of the log tells.
struct Images<'a> {
    entry: Entry,
    before: Option<Image<'a>>,
    after: Option<Image<'a>>,
    token: Option<Token>,
}

impl<'a> Images<'a> {
    fn of(row: &'a LogRow) -> std::result::Result<Self, String> {
        let parse = |image: &'a Option<Vec<u8>>| {
            image.as_deref().map(Image::parse).transpose().map_err(|error| error.to_string())
        };
        let entry = Entry::from_code(row.operation);
        // By what rows were looked for stands where the other image would.
        let (before, after, token) = match entry {
            Some(Entry::Seen) => (&row.before, &None, &row.after),
            Some(Entry::Again) => (&None, &None, &row.before),
            Some(Entry::Found) => (&None, &row.after, &row.before),
            _ => (&row.before, &row.after, &None),
        };
        let is_of =
            |before: bool, after: bool| (row.before.is_some(), row.after.is_some()) == (before, after);
        let (before, after) = (parse(before)?, parse(after)?);
        match entry {
            Some(entry @ Entry::Insert) if is_of(false, true) => Ok(entry),
            Some(entry @ Entry::Update) if is_of(true, true) => Ok(entry),
            Some(entry @ Entry::Delete) if is_of(true, false) => Ok(entry),
            Some(entry @ Entry::Seen) if before.is_some() => Ok(entry),
            Some(entry @ Entry::Found) if after.is_some() => Ok(entry),
            Some(entry @ Entry::Again) if row.after.is_none() => Ok(entry),
            None if row.operation == LOST && is_of(false, false) => Err(
                "rows of the table have changed that are not known: a transaction that could not see all of them \
                     has changed them, or the table does not log whole rows"
                    .to_owned(),
            ),
            _ => Err(format!("operation {} with these images", row.operation)),
        }
        .and_then(|entry| {
            let token = token.as_deref().map(token_of).transpose()?;
            Ok(Self { entry, before, after, token })
        })
    }
}

/// The place of a link in four bytes, and the value.
fn token_of(bytes: &[u8]) -> std::result::Result<Token, String> {
    let (link, value) = bytes.split_first_chunk().ok_or("the bytes are not what rows are looked for by")?;
    let link = usize::try_from(i32::from_be_bytes(*link)).map_err(|error| error.to_string())?;
    Ok(Token { link, value: value.to_vec() })
}
