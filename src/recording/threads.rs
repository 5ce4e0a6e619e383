//! The threads that record: transcoding and writing of segments take neither the server's workers nor the media thread.
//! Each runs several publications on a runtime of its own, at a lower priority than the rest of the server.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// Maximum threads.
const MAX_THREADS: usize = 8;
/// Publications that wait for a thread to take them.
const QUEUE: usize = 64;
/// `nice` value of the threads.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

type Task = Pin<Box<dyn Future<Output = ()>>>;
/// Makes the task on its thread: a recorder never leaves it.
type Start = Box<dyn FnOnce() -> Task + Send>;

/// The threads. They are started for the first recordings, and end when this is dropped.
#[derive(Debug, Default)]
pub struct RecordingThreads(Mutex<Vec<RecordingThread>>);

#[derive(Debug)]
struct RecordingThread {
    tasks: mpsc::Sender<Start>,
    running: Arc<AtomicUsize>,
}

/// The threads cannot take a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no thread for another recording")]
pub struct NoThread;

impl RecordingThreads {
    /// Runs a task on the thread with the fewest.
    pub fn spawn<F>(&self, start: impl FnOnce() -> F + Send + 'static) -> Result<(), NoThread>
    where
        F: Future<Output = ()> + 'static,
    {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        if threads.len() < most && threads.iter().all(|thread| thread.running.load(Ordering::Relaxed) > 0) {
            match RecordingThread::start(threads.len()) {
                Ok(thread) => threads.push(thread),
                Err(error) => tracing::warn!(reason = %error, "recording thread not started"),
            }
        }
        let idlest = threads.iter().min_by_key(|thread| thread.running.load(Ordering::Relaxed)).ok_or(NoThread)?;
        let running = Running::new(&idlest.running);
        let start = Box::new(move || -> Task {
            let task = start();
            Box::pin(async move {
                let _running = running;
                task.await;
            })
        });
        idlest.tasks.try_send(start).map_err(|_| NoThread)
    }
}

/// Counts a task until it has ended, even by a panic.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RecordingThread {
    fn start(number: usize) -> std::io::Result<RecordingThread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (tasks, mut received) = mpsc::channel::<Start>(QUEUE);
        std::thread::Builder::new().name(format!("recording-{number}")).spawn(move || {
            lower_priority();
            let local = LocalSet::new();
            local.spawn_local(async move {
                while let Some(start) = received.recv().await {
                    tokio::task::spawn_local(start());
                }
            });
            // Ends when the sender and all tasks are gone.
            runtime.block_on(local);
        })?;
        Ok(RecordingThread { tasks, running: Arc::default() })
    }
}

/// On Linux, the priority is that of the calling thread.
#[cfg(target_os = "linux")]
fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(reason = %error, "priority of a recording thread not lowered");
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn tasks_run_on_recording_threads_and_a_panic_ends_only_its_own() {
        let threads = RecordingThreads::default();
        let (name, named) = oneshot::channel();
        let (broken, is_broken) = oneshot::channel::<()>();
        threads
            .spawn(move || async move {
                let _broken = broken;
                panic!("on purpose");
            })
            .unwrap();
        assert!(is_broken.await.is_err());
        threads
            .spawn(move || async move {
                drop(name.send(std::thread::current().name().map(str::to_owned)));
            })
            .unwrap();
        assert!(named.await.unwrap().unwrap().starts_with("recording-"));
    }
}
