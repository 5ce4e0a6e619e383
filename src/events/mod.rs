//! Events out: what is in the outbox is put in order, and delivered to the targets of the operator's file.
//!
//! Each target has a task of its own. Of several nodes one delivers to a target: it holds the target's lease
//! (`ledger`). What is sent next, and what becomes of what was not taken, is decided without I/O (`window`).
//! `docs/events.md` says what is promised.

mod ledger;
mod relay;
mod send;
pub mod targets;
mod window;
mod worker;

use crate::app::App;
use crate::model::fault::Fault;
use ledger::Ledger;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use targets::{Kind, Target, TargetsError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often it is looked whether every target has its task.
const LOOK: Duration = Duration::from_secs(1);
/// How long a target may finish what it is sending when it is to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The operator's file, and the targets that it has now.
#[derive(Debug)]
pub struct Config {
    file: Option<PathBuf>,
    targets: watch::Sender<Vec<Target>>,
}

impl Config {
    /// Reads a file; without one there are no targets.
    pub fn open(file: Option<&Path>) -> Result<Config, TargetsError> {
        let targets = file.map_or(Ok(Vec::new()), targets::read)?;
        Ok(Config { file: file.map(Path::to_owned), targets: watch::Sender::new(targets) })
    }

    /// Reads the file again; answers how many targets it has. A file that cannot be used changes nothing.
    pub fn reload(&self) -> Result<usize, TargetsError> {
        let targets = self.file.as_deref().map_or(Ok(Vec::new()), targets::read)?;
        let count = targets.len();
        self.targets.send_replace(targets);
        Ok(count)
    }

    /// Whether there is a file to read again.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether events go to standard output, which then has nothing else.
    pub fn uses_stdout(&self) -> bool {
        self.targets.borrow().iter().any(|target| target.kind == Kind::Stdout)
    }
}

/// Everything that has to run for events to be told.
#[derive(Debug)]
pub struct Work {
    app: Arc<App>,
    targets: watch::Receiver<Vec<Target>>,
}

impl Work {
    /// What is to be run. What is told from now on goes to every target.
    pub async fn new(app: Arc<App>, config: &Config) -> Result<Self, Fault> {
        let mut targets = config.targets.subscribe();
        let known = targets.borrow_and_update().clone();
        for target in &known {
            Ledger::new(&app, &target.name).introduce(target.from_oldest).await?;
        }
        targets.mark_changed();
        Ok(Work { app, targets })
    }

    /// Works until `stop` is done.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let stopping = CancellationToken::new();
        let mut deliveries = pin!(deliver(self.app.clone(), self.targets, stopping.clone()));
        tokio::select! {
            () = stop => {}
            () = relay::run(self.app) => {}
            () = &mut deliveries => {}
        }
        stopping.cancel();
        deliveries.await;
    }
}

/// A target that is being delivered to.
#[derive(Debug)]
struct Running {
    target: Target,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Running {
    fn start(app: &Arc<App>, target: Target, stopping: &CancellationToken) -> Self {
        let stop = stopping.child_token();
        let worker = worker::run(app.clone(), target.clone(), stop.clone());
        Running { target, stop, task: AbortOnDropHandle::new(tokio::spawn(worker)) }
    }

    /// Lets it finish what it is sending; what it does not is sent again by whoever comes next.
    async fn stop(self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(GRACE, self.task).await;
    }
}

/// Delivers to the targets of the file, whatever becomes of it, until it is to stop.
async fn deliver(app: Arc<App>, mut targets: watch::Receiver<Vec<Target>>, stopping: CancellationToken) {
    let mut running: HashMap<String, Running> = HashMap::new();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            Ok(()) = targets.changed() => {
                let wanted = targets.borrow_and_update().clone();
                running = follow(&app, running, wanted, &stopping).await;
            }
            _ = looks.tick() => {
                for running in running.values_mut().filter(|running| running.task.is_finished()) {
                    tracing::error!(target_name = running.target.name, "delivery has ended by a bug; it begins anew");
                    *running = Running::start(&app, running.target.clone(), &stopping);
                }
            }
        }
    }
    futures_util::future::join_all(running.into_values().map(Running::stop)).await;
}

/// Stops what is gone from the file or stands there otherwise, and starts what is new. A file of lines is opened anew, as
/// whoever rotates it expects.
async fn follow(
    app: &Arc<App>,
    running: HashMap<String, Running>,
    wanted: Vec<Target>,
    stopping: &CancellationToken,
) -> HashMap<String, Running> {
    let same = |target: &Target| wanted.contains(target) && !matches!(target.kind, Kind::File(_));
    let (mut kept, ended): (HashMap<_, _>, Vec<_>) = {
        let (kept, ended): (Vec<_>, Vec<_>) = running.into_iter().partition(|(_, running)| same(&running.target));
        (kept.into_iter().collect(), ended.into_iter().map(|(_, running)| running.stop()).collect())
    };
    futures_util::future::join_all(ended).await;
    let names: Vec<_> = wanted.iter().map(|target| target.name.as_str()).collect();
    app.metrics.keep_targets(&names);
    for target in wanted {
        let name = target.name.clone();
        kept.entry(name).or_insert_with(|| Running::start(app, target, stopping));
    }
    kept
}
