//! What the plugin `pgoutput` sends of rows, and the log's rows made of it.

use std::collections::BTreeMap;

use crate::log::Entry;
use crate::log::watch::{Watch, layout_id};

/// The table through which triggers tell what logical replication does not send, at its place among the other changes of
/// the transaction: the rows of a `TRUNCATE`, and those of database views.
pub(super) const TOLD: &str = "realtime_told";

/// The number in the column `operation` of a row that tells that rows of the table have changed, but not which.
pub(super) const LOST: i32 = 4;

/// The number that tells that nobody is to be told of what follows in the transaction.
pub(super) const SILENCE: i32 = -1;

/// The number that ends it.
pub(super) const WORD: i32 = -2;

/// A row that is to be written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// What its images are of.
    pub layout: i64,
    /// What happened to the row.
    pub operation: i32,
    /// Its image before.
    pub before: Option<Vec<u8>>,
    /// Its image after.
    pub after: Option<Vec<u8>>,
}

impl Captured {
    fn lost(layout: i64) -> Self {
        Self { layout, operation: LOST, before: None, after: None }
    }

    /// About how many bytes it holds.
    pub fn size(&self) -> usize {
        let length = |image: &Option<Vec<u8>>| image.as_ref().map_or(0, Vec::len);
        size_of::<Self>() + length(&self.before) + length(&self.after)
    }
}

/// Why no row can be made of a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is no message of version 1 of `pgoutput`.
    #[error("the bytes are no message of pgoutput")]
    Malformed,
    /// Passing over its rows would lose them for whoever watches the table.
    #[error(
        "the table {0:?} is published, which this service does not watch: another one with other resources has been \
         started, or the publication was changed; start this one anew"
    )]
    Unwatched(String),
}

use MessageError::Malformed;

type Parsed<T> = Result<T, MessageError>;

/// Makes rows of the log of messages. It remembers what the server has said of tables, so each stream needs its own.
#[derive(Debug)]
pub struct Capture {
    /// By schema and name.
    wanted: BTreeMap<(String, String), Wanted>,
    relations: BTreeMap<u32, Relation>,
    /// Is nobody to be told of what the transaction does just now?
    is_silent: bool,
}

#[derive(Clone, Debug)]
enum Wanted {
    Table { layout: i64, columns: Vec<&'static str> },
    Told,
}

/// A table as the server last described it.
#[derive(Debug)]
enum Relation {
    /// Nobody watches it: a partition of one that is, or what others have published.
    Other(String),
    /// Where each column of the layout is, and of which type; nothing where one of them is not there.
    Table { layout: i64, places: Option<Vec<(usize, u32)>> },
    /// Where the layout, the operation and the images are.
    Told([usize; 4]),
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell<'a> {
    Null,
    /// As in the row before: it is long and was not written anew.
    Unchanged,
    Binary(&'a [u8]),
    /// Its type has no binary form.
    Text,
}

impl Capture {
    /// Knows what is watched and in which schema each table is; the log's own tables are in `schema`.
    pub fn new<'a>(watch: &Watch, schema: &str, schema_of: impl Fn(&str) -> Option<&'a str>) -> Self {
        let tables = watch.tables.iter().filter_map(|(table, columns)| {
            let wanted = Wanted::Table { layout: layout_id(table, columns), columns: columns.clone() };
            Some(((schema_of(table)?.to_owned(), (*table).to_owned()), wanted))
        });
        let told = ((schema.to_owned(), TOLD.to_owned()), Wanted::Told);
        Self { wanted: tables.chain([told]).collect(), relations: BTreeMap::new(), is_silent: false }
    }

    /// A transaction begins.
    pub fn begin(&mut self) {
        self.is_silent = false;
    }

    /// A new stream begins: the server describes every table anew.
    pub fn restart(&mut self) {
        self.relations.clear();
        self.begin();
    }

    /// Reads a message. Nothing comes of those that tell of no row that is watched.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(&mut self, message: &[u8]) -> Parsed<Option<Captured>> {
        let row = self.row(message)?;
        match row.as_ref().map(|row| row.operation) {
            Some(SILENCE) => self.is_silent = true,
            Some(WORD) => self.is_silent = false,
            _ => return Ok(row.filter(|_| !self.is_silent)),
        }
        Ok(None)
    }

    fn row(&mut self, message: &[u8]) -> Parsed<Option<Captured>> {
        let mut bytes = Bytes(message);
        match bytes.byte()? {
            b'R' => {
                let (id, relation) = self.describe(&mut bytes)?;
                self.relations.insert(id, relation);
                Ok(None)
            }
            b'I' => {
                let relation = self.relation(&mut bytes)?;
                bytes.expect(b'N')?;
                let after = bytes.row()?;
                bytes.end()?;
                relation.insert(&after)
            }
            b'U' => {
                let relation = self.relation(&mut bytes)?;
                let (before, after) = match bytes.byte()? {
                    b'N' => (None, bytes.row()?),
                    kind @ (b'K' | b'O') => {
                        let before = bytes.row()?;
                        bytes.expect(b'N')?;
                        // Of a key alone the rest of the row is not known.
                        ((kind == b'O').then_some(before), bytes.row()?)
                    }
                    _ => return Err(Malformed),
                };
                bytes.end()?;
                Ok(relation.update(before.as_deref(), &after))
            }
            b'D' => {
                let relation = self.relation(&mut bytes)?;
                let is_whole = match bytes.byte()? {
                    b'O' => true,
                    b'K' => false,
                    _ => return Err(Malformed),
                };
                let before = bytes.row()?;
                bytes.end()?;
                Ok(relation.delete(is_whole.then_some(&before)))
            }
            // Begin, commit, origin, type and message say nothing of rows, and truncate not which.
            b'B' | b'C' | b'O' | b'Y' | b'M' | b'T' => Ok(None),
            _ => Err(Malformed),
        }
    }

    fn relation(&self, bytes: &mut Bytes<'_>) -> Parsed<&Relation> {
        match self.relations.get(&bytes.number()?).ok_or(Malformed)? {
            Relation::Other(table) => Err(MessageError::Unwatched(table.clone())),
            relation => Ok(relation),
        }
    }

    fn describe(&self, bytes: &mut Bytes<'_>) -> Parsed<(u32, Relation)> {
        let id = bytes.number()?;
        let name = (bytes.text()?.to_owned(), bytes.text()?.to_owned());
        bytes.byte()?;
        let count = bytes.short()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            bytes.byte()?;
            let column = bytes.text()?;
            let oid = bytes.number()?;
            bytes.number()?;
            columns.push((column, oid));
        }
        bytes.end()?;
        let place = |name: &str| {
            let at = columns.iter().position(|(column, _)| *column == name)?;
            Some((at, columns[at].1))
        };
        let relation = match self.wanted.get(&name) {
            None => Relation::Other(name.1),
            Some(Wanted::Table { layout, columns }) => Relation::Table {
                layout: *layout,
                places: columns.iter().map(|column| place(column)).collect(),
            },
            Some(Wanted::Told) => {
                let at = |name| place(name).map(|(at, _)| at).ok_or(Malformed);
                Relation::Told([at("layout")?, at("operation")?, at("before")?, at("after")?])
            }
        };
        Ok((id, relation))
    }
}

impl Relation {
    fn insert(&self, after: &[Cell<'_>]) -> Parsed<Option<Captured>> {
        match self {
            Self::Other(_) => Ok(None),
            Self::Table { layout, places } => {
                let image = places.as_ref().and_then(|places| image(places, after, None));
                Ok(Some(captured(*layout, Entry::Insert, None, image)))
            }
            Self::Told([layout, operation, before, after_image]) => {
                let cell = |at: usize| after.get(at).copied().ok_or(Malformed);
                let (Cell::Binary(layout), Cell::Binary(operation)) = (cell(*layout)?, cell(*operation)?)
                else {
                    return Err(Malformed);
                };
                let image = |at: usize| match cell(at)? {
                    Cell::Null => Ok(None),
                    Cell::Binary(image) => Ok(Some(image.to_vec())),
                    Cell::Unchanged | Cell::Text => Err(Malformed),
                };
                Ok(Some(Captured {
                    layout: i64::from_be_bytes(layout.try_into().map_err(|_| Malformed)?),
                    operation: i32::from_be_bytes(operation.try_into().map_err(|_| Malformed)?),
                    before: image(*before)?,
                    after: image(*after_image)?,
                }))
            }
        }
    }

    fn update(&self, before: Option<&[Cell<'_>]>, after: &[Cell<'_>]) -> Option<Captured> {
        let Self::Table { layout, places } = self else { return None };
        let images = places.as_ref().zip(before).and_then(|(places, before)| {
            Some((image(places, before, None)?, image(places, after, Some(before))?))
        });
        match images {
            // What changed is a column that no resource names.
            Some((before, after)) if before == after => None,
            Some((before, after)) => Some(captured(*layout, Entry::Update, Some(before), Some(after))),
            None => Some(Captured::lost(*layout)),
        }
    }

    fn delete(&self, before: Option<&Vec<Cell<'_>>>) -> Option<Captured> {
        let Self::Table { layout, places } = self else { return None };
        let image = places.as_ref().zip(before).and_then(|(places, before)| image(places, before, None));
        Some(captured(*layout, Entry::Delete, image, None))
    }
}

/// A row with its images; a lost one where there are none.
fn captured(layout: i64, entry: Entry, before: Option<Vec<u8>>, after: Option<Vec<u8>>) -> Captured {
    if before.is_none() && after.is_none() {
        return Captured::lost(layout);
    }
    Captured { layout, operation: entry.code(), before, after }
}

/// What `record_send` would write of the columns; nothing where one of them was not sent in binary form.
fn image(places: &[(usize, u32)], row: &[Cell<'_>], before: Option<&[Cell<'_>]>) -> Option<Vec<u8>> {
    let mut image = i32::try_from(places.len()).ok()?.to_be_bytes().to_vec();
    for (at, oid) in places {
        image.extend_from_slice(&oid.to_be_bytes());
        let cell = match row.get(*at)? {
            Cell::Unchanged => before?.get(*at)?,
            cell => cell,
        };
        match cell {
            Cell::Null => image.extend_from_slice(&(-1_i32).to_be_bytes()),
            Cell::Binary(bytes) => {
                image.extend_from_slice(&i32::try_from(bytes.len()).ok()?.to_be_bytes());
                image.extend_from_slice(bytes);
            }
            Cell::Unchanged | Cell::Text => return None,
        }
    }
    Some(image)
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Parsed<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn short(&mut self) -> Parsed<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn number(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.byte()? == byte { Ok(()) } else { Err(Malformed) }
    }

    fn end(&self) -> Parsed<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    /// Up to a zero byte.
    fn text(&mut self) -> Parsed<&'a str> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let text = self.take(length)?;
        self.byte()?;
        std::str::from_utf8(text).map_err(|_| Malformed)
    }

    fn row(&mut self) -> Parsed<Vec<Cell<'a>>> {
        let count = usize::from(self.short()?);
        // Each value has at least one byte, so the bytes bound what is reserved.
        let mut cells = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            let kind = self.byte()?;
            cells.push(match kind {
                b'n' => Cell::Null,
                b'u' => Cell::Unchanged,
                b'b' | b't' => {
                    let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
                    let bytes = self.take(length)?;
                    if kind == b'b' { Cell::Binary(bytes) } else { Cell::Text }
                }
                _ => return Err(Malformed),
            });
        }
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::image::Image;
    use super::*;

    fn capture() -> Capture {
        let watch = Watch { tables: BTreeMap::from([("notes", vec!["body", "id"])]), ..Watch::default() };
        Capture::new(&watch, "public", |_| Some("public"))
    }

    const LAYOUT: fn() -> i64 = || layout_id("notes", &["body", "id"]);

    /// The table `notes(id int, secret text, body text)`.
    const RELATION: &[u8] = b"R\0\0\0\x07public\0notes\0f\0\x03\
        \x01id\0\0\0\0\x17\xff\xff\xff\xff\x01secret\0\0\0\0\x19\xff\xff\xff\xff\x01body\0\0\0\0\x19\xff\xff\xff\xff";

    fn tuple(id: &[u8], secret: &[u8], body: &[u8]) -> Vec<u8> {
        [b"\0\x03", id, secret, body].concat()
    }

    fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        [&[kind, 0, 0, 0, 7], &*parts.concat()].concat()
    }

    const ONE: &[u8] = b"b\0\0\0\x04\0\0\0\x01";
    const HI: &[u8] = b"b\0\0\0\x02hi";
    const IMAGE: &[u8] = b"\0\0\0\x02\0\0\0\x19\0\0\0\x02hi\0\0\0\x17\0\0\0\x04\0\0\0\x01";

    #[test]
    fn images_are_what_record_send_writes_of_the_columns_that_are_watched() {
        let mut capture = capture();
        assert_eq!(capture.read(RELATION), Ok(None));
        let row = tuple(ONE, b"n", HI);
        let inserted = capture.read(&message(b'I', &[b"N", &row])).expect("a message").expect("a row");
        assert_eq!((inserted.layout, inserted.operation), (LAYOUT(), 1));
        assert_eq!(inserted.after.as_deref(), Some(IMAGE));
        let deleted = capture.read(&message(b'D', &[b"O", &row])).expect("a message").expect("a row");
        assert_eq!((deleted.operation, deleted.before.as_deref(), deleted.after), (3, Some(IMAGE), None));
    }

    #[test]
    fn what_is_done_in_silence_is_passed_over_until_there_is_a_word_or_another_transaction() {
        const TOLD_RELATION: &[u8] = b"R\0\0\0\x08public\0realtime_told\0f\0\x05\
            \x01id\0\0\0\0\x14\xff\xff\xff\xff\0layout\0\0\0\0\x14\xff\xff\xff\xff\0operation\0\0\0\0\x17\xff\xff\xff\xff\
            \0before\0\0\0\0\x11\xff\xff\xff\xff\0after\0\0\0\0\x11\xff\xff\xff\xff";
        let mut capture = capture();
        for relation in [RELATION, TOLD_RELATION] {
            assert_eq!(capture.read(relation), Ok(None));
        }
        let told = |operation: i32| {
            let numbers = [1_i64, 0].map(|number| [&b"b\0\0\0\x08"[..], &number.to_be_bytes()].concat());
            let operation = [&b"b\0\0\0\x04"[..], &operation.to_be_bytes()].concat();
            [&b"I\0\0\0\x08N\0\x05"[..], &numbers.concat(), &operation, b"nn"].concat()
        };
        let insert = message(b'I', &[b"N", &tuple(ONE, b"n", HI)]);
        for end in [true, false] {
            assert_eq!(capture.read(&told(SILENCE)), Ok(None));
            assert_eq!(capture.read(&insert), Ok(None));
            if end {
                assert_eq!(capture.read(&told(WORD)), Ok(None));
            } else {
                capture.begin();
            }
            assert!(matches!(capture.read(&insert), Ok(Some(_))));
        }
    }

    #[test]
    fn a_long_value_that_was_not_written_is_that_of_the_row_before() {
        let mut capture = capture();
        capture.read(RELATION).expect("a message");
        let (before, after) = (tuple(ONE, b"n", HI), tuple(b"b\0\0\0\x04\0\0\0\x02", b"n", b"u"));
        let update = capture.read(&message(b'U', &[b"O", &before, b"N", &after])).expect("a message");
        let after = update.expect("a row").after.expect("an image");
        assert_eq!(after[..after.len() - 1], IMAGE[..IMAGE.len() - 1]);
        // Nobody may see what changed here.
        let after = tuple(ONE, HI, b"u");
        assert_eq!(capture.read(&message(b'U', &[b"O", &before, b"N", &after])), Ok(None));
    }

    #[test]
    fn a_row_of_which_the_server_does_not_send_enough_is_told_as_lost() {
        let mut capture = capture();
        capture.read(RELATION).expect("a message");
        let (key, row) = (tuple(ONE, b"n", b"n"), tuple(ONE, b"n", HI));
        let lost = Ok(Some(Captured::lost(LAYOUT())));
        assert_eq!(capture.read(&message(b'U', &[b"N", &row])), lost);
        assert_eq!(capture.read(&message(b'U', &[b"K", &key, b"N", &row])), lost);
        assert_eq!(capture.read(&message(b'D', &[b"K", &key])), lost);
        assert_eq!(capture.read(&message(b'I', &[b"N", &tuple(ONE, b"n", b"t\0\0\0\x02hi")])), lost);
    }

    #[test]
    fn a_message_that_is_cut_or_has_more_is_refused() {
        let row = tuple(ONE, b"n", HI);
        for whole in [RELATION.to_vec(), message(b'U', &[b"O", &row, b"N", &row])] {
            for end in 0..whole.len() {
                let mut capture = capture();
                capture.read(RELATION).expect("a message");
                assert_eq!(capture.read(&whole[..end]), Err(Malformed), "{end}");
            }
            let mut capture = capture();
            capture.read(RELATION).expect("a message");
            assert_eq!(capture.read(&[&*whole, b"x"].concat()), Err(Malformed));
        }
        assert_eq!(capture().read(&message(b'I', &[b"N", &row])), Err(Malformed), "not described");
        let mut capture = capture();
        assert_eq!(capture.read(&[&RELATION[..12], b"m", &RELATION[13..]].concat()), Ok(None));
        let other = Err(MessageError::Unwatched("motes".to_owned()));
        assert_eq!(capture.read(&message(b'I', &[b"N", &row])), other);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_it_makes_are_images(
            kind in prop::sample::select(b"RIUDTBCOYMx".to_vec()),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
        ) {
            let mut capture = capture();
            let _ = capture.read(&[&[kind], &*bytes].concat());
            // One byte of a good description or message is another one.
            let mut relation = RELATION.to_vec();
            let row = tuple(ONE, b"n", HI);
            let mut update = message(b'U', &[b"O", &row, b"N", &tuple(ONE, HI, b"u")]);
            let place = at.index(relation.len());
            relation[place] = to;
            if capture.read(&relation).is_err() {
                capture.read(RELATION).expect("a message");
            }
            let place = at.index(update.len());
            update[place] = to;
            if let Ok(Some(row)) = capture.read(&update) {
                for image in [&row.before, &row.after].into_iter().flatten() {
                    prop_assert!(Image::parse(image).is_ok() || capture.relations.len() > 1 || relation != RELATION);
                }
            }
        }
    }
}
