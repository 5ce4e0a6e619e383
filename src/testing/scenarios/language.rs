//! The language of scenarios: one step a line.
//!
//! ```text
//! stage demo
//! at 0s alice joins as {"role": "host"}   # a comment
//! at 2s alice publishes
//! at 3s 100 viewers join over 10s
//! at 60s everyone leaves
//! ```

mod check;
mod step;
#[cfg(test)]
mod tests;
mod words;

use crate::app::MediaKind;
use crate::model::participant::EventErrorCode;
use std::collections::BTreeMap;
use std::time::Duration;
use words::Words;

/// Maximum bytes of a scenario.
pub const MAX_BYTES: usize = 1 << 20;
/// Maximum steps of a scenario.
const MAX_STEPS: usize = 10_000;
/// Maximum participants of a scenario.
const MAX_PARTICIPANTS: u32 = 200_000;
/// Maximum time of a step.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scenario {
    /// Name or ARN of the stage, and the line that names it.
    pub stage: Option<(String, usize)>,
    /// In the order of their times.
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The line, from 1.
    pub line: usize,
    /// Time since the start.
    pub at: Duration,
    /// The time over which those of a group act, one after another.
    pub over: Duration,
    pub who: Who,
    pub action: Action,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    One(String),
    /// The participants of a group: their names have numbers from 1.
    Group(Group),
    /// All that are connected.
    Everyone,
}

/// A group of participants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `viewers`.
    pub name: String,
    pub count: u32,
}

impl Group {
    /// The name of a member, numbered from 0: `viewer-1`.
    pub fn member(&self, index: u32) -> String {
        format!("{}-{}", self.name.strip_suffix('s').unwrap_or(&self.name), index + 1)
    }
}

/// What a participant does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Joins, with these attributes.
    Join(BTreeMap<String, String>),
    Leave,
    Publish,
    Unpublish,
    Subscribe(String),
    Unsubscribe(String),
    Mute(Vec<MediaKind>),
    Unmute(Vec<MediaKind>),
    Fail(EventErrorCode),
    Reconnect,
    Exchange,
}

/// Why a text is not a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LanguageError {
    pub line: usize,
    pub message: String,
}

/// Parses a scenario. The first error is reported.
pub fn parse(text: &str) -> Result<Scenario, LanguageError> {
    let mut scenario = Scenario::default();
    if text.len() > MAX_BYTES {
        return Err(LanguageError { line: 1, message: format!("a scenario has {MAX_BYTES} bytes at most") });
    }
    for (line, text) in (1..).zip(text.lines()) {
        let failed = |message| LanguageError { line, message };
        let mut words = Words::new(text);
        while let Some(word) = words.next() {
            statement(&mut scenario, line, word, &mut words).map_err(failed)?;
            words.end_statement().map_err(failed)?;
        }
        if scenario.steps.len() > MAX_STEPS {
            return Err(failed(format!("a scenario has {MAX_STEPS} steps at most")));
        }
    }
    check::resolve(scenario)
}

fn statement(scenario: &mut Scenario, line: usize, word: &str, words: &mut Words<'_>) -> Result<(), String> {
    match word {
        "stage" => {
            let name = words.expect("the name or the ARN of a stage")?.to_owned();
            match scenario.stage.replace((name, line)) {
                None => Ok(()),
                Some((_, before)) => Err(format!("a scenario has one stage, which line {before} names")),
            }
        }
        "at" => {
            scenario.steps.push(step::parse(line, words)?);
            Ok(())
        }
        other => Err(format!("'{other}': a step begins with at, such as: at 2s alice publishes")),
    }
}
