//! A subscription on the way to being live: a snapshot is read page by page, what was missed is read from the log, and
//! the live events wait for it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use realtime_core::cursor::{Cursor, Position};
use realtime_core::group::Event;
use realtime_core::snapshot::{Page, PageRequest, Resync};
use realtime_core::transition::Transition;
use realtime_core::{Code, Error, Value};

use super::backlog::Run;
use super::follower::Follower;
use super::worker::Worker;
use crate::database::Missed;

/// Bytes of frames that are queued at once, at most, and what of the last one is more.
const PARCEL_BYTES: usize = 16 << 10;

/// No parcel and no page takes more than this part of the client's queue, so that there is room for replies beside it.
const PART_OF_QUEUE: usize = 4;

/// Times that a snapshot is begun anew because the log was pruned meanwhile. Then the client is too slow.
const TIMES_LOST: u32 = 4;

/// Times that an unavailable database is asked again, and how long after.
const TIMES_UNAVAILABLE: u32 = 5;
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(1);

/// One subscription that catches up.
pub(super) struct CatchUp {
    pub(super) worker: Rc<Worker>,
    pub(super) follower: Rc<Follower>,
    pub(super) run: Run,
}

/// What is to be done next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Send what the client sees otherwise than before, who has been told of that up to a position.
    Become { transition: Arc<Transition>, after: Cursor },
    /// Send what came after a position, and become live. Is that to be told as a lag?
    Follow { after: Cursor, lagged: bool },
    /// Send a snapshot that is true at a position or later ones, at the present where none is given. Is that to be told as
    /// a lag?
    Snapshot { not_before: Option<Position>, lagged: bool },
}

/// Why a step did not lead to the next one.
enum Stop {
    /// It is live, or nobody wants it any more, or the client is about to be closed.
    Over,
    /// The log does not hold what is needed to go on, from a position that the client has come to.
    Lost(Option<Position>),
    /// The database failed.
    Failed(Error),
}

impl CatchUp {
    pub(super) async fn run(self, first: Step) {
        let mut step = first;
        let mut lost = 0;
        loop {
            let done = match step {
                Step::Become { transition, after } => self.become_other(transition, after).await,
                Step::Follow { after, lagged } => self.follow(after, lagged).await,
                Step::Snapshot { not_before, lagged } => self.snapshot(not_before, lagged).await,
            };
            step = match done {
                Ok(next) => next,
                Err(Stop::Over) => return,
                Err(Stop::Lost(not_before)) if lost < TIMES_LOST => {
                    lost += 1;
                    Step::Snapshot { not_before, lagged: true }
                }
                Err(Stop::Lost(_)) => {
                    self.follower
                        .client
                        .cut_off("the changes are kept for less long than they take to be read");
                    return;
                }
                Err(Stop::Failed(error)) => {
                    if self.goes_on() {
                        self.follower.refuse(&self.worker, error);
                    }
                    return;
                }
            };
        }
    }

    /// Sends the difference as one batch, so that there is no cursor that is neither before nor after it. Where that is too
    /// much for one, it begins anew.
    async fn become_other(&self, transition: Arc<Transition>, after: Cursor) -> Result<Step, Stop> {
        let Self { worker, follower, .. } = self;
        let Ok(_turn) = follower.client.snapshots().acquire().await else { return Err(Stop::Over) };
        let (limits, database) = (worker.limits(), worker.database());
        let bytes = limits.snapshot_bytes.min(limits.outbox_bytes / PART_OF_QUEUE).max(1);
        let most = (limits.snapshot_rows.min(limits.outbox_frames / PART_OF_QUEUE).max(1), bytes);
        let told = match self.ask(|| database.transition(Arc::clone(&transition), after, most)).await {
            Ok(Some(told)) => told,
            Err(Stop::Over) => return Err(Stop::Over),
            // Also where the question was too much for the database. If it is worse, the snapshot finds out.
            Ok(None) | Err(_) => return Ok(Step::Snapshot { not_before: None, lagged: true }),
        };
        let (mut bytes, count) = (BytesMut::new(), told.events.len());
        for (event, left) in told.events.iter().zip((0..count).rev()) {
            let cursor = (left == 0).then_some(told.cursor);
            follower.client.append(&mut bytes, event.action.name(), cursor, &event.text);
        }
        if count > 0 {
            self.push(bytes.freeze(), count).await?;
        }
        Ok(Step::Follow { after: told.cursor, lagged: false })
    }

    /// Joins the group, sends what lies between, then what has come meanwhile.
    async fn follow(&self, after: Cursor, mut lagged: bool) -> Result<Step, Stop> {
        let Self { worker, follower, .. } = self;
        if lagged {
            follower.client.outbox.drained().await;
        }
        let mut at = after;
        loop {
            let Some(until) = worker.join(follower, self.run, at.position).await else {
                return Err(Stop::Over);
            };
            while at.position < until.position {
                let Some(part) = self.missed(None, at, until).await? else {
                    return self.cannot_follow(at, until);
                };
                self.tell_start(at, &mut lagged).await?;
                self.send(&part.events, Some(part.cursor)).await?;
                at = part.cursor;
            }
            self.tell_start(at, &mut lagged).await?;
            while let Some(parcel) = follower.client.backlog.next(follower.ticket) {
                at = parcel.cursor;
                self.push(parcel.bytes, parcel.frames).await?;
            }
            // Where too much has come meanwhile, the group has been left: the log is read on.
            if follower.group.get().is_some() {
                follower.client.end_backlog(follower.ticket);
                return Err(Stop::Over);
            }
        }
    }

    /// Tells once that the events go on from a position.
    async fn tell_start(&self, at: Cursor, lagged: &mut bool) -> Result<(), Stop> {
        self.follower.answer(&self.worker, at, true, false);
        if std::mem::take(lagged) {
            let mut bytes = BytesMut::new();
            self.follower.append_lagged(&self.worker, &mut bytes, Resync::Events, at, at);
            self.push(bytes.freeze(), 1).await?;
        }
        Ok(())
    }

    /// What was missed cannot be had.
    fn cannot_follow(&self, at: Cursor, until: Cursor) -> Result<Step, Stop> {
        let Self { worker, follower, .. } = self;
        if follower.unanswered.get().is_none() {
            worker.leave_group(follower);
            return Err(Stop::Lost(Some(at.position)));
        }
        // Nothing has been promised yet.
        worker.leave_group(follower);
        if follower.start.snapshot {
            follower.answer(worker, until, false, true);
            return Ok(Step::Snapshot { not_before: Some(until.position), lagged: follower.tells_gap() });
        }
        follower.answer(worker, until, false, false);
        Ok(Step::Follow { after: until, lagged: false })
    }

    /// Sends the rows, page by page. Before a page come the events of the rows sent so far, up to its position.
    async fn snapshot(&self, not_before: Option<Position>, mut lagged: bool) -> Result<Step, Stop> {
        let Self { worker, follower, .. } = self;
        let client = &follower.client;
        let limits = worker.limits();
        let Ok(_turn) = client.snapshots().acquire().await else { return Err(Stop::Over) };
        let mut request = PageRequest {
            subscription: Arc::clone(&follower.subscription),
            after: None,
            rows: limits.snapshot_rows.max(1),
            bytes: limits.snapshot_bytes.min(limits.outbox_bytes / PART_OF_QUEUE).max(1),
        };
        let mut at: Option<Cursor> = None;
        loop {
            client.outbox.room(request.bytes, 1).await;
            let page = self.page(&request, at.map_or(not_before, |at| Some(at.position))).await?;
            follower.answer(worker, page.cursor, false, true);
            if let (Some(mut from), Some(last)) = (at, &request.after) {
                while from.position < page.cursor.position {
                    let part =
                        self.missed(Some(last.clone()), from, page.cursor).await?.ok_or(Stop::Lost(None))?;
                    // A part of a snapshot is nothing to go on from.
                    self.send(&part.events, None).await?;
                    from = part.cursor;
                }
            }
            let mut bytes = BytesMut::with_capacity(page.text.len() + 64);
            let mut frames = 1;
            if std::mem::take(&mut lagged) {
                follower.append_lagged(
                    &self.worker,
                    &mut bytes,
                    Resync::Snapshot,
                    page.cursor,
                    Cursor::NOWHERE,
                );
                frames += 1;
            }
            client.append(&mut bytes, "snapshot", page.done.then_some(page.cursor), &page.text);
            self.push(bytes.freeze(), frames).await?;
            if page.done {
                return Ok(Step::Follow { after: page.cursor, lagged: false });
            }
            at = Some(page.cursor);
            request.after.clone_from(&page.last);
        }
    }

    /// A page that the log leads on from. One that somebody else has read may be from before what the log still has.
    async fn page(&self, request: &PageRequest, not_before: Option<Position>) -> Result<Arc<Page>, Stop> {
        let database = self.worker.database();
        let page = self.ask(|| database.snapshot_page(request.clone(), not_before)).await?;
        if not_before.is_none()
            || self.ask(|| database.reaches_back_to(page.cursor, || self.goes_on())).await?
        {
            return Ok(page);
        }
        self.ask(|| database.snapshot_page(request.clone(), None)).await
    }

    async fn missed(
        &self,
        up_to: Option<Value<'static>>,
        after: Cursor,
        until: Cursor,
    ) -> Result<Option<Missed>, Stop> {
        let database = self.worker.database();
        let subscription = &self.follower.subscription;
        self.ask(|| database.missed(Arc::clone(subscription), up_to.clone(), (after, until))).await
    }

    /// Asks the database, again where it is not available for a moment. An answer that nobody wants any more is none.
    async fn ask<T, F>(&self, question: impl Fn() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut times = 0;
        loop {
            if !self.goes_on() {
                return Err(Stop::Over);
            }
            let answer = question().await;
            if !self.goes_on() {
                return Err(Stop::Over);
            }
            match answer {
                Ok(answer) => return Ok(answer),
                // Who has asked for it is told; who is being told something waits.
                Err(error)
                    if error.code() == Code::Unavailable
                        && self.follower.unanswered.get().is_none()
                        && times < TIMES_UNAVAILABLE =>
                {
                    times += 1;
                    tokio::time::sleep(UNAVAILABLE_PAUSE).await;
                }
                Err(error) => return Err(Stop::Failed(error)),
            }
        }
    }

    /// Does the client still want it?
    fn goes_on(&self) -> bool {
        let client = &self.follower.client;
        !client.outbox.is_closed() && client.backlog.is_behind(self.follower.ticket, self.run)
    }

    /// Queues the events of whole transactions as the queue drains. `cursor` is what may be gone on from after them.
    async fn send(&self, events: &[Event], cursor: Option<Cursor>) -> Result<(), Stop> {
        let client = &self.follower.client;
        let limits = self.worker.limits();
        let most_bytes = PARCEL_BYTES.min(limits.outbox_bytes / PART_OF_QUEUE);
        let most_frames = (limits.outbox_frames / PART_OF_QUEUE).max(1);
        let mut events = events.iter().peekable();
        while events.peek().is_some() {
            let mut bytes = BytesMut::new();
            let mut frames = 0;
            while (frames == 0 || bytes.len() < most_bytes)
                && frames < most_frames
                && let Some(event) = events.next()
            {
                // A batch is gone on from only when it is whole.
                let cursor = cursor.filter(|_| events.peek().is_none());
                client.append(&mut bytes, event.action.name(), cursor, &event.text);
                frames += 1;
            }
            self.push(bytes.freeze(), frames).await?;
        }
        Ok(())
    }

    async fn push(&self, bytes: Bytes, frames: usize) -> Result<(), Stop> {
        let client = &self.follower.client;
        client.outbox.room(bytes.len(), frames).await;
        if !self.goes_on() {
            return Err(Stop::Over);
        }
        if client.outbox.push_events(bytes, frames).is_err() {
            client.cut_off("too slow");
            return Err(Stop::Over);
        }
        Ok(())
    }
}
