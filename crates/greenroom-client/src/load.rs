//! `greenroom load`: a load test with many participants in one process.
//!
//! First the publishers join, then the subscribers, at a constant rate. When all have joined or failed, the load is held and
//! measured. Each participant is a task, and each of its connections has a socket.

use super::ClientError;
use super::process_stats::{self, ProcessSample};
use super::report::Report;
use super::stats::{ConnectionStats, State};
use super::virtual_participant::{self, LoadContext, ParticipantEvent, Role};
use crate::options::{LoadOptions, Now, OutputFormat};
use std::io::Write;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

/// Runs a load test against a stage until it is complete or `stop` completes. Prints the report to `out`, and a line per
/// second to `progress`.
pub async fn run(
    args: LoadOptions,
    now: Now,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn Write + Send),
    stop: impl Future<Output = ()>,
) -> Result<(), ClientError> {
    let server = args.server_pid.map(|pid| ProcessSample::of(Some(pid))).transpose().map_err(ClientError::Process)?;
    warn_of_open_file_limit(&args);
    let (leave, leaving) = watch::channel(false);
    let context = Arc::new(LoadContext::new(&args, now, leaving)?);
    let mut load = Load { context, args: &args, progress, participants: JoinSet::new(), report: Report::default() };
    load.report.publishers.0 = args.publishers;
    load.report.subscribers.0 = args.subscribers;
    let mut stop = std::pin::pin!(stop);
    let stopped = tokio::select! {
        () = load.hold(server) => false,
        () = &mut stop => {
            load.measure();
            true
        }
    };
    // Fails if no participant is left.
    let _ = leave.send(true);
    while load.participants.join_next().await.is_some() {}
    let report = load.report;
    let text = match args.output {
        OutputFormat::Json => format!("{}\n", report.to_json()),
        OutputFormat::Human => report.to_text(),
    };
    // A closed pipe is not an error.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match report.missing() {
        0 => Ok(()),
        // Stopped before all had joined.
        _ if stopped && report.failures.is_empty() => Ok(()),
        missing => Err(ClientError::Missing(missing, args.publishers + args.subscribers)),
    }
}

/// Warns if the load needs more sockets than the process may open.
fn warn_of_open_file_limit(args: &LoadOptions) {
    let [publishers, subscribers] = [args.publishers, args.subscribers].map(u64::from);
    let media = publishers + subscribers * if args.all { publishers } else { 1 };
    let events = if args.no_events { 0 } else { publishers + subscribers };
    // Plus requests in flight, standard streams, and a reserve.
    let needed = media + events + u64::from(args.ramp) + 64;
    if process_stats::max_open_files().is_some_and(|limit| limit < needed) {
        tracing::warn!(needed, "limit of open files too low for this load; raise ulimit -n");
    }
}

struct Load<'a> {
    context: Arc<LoadContext>,
    args: &'a LoadOptions,
    progress: &'a mut (dyn Write + Send),
    participants: JoinSet<()>,
    report: Report,
}

impl Load<'_> {
    /// Lets all participants join, and holds the load.
    async fn hold(&mut self, server: Option<ProcessSample>) {
        let publish = vec![Role::Publish; self.args.publishers as usize];
        let (ids, mut publisher_events) = self.join(publish, |report| &mut report.publishers.1).await;
        let role = |n: u32| match (self.args.all, ids.len()) {
            (_, 0) => Role::Subscribe(Vec::new()),
            (true, _) => Role::Subscribe(ids.clone()),
            (false, count) => Role::Subscribe(vec![ids[n as usize % count].clone()]),
        };
        let subscribe = (0..self.args.subscribers).map(role).collect();
        let (_, mut subscriber_events) = self.join(subscribe, |report| &mut report.subscribers.1).await;
        (self.report.sent.0, self.report.received.0) = self.stats();
        self.report.client = ProcessSample::of(None).ok().map(|now| (now, now));
        let server = server.and_then(|_| ProcessSample::of(self.args.server_pid).ok());
        self.report.server = server.map(|now| (now, now));
        let start = Instant::now();
        let end = start + Duration::from_secs(u64::from(self.args.duration));
        let mut tick = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = sleep_until(end) => break,
                Some(event) = publisher_events.recv() => self.count_failure(event),
                Some(event) = subscriber_events.recv() => self.count_failure(event),
                _ = tick.tick() => {
                    self.report.held = start.elapsed();
                    self.measure();
                    self.print_progress();
                }
            }
        }
        self.report.held = start.elapsed();
        self.measure();
    }

    /// Starts participants at the configured rate, until each has joined or failed. Returns the ids of those that have
    /// joined, and the channel of further events.
    async fn join(
        &mut self,
        roles: Vec<Role>,
        count: impl Fn(&mut Report) -> &mut u32,
    ) -> (Vec<String>, mpsc::UnboundedReceiver<ParticipantEvent>) {
        let (sender, mut events) = mpsc::unbounded_channel();
        let (mut started, mut finished, total) = (0, 0, roles.len());
        let mut roles = roles.into_iter();
        let mut ids = Vec::new();
        let mut ramp = interval(Duration::from_secs(1) / self.args.ramp);
        let mut tick = interval(Duration::from_secs(1));
        while finished < total {
            tokio::select! {
                _ = ramp.tick(), if started < total => {
                    if let Some(role) = roles.next() {
                        self.participants.spawn(virtual_participant::run(self.context.clone(), role, started, sender.clone()));
                    }
                    started += 1;
                }
                Some(event) = events.recv() => {
                    finished += usize::from(!matches!(event, ParticipantEvent::Interrupted(_)));
                    match event {
                        ParticipantEvent::Joined(id) => {
                            *count(&mut self.report) += 1;
                            ids.push(id);
                        }
                        other => self.count_failure(other),
                    }
                }
                _ = tick.tick() => self.print_progress(),
            }
        }
        (ids, events)
    }

    fn count_failure(&mut self, event: ParticipantEvent) {
        if let ParticipantEvent::Failed(code) | ParticipantEvent::Interrupted(code) = event {
            *self.report.failures.entry(code).or_default() += 1;
        }
    }

    /// The statistics of all publishing and of all subscribing connections.
    fn stats(&self) -> (Vec<ConnectionStats>, Vec<ConnectionStats>) {
        let all = |n: usize| {
            let receivers = self.context.stats_receivers[n].lock().unwrap_or_else(PoisonError::into_inner);
            receivers.iter().map(|stats| stats.borrow().clone()).collect()
        };
        (all(0), all(1))
    }

    /// Updates the end of the measurement.
    fn measure(&mut self) {
        (self.report.sent.1, self.report.received.1) = self.stats();
        for (samples, pid) in [(&mut self.report.client, None), (&mut self.report.server, self.args.server_pid)] {
            if let (Some(samples), Ok(now)) = (samples, ProcessSample::of(pid)) {
                samples.1 = now;
            }
        }
    }

    fn print_progress(&mut self) {
        let (sent, received) = self.stats();
        let connected = |all: &[ConnectionStats]| all.iter().filter(|now| now.state == State::Connected).count();
        let line = format!(
            "{} publishing, {} subscriptions, {} failures, {} key frames received\n",
            connected(&sent),
            connected(&received),
            self.report.failures.values().sum::<u32>(),
            received.iter().map(|now| now.received.key_frames).sum::<u64>(),
        );
        // A closed pipe is not an error.
        let _ = self.progress.write_all(line.as_bytes());
    }
}
