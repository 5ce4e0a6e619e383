//! Event delivery: relays the outbox to the event log, and delivers the log to the targets in the target file.
//!
//! Each target has a task (`worker`). One node at a time delivers to a target: the owner of its lease
//! ([`crate::app::deliveries`]). Scheduling, retries and parking are sans-IO (`queue`). `docs/reference/events.md` documents
//! the guarantees.

mod faults;
mod queue;
mod relay;
mod settling;
mod sinks;
pub mod targets;
mod worker;

pub use settling::{Settling, Unsettled};

use crate::app::App;
use crate::app::deliveries::EventTarget;
use crate::model::fault::Fault;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use targets::{Kind, Target, TargetsError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Interval at which panicked tasks are restarted.
const SUPERVISE: Duration = Duration::from_secs(1);
/// Time limit for requests in flight when a task is stopped.
const GRACE: Duration = Duration::from_secs(5);

/// The target file, and its current targets.
#[derive(Debug)]
pub struct Config {
    file: Option<PathBuf>,
    targets: watch::Sender<Vec<Target>>,
}

impl Config {
    /// Reads the target file; without a file there are no targets.
    pub fn open(file: Option<&Path>) -> Result<Config, TargetsError> {
        let targets = file.map_or(Ok(Vec::new()), targets::read)?;
        Ok(Config { file: file.map(Path::to_owned), targets: watch::Sender::new(targets) })
    }

    /// Reloads the file; returns the number of targets. An invalid file changes nothing.
    pub fn reload(&self) -> Result<usize, TargetsError> {
        let targets = self.file.as_deref().map_or(Ok(Vec::new()), targets::read)?;
        let count = targets.len();
        self.targets.send_replace(targets);
        Ok(count)
    }

    /// Whether there is a file.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether a target is standard output.
    pub fn uses_stdout(&self) -> bool {
        self.targets.borrow().iter().any(|target| target.kind == Kind::Stdout)
    }
}

/// The tasks that deliver events.
#[derive(Debug)]
pub struct Work {
    app: Arc<App>,
    targets: watch::Receiver<Vec<Target>>,
    settling: Arc<Settling>,
}

impl Work {
    /// Registers the targets, which get all events from now on.
    pub async fn new(app: Arc<App>, config: &Config) -> Result<Self, Fault> {
        let mut targets = config.targets.subscribe();
        let known = targets.borrow_and_update().clone();
        for target in &known {
            EventTarget::new(&app, &target.name).register(target.from_oldest).await?;
        }
        targets.mark_changed();
        let settling = Arc::new(Settling::default());
        settling.keep(&names(&known));
        Ok(Work { app, targets, settling })
    }

    /// How far the deliveries have come.
    pub fn settling(&self) -> Arc<Settling> {
        self.settling.clone()
    }

    /// Runs until `stop` completes.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let stopping = CancellationToken::new();
        let mut deliveries = pin!(supervise(self.app.clone(), self.targets, self.settling, stopping.clone()));
        tokio::select! {
            () = stop => {}
            () = relay::run(self.app) => {}
            () = &mut deliveries => {}
        }
        stopping.cancel();
        deliveries.await;
    }
}

/// The task of a target.
#[derive(Debug)]
struct Running {
    target: Target,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Running {
    fn start(app: &Arc<App>, target: Target, settling: &Arc<Settling>, stopping: &CancellationToken) -> Self {
        let stop = stopping.child_token();
        let worker = worker::run(app.clone(), target.clone(), settling.clone(), stop.clone());
        Running { target, stop, task: AbortOnDropHandle::new(tokio::spawn(worker)) }
    }

    /// Waits for requests in flight. The next owner of the lease repeats those that do not finish in time.
    async fn stop(self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(GRACE, self.task).await;
    }
}

/// Runs a task per target, follows changes of the targets, and restarts panicked tasks, until it is stopped.
async fn supervise(
    app: Arc<App>,
    mut targets: watch::Receiver<Vec<Target>>,
    settling: Arc<Settling>,
    stopping: CancellationToken,
) {
    let mut running: HashMap<String, Running> = HashMap::new();
    let mut ticks = tokio::time::interval(SUPERVISE);
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            Ok(()) = targets.changed() => {
                let current = targets.borrow_and_update().clone();
                running = reconcile(&app, running, current, &settling, &stopping).await;
            }
            _ = ticks.tick() => {
                for running in running.values_mut().filter(|running| running.task.is_finished()) {
                    tracing::error!(target_name = running.target.name, "event delivery panicked; restarting");
                    *running = Running::start(&app, running.target.clone(), &settling, &stopping);
                }
            }
        }
    }
    futures_util::future::join_all(running.into_values().map(Running::stop)).await;
}

/// Stops the tasks of removed and changed targets, and starts those of new ones. JSONL files are reopened, for log rotation.
async fn reconcile(
    app: &Arc<App>,
    running: HashMap<String, Running>,
    targets: Vec<Target>,
    settling: &Arc<Settling>,
    stopping: &CancellationToken,
) -> HashMap<String, Running> {
    let same = |target: &Target| targets.contains(target) && !matches!(target.kind, Kind::File(_));
    let (mut kept, ended): (HashMap<_, _>, Vec<_>) = {
        let (kept, ended): (Vec<_>, Vec<_>) = running.into_iter().partition(|(_, running)| same(&running.target));
        (kept.into_iter().collect(), ended.into_iter().map(|(_, running)| running.stop()).collect())
    };
    futures_util::future::join_all(ended).await;
    let names = names(&targets);
    settling.keep(&names);
    app.metrics().keep_targets(&names.into_iter().collect::<Vec<_>>());
    for target in targets {
        let name = target.name.clone();
        kept.entry(name).or_insert_with(|| Running::start(app, target, settling, stopping));
    }
    kept
}

fn names(targets: &[Target]) -> BTreeSet<&str> {
    targets.iter().map(|target| target.name.as_str()).collect()
}
