//! `greenroom load`: many participants from one process.
//!
//! Publishers join first, then subscribers, so many a second. When all have joined or failed, the load is held, and
//! what happens meanwhile is measured. Each participant is a task, and each of its connections has a socket.

use super::ClientError;
use super::figures::{Figures, State};
use super::member::{Crowd, Notice, Role, member};
use super::process::{self, Sample};
use super::report::Report;
use crate::options::{LoadOptions, Now, OutputFormat};
use std::io::Write;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

/// Puts a load on a stage, and prints a report to `out`; progress goes to `progress`.
pub async fn run(
    args: LoadOptions,
    now: Now,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn Write + Send),
    stop: impl Future<Output = ()>,
) -> Result<(), ClientError> {
    let server = args.server_pid.map(|pid| Sample::of(Some(pid))).transpose().map_err(ClientError::Process)?;
    warn_of_sockets(&args);
    let (leave, leaving) = watch::channel(false);
    let crowd = Arc::new(Crowd::new(&args, now, leaving)?);
    let mut load = Load { crowd, args: &args, progress, members: JoinSet::new(), report: Report::default() };
    load.report.publishers.0 = args.publishers;
    load.report.subscribers.0 = args.subscribers;
    let mut stop = std::pin::pin!(stop);
    let stopped = tokio::select! {
        () = load.hold(server) => false,
        () = &mut stop => {
            load.measured();
            true
        }
    };
    // Nobody listens if nobody has joined.
    let _ = leave.send(true);
    while load.members.join_next().await.is_some() {}
    let report = load.report;
    let text = match args.output {
        OutputFormat::Json => format!("{}\n", report.to_json()),
        OutputFormat::Human => report.to_text(),
    };
    // A reader that has gone away is no failure.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match report.missing() {
        0 => Ok(()),
        // Whoever had no time to join did not fail to.
        _ if stopped && report.failures.is_empty() => Ok(()),
        missing => Err(ClientError::Missing(missing, args.publishers + args.subscribers)),
    }
}

/// Says so if there will be more sockets than the process may have.
fn warn_of_sockets(args: &LoadOptions) {
    let [publishers, subscribers] = [args.publishers, args.subscribers].map(u64::from);
    let media = publishers + subscribers * if args.all { publishers } else { 1 };
    let events = if args.no_events { 0 } else { publishers + subscribers };
    // Requests, the standard ones, and some to spare.
    let needed = media + events + u64::from(args.ramp) + 64;
    if process::max_open_files().is_some_and(|most| most < needed) {
        tracing::warn!("this load needs some {needed} sockets, more than this process may open: see ulimit -n");
    }
}

struct Load<'a> {
    crowd: Arc<Crowd>,
    args: &'a LoadOptions,
    progress: &'a mut (dyn Write + Send),
    members: JoinSet<()>,
    report: Report,
}

impl Load<'_> {
    /// Lets everybody join, and holds the load.
    async fn hold(&mut self, server: Option<Sample>) {
        let publish = vec![Role::Publish; self.args.publishers as usize];
        let (ids, mut heard) = self.join(publish, |report| &mut report.publishers.1).await;
        let role = |n: u32| match (self.args.all, ids.len()) {
            (_, 0) => Role::Subscribe(Vec::new()),
            (true, _) => Role::Subscribe(ids.clone()),
            (false, count) => Role::Subscribe(vec![ids[n as usize % count].clone()]),
        };
        let subscribe = (0..self.args.subscribers).map(role).collect();
        let (_, mut heard_too) = self.join(subscribe, |report| &mut report.subscribers.1).await;
        (self.report.sent.0, self.report.received.0) = self.figures();
        self.report.client = Sample::of(None).ok().map(|now| (now, now));
        let server = server.and_then(|_| Sample::of(self.args.server_pid).ok());
        self.report.server = server.map(|now| (now, now));
        let begin = Instant::now();
        let until = begin + Duration::from_secs(u64::from(self.args.duration));
        let mut tick = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = sleep_until(until) => break,
                Some(notice) = heard.recv() => self.noted(notice),
                Some(notice) = heard_too.recv() => self.noted(notice),
                _ = tick.tick() => {
                    self.report.held = begin.elapsed();
                    self.measured();
                    self.tell();
                }
            }
        }
        self.report.held = begin.elapsed();
        self.measured();
    }

    /// Lets some join, so many a second, until each has joined or failed: the ids of those who are in.
    async fn join(
        &mut self,
        roles: Vec<Role>,
        count: impl Fn(&mut Report) -> &mut u32,
    ) -> (Vec<String>, mpsc::UnboundedReceiver<Notice>) {
        let (tell, mut heard) = mpsc::unbounded_channel();
        let (mut asked, mut answered, all) = (0, 0, roles.len());
        let mut roles = roles.into_iter();
        let mut ids = Vec::new();
        let mut ramp = interval(Duration::from_secs(1) / self.args.ramp);
        let mut tick = interval(Duration::from_secs(1));
        while answered < all {
            tokio::select! {
                _ = ramp.tick(), if asked < all => {
                    if let Some(role) = roles.next() {
                        self.members.spawn(member(self.crowd.clone(), role, asked, tell.clone()));
                    }
                    asked += 1;
                }
                Some(notice) = heard.recv() => {
                    answered += usize::from(!matches!(notice, Notice::Broken(_)));
                    match notice {
                        Notice::Joined(id) => {
                            *count(&mut self.report) += 1;
                            ids.push(id);
                        }
                        other => self.noted(other),
                    }
                }
                _ = tick.tick() => self.tell(),
            }
        }
        (ids, heard)
    }

    fn noted(&mut self, notice: Notice) {
        if let Notice::Failed(code) | Notice::Broken(code) = notice {
            *self.report.failures.entry(code).or_default() += 1;
        }
    }

    fn figures(&self) -> (Vec<Figures>, Vec<Figures>) {
        let all = |n: usize| {
            let watches = self.crowd.watches[n].lock().unwrap_or_else(PoisonError::into_inner);
            watches.iter().map(|watch| watch.borrow().clone()).collect()
        };
        (all(0), all(1))
    }

    /// Takes the figures as they are now for the last ones.
    fn measured(&mut self) {
        (self.report.sent.1, self.report.received.1) = self.figures();
        for (samples, pid) in [(&mut self.report.client, None), (&mut self.report.server, self.args.server_pid)] {
            if let (Some(samples), Ok(now)) = (samples, Sample::of(pid)) {
                samples.1 = now;
            }
        }
    }

    fn tell(&mut self) {
        let (sent, received) = self.figures();
        let connected = |all: &[Figures]| all.iter().filter(|now| now.state == State::Connected).count();
        let line = format!(
            "{} publishing, {} subscriptions, {} failures, {} key frames received\n",
            connected(&sent),
            connected(&received),
            self.report.failures.values().sum::<u32>(),
            received.iter().map(|now| now.received.key_frames).sum::<u64>(),
        );
        // Whoever does not want to see it closes it.
        let _ = self.progress.write_all(line.as_bytes());
    }
}
