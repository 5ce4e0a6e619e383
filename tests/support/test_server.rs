//! The test server: greenroom with a manual clock, and participants that act by command.
//!
//! It has what the test API does not have: a server without the test API, whose requests take the path of production; a clock
//! that signatures, rate limits and the expiry of access keys follow, too; recordings, the state of ingest configurations, and the end of
//! a session at once; and participants with a given client. New tests that need none of this use the test API.
//!
//! It takes the flags of `greenroom serve`, prints `{"endpoint": …}` once it listens, then reads one JSON command a line
//! and answers each with one line: `{"ok": …}` or `{"error": …}`. At the end of its input it stops.

mod participants;

use clap::Parser;
use greenroom::app::event_log::{self, Event};
use greenroom::app::{OperationContext, nodes, outbox};
use greenroom::clock::{Clock, Timestamp};
use greenroom::config::ServeArgs;
use greenroom::domain::event::Failure;
use greenroom::domain::participant::{Client, CurrentToken};
use greenroom::domain::stage_state::{NewParticipant, ParticipantCommand};
use greenroom::ids::Ids;
use greenroom::model::arn::{Parts, Scope};
use greenroom::model::fault::Fault;
use greenroom::model::ingest_configuration::{IngestConfigurationArn, IngestConfigurationState};
use greenroom::model::participant::{
    EventErrorCode, EventName, ParticipantAttributes, ParticipantProtocol, ParticipantRecordingState,
};
use greenroom::model::stage::StageArn;
use greenroom::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability};
use greenroom::server::Server;
use greenroom::telemetry;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Command {
    Advance {
        seconds: u64,
    },
    Join {
        stage: StageArn,
        participant: String,
        #[serde(default)]
        user_id: String,
        #[serde(default)]
        attributes: ParticipantAttributes,
        protocol: Option<ParticipantProtocol>,
        #[serde(default)]
        client: Client,
    },
    Publish {
        stage: StageArn,
        participant: String,
    },
    Unpublish {
        stage: StageArn,
        participant: String,
    },
    Leave {
        stage: StageArn,
        participant: String,
    },
    Subscribe {
        stage: StageArn,
        participant: String,
        remote: String,
    },
    Unsubscribe {
        stage: StageArn,
        participant: String,
        remote: String,
    },
    Error {
        stage: StageArn,
        participant: String,
        event: EventName,
        code: EventErrorCode,
    },
    Exchange {
        stage: StageArn,
        participant: String,
        #[serde(default)]
        user_id: String,
        #[serde(default)]
        attributes: ParticipantAttributes,
        capabilities: Option<Vec<ParticipantTokenCapability>>,
    },
    Recording {
        stage: StageArn,
        participant: String,
        state: ParticipantRecordingState,
        #[serde(default = "some_name")]
        bucket: String,
        #[serde(default = "some_name")]
        prefix: String,
        failure: Option<Failure>,
    },
    Ingest {
        configuration: IngestConfigurationArn,
        state: IngestConfigurationState,
    },
    EndSession {
        stage: StageArn,
    },
    /// The log after a position, once the outbox was relayed.
    Log {
        #[serde(default)]
        after: i64,
        limit: Option<i64>,
    },
}

/// Of a recording whose bucket and prefix do not matter.
fn some_name() -> String {
    "some-name".into()
}

#[tokio::main]
async fn main() {
    telemetry::start();
    let args = ServeArgs::parse();
    let now = Clock::System.now().whole_seconds();
    let clock = Clock::manual(Timestamp(now.0));
    let server = match Server::start(args, clock, Ids::Random).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("test_server: {error}");
            std::process::exit(1);
        }
    };
    say(&json!({"endpoint": format!("http://{}", server.address)}));
    let app = server.app.clone();
    let (finished, stop) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(server.run(async move {
        let _ = stop.await;
    }));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match serde_json::from_str(&line) {
            Ok(command) => obey(&app, command).await.map_err(|fault| fault.to_string()),
            Err(error) => Err(error.to_string()),
        };
        say(&answer.map_or_else(|error| json!({"error": error}), |ok| json!({"ok": ok})));
    }
    let _ = finished.send(());
    serving.await.expect("the server does not panic");
}

fn say(value: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).expect("standard output is open");
}

fn context(app: &Arc<greenroom::app::App>, arn: &str) -> Result<OperationContext, Fault> {
    let parts = Parts::of(arn).ok_or_else(|| Fault::validation("not an ARN"))?;
    let scope = Scope { account: parts.account.to_owned(), region: parts.region.to_owned() };
    Ok(OperationContext::new(app.clone(), scope))
}

/// Changes the state of an ingest configuration, as an encoder does that starts or stops publishing, without a participant.
async fn set_ingest_state(
    ctx: &OperationContext,
    arn: &IngestConfigurationArn,
    state: IngestConfigurationState,
) -> Result<(), Fault> {
    let id = ctx.scope.own(arn).ok_or_else(|| Fault::not_found(arn))?;
    let mut tx = ctx.write().await?;
    let row = tx.ingest_configuration(&ctx.scope, id).await?.ok_or_else(|| Fault::not_found(arn))?;
    let detached = || Fault::conflict(format!("{} is not attached to a stage", &**arn));
    // Lock order: the stage first.
    tx.lock_stage(&ctx.scope, &row.stage_id.ok_or_else(detached)?).await?;
    let mut row = tx.lock_ingest_configuration(&ctx.scope, id).await?.ok_or_else(|| Fault::not_found(arn))?;
    row.state = state;
    tx.update_ingest_configuration(&ctx.scope, &row).await?;
    Ok(tx.commit().await?)
}

async fn obey(app: &Arc<greenroom::app::App>, command: Command) -> Result<Value, Fault> {
    let act = |stage: StageArn, participant: String, command: ParticipantCommand| async move {
        participants::act(&context(app, &stage)?, &stage, &participant, command).await
    };
    match command {
        Command::Advance { seconds } => {
            app.clock().advance(Duration::from_secs(seconds));
            // Tasks that wait for a time look at the clock.
            app.notifier().notify();
            nodes::heartbeat(app).await?;
            nodes::sweep(app).await?;
            outbox::relay(app).await?;
            outbox::trim(app).await?;
        }
        Command::Join { stage, participant, user_id, attributes, protocol, client } => {
            let new = NewParticipant {
                id: participant,
                user_id,
                attributes,
                client,
                protocol: protocol.unwrap_or(ParticipantProtocol::Unknown),
                ingest_configuration_id: None,
                redundant_ingest: false,
                source: None,
            };
            let session = participants::join(&context(app, &stage)?, &stage, new).await?;
            return Ok(json!({"sessionId": session}));
        }
        Command::Publish { stage, participant } => act(stage, participant, ParticipantCommand::Publish(None)).await?,
        Command::Unpublish { stage, participant } => act(stage, participant, ParticipantCommand::Unpublish).await?,
        Command::Leave { stage, participant } => act(stage, participant, ParticipantCommand::Leave).await?,
        Command::Subscribe { stage, participant, remote } => {
            act(stage, participant, ParticipantCommand::Subscribe(remote)).await?;
        }
        Command::Unsubscribe { stage, participant, remote } => {
            act(stage, participant, ParticipantCommand::Unsubscribe(remote)).await?;
        }
        Command::Error { stage, participant, event, code } => {
            act(stage, participant, ParticipantCommand::Fail(event, code, None)).await?;
        }
        Command::Exchange { stage, participant, user_id, attributes, capabilities } => {
            let both = ParticipantTokenCapability::ALL.to_vec();
            let issued_at = app.clock().now().unix_seconds();
            let token = |capabilities, digest: &str| CurrentToken {
                issued_at,
                expires_at: issued_at + 12 * 3600,
                digest: digest.to_owned(),
                capabilities: ParticipantTokenCapabilities(capabilities),
            };
            let exchange = ParticipantCommand::Exchange {
                user_id,
                attributes,
                before: token(both.clone(), "before"),
                after: token(capabilities.unwrap_or(both), "after"),
            };
            act(stage, participant, exchange).await?;
        }
        Command::Recording { stage, participant, state, bucket, prefix, failure } => {
            let ctx = context(app, &stage)?;
            participants::record(&ctx, &stage, &participant, state, (bucket, prefix), failure).await?;
        }
        Command::Ingest { configuration, state } => {
            set_ingest_state(&context(app, &configuration)?, &configuration, state).await?;
        }
        Command::EndSession { stage } => participants::end_session(&context(app, &stage)?, &stage).await?,
        Command::Log { after, limit } => {
            outbox::relay(app).await?;
            let page = event_log::page(app, after, limit.unwrap_or(1000)).await?;
            let entry = |row: Event| {
                let body: Value = serde_json::from_str(&row.body).expect("what is in the log is JSON");
                json!({"position": row.position, "stageId": row.stage.unwrap_or_default(), "kind": row.kind.as_str(), "body": body})
            };
            return Ok(json!({"events": page.into_iter().map(entry).collect::<Vec<_>>()}));
        }
    }
    Ok(json!({}))
}
