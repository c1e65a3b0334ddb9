//! Long polling: a request that is answered when there is something to tell.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use chrono::Utc;
use realtime_core::cursor::Cursor;
use realtime_core::group::{Event, GroupId};
use realtime_core::subscription::{Asked, Subscription};
use realtime_core::{Code, Error};
use serde_json::Value as Json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::auth::{Identity, Since};
use crate::rest::{self, accept, problem};
use crate::scope::CurrentWorker;
use crate::socket::worker::Worker;

/// The options of a long poll, in its query string.
const OPTIONS: &[&str] = &["form", "fields", "actions", "since", "wait"];

/// Seconds that a poll waits where it does not say how long, and at most.
const DEFAULT_WAIT: u64 = 25;
const LONGEST_WAIT: u64 = 60;

/// `GET /{stream}/changes`.
pub(crate) async fn changes(request: HttpRequest, CurrentWorker(worker): CurrentWorker) -> HttpResponse {
    let mut wait = Duration::from_secs(DEFAULT_WAIT);
    let asked = rest::follow(&request, &worker, ("a long poll", accept::JSON), OPTIONS, |options| {
        if let Some(at) = options.iter().position(|(name, _)| name == "wait") {
            wait = parse_wait(&options.remove(at).1)?;
        }
        Ok(())
    })
    .await;
    let (asked, identity, _seat) = match asked {
        Ok(asked) => asked,
        Err(error) => return rest::not_followed(&request, &error),
    };
    match answer(&worker, asked, identity, wait).await {
        Ok(body) => HttpResponse::Ok()
            .content_type("application/json")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(body),
        Err(error) => problem::response(&error),
    }
}

fn parse_wait(json: &Json) -> Result<Duration, Error> {
    json.as_str()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|seconds| *seconds <= LONGEST_WAIT)
        .map(Duration::from_secs)
        .ok_or_else(|| Error::validation("wait", format!("A number from 0 to {LONGEST_WAIT} is required.")))
}

async fn answer(
    worker: &Rc<Worker>,
    asked: Asked,
    identity: Identity,
    wait: Duration,
) -> Result<Bytes, Error> {
    // Nobody waits longer than his session lasts, nor than he would be asked about anew.
    let left = identity.expires_at().map_or(wait, |end| (end - Utc::now()).to_std().unwrap_or_default());
    let deadline = Instant::now() + wait.min(left).min(worker.shared().recheck_interval());
    let descriptor = worker.surface().descriptors[asked.subscription.resource().0];
    let Asked { subscription, start, .. } = asked.with_named_row_groups(descriptor)?;
    let ended = || Error::new(Code::Unavailable, "The server is shutting down.").retry_after(1.0);
    if worker.is_draining() {
        return Err(ended());
    }
    let Some(since) = start.since else {
        let cursor = worker.position().await.ok_or_else(ended)?;
        return Ok(body(&subscription, &[], cursor));
    };
    let _slot = worker.shared().take_poll_slot().ok_or_else(|| {
        Error::new(Code::Unavailable, "Too many polls are waiting (limit waiting_polls).").retry_after(1.0)
    })?;
    let database = worker.database();
    if !worker.shared().can_go_on(&identity, since, || true).await? {
        return Err(gone());
    }
    // Joining first: what is committed while the log is read wakes the poll.
    let (waiting, mut woken) = Membership::new(worker, Arc::clone(&subscription), identity);
    let until = waiting.join(since).await.ok_or_else(ended)?;
    // Before the poll was a member it could not be woken by that.
    let since_asked = || worker.shared().since_asked(waiting.poll.identity());
    let mut at = since;
    while at.position < until.position {
        let part = database.missed(Arc::clone(&subscription), None, (at, until)).await?.ok_or_else(gone)?;
        if since_asked() != Since::Nothing {
            break;
        }
        if !part.events.is_empty() {
            return Ok(body(&subscription, &part.events, part.cursor));
        }
        at = part.cursor;
    }
    match since_asked() {
        Since::Nothing => {}
        Since::Changed => return changed(worker, &waiting.poll, at).await,
        Since::Ended => return Ok(body(&subscription, &[], at)),
    }
    let what = match tokio::time::timeout_at(deadline, &mut woken).await {
        Ok(what) => what.ok(),
        Err(_) => {
            // What is told before the position is known has come in time.
            at = worker.position().await.ok_or_else(ended)?;
            woken.try_recv().ok()
        }
    };
    match what {
        Some(Woken::Events(body)) => Ok(body),
        Some(Woken::Lost) => Err(gone()),
        Some(Woken::Changed) => changed(worker, &waiting.poll, at).await,
        Some(Woken::Ended) | None => Ok(body(&subscription, &[], at)),
    }
}

/// Something about the caller has changed. Where he sees other rows or fields now, what comes after the cursor is not all
/// that he has missed.
async fn changed(worker: &Worker, poll: &WaitingPoll, at: Cursor) -> Result<Bytes, Error> {
    let subscription = &poll.subscription;
    let descriptor = worker.surface().descriptors[subscription.resource().0];
    match worker.shared().recheck(&poll.identity).await {
        Ok(now) if !subscription.is_seen_alike(descriptor, now.principal()) => Err(gone()),
        // Whether he may still be here he is told when he asks again.
        _ => Ok(body(subscription, &[], at)),
    }
}

fn gone() -> Error {
    Error::new(
        Code::Gone,
        "What came after this cursor can no longer be told; read a list and go on from its feed.",
    )
}

/// The answer to a poll. A poll is about one subscription, so its events do not name it.
pub(crate) fn body(subscription: &Subscription, events: &[Event], cursor: Cursor) -> Bytes {
    let mut out = String::with_capacity(64 + events.iter().map(|event| event.text.len()).sum::<usize>());
    out.push_str(r#"{"events":["#);
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&event.without_subscription(subscription));
    }
    out.push_str(&format!(r#"],"cursor":"{cursor}"}}"#));
    Bytes::from(out)
}

/// What ends the wait of a poll.
pub(crate) enum Woken {
    /// The answer.
    Events(Bytes),
    /// A change that it should have been told of cannot be read.
    Lost,
    /// The server is about to end, or the caller may no longer be here: he is to ask again.
    Ended,
    /// The caller may see other rows or fields now.
    Changed,
}

/// A member of a group that is told one thing only.
pub(crate) struct WaitingPoll {
    member: u64,
    subscription: Arc<Subscription>,
    identity: Identity,
    wakes: RefCell<Option<oneshot::Sender<Woken>>>,
    group: Cell<Option<GroupId>>,
    left: Cell<bool>,
}

impl WaitingPoll {
    /// Names it among the members of groups on its worker.
    pub(crate) fn member(&self) -> u64 {
        self.member
    }

    pub(crate) fn subscription(&self) -> &Arc<Subscription> {
        &self.subscription
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// It is a member of the group from now on. `false` where it has left already.
    pub(crate) fn joined(&self, group: GroupId) -> bool {
        if !self.left.get() {
            self.group.set(Some(group));
        }
        !self.left.get()
    }

    /// Ends the wait, if nothing has ended it before.
    pub(crate) fn wake(&self, what: impl FnOnce() -> Woken) {
        if let Some(wakes) = self.wakes.borrow_mut().take() {
            // Where the client has left, nobody listens.
            let _ = wakes.send(what());
        }
    }
}

/// Leaves the group when the request is over, however it ends.
struct Membership {
    worker: Rc<Worker>,
    poll: Rc<WaitingPoll>,
}

impl Membership {
    fn new(
        worker: &Rc<Worker>,
        subscription: Arc<Subscription>,
        identity: Identity,
    ) -> (Self, oneshot::Receiver<Woken>) {
        let (wakes, woken) = oneshot::channel();
        let poll = WaitingPoll {
            member: worker.issue(),
            subscription,
            identity,
            wakes: RefCell::new(Some(wakes)),
            group: Cell::new(None),
            left: Cell::new(false),
        };
        (Self { worker: Rc::clone(worker), poll: Rc::new(poll) }, woken)
    }

    async fn join(&self, since: Cursor) -> Option<Cursor> {
        self.worker.join_poll(&self.poll, since.position).await
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.poll.left.set(true);
        if let Some(group) = self.poll.group.take() {
            self.worker.leave_poll(&self.poll, group);
        }
    }
}
