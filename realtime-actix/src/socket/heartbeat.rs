//! When a peer is pinged, and since when it has been silent. Times are milliseconds of one
//! clock.

/// Intervals of silence after which a peer is given up.
const SILENT_INTERVALS: u64 = 2;

/// The signs of life of one connection.
#[derive(Debug)]
pub(super) struct Heartbeat {
    heard: u64,
    pinged: u64,
    outbox: Progress,
}

/// How often something was taken from a queue, and whether something waits in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) taken: u64,
    pub(super) waits: bool,
}

/// What is to be done at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Ping,
    Wait,
    /// The peer has been silent for two intervals.
    Over,
}

impl Heartbeat {
    pub(super) fn new(now: u64) -> Self {
        Self { heard: now, pinged: now, outbox: Progress::default() }
    }

    /// Something has come from the peer.
    pub(super) fn heard(&mut self, now: u64) {
        self.heard = now;
    }

    /// Looks whether the peer lives that is to be pinged at an interval. A peer that is not read cannot be heard.
    pub(super) fn look(&mut self, now: u64, interval: u64, outbox: Progress, is_read: bool) -> Beat {
        // What waits for a slow client, in its kernel too, may hold its pongs back for long.
        let reads_on = self.outbox.waits && outbox.taken > self.outbox.taken;
        self.outbox = outbox;
        if reads_on || !is_read {
            self.heard = now;
        }
        if now >= self.silent_at(interval) {
            Beat::Over
        } else if now >= self.pinged.saturating_add(interval) {
            self.pinged = now;
            Beat::Ping
        } else {
            Beat::Wait
        }
    }

    /// When to look again.
    pub(super) fn next_look(&self, interval: u64) -> u64 {
        self.silent_at(interval).min(self.pinged.saturating_add(interval))
    }

    fn silent_at(&self, interval: u64) -> u64 {
        self.heard.saturating_add(interval.saturating_mul(SILENT_INTERVALS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 20_000;
    const IDLE: Progress = Progress { taken: 0, waits: false };

    /// Looks whenever it is time, up to a moment or the end, and gives what was done when.
    fn run(beats: &mut Heartbeat, until: u64, outbox: impl Fn(u64) -> Progress) -> Vec<(u64, Beat)> {
        let mut seen = Vec::new();
        loop {
            let now = beats.next_look(INTERVAL);
            if now > until {
                return seen;
            }
            let beat = beats.look(now, INTERVAL, outbox(now), true);
            seen.push((now, beat));
            if beat == Beat::Over {
                return seen;
            }
        }
    }

    #[test]
    fn a_peer_is_over_two_intervals_after_its_last_sign_whenever_that_was() {
        for last in [0, 1, 19_999, 20_000, 20_001, 39_999, 40_000, 123_456] {
            let mut beats = Heartbeat::new(0);
            // It answers every ping up to its last sign.
            while beats.next_look(INTERVAL) <= last {
                let now = beats.next_look(INTERVAL);
                assert_eq!(beats.look(now, INTERVAL, IDLE, true), Beat::Ping);
                beats.heard(now);
            }
            beats.heard(last);
            let seen = run(&mut beats, u64::MAX / 2, |_| IDLE);
            let (end, pings) = seen.split_last().expect("it ends");
            assert_eq!(*end, (last + 2 * INTERVAL, Beat::Over));
            assert!(!pings.is_empty() && pings.iter().all(|(_, beat)| *beat == Beat::Ping), "{pings:?}");
        }
    }

    #[test]
    fn a_peer_that_answers_costs_one_look_for_each_ping() {
        let mut beats = Heartbeat::new(0);
        for ping in 1..=100 {
            let now = beats.next_look(INTERVAL);
            assert_eq!((now, beats.look(now, INTERVAL, IDLE, true)), (ping * INTERVAL, Beat::Ping));
            beats.heard(now + 3);
        }
    }

    #[test]
    fn a_peer_that_takes_what_waits_is_not_silent_and_one_that_takes_nothing_is() {
        let reading = |now| Progress { taken: now / 1_000, waits: true };
        let mut beats = Heartbeat::new(0);
        assert!(run(&mut beats, 50 * INTERVAL, reading).iter().all(|(_, beat)| *beat != Beat::Over));
        let stuck = |_| Progress { taken: 7, waits: true };
        let mut beats = Heartbeat::new(0);
        assert_eq!(run(&mut beats, 50 * INTERVAL, stuck).last(), Some(&(2 * INTERVAL, Beat::Over)));
    }

    #[test]
    fn a_peer_that_is_not_read_is_not_silent() {
        let mut beats = Heartbeat::new(0);
        for at in 1..=10 {
            assert_eq!(beats.look(at * INTERVAL, INTERVAL, IDLE, false), Beat::Ping);
        }
        assert_eq!(run(&mut beats, u64::MAX / 2, |_| IDLE).last(), Some(&(12 * INTERVAL, Beat::Over)));
    }
}
