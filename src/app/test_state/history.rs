//! Past sessions of a seeded stage. They are played: the same commands run through the same steps as those of real
//! participants, each at its time in the past.

use crate::app::{OperationContext, stage_state};
use crate::clock::Timestamp;
use crate::domain;
use crate::domain::participant::Client;
use crate::domain::stage_state::{Command, NewParticipant, ParticipantCommand, SessionId};
use crate::model::fault::Fault;
use crate::model::participant::{ParticipantAttributes, ParticipantProtocol};
use crate::store::Conn;

/// A session that has begun with its first participant.
#[derive(Clone, Debug)]
pub struct PastSession {
    pub started_at: Timestamp,
    pub participants: Vec<PastParticipant>,
    /// When everyone who is left leaves and the session ends; by default it ends by itself.
    pub ends_at: Option<Timestamp>,
}

/// A participant of a past session, publishing by WHIP.
#[derive(Clone, Debug)]
pub struct PastParticipant {
    pub user_id: String,
    pub attributes: ParticipantAttributes,
    pub joins_at: Timestamp,
    pub publishes_at: Option<Timestamp>,
    pub unpublishes_at: Option<Timestamp>,
    pub subscriptions: Vec<PastSubscription>,
    /// With the end of the session by default.
    pub leaves_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct PastSubscription {
    /// The position of the publisher among the participants.
    pub to: usize,
    pub starts_at: Timestamp,
    /// By default when the publisher stops, or the subscriber leaves.
    pub ends_at: Option<Timestamp>,
}

/// The ids of a session that was played.
#[derive(Clone, Debug)]
pub struct PlayedSession {
    pub id: String,
    /// In the order of the seed.
    pub participants: Vec<String>,
}

/// What a participant does, in the order of what happens at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Join,
    Publish,
    Subscribe(usize),
    Unsubscribe(usize),
    Unpublish,
    Leave,
}

/// What a participant, by its position, does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PastStep {
    at: Timestamp,
    act: Act,
    participant: usize,
}

impl PastSession {
    /// Everything that its participants do, in order.
    fn steps(&self) -> Vec<PastStep> {
        let mut steps = Vec::new();
        for (participant, past) in self.participants.iter().enumerate() {
            let mut add = |at: Option<Timestamp>, act| {
                steps.extend(at.map(|at| PastStep { at, act, participant }));
            };
            add(Some(past.joins_at), Act::Join);
            add(past.publishes_at, Act::Publish);
            add(past.unpublishes_at, Act::Unpublish);
            add(past.leaves_at, Act::Leave);
            for PastSubscription { to, starts_at, ends_at } in &past.subscriptions {
                let publisher = &self.participants[*to];
                let stops = publisher.unpublishes_at.or(publisher.leaves_at);
                // With the leaving of the subscriber, a subscription ends anyway.
                let stops = stops.filter(|at| past.leaves_at.is_none_or(|leaves| *at < leaves));
                add(Some(*starts_at), Act::Subscribe(*to));
                add(ends_at.or(stops), Act::Unsubscribe(*to));
            }
        }
        steps.sort_unstable();
        steps
    }
}

/// Plays a session of a stage that has none open. Errors begin with the member that they are about.
pub(super) async fn play(
    ctx: &OperationContext,
    tx: &mut Conn,
    stage: &str,
    past: &PastSession,
) -> Result<PlayedSession, Fault> {
    let row = ctx.at(past.started_at).lock_stage(tx, stage).await?.ok_or_else(|| Fault::not_found(stage))?;
    if row.active_session.is_some() {
        return Err(Fault::validation("startedAt: the session before has not ended by then"));
    }
    let ids = past.participants.iter().map(|_| ctx.app.ids.resource());
    let mut played = PlayedSession { id: String::new(), participants: ids.collect() };
    for step in past.steps() {
        let ctx = ctx.at(step.at);
        let row = ctx.lock_stage(tx, stage).await?.ok_or_else(|| Fault::not_found(stage))?;
        if played.id.is_empty() {
            played.id = ctx.session_to_join(&row).session;
        } else if row.active_session.as_ref() != Some(&played.id) {
            let text = format!(
                "participants.{}.member: the session has ended by itself before {}; add a session, or see --session-end-seconds \
                 and --session-silent-seconds",
                step.participant + 1,
                step.at,
            );
            return Err(Fault::validation(text));
        }
        stage_state::run(&ctx, tx, [command(past, &played, stage, step)]).await?;
    }
    end(ctx, tx, stage, past, &played.id).await?;
    Ok(played)
}

fn command(past: &PastSession, played: &PlayedSession, stage: &str, step: PastStep) -> Command {
    let PastStep { at, act, participant } = step;
    let id = |participant: usize| played.participants[participant].clone();
    let session = SessionId { stage: stage.to_owned(), session: played.id.clone() };
    let command = match act {
        Act::Join => {
            let PastParticipant { user_id, attributes, .. } = past.participants[participant].clone();
            let participant = NewParticipant {
                id: id(participant),
                user_id,
                attributes,
                client: Client::default(),
                protocol: ParticipantProtocol::Unknown,
                ingest_configuration_id: None,
                redundant_ingest: false,
                source: None,
            };
            return Command::Join { session, participant };
        }
        Act::Publish => ParticipantCommand::Publish(Some(ParticipantProtocol::Whip)),
        Act::Unpublish => ParticipantCommand::Unpublish,
        Act::Subscribe(to) => ParticipantCommand::Subscribe(id(to)),
        Act::Unsubscribe(to) => ParticipantCommand::Unsubscribe(id(to)),
        Act::Leave => ParticipantCommand::Leave,
    };
    Command::Participant { session, id: id(participant), command, at }
}

/// Ends a session at its time, or when it ends by itself. One that ends by itself in the future stays open.
async fn end(
    ctx: &OperationContext,
    tx: &mut Conn,
    stage: &str,
    past: &PastSession,
    session: &str,
) -> Result<(), Fault> {
    let Some(ends_at) = past.ends_at else {
        let due = tx.open_session(&ctx.scope, stage).await?.and_then(|row| row.ends_at);
        if let Some(due) = due.filter(|due| *due <= ctx.app.clock.now().0) {
            ctx.at(Timestamp(due)).lock_stage(tx, stage).await?;
        }
        return Ok(());
    };
    let at = ctx.at(ends_at);
    at.lock_stage(tx, stage).await?;
    let row = tx.session(&ctx.scope, stage, session).await?;
    match row.and_then(|row| row.ended_at).map(Timestamp) {
        Some(ended_at) if ended_at < ends_at => {
            Err(Fault::validation(format!("endsAt: the session has ended by itself at {ended_at}")))
        }
        Some(_) => Ok(()),
        None => {
            let session = SessionId { stage: stage.to_owned(), session: session.to_owned() };
            stage_state::run(&at, tx, [Command::EndSession { session, at: ends_at }]).await
        }
    }
}

/// Checks what the shapes of a seed cannot express. Errors begin with the member that they are about.
pub(super) fn check(past: &PastSession, now: Timestamp) -> Result<(), Fault> {
    let refused = |path: &str, problem: &str| Err(Fault::validation(format!("{path}: {problem}")));
    let first = past.participants.iter().map(|participant| participant.joins_at).min();
    if first != Some(past.started_at) {
        return refused("participants", "the first one must join at startedAt, as a session starts with a participant");
    }
    for (n, participant) in past.participants.iter().enumerate() {
        let path = |member: &str| format!("participants.{}.member.{member}", n + 1);
        domain::token::attributes(&path("attributes"), &participant.attributes)?;
        let until = participant.leaves_at.or(past.ends_at);
        let Some(until) = until else {
            return refused(&path("leavesAt"), "is required unless the session has endsAt");
        };
        if until > now {
            return refused(&path("leavesAt"), "is in the future; a past session has ended");
        }
        if past.ends_at.is_some_and(|ends_at| until > ends_at) {
            return refused(&path("leavesAt"), "is after the end of the session");
        }
        let PastParticipant { joins_at, publishes_at, unpublishes_at, .. } = *participant;
        if joins_at >= until {
            return refused(&path("joinsAt"), "is not before the participant leaves");
        }
        if publishes_at.is_some_and(|at| at < joins_at || at >= until) {
            return refused(&path("publishesAt"), "is not while the participant is in the session");
        }
        if unpublishes_at.is_some_and(|at| publishes_at.is_none_or(|from| at <= from) || at >= until) {
            return refused(&path("unpublishesAt"), "is not while the participant publishes");
        }
        for (m, subscription) in participant.subscriptions.iter().enumerate() {
            let path = |member: &str| path(&format!("subscriptions.{}.member.{member}", m + 1));
            let publisher = &past.participants[subscription.to];
            let stops = publisher.unpublishes_at.or(publisher.leaves_at).or(past.ends_at).unwrap_or(until);
            let PastSubscription { to, starts_at, ends_at } = *subscription;
            if to == n {
                return refused(&path("to"), "is the participant itself");
            }
            if starts_at < joins_at || starts_at >= until {
                return refused(&path("startsAt"), "is not while the participant is in the session");
            }
            if publisher.publishes_at.is_none_or(|from| starts_at < from) || starts_at >= stops {
                return refused(&path("startsAt"), "is not while the other participant publishes");
            }
            if ends_at.is_some_and(|at| at <= starts_at || at >= until || at > stops) {
                return refused(&path("endsAt"), "is not after startsAt while both are in the session");
            }
        }
    }
    Ok(())
}
