//! Admission of tokens, checked against keys, stages and revocations in the store.

use crate::cluster::{Node, code, from_json, on_each_engine, on_postgres, scope, subscribe};
use crate::tokens::{Key, claims, connection};
use greenroom::app::admission::{Purpose, admit, admit_connection};
use greenroom::app::keys::{self, KeyState, Retirement};
use greenroom::app::{connections, public_keys, tokens};
use greenroom::domain::admission::{Intent, SignalingErrorCode, VerifiedToken};
use greenroom::model::arn::Scope;
use greenroom::model::stage::StageArn;
use serde_json::json;

async fn join(node: &Node, token: &str) -> Result<VerifiedToken, greenroom::domain::admission::SignalingError> {
    admit(&node.0, token, Purpose::Join).await
}

async fn service_token(node: &Node, stage: &str) -> String {
    let input = json!({"stageArn": StageArn::new(&scope(), stage), "userId": "u", "capabilities": ["SUBSCRIBE"]});
    let made = tokens::create(node.ctx(), from_json(input)).await.unwrap().participant_token.unwrap();
    made.token.unwrap().0
}

#[tokio::test]
async fn a_token_of_this_service_is_valid_until_it_expires() {
    on_each_engine(&["--token-leeway-seconds", "5"], async |cluster, node| {
        let stage = node.stage().await;
        let token = service_token(&node, &stage).await;
        let verified = join(&node, &token).await.unwrap();
        assert_eq!(
            (verified.stage.as_str(), verified.user_id.as_str(), verified.self_signed),
            (stage.as_str(), "u", false)
        );
        assert_eq!(verified.capabilities.iter().map(|c| c.as_str()).collect::<Vec<_>>(), ["SUBSCRIBE"]);
        cluster.clock.advance(std::time::Duration::from_secs(12 * 3600 + 4));
        assert!(join(&node, &token).await.is_ok(), "within the allowed clock skew");
        cluster.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(code(join(&node, &token).await), SignalingErrorCode::TokenExpired);
        admit(&node.0, &token, Purpose::Manage).await.expect("a connected participant can end its connections");
        assert_eq!(code(join(&node, "").await), SignalingErrorCode::TokenMissing);
        node.delete(&stage).await.unwrap();
        assert_eq!(code(admit(&node.0, &token, Purpose::Manage).await), SignalingErrorCode::StageDeleted);
    })
    .await;
}

#[tokio::test]
async fn a_key_created_by_another_node_is_known_immediately() {
    on_postgres(&[], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let stage = one.stage().await;
        join(&two, &service_token(&one, &stage).await).await.unwrap();
        keys::rotate(one.0.db(), one.0.secret(), one.0.clock(), one.0.ids()).await.unwrap();
        join(&two, &service_token(&one, &stage).await).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_token_of_a_retired_key_is_rejected_by_every_node_and_its_connection_stays_open() {
    on_postgres(&[], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let (app, stage) = (&one.0, one.stage().await);
        let token = service_token(&one, &stage).await;
        let old = app.signing_key().await.unwrap().id.clone();
        let verified = join(&two, &token).await.unwrap();
        two.run(&verified, Intent::Events, "c").await;
        let retire = async |id: &str| keys::retire(app.db(), app.clock(), id).await.unwrap();
        assert_eq!(retire(&old).await, Retirement::Signing);
        keys::rotate(app.db(), app.secret(), app.clock(), app.ids()).await.unwrap();
        assert!(join(&two, &token).await.is_ok(), "older keys stay valid");
        assert_eq!(retire(&old).await, Retirement::Done);
        for node in [&one, &two] {
            assert_eq!(code(join(node, &token).await), SignalingErrorCode::TokenKeyUnknown);
            assert_eq!(code(admit(&node.0, &token, Purpose::Manage).await), SignalingErrorCode::TokenKeyUnknown);
            join(node, &service_token(node, &stage).await).await.unwrap();
        }
        assert_eq!(one.rows(&stage, &verified.participant).await.len(), 1);
        assert_eq!((retire(&old).await, retire("unknown").await), (Retirement::Already, Retirement::Unknown));
        let published: Vec<_> = app.signing_keys().await.unwrap().iter().map(|key| key.id.clone()).collect();
        let listed = keys::list(app.db()).await.unwrap();
        assert_eq!(listed.iter().map(|key| key.state).collect::<Vec<_>>(), [KeyState::Signing, KeyState::Retired]);
        assert_eq!((published, listed[1].signed_until), (vec![listed[0].id.clone()], Some(listed[0].created_at)));
    })
    .await;
}

#[tokio::test]
async fn a_retired_key_is_rejected_immediately_on_both_engines() {
    on_each_engine(&[], async |_, node| {
        let (app, stage) = (&node.0, node.stage().await);
        let token = service_token(&node, &stage).await;
        let old = app.signing_key().await.unwrap().id.clone();
        join(&node, &token).await.unwrap();
        keys::rotate(app.db(), app.secret(), app.clock(), app.ids()).await.unwrap();
        keys::retire(app.db(), app.clock(), &old).await.unwrap();
        assert_eq!(code(join(&node, &token).await), SignalingErrorCode::TokenKeyUnknown);
    })
    .await;
}

#[tokio::test]
async fn a_self_signed_token_is_valid_for_the_stages_of_its_account_while_its_public_key_exists() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let key = Key::imported(&node).await;
        let token = key.sign(&claims(&stage, "me", 0, json!({"user_id": "u", "attributes": {"k": "v"}})));
        let verified = join(&node, &token).await.unwrap();
        assert_eq!((verified.participant.as_str(), verified.self_signed, verified.digest.len()), ("me", true, 64));
        assert_eq!(verified.attributes.0["k"], "v");
        let another = Key { arn: key.arn.clone(), ..Key::new() };
        assert_eq!(
            code(join(&node, &another.sign(&claims(&stage, "me", 0, json!({})))).await),
            SignalingErrorCode::TokenSignatureInvalid
        );
        for arn in ["unknown", "arn:aws:ivs:us-west-2:123456789012:public-key/unknown", "arn:aws:ivs:::stage/x"] {
            let unknown = Key { arn: arn.into(), ..Key::new() };
            let token = unknown.sign(&claims(&stage, "me", 0, json!({})));
            assert_eq!(code(join(&node, &token).await), SignalingErrorCode::TokenKeyUnknown, "{arn}");
        }
        let input = json!({"arn": key.arn});
        public_keys::delete(node.ctx(), from_json(input)).await.unwrap();
        assert_eq!(code(join(&node, &token).await), SignalingErrorCode::TokenKeyUnknown);
    })
    .await;
}

#[tokio::test]
async fn a_public_key_is_not_valid_for_another_account_or_region() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        for other in [("999999999999", "us-west-2"), ("123456789012", "eu-west-1")] {
            let stranger = Scope { account: other.0.into(), region: other.1.into() };
            let mut key = Key::new();
            let input = json!({"publicKeyMaterial": key.pem});
            let ctx = greenroom::app::OperationContext::new(node.ctx().app, stranger.clone());
            key.arn = public_keys::import(ctx, from_json(input)).await.unwrap().public_key.unwrap().arn.unwrap().0;
            let token = key.sign(&claims(&stage, "me", 0, json!({})));
            assert_eq!(code(join(&node, &token).await), SignalingErrorCode::TokenNotAllowed);
            let mine = stranger.arn(greenroom::model::arn::ResourceKind::Stage, &stage);
            let token = key.sign(&claims(&stage, "me", 0, json!({"resource": mine})));
            assert_eq!(
                code(join(&node, &token).await),
                SignalingErrorCode::StageDeleted,
                "the account has no such stage"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn an_exchange_changes_attributes_and_capabilities_and_supersedes_the_older_token() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let key = Key::imported(&node).await;
        let old = key.sign(&claims(&stage, "me", -60, json!({"user_id": "old"})));
        let less = json!({"user_id": "new", "attributes": {"k": "v"}, "capabilities": {"allow_subscribe": true}});
        let new = key.sign(&claims(&stage, "me", -30, less));
        let holder = join(&node, &old).await.unwrap();
        node.open(&holder, Intent::Events, "e").await.unwrap();
        node.run(&holder, Intent::Publish, "p").await;
        node.run(&holder, subscribe("me"), "s").await;
        let verified = connections::exchange(&node.0, &holder, &new).await.unwrap();
        assert_eq!(
            (verified.user_id.as_str(), verified.expires_at),
            ("new", crate::cluster::START.unix_seconds() + 3570)
        );
        assert_eq!(node.connection_ids(&stage).await, ["e", "s"], "the publish capability and its connection are gone");
        let event_names = node.event_names(&stage, "me").await;
        assert_eq!(event_names[3..], ["TOKEN_EXCHANGED", "PUBLISH_STOPPED"]);
        let session = node.sessions(&stage).await.remove(0).0;
        let event = node.events_in(&stage, &session, "me").await.remove(3);
        let (before, after) = (event.previous_token.unwrap(), event.new_token.unwrap());
        assert_eq!((&*before.user_id.unwrap(), &*after.user_id.unwrap()), ("old", "new"));
        assert_eq!((before.capabilities.unwrap().len(), after.capabilities.unwrap().len()), (2, 1));
        let times = [before.expiration_time.unwrap(), after.expiration_time.unwrap()]
            .map(|time| time.0.0 - crate::cluster::START.0);
        assert_eq!(times, [3_540_000, 3_570_000]);
        let row = node.participant(&stage, "me").await;
        assert_eq!((row.user_id.as_str(), row.attributes.0["k"].as_str()), ("new", "v"));

        assert_eq!(code(join(&node, &old).await), SignalingErrorCode::TokenSuperseded);
        assert_eq!(code(node.open(&holder, subscribe("me"), "x").await), SignalingErrorCode::TokenSuperseded);
        admit(&node.0, &old, Purpose::Manage).await.expect("to end its connections");
        assert_eq!(code(connections::exchange(&node.0, &verified, &old).await), SignalingErrorCode::TokenSuperseded);
        let repeated = connections::exchange(&node.0, &holder, &new).await.unwrap();
        assert_eq!(
            (repeated, node.event_names(&stage, "me").await.len()),
            (verified.clone(), 5),
            "the repetition changes nothing"
        );
        node.ended(&verified, "e").await;
        node.ended(&verified, "s").await;
        join(&node, &old).await.expect("the exchange applies only while the participant is connected");
    })
    .await;
}

#[tokio::test]
async fn an_exchange_is_for_the_same_participant_of_the_same_stage() {
    on_each_engine(&[], async |_, node| {
        let (stage, other) = (node.stage().await, node.stage().await);
        let key = Key::imported(&node).await;
        let holder = join(&node, &key.sign(&claims(&stage, "me", 0, json!({})))).await.unwrap();
        let new = key.sign(&claims(&stage, "me", 1, json!({})));
        assert_eq!(
            code(connections::exchange(&node.0, &holder, &new).await),
            SignalingErrorCode::TokenNotAllowed,
            "not connected"
        );
        node.open(&holder, Intent::Events, "e").await.unwrap();
        for (claims, expected) in [
            (claims(&stage, "you", 0, json!({})), SignalingErrorCode::TokenNotAllowed),
            (claims(&other, "me", 0, json!({})), SignalingErrorCode::TokenNotAllowed),
            (claims(&stage, "me", -1, json!({})), SignalingErrorCode::TokenSuperseded),
            (
                claims(&stage, "me", -3601, json!({"exp": crate::cluster::START.unix_seconds() - 5})),
                SignalingErrorCode::TokenExpired,
            ),
            (claims(&stage, "me", 0, json!({"whip_url": "http://other"})), SignalingErrorCode::TokenNotAllowed),
        ] {
            assert_eq!(code(connections::exchange(&node.0, &holder, &key.sign(&claims)).await), expected, "{claims}");
        }
        let placed_here = service_token(&node, &stage).await;
        assert_eq!(
            code(connections::exchange(&node.0, &holder, &placed_here).await),
            SignalingErrorCode::TokenNotAllowed
        );
        let service = join(&node, &placed_here).await.unwrap();
        node.open(&service, Intent::Events, "f").await.unwrap();
        let other = key.sign(&claims(&stage, &service.participant, 0, json!({})));
        assert_eq!(code(connections::exchange(&node.0, &service, &other).await), SignalingErrorCode::TokenNotAllowed);
        assert_eq!(node.event_names(&stage, "me").await, ["JOINED"]);
    })
    .await;
}

#[tokio::test]
async fn revoking_a_connection_token_ends_its_connections() {
    on_each_engine(&[], async |_, node| {
        let (stage, other) = (node.stage().await, node.stage().await);
        let key = Key::imported(&node).await;
        let mut all_verified = Vec::new();
        for stage in [&stage, &other] {
            let mut verified = join(&node, &key.sign(&claims(stage, "me", 0, json!({})))).await.unwrap();
            admit_connection(&node.0, &mut verified, &key.sign(&connection("phone", json!({})))).await.unwrap();
            assert_eq!(verified.connection_token.as_deref(), Some("phone"));
            node.open(&verified, Intent::Events, "e").await.unwrap();
            all_verified.push(verified);
        }
        let plain = VerifiedToken { connection_token: None, ..all_verified[0].clone() };
        node.run(&plain, Intent::Publish, "p").await;
        let revoke =
            async || tokens::revoke_connection(node.ctx(), from_json(json!({"tokenId": "phone"}))).await.unwrap();
        revoke().await;
        revoke().await;
        assert_eq!(node.connection_ids(&stage).await, ["p"], "a connection without the token stays open");
        assert_eq!((node.event_names(&stage, "me").await.len(), node.event_names(&other, "me").await.len()), (2, 2));
        assert_eq!(node.event_names(&other, "me").await, ["JOINED", "LEFT"]);
        assert_eq!(
            code(node.open(&all_verified[0], Intent::Events, "x").await),
            SignalingErrorCode::ConnectionTokenRevoked
        );
        let mut verified = plain;
        let token = key.sign(&connection("phone", json!({})));
        assert_eq!(
            code(admit_connection(&node.0, &mut verified, &token).await),
            SignalingErrorCode::ConnectionTokenRevoked
        );
        let token = key.sign(&connection("tablet", json!({"account_id": "999999999999"})));
        assert_eq!(code(admit_connection(&node.0, &mut verified, &token).await), SignalingErrorCode::TokenNotAllowed);
        let token = service_token(&node, &stage).await;
        assert_eq!(code(admit_connection(&node.0, &mut verified, &token).await), SignalingErrorCode::TokenNotAllowed);
        assert_eq!(verified.connection_token, None);
    })
    .await;
}
