//! The official Rust SDK against the service, without a socket, on both engines: all forty operations.

#[path = "support/engines.rs"]
#[expect(dead_code, reason = "the server opens the store itself")]
mod engines;
#[expect(dead_code, reason = "the SDK ends sessions by deleting stages")]
#[path = "support/participants.rs"]
mod participants;

use aws_credential_types::Credentials;
use aws_sdk_ivsrealtime::config::{BehaviorVersion, Region, SharedCredentialsProvider};
use aws_sdk_ivsrealtime::error::ProvideErrorMetadata;
use aws_sdk_ivsrealtime::types::{
    ChannelDestinationConfiguration, CompositionState, DestinationConfiguration, EventName, IngestConfigurationState,
    IngestProtocol, ParticipantState, ParticipantTokenConfiguration, ReplicationState, S3DestinationConfiguration,
    S3StorageConfiguration, Video,
};
use aws_sdk_ivsrealtime::{Client, Config};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use axum::body::Body;
use clap::Parser as _;
use engines::Engine;
use greenroom::app::OperationContext;
use greenroom::clock::{Clock, Timestamp};
use greenroom::config::{ServeArgs, Url};
use greenroom::domain::participant::Client as ClientInfo;
use greenroom::domain::stage_state::{NewParticipant, ParticipantCommand};
use greenroom::http::HttpService;
use greenroom::ids::Ids;
use greenroom::model::arn::Scope;
use greenroom::model::participant::{ParticipantAttributes, ParticipantProtocol};
use greenroom::model::stage::StageArn;
use greenroom::server::Server;
use http_body_util::BodyExt as _;
use std::time::Duration;

/// Sends the SDK's requests to the service in process.
#[derive(Clone, Debug)]
struct InProcess(HttpService);

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let request = request.map(|body| Body::from(body.bytes().unwrap_or_default().to_vec()));
            let response = service.respond(request).await;
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.map_err(|error| ConnectorError::io(error.into()))?.to_bytes();
            let response = axum::http::Response::from_parts(parts, SdkBody::from(bytes));
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

impl HttpClient for InProcess {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-central-1";

/// A server on an engine, a clock that stands still, and a client of the SDK.
struct Service {
    server: Server,
    client: Client,
    _engine: Engine,
}

impl Service {
    async fn on(engine: Engine) -> Service {
        let mut args = ServeArgs::parse_from(["greenroom", "--listen", "127.0.0.1:0"]);
        args.store.database_url = engine.url();
        // The SDK signs by the machine's clock, and the server's stands still.
        args.clock_skew_seconds = u32::MAX;
        if let Url::Postgres(_) = args.store.database_url {
            args.store.master_key = Some("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".to_owned().into());
        }
        let clock = Clock::manual(Timestamp(1_795_392_000_000));
        let server = Server::start(args, clock, Ids::seeded(42)).await.unwrap();
        let credentials = Credentials::from_keys(ACCOUNT, "test", None);
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url("http://greenroom.test")
            .http_client(InProcess(server.service()))
            .build();
        Service { client: Client::from_conf(config), server, _engine: engine }
    }

    fn ctx(&self) -> OperationContext {
        let scope = Scope { account: ACCOUNT.into(), region: REGION.into() };
        OperationContext::new(self.server.app.clone(), scope)
    }

    async fn join(&self, stage: &str, participant: &str) -> String {
        let new = NewParticipant {
            id: participant.into(),
            user_id: "alice".into(),
            attributes: ParticipantAttributes::default(),
            client: ClientInfo { browser_name: "Firefox".into(), ..ClientInfo::default() },
            protocol: ParticipantProtocol::Whip,
            ingest_configuration_id: None,
            redundant_ingest: false,
            source: None,
        };
        participants::join(&self.ctx(), &StageArn::from(stage), new).await.unwrap()
    }

    async fn act(&self, stage: &str, participant: &str, command: ParticipantCommand) {
        participants::act(&self.ctx(), &StageArn::from(stage), participant, command).await.unwrap();
    }

    async fn stage(&self, name: &str) -> String {
        self.client.create_stage().name(name).send().await.unwrap().stage.unwrap().arn
    }
}

/// Runs a check on a server of each engine.
async fn each(check: impl AsyncFn(&Service)) {
    for engine in Engine::both().await {
        check(&Service::on(engine).await).await;
    }
}

/// The exception that a call ended with.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(answer: Result<T, E>) -> String {
    answer.map_err(|error| error.code().unwrap_or_default().to_owned()).unwrap_err()
}

#[tokio::test]
async fn stages_tokens_and_tags() {
    each(async |service| {
        let client = &service.client;
        let configuration = ParticipantTokenConfiguration::builder().user_id("alice").duration(30).build();
        let created = client.create_stage().name("one").participant_token_configurations(configuration).send().await;
        let created = created.unwrap();
        let arn = created.stage.unwrap().arn;
        assert_eq!(created.participant_tokens.unwrap()[0].duration, Some(30));
        let token = client.create_participant_token().stage_arn(&arn).send().await.unwrap().participant_token.unwrap();
        assert_eq!(token.token().unwrap().split('.').count(), 3);
        assert!(!format!("{:?}", service.server.app).contains(token.token().unwrap()));

        client.tag_resource().resource_arn(&arn).tags("team", "video").tags("a b", "c/d").send().await.unwrap();
        client.untag_resource().resource_arn(&arn).tag_keys("a b").send().await.unwrap();
        let tags = client.list_tags_for_resource().resource_arn(&arn).send().await.unwrap().tags;
        assert_eq!(tags.into_iter().collect::<Vec<_>>(), [("team".to_owned(), "video".to_owned())]);

        let stage = client.update_stage().arn(&arn).name("two").send().await.unwrap().stage.unwrap();
        assert_eq!(stage.name.as_deref(), Some("two"));
        let stage = client.get_stage().arn(&arn).send().await.unwrap().stage.unwrap();
        assert_eq!((stage.name.as_deref(), stage.active_session_id.as_deref()), (Some("two"), Some("")));
        service.server.app.clock().advance(Duration::from_millis(1));
        service.stage("three").await;
        let pages = client.list_stages().into_paginator().page_size(1).send().collect::<Result<Vec<_>, _>>().await;
        let names: Vec<_> = pages.unwrap().into_iter().flat_map(|page| page.stages).map(|stage| stage.name).collect();
        assert_eq!(names, [Some("two".to_owned()), Some("three".to_owned())]);

        client.delete_stage().arn(&arn).send().await.unwrap();
        assert_eq!(code(client.get_stage().arn(&arn).send().await), "ResourceNotFoundException");
        assert_eq!(code(client.create_stage().name("a b").send().await), "ValidationException");
        client.revoke_connection_token().token_id("connection-1").send().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn sessions_participants_events_and_replication() {
    each(async |service| {
        let client = &service.client;
        let (stage, other) = (service.stage("one").await, service.stage("two").await);
        let session = service.join(&stage, "alice1").await;
        service.act(&stage, "alice1", ParticipantCommand::Publish(None)).await;
        service.join(&stage, "bob1").await;
        service.act(&stage, "bob1", ParticipantCommand::Subscribe("alice1".into())).await;

        let shown = client.get_stage_session().stage_arn(&stage).session_id(&session).send().await.unwrap();
        assert!(shown.stage_session.unwrap().end_time.is_none());
        let sessions = client.list_stage_sessions().stage_arn(&stage).send().await.unwrap().stage_sessions;
        assert_eq!(sessions[0].session_id.as_deref(), Some(session.as_str()));

        let start = client.start_participant_replication().source_stage_arn(&stage).destination_stage_arn(&other);
        start.participant_id("alice1").reconnect_window_seconds(30).send().await.unwrap();
        let replicas = async || {
            let list = client.list_participant_replicas().source_stage_arn(&stage).participant_id("alice1");
            list.send().await.unwrap().replicas
        };
        assert_eq!(replicas().await[0].replication_state, ReplicationState::Active);
        service.act(&stage, "alice1", ParticipantCommand::Unpublish).await;
        service.server.app.clock().advance(Duration::from_secs(29));
        service.act(&stage, "alice1", ParticipantCommand::Publish(None)).await;
        service.server.app.clock().advance(Duration::from_secs(60));
        assert_eq!(replicas().await[0].replication_state, ReplicationState::Active, "it came back in time");
        let stop = client.stop_participant_replication().source_stage_arn(&stage).destination_stage_arn(&other);
        stop.participant_id("alice1").send().await.unwrap();
        assert_eq!(replicas().await[0].replication_state, ReplicationState::Stopped);

        client.disconnect_participant().stage_arn(&stage).participant_id("alice1").send().await.unwrap();
        let get = client.get_participant().stage_arn(&stage).session_id(&session).participant_id("alice1");
        let alice = get.send().await.unwrap().participant.unwrap();
        assert_eq!((alice.state, alice.published), (Some(ParticipantState::Disconnected), true));
        assert_eq!(alice.browser_name.as_deref(), Some("Firefox"));
        let list = client.list_participants().stage_arn(&stage).session_id(&session);
        let connected = list.filter_by_state(ParticipantState::Connected).send().await.unwrap().participants;
        assert_eq!(connected.iter().map(|p| p.participant_id.as_deref()).collect::<Vec<_>>(), [Some("bob1")]);
        let list = client.list_participant_events().stage_arn(&stage).session_id(&session).participant_id("alice1");
        let events: Vec<_> = list.send().await.unwrap().events.into_iter().filter_map(|event| event.name).collect();
        let expected = [
            EventName::Joined,
            EventName::PublishStarted,
            EventName::ReplicationStarted,
            EventName::PublishStopped,
            EventName::PublishStarted,
            EventName::ReplicationStopped,
            EventName::PublishStopped,
            EventName::Left,
        ];
        assert_eq!(events, expected);
    })
    .await;
}

#[tokio::test]
async fn configurations_and_public_keys() {
    each(async |service| {
        let client = &service.client;
        let stage = service.stage("one").await;

        let create = client.create_ingest_configuration().ingest_protocol(IngestProtocol::Rtmps).stage_arn(&stage);
        let ingest = create.redundant_ingest(true).send().await.unwrap().ingest_configuration.unwrap();
        assert_eq!(ingest.redundant_ingest_credentials().len(), 2);
        let shown = client.get_ingest_configuration().arn(&ingest.arn).send().await.unwrap();
        assert_eq!(shown.ingest_configuration.unwrap().stream_key, ingest.stream_key);
        let update = client.update_ingest_configuration().arn(&ingest.arn).stage_arn("").send().await.unwrap();
        assert_eq!(update.ingest_configuration.unwrap().stage_arn, "");
        let list = client.list_ingest_configurations().filter_by_state(IngestConfigurationState::Inactive);
        assert_eq!(list.send().await.unwrap().ingest_configurations.len(), 1);
        client.delete_ingest_configuration().arn(&ingest.arn).send().await.unwrap();

        let pem = "-----BEGIN PUBLIC KEY-----\n\
            MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE1yyeQY+0BB5QjG/KjjF9x56k7zYnz1m/\n\
            /NNYeFvm4zlcMHK+jflwHa3ocmQwmPbeN2vF9VAhGMhpy9Hp47eZDrp5wx0ZAon7\n\
            OEGaWXPR0JSijK8p/TYIfm7vubUP122R\n\
            -----END PUBLIC KEY-----\n";
        let key = client.import_public_key().public_key_material(pem).name("k").send().await.unwrap();
        let key = key.public_key.unwrap();
        let arn = key.arn.unwrap();
        assert_eq!(code(client.import_public_key().public_key_material(pem).send().await), "ConflictException");
        let shown = client.get_public_key().arn(&arn).send().await.unwrap().public_key.unwrap();
        assert_eq!((shown.fingerprint, shown.public_key_material.as_deref()), (key.fingerprint, Some(pem)));
        assert_eq!(client.list_public_keys().send().await.unwrap().public_keys.len(), 1);
        client.delete_public_key().arn(&arn).send().await.unwrap();
        assert_eq!(code(client.delete_public_key().arn(&arn).send().await), "ResourceNotFoundException");
    })
    .await;
}

#[tokio::test]
async fn compositions_and_what_they_use() {
    each(async |service| {
        let client = &service.client;
        let stage = service.stage("one").await;
        let video = Video::builder().width(1920).height(1080).framerate(60.0).build();
        let encoder = client.create_encoder_configuration().video(video).send().await.unwrap();
        let encoder = encoder.encoder_configuration.unwrap().arn;
        let bucket = S3StorageConfiguration::builder().bucket_name("recordings").build().unwrap();
        let storage = client.create_storage_configuration().s3(bucket).send().await.unwrap();
        let storage = storage.storage_configuration.unwrap().arn;
        let shown = client.get_encoder_configuration().arn(&encoder).send().await.unwrap();
        assert_eq!(shown.encoder_configuration.unwrap().video.unwrap().bitrate, Some(2_500_000));
        let shown = client.get_storage_configuration().arn(&storage).send().await.unwrap();
        assert_eq!(shown.storage_configuration.unwrap().s3.unwrap().bucket_name, "recordings");
        assert_eq!(client.list_encoder_configurations().send().await.unwrap().encoder_configurations.len(), 1);
        assert_eq!(client.list_storage_configurations().send().await.unwrap().storage_configurations.len(), 1);

        let s3 = S3DestinationConfiguration::builder().storage_configuration_arn(&storage);
        let s3 = s3.encoder_configuration_arns(&encoder).build().unwrap();
        let channel = format!("arn:aws:ivs:{REGION}:{ACCOUNT}:channel/abcABCdefDEg");
        let channel = ChannelDestinationConfiguration::builder().channel_arn(channel).build().unwrap();
        let start = async || {
            let start = client.start_composition().stage_arn(&stage).idempotency_token("once");
            let start = start.destinations(DestinationConfiguration::builder().s3(s3.clone()).build());
            let start = start.destinations(DestinationConfiguration::builder().channel(channel.clone()).build());
            start.send().await.unwrap().composition.unwrap()
        };
        let composition = start().await;
        assert_eq!((start().await.arn, composition.state), (composition.arn.clone(), CompositionState::Starting));
        let state = async || {
            let shown = client.get_composition().arn(&composition.arn).send().await;
            shown.map(|shown| shown.composition.unwrap().state)
        };
        let clock = service.server.app.clock();
        clock.advance(Duration::from_secs(2));
        assert_eq!(state().await.unwrap(), CompositionState::Active);
        assert_eq!(code(client.delete_encoder_configuration().arn(&encoder).send().await), "ConflictException");
        assert_eq!(code(client.delete_storage_configuration().arn(&storage).send().await), "ConflictException");
        client.stop_composition().arn(&composition.arn).send().await.unwrap();
        assert_eq!(state().await.unwrap(), CompositionState::Stopping);
        clock.advance(Duration::from_secs(1));
        assert_eq!(state().await.unwrap(), CompositionState::Stopped);
        let list = client.list_compositions().filter_by_encoder_configuration_arn(&encoder).send().await.unwrap();
        assert_eq!(list.compositions.len(), 1);
        client.delete_encoder_configuration().arn(&encoder).send().await.unwrap();
        client.delete_storage_configuration().arn(&storage).send().await.unwrap();
        clock.advance(Duration::from_secs(300));
        assert_eq!(code(state().await), "ResourceNotFoundException");
    })
    .await;
}

#[tokio::test]
async fn a_composition_ends_a_minute_after_its_last_publisher() {
    each(async |service| {
        let client = &service.client;
        let stage = service.stage("one").await;
        service.join(&stage, "alice1").await;
        service.act(&stage, "alice1", ParticipantCommand::Publish(None)).await;
        let channel = format!("arn:aws:ivs:{REGION}:{ACCOUNT}:channel/abcABCdefDEg");
        let channel = ChannelDestinationConfiguration::builder().channel_arn(channel).build().unwrap();
        let start = client.start_composition().stage_arn(&stage);
        let start = start.destinations(DestinationConfiguration::builder().channel(channel).build());
        let arn = start.send().await.unwrap().composition.unwrap().arn;
        let composition = async || client.get_composition().arn(&arn).send().await.unwrap().composition.unwrap();
        let clock = service.server.app.clock();
        clock.advance(Duration::from_secs(3600));
        assert_eq!(composition().await.state, CompositionState::Active);
        service.act(&stage, "alice1", ParticipantCommand::Leave).await;
        clock.advance(Duration::from_secs(59));
        assert_eq!(composition().await.state, CompositionState::Active);
        clock.advance(Duration::from_secs(10));
        // Nobody looked while it ended; a publisher who comes now is too late.
        service.join(&stage, "alice1").await;
        service.act(&stage, "alice1", ParticipantCommand::Publish(None)).await;
        let ended = composition().await;
        assert_eq!(ended.state, CompositionState::Stopped);
        assert_eq!(ended.end_time.unwrap().secs() - ended.start_time.unwrap().secs(), 3600 + 60 + 1);
    })
    .await;
}

#[test]
fn the_sdk_calls_every_operation_of_the_table() {
    let source = include_str!("sdk.rs");
    for operation in greenroom::api::operations::OPERATIONS {
        let mut call = String::from(".");
        for c in operation.name.chars() {
            if c.is_ascii_uppercase() && call.len() > 1 {
                call.push('_');
            }
            call.push(c.to_ascii_lowercase());
        }
        assert!(source.contains(&format!("{call}()")), "{} is not called here", operation.name);
    }
}
