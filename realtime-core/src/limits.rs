//! Every bound in one place. What is over one is answered, never cut off in silence.

/// What becomes of a client that does not keep up with the events of its subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// It is told `lagged` once it has read what waits, and then what it has missed, or a snapshot where that can no
    /// longer be had.
    #[default]
    Resync,
    /// It is closed with 4408.
    Disconnect,
}

/// The limits of a mounted scope, with the defaults of the protocol.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one WebSocket frame and of one message of several frames. Over it: close 1009.
    pub message_bytes: usize,
    /// Bytes of a REST body. Over it: 413.
    pub body_bytes: usize,
    /// Connections of the whole server: sockets, event streams and polls that wait. Over it: 503.
    pub connections: usize,
    /// Connections of one user, wherever he is. Over it: 429.
    pub connections_per_user: usize,
    /// Connections from one address, of IPv6 from one /64. Over it: 429. Behind a proxy, name it with `trust_proxy`.
    pub connections_per_address: usize,
    /// Subscriptions of one connection, equal ones counted once. Over it: 400.
    pub subscriptions: usize,
    /// Requests of one connection that run at the same time. Over it the socket is not read.
    pub running_requests: usize,
    /// Requests of one connection for each second, on average. Over it: 429.
    pub requests_per_second: u32,
    /// Requests that a connection may send at once after a rest.
    pub request_burst: u32,
    /// Replies 429 in a row after which the connection is closed with 4429.
    pub throttled_in_a_row: u32,
    /// Predicates of one filter. Over it: 400.
    pub filter_predicates: usize,
    /// Values of one list in a filter. Over it: 400.
    pub filter_list: usize,
    /// Bytes of one pattern in a filter: the argument of `contains`, `startswith` and their like. Over it: 400.
    pub filter_pattern_bytes: usize,
    /// Regular expressions of one filter. Over it: 400.
    pub filter_regexes: usize,
    /// Bytes that a compiled regular expression may take, as an automaton that costs the same for each character of every
    /// text: less than 100 ns, and so does each other lookup on a text. Over it: 400.
    pub filter_regex_bytes: usize,
    /// Groups and classes of a regular expression that are nested in each other, 250 at most. Over it: 400.
    pub filter_regex_nesting: usize,
    /// Rows that are decided in memory for one list, where the database cannot decide its filter. Over it: 400.
    pub scanned_rows: usize,
    /// Rows of one page of a list. Over it: 400.
    pub page_rows: usize,
    /// Rows of a page that names no limit.
    pub default_page_rows: usize,
    /// Bytes that wait for one slow connection. Events over three quarters of it: see `lag`. Replies over it: close 4408.
    pub outbox_bytes: usize,
    /// Frames that wait for one slow connection, with the same consequences.
    pub outbox_frames: usize,
    /// What becomes of a client that does not keep up.
    pub lag: Lag,
    /// Rows of one page of a snapshot.
    pub snapshot_rows: usize,
    /// Bytes of one page of a snapshot, and what its last row is more.
    pub snapshot_bytes: usize,
    /// Milliseconds between two signs of life on a stream of Server-Sent Events.
    pub stream_heartbeat_ms: u64,
    /// Long polls that wait in the whole server. Over it: 503.
    pub waiting_polls: usize,
    /// Milliseconds between two pings; a peer silent for two of them is dropped.
    pub heartbeat_ms: u64,
    /// Milliseconds in which the application's authenticator has to say who somebody is. Over it: 503.
    pub identify_ms: u64,
    /// Milliseconds for which a socket or an event stream goes on though the authenticator, asked again, cannot say whether
    /// it may. Beyond it: close 1011.
    pub unchecked_ms: u64,
    /// Milliseconds over which the sockets of a server that drains are closed, so that not all clients come back at once.
    pub drain_ms: u64,
    /// Rows that the change log keeps. Older ones are removed, a few at a time.
    pub feed_rows: u32,
    /// Seconds for which the change log keeps its rows, to a minute or so. Older ones are removed, a few at a time.
    pub feed_seconds: u32,
    /// Seconds for which the answer to a create with an `Idempotency-Key` is kept.
    pub idempotency_seconds: u32,
    /// Answers to creates with an `Idempotency-Key` that are kept in all. The oldest are forgotten first.
    pub idempotency_answers: u32,
    /// Writes that wait for the database. Over it: 503.
    pub waiting_writes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1 << 20,
            body_bytes: 1 << 20,
            connections: 100_000,
            connections_per_user: 256,
            connections_per_address: 4_096,
            subscriptions: 128,
            running_requests: 16,
            requests_per_second: 1_000,
            request_burst: 2_000,
            throttled_in_a_row: 10_000,
            filter_predicates: 32,
            filter_list: 1_000,
            filter_pattern_bytes: 256,
            filter_regexes: 4,
            filter_regex_bytes: 64 << 10,
            filter_regex_nesting: 32,
            scanned_rows: 100_000,
            page_rows: 1_000,
            default_page_rows: 100,
            outbox_bytes: 4 << 20,
            outbox_frames: 4_096,
            lag: Lag::Resync,
            snapshot_rows: 500,
            snapshot_bytes: 128 << 10,
            stream_heartbeat_ms: 15_000,
            waiting_polls: 10_000,
            heartbeat_ms: 20_000,
            identify_ms: 10_000,
            unchecked_ms: 10 * 60 * 1_000,
            drain_ms: 10_000,
            feed_rows: 1_000_000,
            feed_seconds: 24 * 60 * 60,
            idempotency_seconds: 24 * 60 * 60,
            idempotency_answers: 100_000,
            waiting_writes: 4_096,
        }
    }
}

impl Limits {
    /// Without the limits on rates and connections, for load tests.
    #[must_use]
    pub fn without_rates(mut self) -> Self {
        self.requests_per_second = u32::MAX;
        self.request_burst = u32::MAX;
        self.connections = usize::MAX;
        self.connections_per_user = usize::MAX;
        self.connections_per_address = usize::MAX;
        self
    }
}
