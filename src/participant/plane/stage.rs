//! A stage of which this node holds connections: how it looks, told to all its sockets in one text.

use crate::app::views::{Entry, View};
use crate::domain::admission::Ticket;
use crate::model::arn::Scope;
use crate::participant::messages;
use axum::extract::ws::Utf8Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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
    pub fn of(ticket: &Ticket) -> Key {
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
    /// The latest question that was answered; see [`Stage::ask`].
    pub answered: watch::Sender<u64>,
    /// Done when the last connection is gone.
    pub empty: CancellationToken,
    questions: AtomicU64,
    asked: Notify,
    revision: AtomicI64,
}

impl Stage {
    /// A stage that nobody has looked at.
    pub fn new(key: Key) -> Self {
        Stage {
            key,
            state: watch::Sender::default(),
            answered: watch::Sender::default(),
            empty: CancellationToken::new(),
            questions: AtomicU64::new(0),
            asked: Notify::new(),
            revision: AtomicI64::new(i64::MIN),
        }
    }

    /// Asks for a look at the stage. Once the question is answered, the stage's state is no older than the question.
    pub fn ask(&self) -> u64 {
        let question = self.questions.fetch_add(1, Ordering::SeqCst) + 1;
        self.asked.notify_one();
        question
    }

    /// Waits for a question, and answers the latest.
    pub async fn question(&self) -> u64 {
        self.asked.notified().await;
        self.questions.load(Ordering::SeqCst)
    }

    /// Whether a change is news.
    pub fn is_news(&self, revision: i64) -> bool {
        self.revision.fetch_max(revision, Ordering::SeqCst) < revision
    }

    /// Tells how the stage looks. A text that is as before stays the same one, so that nobody is told twice.
    pub fn tell(&self, question: u64, view: &View) {
        let text = messages::stage_state(&self.key.id, &view.participants);
        self.state.send_if_modified(|state| {
            let news = state.text.as_deref() != Some(text.as_str());
            if news {
                state.listed = Arc::new(view.participants.iter().map(|entry| entry.id.clone()).collect());
                state.text = Some(text.into());
            }
            news
        });
        self.answered.send_replace(question);
    }
}
