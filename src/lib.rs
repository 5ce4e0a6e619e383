//! # greenroom: the architecture page
//!
//! A self-hosted service that answers the Amazon IVS Real-Time API (2020-07-14) as AWS would.
//!
//! ```text
//!                       ┌─► signaling ─► connections ─► greenroom-media
//!                       │       └─────┐       │
//! connection ─► http ─► routes ─► api ─► app ─┴─► domain (rules)
//!                                         ├─────► store (SQL) ─► SQLite or PostgreSQL
//!                                         └─────► token, secret, clock, ids
//! ```
//!
//! ## Rooms
//!
//! | room | what is in it |
//! |---|---|
//! | [`model`] | the AWS vocabulary: shapes with their constraints, faults, ARNs, places in lists. No I/O |
//! | [`domain`] | the rules, sans-IO: state, input and time in; new state and events out |
//! | [`store`] | the only place that knows SQL; one text for two engines |
//! | [`app`] | one async function per operation; the only place where the others meet |
//! | [`api`] | the AWS API: the table of operations, SigV4, authorization, restJson1, OpenAPI; the event stream and the endpoints of the server's own |
//! | [`signaling`] | the endpoints of participants: events WebSocket, WHIP, subscribing |
//! | [`console`] | web pages: the demo page |
//! | [`connections`] | the connections of participants to this node: media transports, events WebSockets, heartbeats |
//! | [`greenroom_media`] | media: a sans-IO engine that forwards them, and the thread that feeds it |
//! | [`events`] | events out: the outbox put in order, and delivered to the targets of a file |
//! | [`http`] | the shared HTTP layer: connections, TLS, trusted proxies, limits, request log, panic guard; the HTTP client. Imports [`metrics`] (it counts requests) and [`ids`] (it gives each an id) |
//! | [`config`] | the settings of a server |
//! | [`greenroom_client`] | the client: participants with real media, one or many, for users and tests |
//! | [`cli`] | the command line: flags, configuration file, one module per command, completions and man pages |
//! | [`backup`] | a store as one file: written, read, encrypted for the way |
//! | [`server`] | a server from start to end, and the routing decision |
//! | [`token`] | participant tokens and the keys that sign them |
//! | [`secret`] | the master key: sealed secrets, stamped page tokens |
//! | [`clock`], [`ids`] | time, names and randomness, injected |
//! | [`metrics`] | what is counted, for Prometheus; knows nothing of ours |
//! | [`telemetry`] | logs and traces |
//!
//! The same resource has the same file name in every room: `model/stage.rs`, `domain/stage.rs`, `store/stages.rs`,
//! `app/stages.rs`. Who may import whom is held by a test, `tests/rooms.rs`.
//!
//! ## One request path
//!
//! `HttpServer` accepts a connection within the limits of the node and of its client; `connection` does TLS, HTTP/1.1 or
//! HTTP/2 and the timeouts. [`http::HttpService`] asks `server::routes` once where a request goes (an operation, an
//! endpoint of participants, or a page or endpoint of the server's own) and runs the handler of that [`http::Route`] inside
//! the layers: request context (id, log line, metrics, span), exchange (pending responses, in-flight requests), panic
//! guard. Rooms never see a connection; they see the extensions that it attaches (client address, permit, exchange).
//! The layers render no error themselves: a route says how.
//!
//! ## One operation, once
//!
//! An operation is a row in [`api::operations`], an input and an output in [`model`], and a function in [`app`]. The row
//! feeds the router, the OpenAPI document, the log and the comparison with the AWS model.
//!
//! Each shape is declared once too (see [`model::shape`]); the declaration is the Rust type, the parser, the schema in
//! the OpenAPI document and what the tests compare. A request that has been decoded is valid by type; rules that join
//! several members are in [`domain`].
//!
//! ## Concurrency
//!
//! It is settled by the database: a unique partial index keeps one open session per stage; whoever changes what hangs on
//! a stage holds the stage's row; quotas are counted under a lock row; a participant is written by compare-and-set on
//! its number of events. An operation that lost a race is run again from its beginning, be it told so by a statement or by
//! the commit; a commit whose outcome is not known is never run again.
//!
//! Work that is due has a time in its row, and every node sweeps for it. Whoever does it holds the stage's row and looks
//! again, so that of several nodes one does it and the others find it done.
//!
//! On SQLite, a statement runs on the thread that calls it, as that takes less time than to hand it to another. One
//! connection writes; requests take turns in the order of asking, and each has a transaction of its own.
//! On PostgreSQL, connections are kept in a pool (deadpool) that does not ping one that comes back.
//!
//! Nodes notify each other of changes ([`app::change_notifications`]), and poll as well. While PostgreSQL is unreachable
//! ([`store::Db::watch`]), requests fail at once, and no node fences another one ([`app::leases`]).
//!
//! ## The state of a stage
//!
//! A connection of a participant is a row ([`app::connections`]), and the participant is in the session while it has
//! one. What happens in a stage is a command. [`domain::stage_state`] decides one command as a pure step: the state that
//! it reads goes in; changes, events and follow-up commands come out. [`app::stage_state::run`] is the loop around it: it
//! loads the state, takes the step, and writes the changes, the participants' events, the stage's revision
//! ([`app::views`]) and the outbox rows together. Follow-up commands run depth first, in the same transaction.
//!
//! A command to a participant, from the request to the commit: a request of [`api`] or [`signaling`] calls a function of
//! [`app`], which begins a transaction, locks the stage ([`app::OperationContext::lock_stage`], which applies what is due
//! in it), checks what the request may do, runs the commands, and commits; the commit notifies the nodes that hold
//! connections to the stage.
//!
//! A node drops the connections that it holds and the rows do not have. The media of a stage are on one node while a
//! participant publishes to it; that is a row as well.
//!
//! Nodes renew leases ([`app::nodes`]); any other node ends what a dead one held. No timer ends a session: its row has
//! the time at which it is due, which every transaction that locks the stage looks at first, and each node sweeps once a
//! second for stages that nobody locks. A composition has such a time as well, for the next event of its course, and its
//! progress; the transaction that emits the event locks the composition and sets both.
//!
//! ## Events
//!
//! Events ([`domain::event`]) are written to the outbox in the transaction of the change (transactional outbox). A row of
//! the stage numbers them, and is locked until the commit, so that numbers are in the order of commits. Any node moves the
//! outbox to the event log ([`app::outbox::relay`]), one at a time: positions have no gaps and become visible in order, so
//! that a reader's progress is one number ([`app::event_log`]). The log is trimmed by age.
//!
//! Every target has such a position; the node that owns its lease delivers to it ([`app::deliveries`]). An event that a
//! target refuses is parked, with the events behind it of its stage, or the target as a whole is down and is probed: which
//! of the two, and what is sent next, is decided without I/O ([`events`]).
//!
//! ## Departures from the first design
//!
//! - `model` imports [`clock::Timestamp`], as times are part of the vocabulary.
//! - [`store`] has one type, [`store::Conn`], with every statement as a method, rather than statements on the pool: the
//!   same function serves a lone read and a transaction. It names two types of `domain` that it stores as JSON.
//! - `config` owns the types of what can be set ([`config::Quotas`], [`config::Url`]); `store`, `app`, `api` and
//!   `server` read them.
//! - `sqlx` is for PostgreSQL only; SQLite has `rusqlite`, which runs a statement on the thread that calls it.
//!   With the former's thread behind each connection, going there and back was most of what a read took: with one
//!   client it cost 6 calls of `futex` for each GetStage, with 32 clients 15 for each CreateStage; there are 0 and 2 now.
//! - A composition's state is computed from its history when it is read ([`domain::composition`]), so that it is right
//!   however late anybody looks; what can no longer be computed later is written down when it happens. Only what is told
//!   of it waits for a sweep, and bears the time at which it was due.

#![warn(clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod app;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connections;
pub mod console;
pub mod domain;
pub mod events;
pub mod http;
pub mod ids;
pub mod metrics;
pub mod model;
pub mod secret;
pub mod server;
pub mod signaling;
pub mod store;
pub mod telemetry;
pub mod token;
