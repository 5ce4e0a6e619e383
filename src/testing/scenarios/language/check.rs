//! What only all lines together show: the groups, the order of the steps, and that who acts has joined.

use super::{Action, Group, LanguageError, MAX_PARTICIPANTS, Scenario, Step, Who};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Resolves the names of groups, sorts the steps by time, and checks that participants join before they act.
pub fn resolve(mut scenario: Scenario) -> Result<Scenario, LanguageError> {
    let groups = groups(&scenario.steps)?;
    for step in &mut scenario.steps {
        if let Who::One(name) = &step.who
            && let Some((group, _)) = groups.get(name.as_str())
        {
            step.who = Who::Group(group.clone());
        }
        if matches!(step.who, Who::One(_)) && step.over > Duration::ZERO {
            return Err(error(step.line, "over is for groups and everyone".to_owned()));
        }
    }
    if scenario.steps.is_empty() {
        return Err(error(1, "the scenario has no steps, such as: at 0s alice joins".to_owned()));
    }
    scenario.steps.sort_by_key(|step| step.at);
    let mut joined = Joined { groups: &groups, names: HashMap::new(), connected: HashSet::new() };
    for step in &scenario.steps {
        joined.check(step).map_err(|message| error(step.line, message))?;
    }
    Ok(scenario)
}

fn error(line: usize, message: String) -> LanguageError {
    LanguageError { line, message }
}

/// The groups by name, each with the line in which it joins first.
fn groups(steps: &[Step]) -> Result<HashMap<String, (Group, usize)>, LanguageError> {
    let mut groups: HashMap<String, (Group, usize)> = HashMap::new();
    let mut total: u32 = 0;
    for step in steps {
        let Who::Group(group) = &step.who else { continue };
        if let Some((_, before)) = groups.insert(group.name.clone(), (group.clone(), step.line)) {
            return Err(error(step.line, format!("{} have a number in line {before} already", group.name)));
        }
        total = total.saturating_add(group.count);
        if total > MAX_PARTICIPANTS {
            return Err(error(step.line, format!("a scenario has {MAX_PARTICIPANTS} participants at most")));
        }
    }
    Ok(groups)
}

/// Who has joined so far.
struct Joined<'a> {
    groups: &'a HashMap<String, (Group, usize)>,
    /// Participants and groups that have joined, each with the line.
    names: HashMap<&'a str, usize>,
    /// Participants, other than the members of groups, that have joined and not left.
    connected: HashSet<&'a str>,
}

impl<'a> Joined<'a> {
    fn check(&mut self, step: &'a Step) -> Result<(), String> {
        match (&step.who, &step.action) {
            (Who::One(name), Action::Join(_)) if self.group_of(name).is_none() => {
                let before = self.names.insert(name, step.line);
                if !self.connected.insert(name) {
                    return Err(format!("{name} has joined in line {} already", before.unwrap_or_default()));
                }
            }
            (Who::Group(group), Action::Join(_)) => {
                self.names.insert(&group.name, step.line);
            }
            (Who::One(name), _) => self.require(name)?,
            (Who::Group(Group { name, .. }), _) => {
                if !self.names.contains_key(name.as_str()) {
                    return Err(format!("{name} have not joined"));
                }
            }
            (Who::Everyone, Action::Join(_)) => return Err("everyone: name who joins".to_owned()),
            (Who::Everyone, _) => {}
        }
        match (&step.who, &step.action) {
            (Who::One(name), Action::Leave) => drop(self.connected.remove(name.as_str())),
            (Who::Everyone, Action::Leave) => self.connected.clear(),
            (_, Action::Subscribe(remote) | Action::Unsubscribe(remote)) => {
                if self.groups.contains_key(remote.as_str()) || step.who == Who::One(remote.clone()) {
                    return Err(format!("{remote}: is not another participant"));
                }
                self.require(remote)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn require(&self, name: &str) -> Result<(), String> {
        let group = self.group_of(name);
        let known = group.map_or(name, |group| group.name.as_str());
        if self.names.contains_key(known) { Ok(()) } else { Err(format!("{name} has not joined")) }
    }

    /// The group that a name is of, such as `viewer-7`.
    fn group_of(&self, name: &str) -> Option<&'a Group> {
        let (_, number) = name.rsplit_once('-')?;
        let index = number.parse::<u32>().ok()?.checked_sub(1)?;
        let mut groups = self.groups.values().map(|(group, _)| group);
        groups.find(|group| index < group.count && group.member(index) == name)
    }
}
