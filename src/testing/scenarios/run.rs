//! Runs a scenario: in virtual time, by moving the clock from slice to slice, or in real time.

use super::language::{Action, Group, Step, Who};
use super::record::{Outcome, Run, Time};
use super::timeline::{Slice, slices};
use crate::clock::Timestamp;
use crate::model::fault::Fault;
use crate::model::token::{ParticipantTokenAttributes, ParticipantTokenConfiguration};
use crate::testing::TestState;
use crate::testing::participants::{Change, Join, Participant, StageId, join, join_group, leave_all};
use crate::testing::travel::Travel;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A scenario that runs.
pub struct Runner {
    state: Arc<TestState>,
    run: Arc<Run>,
    stage: StageId,
    steps: Vec<Step>,
    cast: Cast,
    /// Those that a step of everyone is for, by its index.
    everyone: HashMap<usize, Vec<(String, Arc<Participant>)>>,
}

/// The participants of a scenario by name.
#[derive(Debug, Default)]
struct Cast {
    ones: BTreeMap<String, Arc<Participant>>,
    /// The members of groups, in the order of their numbers.
    groups: BTreeMap<String, Vec<Arc<Participant>>>,
}

impl Cast {
    fn members(&self, group: &Group) -> &[Arc<Participant>] {
        self.groups.get(&group.name).map_or(&[], Vec::as_slice)
    }

    /// A participant by name, such as `alice` or `viewer-7`.
    fn find(&self, name: &str) -> Option<&Arc<Participant>> {
        if let Some(one) = self.ones.get(name) {
            return Some(one);
        }
        let (_, number) = name.rsplit_once('-')?;
        let index = number.parse::<u32>().ok()?.checked_sub(1)?;
        let mut groups = self.groups.iter();
        groups.find_map(|(group, members)| {
            let group = Group { name: group.clone(), count: 0 };
            members.get(index as usize).filter(|_| group.member(index) == name)
        })
    }

    /// Everyone with their names.
    fn all(&self) -> Vec<(String, Arc<Participant>)> {
        let ones = self.ones.iter().map(|(name, one)| (name.clone(), one.clone()));
        let members = self.groups.iter().flat_map(|(name, members)| {
            let group = Group { name: name.clone(), count: 0 };
            (0..).zip(members).map(move |(index, one)| (group.member(index), one.clone()))
        });
        ones.chain(members).collect()
    }
}

impl Runner {
    pub fn new(state: Arc<TestState>, run: Arc<Run>, stage: StageId, steps: Vec<Step>) -> Self {
        Runner { state, run, stage, steps, cast: Cast::default(), everyone: HashMap::new() }
    }

    /// Runs to the end, or until it is stopped. If it is stopped or fails, its participants leave.
    pub async fn run(mut self) -> Result<(), Fault> {
        let stop = self.run.stop.clone();
        let slices = slices(&self.steps);
        let done = match self.run.time {
            Time::Virtual => Box::pin(self.run_virtual(&slices)).await,
            Time::Real => Box::pin(self.run_real(&slices)).await,
        };
        let clock = self.state.app.clock().clone();
        let (outcome, result, ended_at) = match done {
            Err(fault) => (Outcome::Failed(fault.message().to_owned()), Err(fault), clock.now()),
            Ok(at) if stop.is_cancelled() => (Outcome::Stopped, Ok(()), at),
            Ok(at) => (Outcome::Finished, Ok(()), at),
        };
        let mut left = Ok(());
        if outcome != Outcome::Finished {
            left = self.run.dismiss(&self.state).await;
        }
        self.run.end(outcome, ended_at);
        result.and(left)
    }

    /// Returns the time of its end, after which the clock may run again.
    async fn run_virtual(&mut self, slices: &[Slice]) -> Result<Timestamp, Fault> {
        let state = self.state.clone();
        let mut travel = Travel::begin(&state).await?;
        let start = travel.now();
        self.run.begin(start);
        for slice in slices {
            if self.run.stop.is_cancelled() {
                break;
            }
            travel.advance_to(start.plus(Duration::from_millis(slice.at))).await?;
            self.perform(*slice).await?;
        }
        // What follows from the last step at its time.
        travel.advance_to(travel.now()).await?;
        let ended_at = travel.now();
        travel.end().await.map(|_| ended_at)
    }

    /// Returns the time of its end.
    async fn run_real(&mut self, slices: &[Slice]) -> Result<Timestamp, Fault> {
        let (start, stop) = (Instant::now(), self.run.stop.clone());
        self.run.begin(self.state.app.clock().now());
        for slice in slices {
            // Never stopped within a slice: participants whose join is not recorded yet would not leave.
            let due = tokio::time::sleep_until(start + Duration::from_millis(slice.at));
            if stop.run_until_cancelled(due).await.is_none() || stop.is_cancelled() {
                break;
            }
            self.perform(*slice).await?;
        }
        Ok(self.state.app.clock().now())
    }

    /// Lets those of a slice act. Errors name the line.
    async fn perform(&mut self, slice: Slice) -> Result<(), Fault> {
        let step = self.steps[slice.step].clone();
        let line = step.line;
        let done = match (&step.who, &step.action) {
            (Who::Group(group), Action::Join(attributes)) => self.join_members(slice, group, attributes).await,
            (Who::One(name), Action::Join(attributes)) => self.join_one(name, attributes).await,
            _ => {
                let who = self.those(slice, &step.who);
                self.act_all(&step, who).await
            }
        };
        done.map_err(|fault| at_line(line, fault))
    }

    /// Those of a slice with their names.
    fn those(&mut self, slice: Slice, who: &Who) -> Vec<(String, Arc<Participant>)> {
        match who {
            Who::One(name) => self.cast.find(name).map(|one| (name.clone(), one.clone())).into_iter().collect(),
            Who::Group(group) => {
                let members = self.cast.members(group);
                let range = slice.range(members.len());
                let first = u32::try_from(range.start).unwrap_or(u32::MAX);
                let members = (first..).zip(&members[range]);
                members.map(|(index, one)| (group.member(index), one.clone())).collect()
            }
            Who::Everyone => {
                let cast = &self.cast;
                let everyone = self
                    .everyone
                    .entry(slice.step)
                    .or_insert_with(|| cast.all().into_iter().filter(|(_, one)| one.is_connected()).collect());
                everyone[slice.range(everyone.len())].to_vec()
            }
        }
    }

    async fn join_one(&mut self, name: &str, attributes: &BTreeMap<String, String>) -> Result<(), Fault> {
        self.run.count(1);
        if let Some(one) = self.cast.find(name) {
            return act(&self.state, name, one, Change::Reconnect).await;
        }
        let configuration = configuration(name, attributes);
        let joined = join(&self.state, Join::New(self.stage.clone(), configuration)).await;
        let one = joined.map_err(|fault| prefixed(name, fault))?;
        self.run.joined([(name.to_owned(), one.clone())]);
        self.cast.ones.insert(name.to_owned(), one);
        Ok(())
    }

    /// Lets members of a group join, for the first time or again.
    async fn join_members(
        &mut self,
        slice: Slice,
        group: &Group,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), Fault> {
        let range = slice.range(group.count as usize);
        let known = self.cast.members(group).len();
        if range.end <= known {
            let again = self.those(slice, &Who::Group(group.clone()));
            let again = again.into_iter().filter(|(_, one)| !one.is_connected()).collect();
            return self.each(again, &Change::Reconnect).await;
        }
        let indices = || range.clone().map(|index| u32::try_from(index).unwrap_or(u32::MAX));
        let configurations = indices().map(|index| configuration(&group.member(index), attributes)).collect();
        let joined = join_group(&self.state, &self.stage, configurations).await?;
        self.run.count(joined.len());
        self.run.joined(indices().map(|index| group.member(index)).zip(joined.iter().cloned()));
        self.cast.groups.entry(group.name.clone()).or_default().extend(joined);
        Ok(())
    }

    async fn act_all(&self, step: &Step, mut who: Vec<(String, Arc<Participant>)>) -> Result<(), Fault> {
        if !matches!(step.who, Who::One(_)) {
            // Members may have left by themselves.
            who.retain(|(_, one)| step.action == Action::Reconnect || one.is_connected());
            if step.action == Action::Leave {
                self.run.count(who.len());
                let ones: Vec<_> = who.into_iter().map(|(_, one)| one).collect();
                return leave_all(&self.state, &ones).await;
            }
        }
        let change = self.change(&step.action)?;
        self.each(who, &change).await
    }

    /// Lets participants act, one after another: the record of a scenario is always in the same order.
    async fn each(&self, who: Vec<(String, Arc<Participant>)>, change: &Change) -> Result<(), Fault> {
        for (name, one) in who {
            self.run.count(1);
            act(&self.state, &name, &one, change.clone()).await?;
        }
        Ok(())
    }

    fn change(&self, action: &Action) -> Result<Change, Fault> {
        let remote = |name: &String| {
            let one = self.cast.find(name).map(|one| one.id.clone());
            one.ok_or_else(|| Fault::conflict(format!("{name} has not joined")))
        };
        Ok(match action {
            Action::Publish => Change::Publish,
            Action::Unpublish => Change::Unpublish,
            Action::Subscribe(name) => Change::Subscribe(remote(name)?),
            Action::Unsubscribe(name) => Change::Unsubscribe(remote(name)?),
            Action::Mute(kinds) => Change::Mute(BTreeSet::from_iter(kinds.iter().copied())),
            Action::Unmute(kinds) => Change::Unmute(BTreeSet::from_iter(kinds.iter().copied())),
            Action::Fail(code) => Change::fail(*code),
            Action::Exchange => Change::Exchange(ParticipantTokenConfiguration {
                duration: None,
                user_id: None,
                attributes: None,
                capabilities: None,
            }),
            Action::Reconnect | Action::Join(_) => Change::Reconnect,
            Action::Leave => Change::Leave,
        })
    }
}

async fn act(state: &TestState, name: &str, one: &Arc<Participant>, change: Change) -> Result<(), Fault> {
    one.change(state, change).await.map_err(|fault| prefixed(name, fault))
}

fn configuration(name: &str, attributes: &BTreeMap<String, String>) -> ParticipantTokenConfiguration {
    ParticipantTokenConfiguration {
        duration: None,
        user_id: Some(name.into()),
        attributes: (!attributes.is_empty()).then(|| ParticipantTokenAttributes(attributes.clone())),
        capabilities: None,
    }
}

fn at_line(line: usize, fault: Fault) -> Fault {
    prefixed(&format!("line {line}"), fault)
}

/// Adds what a fault is about to its message.
fn prefixed(about: &str, mut fault: Fault) -> Fault {
    let (Fault::Modelled { message, .. } | Fault::Rejected { message, .. }) = &mut fault;
    *message = format!("{about}: {message}");
    fault
}

impl Drop for Runner {
    /// Ends a run that was aborted or has panicked, for those that wait for its end.
    fn drop(&mut self) {
        if !self.run.has_ended() {
            self.run.end(Outcome::Failed("it was aborted".to_owned()), self.state.app.clock().now());
        }
    }
}
