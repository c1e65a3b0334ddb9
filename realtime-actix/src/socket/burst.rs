//! What one group's members are told at once: encoded once for each transport, and shared.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use realtime_core::cursor::Cursor;
use realtime_core::group::{Delivery, GroupId};
use realtime_core::subscription::Subscription;

use crate::{poll, sse};

/// The events of one batch for one group, and their frames end to end.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    pub(super) delivery: Arc<Delivery>,
    pub(super) bytes: Bytes,
}

/// One or more batches for one group, in order. Never none.
pub(super) struct Burst {
    first: Frames,
    others: Vec<Frames>,
    /// The number of events.
    count: usize,
    socket: OnceCell<Bytes>,
    event_stream: OnceCell<Bytes>,
    poll: OnceCell<Bytes>,
}

impl Burst {
    pub(super) fn new(first: Frames) -> Self {
        Self {
            count: first.delivery.events.len(),
            first,
            others: Vec::new(),
            socket: OnceCell::new(),
            event_stream: OnceCell::new(),
            poll: OnceCell::new(),
        }
    }

    pub(super) fn push(&mut self, frames: Frames) {
        self.count += frames.delivery.events.len();
        self.others.push(frames);
    }

    fn frames(&self) -> impl Iterator<Item = &Frames> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(super) fn group(&self) -> GroupId {
        self.first.delivery.group
    }

    /// The number of events.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The position before the first event.
    pub(super) fn before(&self) -> Cursor {
        self.first.delivery.before
    }

    /// The position right after the last event.
    pub(super) fn cursor(&self) -> Cursor {
        self.others.last().unwrap_or(&self.first).delivery.cursor
    }

    /// For sockets: every member then takes one chunk instead of many.
    pub(super) fn socket(&self) -> Bytes {
        let join = || {
            if self.others.is_empty() {
                return self.first.bytes.clone();
            }
            let mut all = BytesMut::with_capacity(self.frames().map(|frames| frames.bytes.len()).sum());
            for frames in self.frames() {
                all.extend_from_slice(&frames.bytes);
            }
            all.freeze()
        };
        self.socket.get_or_init(join).clone()
    }

    /// For event streams.
    pub(super) fn event_stream(&self) -> Bytes {
        let encode = || {
            let mut bytes = BytesMut::new();
            for Frames { delivery, .. } in self.frames() {
                sse::append_batch(&mut bytes, &delivery.events, delivery.cursor);
            }
            bytes.freeze()
        };
        self.event_stream.get_or_init(encode).clone()
    }

    /// For long polls, which are answered with the first batch and ask again for what comes after it.
    pub(super) fn poll(&self, subscription: &Subscription) -> Bytes {
        let Frames { delivery, .. } = &self.first;
        self.poll.get_or_init(|| poll::body(subscription, &delivery.events, delivery.cursor)).clone()
    }
}
