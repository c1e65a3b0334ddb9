//! What clients that catch up at the same time share: parts of the change log that have been read, what subscriptions
//! are told of them, and pages of snapshots.
//!
//! When a server or a network comes back, all clients do, and most of them ask for the same. Each row of the log is then
//! read once, whoever asks for it and from where on; each subscription's events are written once for all who hold it;
//! and a page that has just been read serves everybody whose cursor is not beyond it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::{rt, web};
use realtime_core::action::Refusal;
use realtime_core::change::{Batch, Change, ResourceId};
use realtime_core::cursor::{Cursor, Position};
use realtime_core::group::{self, Event};
use realtime_core::resource::Row;
use realtime_core::snapshot::{Page, PageRequest};
use realtime_core::subscription::Subscription;
use realtime_core::{Descriptor, Value};
use tokio::sync::OnceCell;

use super::Missed;

/// How long something is kept after it was last of use.
const KEPT: Duration = Duration::from_secs(10);

/// Between two looks for what is no longer of use.
const LOOK: Duration = Duration::from_secs(2);

/// Bytes of rows that are kept, about, and of what is told of one part of them.
const MOST_BYTES: usize = 64 << 20;
const MOST_TOLD_BYTES: usize = 8 << 20;

/// Pages that are kept. Each has a bound of its own.
const MOST_PAGES: usize = 256;

/// The bytes that a row takes beside its texts, about.
const ROW_BYTES: usize = 256;

pub(super) struct Recall {
    /// Of the resources, in the order of their ids.
    descriptors: Vec<&'static Descriptor>,
    parts: tokio::sync::Mutex<Parts>,
    pages: Mutex<HashMap<PageKey, Arc<PageSlot>>>,
    is_swept: Mutex<bool>,
}

#[derive(Default)]
struct Parts {
    /// By the position before them. They do not overlap.
    by_start: BTreeMap<Position, Arc<Part>>,
    bytes: usize,
}

/// A part of the log: whole transactions.
struct Part {
    batch: Batch,
    bytes: usize,
    used: Mutex<Instant>,
    /// By the identity of the group.
    told: Mutex<HashMap<String, Arc<OnceCell<Told>>>>,
    told_bytes: AtomicUsize,
}

/// The events of a part for one subscription, each with its position.
type Told = Arc<Vec<(Position, Event)>>;

/// The identity of the group, the key that the page comes after, and how large it may be.
type PageKey = (String, Option<String>, usize, usize);

/// A page, and when it was read. Who finds it locked waits for it.
type PageSlot = tokio::sync::Mutex<Option<(Arc<Page>, Instant)>>;

impl Recall {
    pub(super) fn new(descriptors: Vec<&'static Descriptor>) -> Self {
        Self {
            descriptors,
            parts: tokio::sync::Mutex::default(),
            pages: Mutex::default(),
            is_swept: Mutex::default(),
        }
    }

    /// The next events that a subscription has missed. What of the log is not known is read: from a position to the one
    /// that `read` is given, or a part of it.
    pub(super) async fn missed<R>(
        self: &Arc<Self>,
        subscription: Arc<Subscription>,
        up_to: Option<Value<'static>>,
        (after, until): (Cursor, Cursor),
        read: impl FnOnce(Position) -> R,
    ) -> Result<Option<Missed>, Refusal>
    where
        R: Future<Output = Result<Option<Batch>, Refusal>>,
    {
        let Some(part) = self.part(after.position, until.position, read).await? else { return Ok(None) };
        let resource = subscription.resource();
        let Some(descriptor) = self.descriptors.get(resource.0).copied() else { return Ok(None) };
        if part.batch.lost.contains(&resource) {
            return Ok(None);
        }
        let cursor = Cursor { position: part.batch.position.min(until.position), ..until };
        let told = if up_to.is_none() && cursor.position == part.batch.position {
            part.told(subscription, descriptor, cursor).await?
        } else {
            let (part, from) = (Arc::clone(&part), after.position);
            let events = move || part.events(&subscription, descriptor, up_to.as_ref(), from, cursor);
            Arc::new(web::block(events).await.map_err(|error| Refusal::Fault(Box::new(error)))?)
        };
        // Of one transaction all positions are on the same side.
        let from = told.partition_point(|(position, _)| *position <= after.position);
        let events = told[from..].iter().map(|(_, event)| event.clone()).collect();
        Ok(Some(Missed { events, cursor }))
    }

    /// The next changes of a resource, and the position right after them; `None` where they can no longer be had.
    pub(super) async fn changes<R>(
        self: &Arc<Self>,
        resource: ResourceId,
        (after, until): (Position, Position),
        read: impl FnOnce(Position) -> R,
    ) -> Result<Option<(Vec<Change>, Position)>, Refusal>
    where
        R: Future<Output = Result<Option<Batch>, Refusal>>,
    {
        let Some(part) = self.part(after, until, read).await? else { return Ok(None) };
        if part.batch.lost.contains(&resource) || part.batch.position <= after {
            return Ok(None);
        }
        let to = part.batch.position.min(until);
        let is_wanted =
            |change: &&Change| change.resource == resource && change.cursor > after && change.cursor <= to;
        Ok(Some((part.batch.changes.iter().filter(is_wanted).cloned().collect(), to)))
    }

    async fn part<R>(
        self: &Arc<Self>,
        after: Position,
        until: Position,
        read: impl FnOnce(Position) -> R,
    ) -> Result<Option<Arc<Part>>, Refusal>
    where
        R: Future<Output = Result<Option<Batch>, Refusal>>,
    {
        // Kept locked while it is read: who asks meanwhile probably asks for the same.
        let mut parts = self.parts.lock().await;
        let known = parts.by_start.range(..=after).next_back().map(|(_, part)| part);
        if let Some(part) = known.filter(|part| part.batch.position > after) {
            *locked(&part.used) = Instant::now();
            return Ok(Some(Arc::clone(part)));
        }
        let next = parts.by_start.range(after..).next().map(|(start, _)| *start);
        let Some(batch) = read(next.map_or(until, |next| next.min(until))).await? else { return Ok(None) };
        let part = Arc::new(Part::new(batch, &self.descriptors));
        // What could not be read may be read the next time.
        if part.batch.position > after && part.batch.lost.is_empty() {
            parts.insert(after, Arc::clone(&part));
            drop(parts);
            self.sweep_later();
        }
        Ok(Some(part))
    }

    /// A page of a snapshot that is true at a position, or at a later one; at the present where none is given.
    pub(super) async fn page<R>(
        self: &Arc<Self>,
        request: PageRequest,
        not_before: Option<Position>,
        read: impl FnOnce(PageRequest) -> R,
    ) -> Result<Arc<Page>, Refusal>
    where
        R: Future<Output = Result<Page, Refusal>>,
    {
        let identity = request.subscription.group_identity().to_owned();
        let last = request.after.as_ref().map(|key| key.to_json().to_string());
        let slot = self.slot((identity, last, request.rows, request.bytes));
        let mut slot = slot.lock().await;
        if let (Some((page, read_at)), Some(not_before)) = (&*slot, not_before)
            && page.cursor.position >= not_before
            && read_at.elapsed() < KEPT
        {
            return Ok(Arc::clone(page));
        }
        let page = Arc::new(read(request).await?);
        *slot = Some((Arc::clone(&page), Instant::now()));
        drop(slot);
        self.sweep_later();
        Ok(page)
    }

    fn slot(&self, key: PageKey) -> Arc<PageSlot> {
        let mut pages = locked(&self.pages);
        if pages.len() >= MOST_PAGES && !pages.contains_key(&key) {
            // Those that are waited for are kept by whoever waits.
            pages.clear();
        }
        Arc::clone(pages.entry(key).or_default())
    }

    /// Forgets what is of no use any more, once some time has passed.
    fn sweep_later(self: &Arc<Self>) {
        if std::mem::replace(&mut *locked(&self.is_swept), true) {
            return;
        }
        let recall = Sweeping(Arc::clone(self));
        rt::spawn(async move {
            loop {
                rt::time::sleep(LOOK).await;
                if recall.0.sweep().await {
                    return;
                }
            }
        });
    }

    /// Forgets what has been of no use for some time. Is nothing left?
    async fn sweep(&self) -> bool {
        let mut parts = self.parts.lock().await;
        parts.by_start.retain(|_, part| locked(&part.used).elapsed() < KEPT);
        parts.bytes = parts.by_start.values().map(|part| part.bytes).sum();
        let mut pages = locked(&self.pages);
        pages.retain(|_, slot| match slot.try_lock() {
            Ok(slot) => slot.as_ref().is_some_and(|(_, read_at)| read_at.elapsed() < KEPT),
            // Somebody reads it.
            Err(_) => true,
        });
        parts.by_start.is_empty() && pages.is_empty()
    }
}

/// Says that nobody looks any more, also where the worker that looked has ended.
struct Sweeping(Arc<Recall>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        *locked(&self.0.is_swept) = false;
    }
}

impl Parts {
    fn insert(&mut self, after: Position, part: Arc<Part>) {
        self.bytes += part.bytes;
        self.by_start.insert(after, part);
        while self.bytes > MOST_BYTES {
            // The oldest go first: those who catch up are on their way to what is new.
            let Some((_, oldest)) = self.by_start.pop_first() else { break };
            self.bytes -= oldest.bytes;
        }
    }
}

impl Part {
    fn new(batch: Batch, descriptors: &[&Descriptor]) -> Self {
        let weigh = |change: &Change| {
            let descriptor = descriptors.get(change.resource.0);
            let rows = [&change.before, &change.after].into_iter().flatten();
            let weigh = |row: &Row| descriptor.map_or(0, |descriptor| descriptor.weight(row.as_ref()));
            rows.map(|row| ROW_BYTES + weigh(row)).sum::<usize>()
        };
        Self {
            bytes: batch.changes.iter().map(weigh).sum::<usize>(),
            batch,
            used: Mutex::new(Instant::now()),
            told: Mutex::default(),
            told_bytes: AtomicUsize::new(0),
        }
    }

    /// What everybody is told who holds the subscription and has missed the whole part.
    async fn told(
        self: &Arc<Self>,
        subscription: Arc<Subscription>,
        descriptor: &'static Descriptor,
        cursor: Cursor,
    ) -> Result<Told, Refusal> {
        let identity = subscription.group_identity().to_owned();
        let cell = if self.told_bytes.load(Ordering::Relaxed) < MOST_TOLD_BYTES {
            Arc::clone(locked(&self.told).entry(identity).or_default())
        } else {
            locked(&self.told).get(&identity).cloned().unwrap_or_default()
        };
        let write = || async {
            let part = Arc::clone(self);
            // A filter may take its time, and the worker has others to serve.
            let told =
                web::block(move || part.events(&subscription, descriptor, None, Position(0), cursor)).await;
            let told = told.map_err(|error| Refusal::Fault(Box::new(error)))?;
            let bytes: usize = told.iter().map(|(_, event)| event.text.len()).sum();
            self.told_bytes.fetch_add(bytes, Ordering::Relaxed);
            Ok(Arc::new(told))
        };
        cell.get_or_try_init(write).await.cloned()
    }

    fn events(
        &self,
        subscription: &Subscription,
        descriptor: &Descriptor,
        up_to: Option<&Value<'static>>,
        after: Position,
        cursor: Cursor,
    ) -> Vec<(Position, Event)> {
        let changes = self.batch.changes.iter();
        let changes = changes.filter(|change| change.cursor > after && change.cursor <= cursor.position);
        group::events(descriptor, subscription, changes, up_to, cursor)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use futures_util::future::join_all;
    use realtime_core::change::ResourceId;
    use realtime_core::cursor::Epoch;

    use super::*;

    const NEWEST: i64 = 10_000;

    /// Rows that a look at the log gives at once.
    const ENOUGH: i64 = 64;

    fn cursor(position: i64) -> Cursor {
        Cursor { epoch: Epoch(1), position: Position(position) }
    }

    /// The log, of which each row is a transaction. It notes what is read of it.
    async fn read(log: &RefCell<Vec<(i64, i64)>>, after: Position, until: Position) -> Batch {
        rt::task::yield_now().await;
        let end = until.0.min(after.0 + ENOUGH);
        log.borrow_mut().push((after.0, end));
        let change = |position: i64| Change {
            resource: ResourceId(0),
            key: Value::Int(position),
            before: None,
            after: None,
            cursor: Position(position),
        };
        let changes = (after.0 + 1..=end).map(change).collect();
        Batch { changes, position: Position(end), lost: Vec::new() }
    }

    /// Goes from a position to another one, and gives those of the changes that it meets.
    async fn follow(recall: &Arc<Recall>, log: &RefCell<Vec<(i64, i64)>>, from: i64, until: i64) -> Vec<i64> {
        let (mut at, until) = (Position(from), Position(until));
        let mut seen = Vec::new();
        while at < until {
            let read = async |until| Ok(Some(read(log, at, until).await));
            let part = recall.part(at, until, read).await.expect("no failure").expect("it is there");
            let end = part.batch.position.min(until);
            let missed =
                part.batch.changes.iter().filter(|change| change.cursor > at && change.cursor <= end);
            seen.extend(missed.map(|change| match change.key {
                Value::Int(key) => key,
                _ => unreachable!("keys are numbers"),
            }));
            at = end;
        }
        seen
    }

    #[actix_web::test]
    async fn no_row_of_the_log_is_read_twice_however_many_want_it_and_from_where_on() {
        let (recall, log) = (Arc::new(Recall::new(Vec::new())), RefCell::new(Vec::new()));
        let log = Rc::new(log);
        let starts = (0..300_i64).map(|client| (client * 7_919) % NEWEST);
        let followers = starts.clone().map(|start| {
            let (recall, log) = (Arc::clone(&recall), Rc::clone(&log));
            // Some came earlier, and go less far.
            let until = NEWEST - start % 100;
            async move { (start.min(until), until, follow(&recall, &log, start.min(until), until).await) }
        });
        for (start, until, seen) in join_all(followers).await {
            assert_eq!(seen, (start + 1..=until).collect::<Vec<_>>(), "from {start} to {until}");
        }
        let mut read = log.borrow().clone();
        read.sort_unstable();
        let rows: i64 = read.iter().map(|(after, end)| end - after).sum();
        assert!(read.windows(2).all(|pair| pair[0].1 <= pair[1].0), "some are read twice: {read:?}");
        assert!(rows <= NEWEST - starts.min().expect("some"), "{rows} rows were read");
    }

    #[actix_web::test]
    async fn what_is_kept_is_bounded() {
        let mut parts = Parts::default();
        for start in 0..100 {
            let mut part = Part::new(Batch { position: Position(start + 1), ..Batch::default() }, &[]);
            part.bytes = MOST_BYTES / 10;
            parts.insert(Position(start), Arc::new(part));
            assert!(parts.bytes <= MOST_BYTES);
        }
        let kept: Vec<i64> = parts.by_start.keys().map(|start| start.0).collect();
        assert_eq!(kept, (90..100).collect::<Vec<_>>());
    }

    #[actix_web::test]
    async fn what_cannot_be_read_is_not_kept() {
        let recall = Arc::new(Recall::new(Vec::new()));
        let reads = Cell::new(0);
        for _ in 0..2 {
            let read = async |until: Position| {
                reads.set(reads.get() + 1);
                Ok(Some(Batch { position: until, lost: vec![ResourceId(0)], ..Batch::default() }))
            };
            let part = recall.part(Position(0), cursor(10).position, read).await.expect("no failure");
            assert_eq!(part.expect("it is there").batch.lost, [ResourceId(0)]);
        }
        assert_eq!(reads.get(), 2);
    }
}
