//! A stage of which this node holds connections: how it looks, told to all its sockets in one text.

use crate::app::views::{Entry, View};
use crate::domain::admission::VerifiedToken;
use crate::model::arn::Scope;
use crate::signaling::messages;
use axum::extract::ws::Utf8Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Which stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The account and the region.
    pub scope: Scope,
    /// Its id.
    pub id: String,
}

impl Key {
    /// The stage of a ticket.
    pub fn of(ticket: &VerifiedToken) -> Key {
        Key { scope: ticket.scope.clone(), id: ticket.stage.clone() }
    }
}

/// How a stage looked at some time.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The message that says so, shared by all sockets; `None` before the first look.
    pub text: Option<Utf8Bytes>,
    /// Who is in it.
    pub listed: Arc<HashSet<String>>,
}

impl State {
    /// The message for a participant, who always sees itself: alone where it is not among those that are listed, this is
    /// a text of its own.
    pub fn text_for(&self, own: &Entry) -> Option<Utf8Bytes> {
        let text = self.text.as_ref()?;
        Some(if self.listed.contains(&own.id) { text.clone() } else { messages::with(text, own).into() })
    }
}

/// A stage, as long as this node holds connections of it.
#[derive(Debug)]
pub struct Stage {
    /// Which.
    pub key: Key,
    /// How it looks.
    pub state: watch::Sender<State>,
    /// The number of the latest change that its state has in it.
    pub shown: watch::Sender<i64>,
    /// Done when the last connection is gone.
    pub empty: CancellationToken,
    /// Whether anybody is in it by this node: before, there is nobody to look for.
    entered: AtomicBool,
    /// The number of the latest change that is known of.
    heard: AtomicI64,
    /// Whether it is to be looked at whatever is known.
    asked: AtomicBool,
    wanted: Notify,
}

impl Stage {
    /// A stage that nobody has looked at.
    pub fn new(key: Key) -> Self {
        Stage {
            key,
            state: watch::Sender::default(),
            shown: watch::Sender::new(i64::MIN),
            empty: CancellationToken::new(),
            entered: AtomicBool::new(false),
            heard: AtomicI64::new(i64::MIN),
            asked: AtomicBool::new(false),
            wanted: Notify::new(),
        }
    }

    /// Somebody is in it by this node, since the change `revision` if that is known. What has been seen of a later one was
    /// not looked for on their account, and they may be gone in it: then the stage is looked at again.
    pub fn enter(&self, revision: Option<i64>) {
        self.entered.store(true, Ordering::SeqCst);
        match revision {
            Some(revision) if revision >= *self.shown.borrow() => self.hear(revision),
            _ => self.ask(),
        }
    }

    /// Hears of a change. Unless it has been seen already, the stage is looked at, once there is somebody to look for:
    /// what was heard of before would only delay what the first one waits for.
    pub fn hear(&self, revision: i64) {
        self.heard.fetch_max(revision, Ordering::SeqCst);
        if self.entered.load(Ordering::SeqCst) && revision > *self.shown.borrow() {
            self.wanted.notify_one();
        }
    }

    /// Asks for a look at the stage, whether or not it has changed.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.wanted.notify_one();
    }

    /// Waits until a look is wanted.
    pub async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            let unseen = self.heard.load(Ordering::SeqCst) > *self.shown.borrow();
            if self.asked.swap(false, Ordering::SeqCst) || unseen {
                return;
            }
        }
    }

    /// Tells how the stage looks. A text that is as before stays the same one, so that nobody is told twice.
    pub fn tell(&self, view: &View) {
        let text = messages::stage_state(&self.key.id, &view.participants);
        self.state.send_if_modified(|state| {
            let news = state.text.as_deref() != Some(text.as_str());
            if news {
                state.listed = Arc::new(view.participants.iter().map(|entry| entry.id.clone()).collect());
                state.text = Some(text.into());
            }
            news
        });
        self.shown.send_replace(view.revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        let scope = Scope { account: "1".to_owned(), region: "r".to_owned() };
        Stage::new(Key { scope, id: "s".to_owned() })
    }

    fn view(revision: i64) -> View {
        View { revision, ..View::default() }
    }

    async fn is_wanted(stage: &Stage) -> bool {
        let mut wanted = Box::pin(stage.wanted());
        futures_util::poll!(&mut wanted).is_ready()
    }

    #[tokio::test]
    async fn nobody_looks_before_somebody_has_entered() {
        let stage = stage();
        stage.hear(7);
        assert!(!is_wanted(&stage).await, "there is nobody to look for");
        stage.enter(Some(8));
        assert!(is_wanted(&stage).await);
        stage.tell(&view(8));
        assert_eq!(*stage.shown.borrow(), 8, "whoever waits for this change is told");
        assert!(!is_wanted(&stage).await);
    }

    #[tokio::test]
    async fn a_change_is_looked_at_once_whoever_tells_of_it() {
        let stage = stage();
        stage.enter(Some(1));
        assert!(is_wanted(&stage).await);
        // It is heard of while somebody looks, and the look has it in it.
        stage.hear(2);
        stage.tell(&view(2));
        assert!(!is_wanted(&stage).await);
        stage.enter(Some(2));
        stage.hear(2);
        stage.hear(1);
        assert!(!is_wanted(&stage).await, "both have been seen");
        stage.enter(Some(1));
        assert!(is_wanted(&stage).await, "who has entered at 1 may be gone at 2");
        stage.hear(3);
        assert!(is_wanted(&stage).await);
        stage.tell(&view(3));
        stage.enter(None);
        assert!(is_wanted(&stage).await, "whether there is anything new is not known");
    }
}
