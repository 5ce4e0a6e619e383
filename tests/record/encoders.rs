//! Encoders: admission by stream key, the state of their ingest configurations, redundant ingest, and relaying between nodes.

use crate::cluster::{Node, code, from_json, on_each_engine, on_postgres, placed_here, scope, subscribe, verified};
use crate::recordings::recording_stage;
use greenroom::app::admission::{Purpose, admit};
use greenroom::app::connections::{self, Placement};
use greenroom::app::encoders::{self, EncoderLogin};
use greenroom::app::{ingest_configurations, recordings};
use greenroom::domain::admission::{EncoderRole, Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use greenroom::domain::participant::Client;
use greenroom::model::arn::Scope;
use greenroom::model::fault::Fault;
use greenroom::model::ingest_configuration::{IngestConfiguration, IngestProtocol, StreamKey};
use greenroom::model::participant::{EventErrorCode, ParticipantProtocol};
use greenroom::model::stage::StageArn;
use serde_json::{Value, json};
use std::time::Duration;

const ENCODED: [&str; 4] = ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"];

/// Creates an ingest configuration of a stage.
pub async fn ingest(node: &Node, stage: &str, more: Value) -> IngestConfiguration {
    let mut input = json!({
        "stageArn": StageArn::new(&scope(), stage), "ingestProtocol": "RTMPS", "userId": "camera", "attributes": {"k": "v"},
    });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ingest_configurations::create(node.ctx(), from_json(input)).await.unwrap().ingest_configuration.unwrap()
}

/// The stage and the state of a configuration.
pub async fn state(node: &Node, ingest: &IngestConfiguration) -> (String, &'static str) {
    let shown = ingest_configurations::get(node.ctx(), from_json(json!({"arn": ingest.arn}))).await.unwrap();
    let shown = shown.ingest_configuration.unwrap();
    (shown.stage_arn.0, shown.state.as_str())
}

pub async fn update(node: &Node, ingest: &IngestConfiguration, change: Value) -> Result<IngestConfiguration, Fault> {
    let mut input = json!({"arn": ingest.arn});
    input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let updated = ingest_configurations::update(node.ctx(), from_json(input)).await?;
    Ok(updated.ingest_configuration.unwrap())
}

async fn login(node: &Node, key: &str, protocol: IngestProtocol) -> Result<VerifiedToken, SignalingError> {
    let client = Client { browser_name: "OBS".into(), ..Client::default() };
    let stream_key = StreamKey(key.to_owned());
    encoders::identify(&node.0, EncoderLogin { stream_key, protocol, client }).await
}

/// The identity of the encoder with the key of a configuration.
async fn identity(node: &Node, ingest: &IngestConfiguration) -> VerifiedToken {
    login(node, &ingest.stream_key, IngestProtocol::Rtmps).await.unwrap()
}

/// The identities of two redundant encoders and of their virtual participant.
async fn redundant(node: &Node, ingest: &IngestConfiguration) -> [VerifiedToken; 3] {
    let credentials = ingest.redundant_ingest_credentials.as_ref().unwrap();
    let key = |n: usize| credentials[n].stream_key.clone().unwrap();
    let first = login(node, &key(0), IngestProtocol::Rtmps).await.unwrap();
    let second = login(node, &key(1), IngestProtocol::Rtmps).await.unwrap();
    let seen = encoders::virtual_participant(&first).unwrap();
    assert_eq!(Some(&seen), encoders::virtual_participant(&VerifiedToken { ..first.clone() }).as_ref());
    [first, second, seen]
}

/// Records the error of an encoder that is refused, as its connection does.
async fn refused(node: &Node, token: &VerifiedToken, id: &str) -> SignalingErrorCode {
    let error = node.open(token, Intent::Publish, id).await.unwrap_err();
    connections::record_error(&node.0, token, &Intent::Publish, &error).await;
    error.code
}

#[tokio::test]
async fn an_encoder_is_the_participant_of_its_configuration_which_is_active_while_it_publishes() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let camera = ingest(&node, &stage, json!({})).await;
        let arn = StageArn::new(&scope(), &stage).0;
        let token = identity(&node, &camera).await;
        assert_eq!((&token.participant, &token.stage, &*token.user_id), (&camera.participant_id.0, &stage, "camera"));
        assert_eq!(node.open(&token, Intent::Publish, "c").await, placed_here(None));
        assert_eq!(state(&node, &camera).await, (arn.clone(), "INACTIVE"), "no media yet");
        let row = node.participant(&stage, &token.participant).await;
        assert_eq!((row.protocol, row.client.0.browser_name.as_str()), (ParticipantProtocol::Rtmps, "OBS"));
        assert_eq!((row.attributes.0["k"].as_str(), row.redundant_ingest), ("v", false));
        assert!(camera.arn.ends_with(row.ingest_configuration_id.as_deref().unwrap()));
        node.started(&token, "c").await;
        assert_eq!(state(&node, &camera).await, (arn.clone(), "ACTIVE"));
        let row = node.participant(&stage, &token.participant).await;
        assert_eq!((row.protocol, row.publishing), (ParticipantProtocol::Rtmps, true));
        assert_eq!(node.view(&stage).await.participants.len(), 1);
        let viewer = verified(&node, &stage, "viewer");
        assert_eq!(node.find(&viewer, subscribe(&token.participant)).await, placed_here(Some("c")));
        node.ended(&token, "c").await;
        assert_eq!(state(&node, &camera).await, (arn, "INACTIVE"));
        assert_eq!(node.event_names(&stage, &token.participant).await, ENCODED);
        node.run(&token, Intent::Publish, "again").await;
        let failed = Some(EventErrorCode::BFramePresent);
        connections::ended(&node.0, &token, "again", failed).await.unwrap();
        let events = node.event_names(&stage, &token.participant).await;
        assert!(events.contains(&"PUBLISH_ERROR B_FRAME_PRESENT".to_owned()), "{events:?}");
        assert_eq!(state(&node, &camera).await.1, "INACTIVE");
    })
    .await;
}

#[tokio::test]
async fn a_stream_key_that_is_not_exactly_that_of_an_attached_configuration_is_refused() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let camera = ingest(&node, &stage, json!({})).await;
        let key = camera.stream_key.0.clone();
        let two = ingest(&node, &stage, json!({"redundantIngest": true})).await;
        let keys = [
            String::new(),
            "rt".to_owned(),
            "rt_123456789012_us-west-2_x_y".to_owned(),
            "rt_123456789012_us-west-2_\u{0}_y".to_owned(),
            "rt_\u{661}_us-west-2_x_y".to_owned(),
            key[..key.len() - 1].to_owned(),
            format!("{key}x"),
            key.replace("us-west-2", "eu-west-1"),
            key.replace("123456789012", "999999999999"),
            two.stream_key.0.clone(),
        ];
        for key in keys {
            assert_eq!(
                code(login(&node, &key, IngestProtocol::Rtmps).await),
                SignalingErrorCode::InvalidStreamKey,
                "{key}"
            );
        }
        let attached = identity(&node, &camera).await;
        update(&node, &camera, json!({"stageArn": ""})).await.unwrap();
        let error = login(&node, &key, IngestProtocol::Rtmps).await.unwrap_err();
        assert_eq!(error.code, SignalingErrorCode::InvalidStreamKey);
        assert!(error.message.contains("attached to no stage"), "{error}");
        assert_eq!(refused(&node, &attached, "c").await, SignalingErrorCode::InvalidStreamKey, "detached meanwhile");
        let toggled = update(&node, &camera, json!({"stageArn": attached_arn(&stage), "redundantIngest": true})).await;
        assert_eq!(refused(&node, &attached, "c").await, SignalingErrorCode::InvalidStreamKey, "redundant meanwhile");
        let [first, ..] = redundant(&node, &toggled.unwrap()).await;
        update(&node, &camera, json!({"redundantIngest": false})).await.unwrap();
        assert_eq!(refused(&node, &first, "c").await, SignalingErrorCode::InvalidStreamKey, "single meanwhile");
        assert!(node.sessions(&stage).await.is_empty());
    })
    .await;
}

pub fn attached_arn(stage: &str) -> StageArn {
    StageArn::new(&scope(), stage)
}

#[tokio::test]
async fn rtmp_needs_a_configuration_of_that_protocol() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let secure = ingest(&node, &stage, json!({})).await;
        let plain = ingest(&node, &stage, json!({"ingestProtocol": "RTMP", "insecureIngest": true})).await;
        node.run(&identity(&node, &secure).await, Intent::Publish, "c").await;
        node.ended(&identity(&node, &secure).await, "c").await;
        let token = login(&node, &secure.stream_key, IngestProtocol::Rtmp).await.unwrap();
        assert_eq!(refused(&node, &token, "d").await, SignalingErrorCode::InvalidProtocol);
        let last = node.event_names(&stage, &token.participant).await.pop();
        assert_eq!(last.as_deref(), Some("PUBLISH_ERROR INVALID_PROTOCOL"));
        for (protocol, expected) in
            [(IngestProtocol::Rtmp, ParticipantProtocol::Rtmp), (IngestProtocol::Rtmps, ParticipantProtocol::Rtmps)]
        {
            let token = login(&node, &plain.stream_key, protocol).await.unwrap();
            node.run(&token, Intent::Publish, "e").await;
            assert_eq!(node.participant(&stage, &token.participant).await.protocol, expected);
            node.ended(&token, "e").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_and_a_participant_have_one_user() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let camera = ingest(&node, &stage, json!({})).await;
        let token = identity(&node, &camera).await;
        node.run(&token, Intent::Publish, "c").await;
        assert_eq!(code(node.find(&token, Intent::Publish).await), SignalingErrorCode::StreamKeyInUse);
        assert_eq!(refused(&node, &token, "d").await, SignalingErrorCode::StreamKeyInUse);
        let last = node.event_names(&stage, &token.participant).await.pop();
        assert_eq!(last.as_deref(), Some("PUBLISH_ERROR REUSE_OF_STREAM_KEY"));
        let holder = verified(&node, &stage, &token.participant);
        for intent in [Intent::Events, Intent::Publish] {
            assert_eq!(code(node.open(&holder, intent, "x").await), SignalingErrorCode::TokenNotAllowed);
        }
        assert_eq!(node.rows(&stage, &token.participant).await.len(), 1);
        node.ended(&token, "c").await;
        node.open(&holder, Intent::Events, "x").await.unwrap();
        assert_eq!(refused(&node, &token, "d").await, SignalingErrorCode::StreamKeyInUse);
        node.ended(&holder, "x").await;
        node.run(&token, Intent::Publish, "e").await;
        assert_eq!(state(&node, &camera).await.1, "ACTIVE", "the record is the encoder's again");
    })
    .await;
}

#[tokio::test]
async fn disconnecting_an_encoder_detaches_its_configuration_and_does_not_ban_its_participant() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let camera = ingest(&node, &stage, json!({})).await;
        let token = identity(&node, &camera).await;
        node.run(&token, Intent::Publish, "c").await;
        node.disconnect(&stage, &token.participant).await.unwrap();
        assert_eq!(state(&node, &camera).await, (String::new(), "INACTIVE"));
        assert!(node.rows(&stage, &token.participant).await.is_empty());
        assert_eq!(node.event_names(&stage, &token.participant).await, ENCODED);
        // Once more, without a configuration that is attached: this bans the holders of tokens, not the encoder.
        node.disconnect(&stage, &token.participant).await.unwrap();
        update(&node, &camera, json!({"stageArn": attached_arn(&stage)})).await.unwrap();
        node.run(&identity(&node, &camera).await, Intent::Publish, "d").await;
        assert_eq!(state(&node, &camera).await.1, "ACTIVE");
    })
    .await;
}

#[tokio::test]
async fn changes_of_a_configuration_end_its_encoder() {
    on_each_engine(&[], async |_, node| {
        let (stage, other) = (node.stage().await, node.stage().await);
        let camera = ingest(&node, &stage, json!({})).await;
        let token = identity(&node, &camera).await;
        node.run(&token, Intent::Publish, "c").await;
        for change in [json!({"stageArn": ""}), json!({"redundantIngest": true})] {
            let error = update(&node, &camera, change).await.unwrap_err();
            assert_eq!(error.status(), 409, "{error}");
        }
        node.ended(&token, "c").await;
        node.open(&token, Intent::Publish, "d").await.unwrap();
        update(&node, &camera, json!({"stageArn": attached_arn(&other)})).await.unwrap();
        assert!(node.rows(&stage, &token.participant).await.is_empty(), "connected, but not active yet");
        assert_eq!(node.event_names(&stage, &token.participant).await.last().unwrap(), "LEFT");
        let missing = update(&node, &camera, json!({"stageArn": attached_arn("missing")})).await.unwrap_err();
        assert_eq!(missing.status(), 404, "{missing}");
        let token = identity(&node, &camera).await;
        assert_eq!(token.stage, other);
        node.run(&token, Intent::Publish, "e").await;
        let delete = async |force: bool| {
            let input = from_json(json!({"arn": camera.arn, "force": force}));
            ingest_configurations::delete(node.ctx(), input).await
        };
        assert_eq!(delete(false).await.unwrap_err().status(), 409);
        delete(true).await.unwrap();
        assert!(node.rows(&other, &token.participant).await.is_empty());
        assert_eq!(node.event_names(&other, &token.participant).await, ENCODED);
        assert_eq!(
            code(login(&node, &camera.stream_key, IngestProtocol::Rtmps).await),
            SignalingErrorCode::InvalidStreamKey
        );
        let pending = ingest(&node, &other, json!({})).await;
        let token = identity(&node, &pending).await;
        node.open(&token, Intent::Publish, "f").await.unwrap();
        ingest_configurations::delete(node.ctx(), from_json(json!({"arn": pending.arn}))).await.unwrap();
        assert!(node.rows(&other, &token.participant).await.is_empty(), "connected, but not active yet");
    })
    .await;
}

#[tokio::test]
async fn a_configuration_is_inactive_however_its_encoder_ended() {
    on_each_engine(&["--session-silent-seconds", "60"], async |cluster, node| {
        let stage = node.stage().await;
        let camera = ingest(&node, &stage, json!({})).await;
        let token = identity(&node, &camera).await;
        node.run(&token, Intent::Publish, "c").await;
        // Its node dies. A store that is embedded has one node at a time.
        node.0.db().close().await;
        drop(node);
        let another = cluster.node("http://another").await;
        cluster.advance_with_heartbeats(60, &[&another]).await;
        assert_eq!(state(&another, &camera).await.1, "INACTIVE");
        assert_eq!(another.event_names(&stage, &token.participant).await, ENCODED);
        another.run(&token, Intent::Publish, "d").await;
        assert_eq!(state(&another, &camera).await.1, "ACTIVE");
        another.delete(&stage).await.unwrap();
        assert_eq!(state(&another, &camera).await, (String::new(), "INACTIVE"));
    })
    .await;
}

#[tokio::test]
async fn an_encoder_does_not_wait_for_a_dead_node_to_be_noticed() {
    on_postgres(&[], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let stage = one.stage().await;
        let camera = ingest(&one, &stage, json!({})).await;
        let token = identity(&one, &camera).await;
        one.run(&token, Intent::Publish, "c").await;
        assert_eq!(code(two.find(&token, Intent::Publish).await), SignalingErrorCode::StreamKeyInUse);
        for _ in 0..60 {
            cluster.clock.advance(Duration::from_secs(1));
            greenroom::app::nodes::heartbeat(&two.0).await.unwrap();
        }
        assert_eq!(two.find(&token, Intent::Publish).await, placed_here(None));
        assert_eq!(two.open(&token, Intent::Publish, "d").await, placed_here(None), "no sweep was necessary");
        let rows = two.rows(&stage, &token.participant).await;
        assert_eq!(rows.iter().map(|row| &*row.id).collect::<Vec<_>>(), ["d"]);
        two.started(&token, "d").await;
        assert_eq!(state(&two, &camera).await.1, "ACTIVE");
    })
    .await;
}

#[tokio::test]
async fn others_see_the_virtual_participant_of_redundant_encoders() {
    on_each_engine(&["--quotas", "publishers=2"], async |_, node| {
        let stage = recording_stage(&node, json!({})).await;
        let camera = ingest(&node, &stage, json!({"redundantIngest": true})).await;
        let [first, second, seen] = redundant(&node, &camera).await;
        let credentials = camera.redundant_ingest_credentials.as_ref().unwrap();
        for (n, token) in [&first, &second].into_iter().enumerate() {
            assert_eq!(Some(token.participant.as_str()), credentials[n].participant_id.as_deref());
            let role = &token.encoder.as_ref().unwrap().role;
            assert!(matches!(role, EncoderRole::Redundant { index, .. } if *index == n), "{role:?}");
        }
        assert_eq!(seen.participant, camera.participant_id.0);
        node.run(&first, Intent::Publish, "c0").await;
        node.run(&seen, Intent::Publish, "v").await;
        node.run(&second, Intent::Publish, "c1").await;
        let shown: Vec<_> = node.view(&stage).await.participants.into_iter().map(|entry| entry.id).collect();
        assert_eq!(shown, [seen.participant.as_str()]);
        let viewer = verified(&node, &stage, "viewer");
        assert_eq!(node.find(&viewer, subscribe(&seen.participant)).await, placed_here(Some("v")));
        for hidden in [&first, &second] {
            let found = node.find(&viewer, subscribe(&hidden.participant)).await;
            assert_eq!(code(found), SignalingErrorCode::PublisherNotFound);
            assert!(node.participant(&stage, &hidden.participant).await.redundant_ingest);
        }
        assert!(!node.participant(&stage, &seen.participant).await.redundant_ingest);
        let recorded = recordings::open(&node.0).await.unwrap();
        let mut recorded: Vec<_> = recorded.into_iter().map(|open| open.recording.participant).collect();
        let mut expected = vec![first.participant.clone(), second.participant.clone()];
        recorded.sort();
        expected.sort();
        assert_eq!(recorded, expected, "each encoder is recorded, and not what they become");
        // The two and their virtual participant are one publisher.
        node.open(&verified(&node, &stage, "other"), Intent::Publish, "o").await.unwrap();
        let third = verified(&node, &stage, "third");
        assert_eq!(code(node.find(&third, Intent::Publish).await), SignalingErrorCode::QuotaExceeded);
        node.ended(&second, "c1").await;
        node.run(&second, Intent::Publish, "c2").await;
        // Active until the last one has ended.
        node.ended(&first, "c0").await;
        assert_eq!(state(&node, &camera).await.1, "ACTIVE");
        node.ended(&second, "c2").await;
        node.ended(&seen, "v").await;
        assert_eq!(state(&node, &camera).await.1, "INACTIVE");
        node.open(&third, Intent::Publish, "t").await.unwrap();
        assert_eq!(refused(&node, &first, "late").await, SignalingErrorCode::QuotaExceeded);
    })
    .await;
}

#[tokio::test]
async fn disconnecting_one_of_redundant_encoders_disconnects_all() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let camera = ingest(&node, &stage, json!({"redundantIngest": true})).await;
        for which in 0..3 {
            let all = redundant(&node, &camera).await;
            for (token, id) in all.iter().zip(["c0", "c1", "v"]) {
                node.run(token, Intent::Publish, id).await;
            }
            node.disconnect(&stage, &all[which].participant).await.unwrap();
            assert_eq!(state(&node, &camera).await, (String::new(), "INACTIVE"));
            for token in &all {
                assert!(node.rows(&stage, &token.participant).await.is_empty());
            }
            update(&node, &camera, json!({"stageArn": attached_arn(&stage)})).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn the_home_of_the_media_admits_an_encoder_that_another_node_relays() {
    on_postgres(&[], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let stage = one.stage().await;
        let camera = ingest(&one, &stage, json!({"ingestProtocol": "RTMP", "insecureIngest": true})).await;
        one.run(&verified(&one, &stage, "a"), Intent::Publish, "pa").await;
        let token = login(&two, &camera.stream_key, IngestProtocol::Rtmp).await.unwrap();
        let remote = Ok(Placement::Remote("http://one".to_owned()));
        assert_eq!(two.find(&token, Intent::Publish).await, remote);
        assert_eq!(two.open(&token, Intent::Publish, "c").await, remote);
        let relayed = encoders::relay_token(&two.0, &token).await.unwrap();
        let relayed = admit(&one.0, &relayed, Purpose::Join).await.unwrap();
        assert_eq!((&relayed.encoder, &relayed.attributes), (&token.encoder, &token.attributes));
        assert_eq!((&relayed.participant, &*relayed.user_id), (&token.participant, "camera"));
        for intent in [Intent::Events, subscribe("a")] {
            assert!(one.open(&relayed, intent, "x").await.is_err(), "it is only for publishing");
        }
        let kept = encoders::relay_token(&two.0, &token).await.unwrap();
        one.run(&relayed, Intent::Publish, "c").await;
        let row = one.participant(&stage, &token.participant).await;
        assert_eq!((row.protocol, row.client.0.browser_name.as_str()), (ParticipantProtocol::Rtmp, "OBS"));
        assert_eq!(state(&two, &camera).await.1, "ACTIVE");
        assert_eq!(code(two.find(&token, Intent::Publish).await), SignalingErrorCode::StreamKeyInUse);
        two.disconnect(&stage, &token.participant).await.unwrap();
        let late = admit(&one.0, &kept, Purpose::Join).await.unwrap();
        assert_eq!(code(one.open(&late, Intent::Publish, "d").await), SignalingErrorCode::InvalidStreamKey);
        cluster.clock.advance(Duration::from_secs(90));
        assert_eq!(code(admit(&one.0, &kept, Purpose::Join).await), SignalingErrorCode::TokenExpired);
        admit(&one.0, &kept, Purpose::Manage).await.expect("the relaying node can end the connection");
    })
    .await;
}

#[tokio::test]
async fn a_key_of_another_account_does_not_name_resources_of_this_one() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let camera = ingest(&node, &stage, json!({})).await;
        let token = identity(&node, &camera).await;
        let foreign = VerifiedToken { scope: Scope { region: "eu-west-1".into(), ..scope() }, ..token };
        assert_eq!(code(node.open(&foreign, Intent::Publish, "c").await), SignalingErrorCode::StageDeleted);
    })
    .await;
}
