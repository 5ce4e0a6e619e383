//! `greenroom events …`: event targets, and undelivered events.

use super::args::{CheckArgs, DeadArgs, DeadEventsArgs, EventsArgs, EventsCommand, ForgetArgs, Output, TargetsArgs};
use super::error::CommandError;
use super::store::open;
use crate::clock::{Clock, Timestamp};
use crate::events::targets::{self, Target};
use crate::store::{Conn, Db, DeliveryCounts, DeliveryRow, StoreError, TargetRow};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// Maximum number of targets shown.
const TARGETS: i64 = 1000;
/// Events changed in one transaction.
const BATCH: i64 = 200;

pub(super) async fn run(command: EventsCommand) -> Result<String, CommandError> {
    match command {
        EventsCommand::Targets(args) => list(args).await,
        EventsCommand::Dead(args) => dead(args).await,
        EventsCommand::Redrive(args) => change(args, Change::Redrive).await,
        EventsCommand::Drop(args) => change(args, Change::Drop).await,
        EventsCommand::Forget(args) => forget(args).await,
        EventsCommand::Check(args) => check(&args),
    }
}

fn check(args: &CheckArgs) -> Result<String, CommandError> {
    let targets = targets::read(&args.file)?;
    let shown: Vec<_> = targets
        .iter()
        .map(|target| json!({"name": target.name, "type": target.kind.name(), "to": target.kind.place()}))
        .collect();
    Ok(match args.output {
        Output::Json => format!("{:#}\n", json!({"targets": shown})),
        Output::Human => {
            let line = |target: &Target| format!("{}  {}  {}\n", target.name, target.kind.name(), target.kind.place());
            let lines: String = targets.iter().map(line).collect();
            let count = targets.len();
            format!("{lines}{} is valid: {count} target{}.\n", args.file.display(), if count == 1 { "" } else { "s" })
        }
    })
}

/// A target, from the file and from the store.
struct Shown {
    name: String,
    target: Option<Target>,
    /// `None` until a server has delivered to it.
    row: Option<TargetRow>,
    counts: DeliveryCounts,
    /// Unprocessed entries of the log, and the age of the oldest pending event in seconds.
    lag: (i64, i64),
    node: Option<String>,
}

async fn list(args: TargetsArgs) -> Result<String, CommandError> {
    let file = args.events_config.as_deref().map(targets::read_without_secrets).transpose()?;
    let db = open(&args.common.store).await?;
    let shown = gather(&db, file.unwrap_or_default()).await?;
    db.close().await;
    Ok(match args.common.output {
        Output::Json => format!("{:#}\n", Value::from(shown.iter().map(Shown::json).collect::<Vec<_>>())),
        Output::Human if shown.is_empty() => "There are no targets.\n".into(),
        Output::Human => shown.iter().map(Shown::line).collect(),
    })
}

async fn gather(db: &Db, file: Vec<Target>) -> Result<Vec<Shown>, StoreError> {
    let (now, lease_now) = (Clock::System.now(), db.lease_time(&Clock::System).await?);
    let mut conn = db.read().await?;
    let end = conn.log_end().await?;
    let mut found: BTreeMap<String, (Option<Target>, Option<TargetRow>)> = BTreeMap::new();
    for row in conn.event_targets(TARGETS).await? {
        let name = row.name.clone();
        found.entry(name).or_default().1 = Some(row);
    }
    for target in file {
        let name = target.name.clone();
        found.entry(name).or_default().0 = Some(target);
    }
    let mut shown = Vec::new();
    for (name, (target, row)) in found {
        let counts = conn.delivery_counts(&name).await?;
        let (mut lag, mut node) = ((0, 0), None);
        if let Some(row) = &row {
            let next = conn.log(row.position, 1).await?.first().map(|event| event.written_at);
            let oldest = [next, counts.oldest].into_iter().flatten().min();
            lag = (end - row.position, oldest.map_or(0, |at| (now.0 - at).max(0) / 1000));
            if row.lease_ends_at > lease_now.0 {
                node = match &row.node_id {
                    Some(id) => Some(conn.node(id).await?.map_or_else(|| id.clone(), |node| node.url)),
                    None => None,
                };
            }
        }
        shown.push(Shown { name, target, row, counts, lag, node });
    }
    Ok(shown)
}

impl Shown {
    fn json(&self) -> Value {
        let time = |at: Option<i64>| at.map(|at| Timestamp(at).to_string());
        let row = self.row.as_ref();
        json!({
            "name": self.name,
            "type": self.target.as_ref().map(|target| target.kind.name()),
            "to": self.target.as_ref().map(|target| target.kind.place()),
            "position": row.map(|row| row.position),
            "lagEvents": self.lag.0,
            "lagSeconds": self.lag.1,
            "delivered": row.map_or(0, |row| row.delivered),
            "deliveredAt": time(row.and_then(|row| row.delivered_at)),
            "parked": self.counts.parked,
            "dead": self.counts.dead,
            "failingSince": time(row.and_then(|row| row.failing_since)),
            "error": row.and_then(|row| row.error.as_deref()),
            "errorAt": time(row.and_then(|row| row.error_at)),
            "node": self.node,
        })
    }

    fn line(&self) -> String {
        let kind = match &self.target {
            Some(target) => format!("{} {}", target.kind.name(), target.kind.place()),
            None => "not in the file".into(),
        };
        let Some(row) = &self.row else {
            return format!("{}  {kind}\n  no server has delivered to it yet\n", self.name);
        };
        let (events, seconds) = self.lag;
        let time = |at: Option<i64>| at.map_or_else(|| "never".into(), |at| Timestamp(at).to_string());
        let node = self.node.as_deref().unwrap_or("no server");
        let mut text = format!(
            "{}  {kind}\n  lag {events} events, {seconds} s  parked {}  dead {}  delivered {}, last {}  by {node}\n",
            self.name,
            self.counts.parked,
            self.counts.dead,
            row.delivered,
            time(row.delivered_at),
        );
        if let Some(since) = row.failing_since {
            text.push_str(&format!("  failing since {}\n", Timestamp(since)));
        }
        if let Some(error) = &row.error {
            text.push_str(&format!("  last error {}: {error}\n", time(row.error_at)));
        }
        text
    }
}

async fn dead(args: DeadArgs) -> Result<String, CommandError> {
    let db = open(&args.common.store).await?;
    let mut conn = db.read().await?;
    let names = match args.target {
        Some(name) => vec![existing(&mut conn, name).await?],
        None => conn.event_targets(TARGETS).await?.into_iter().map(|row| row.name).collect(),
    };
    let (mut rows, mut more) = (Vec::new(), Vec::new());
    for name in names {
        let mut page = conn.dead_deliveries(&name, args.after, i64::from(args.limit) + 1).await?;
        if page.len() > args.limit as usize {
            page.truncate(args.limit as usize);
            more.extend(page.last().map(|row| (name.clone(), row.position)));
        }
        rows.extend(page.into_iter().map(|row| (name.clone(), row)));
    }
    drop(conn);
    db.close().await;
    Ok(match args.common.output {
        Output::Json => {
            let next: serde_json::Map<_, _> = more.into_iter().map(|(name, at)| (name, at.into())).collect();
            let dead: Vec<_> = rows.iter().map(|(name, row)| dead_json(name, row)).collect();
            format!("{:#}\n", json!({"dead": dead, "next": next}))
        }
        Output::Human if rows.is_empty() => "There are no dead events.\n".into(),
        Output::Human => {
            let mut text: String = rows.iter().map(|(name, row)| line(name, row)).collect();
            for (name, at) in more {
                text.push_str(&format!("More: greenroom events dead --target {name} --after {at}\n"));
            }
            text
        }
    })
}

fn dead_json(target: &str, row: &DeliveryRow) -> Value {
    json!({
        "target": target,
        "position": row.position,
        "id": row.id,
        "attempts": row.attempts,
        "writtenAt": Timestamp(row.written_at).to_string(),
        "firstTriedAt": Timestamp(row.since).to_string(),
        "deadAt": row.dead_at.map(|at| Timestamp(at).to_string()),
        "error": row.error.as_deref().unwrap_or_default(),
        "event": serde_json::from_str::<Value>(&row.body).unwrap_or_default(),
    })
}

fn line(target: &str, row: &DeliveryRow) -> String {
    let event: Value = serde_json::from_str(&row.body).unwrap_or_default();
    let kind = event["detail-type"].as_str().unwrap_or("-");
    let name = event["detail"]["event_name"].as_str().unwrap_or("-");
    let at = row.dead_at.map_or_else(|| "-".into(), |at| Timestamp(at).to_string());
    let (id, tries, error) = (&row.id, row.attempts, row.error.as_deref().unwrap_or_default());
    format!("{target}  {}  {id}  {kind}: {name}  dead since {at} after {tries} attempts: {error}\n", row.position)
}

/// The name of a target, if it exists.
async fn existing(conn: &mut Conn, name: String) -> Result<String, CommandError> {
    match conn.event_target(&name).await? {
        Some(_) => Ok(name),
        None => Err(CommandError::NoSuchTarget(name)),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Redrive,
    Drop,
}

/// Changes dead events in log order; the delivering server picks the changes up within a second.
async fn change(args: DeadEventsArgs, change: Change) -> Result<String, CommandError> {
    let db = open(&args.common.store).await?;
    let target = existing(&mut db.read().await?, args.target).await?;
    let mut wanted: HashSet<_> = args.id.into_iter().collect();
    let (mut after, mut count) = (0, 0);
    loop {
        let mut tx = db.write().await?;
        let page = tx.dead_deliveries(&target, after, BATCH).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        for row in page {
            if !args.all && !wanted.remove(&row.id) {
                continue;
            }
            let done = match change {
                Change::Redrive => tx.redrive_delivery(&target, row.position, Clock::System.now().0).await?,
                Change::Drop => tx.drop_delivery(&target, row.position).await?,
            };
            count += i64::from(done);
        }
        tx.commit().await?;
    }
    db.close().await;
    if let Some(id) = wanted.into_iter().next() {
        return Err(CommandError::NotDead { id, target });
    }
    let word = if change == Change::Redrive { "sent again" } else { "forgotten" };
    Ok(done(&args.common, &target, count, word))
}

fn done(args: &EventsArgs, target: &str, count: i64, word: &str) -> String {
    match args.output {
        Output::Json => format!("{:#}\n", json!({"target": target, "events": count, "done": word})),
        Output::Human if count == 1 => format!("1 event is {word} ({target}).\n"),
        Output::Human => format!("{count} events are {word} ({target}).\n"),
    }
}

async fn forget(args: ForgetArgs) -> Result<String, CommandError> {
    let db = open(&args.common.store).await?;
    let now = db.lease_time(&Clock::System).await?;
    let mut tx = db.write().await?;
    let Some(row) = tx.event_target(&args.target).await? else { return Err(CommandError::NoSuchTarget(args.target)) };
    if row.lease_ends_at > now.0 {
        return Err(CommandError::TargetInUse(args.target));
    }
    let counts = tx.delivery_counts(&args.target).await?;
    tx.forget_event_target(&args.target).await?;
    tx.commit().await?;
    db.close().await;
    Ok(match args.common.output {
        Output::Json => {
            format!(
                "{:#}\n",
                json!({"target": args.target, "events": counts.parked + counts.dead, "done": "forgotten"})
            )
        }
        Output::Human => format!("The target {} is forgotten.\n", args.target),
    })
}
