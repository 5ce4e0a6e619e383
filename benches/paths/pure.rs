//! Paths without a store.

use super::Path;
use super::world::{Key, NOW, Signed, signed};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use greenroom::api::operations::OPERATIONS;
use greenroom::api::sigv4::SigV4Authorization;
use greenroom::app::credentials::SecretAccessKey;
use greenroom::config::Regions;
use greenroom::domain::policy::{Context, Decision, Policy, Request};
use greenroom::model::arn::Scope;
use greenroom::model::page::{Position, Query};
use greenroom::model::stage::{
    GetStageResponse, ListStagesResponse, Stage, StageEndpoint, StageEndpoints, StageSummary,
};
use greenroom::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability};
use greenroom::secret::MasterKey;
use greenroom::token::{self, Claims, SigningKey, VERSION};
use serde_json::json;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

const ARN: &str = "arn:aws:ivs:us-east-1:000000000000:stage/abcdABCDefgh";

const SMALL_POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ivs:*","Resource":"*"}]}"#;

/// A policy as an operator may write it, with allow and deny statements.
pub const LARGE_POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Sid": "Read", "Effect": "Allow", "Action": ["ivs:Get*", "ivs:List*"], "Resource": "*",
     "Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.0/8"]},
                   "StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-central-1"]}}},
    {"Sid": "Stages", "Effect": "Allow", "Action": ["ivs:CreateStage", "ivs:UpdateStage", "ivs:DeleteStage"],
     "Resource": "arn:aws:ivs:*:000000000000:stage/*",
     "Condition": {"StringLike": {"aws:RequestTag/team": "video-*"}}},
    {"Sid": "Tokens", "Effect": "Allow", "Action": ["ivs:CreateParticipantToken", "ivs:DisconnectParticipant"],
     "Resource": ["arn:aws:ivs:us-east-1:000000000000:stage/*", "arn:aws:ivs:eu-central-1:000000000000:stage/*"]},
    {"Sid": "Compositions", "Effect": "Allow", "Action": ["ivs:StartComposition", "ivs:StopComposition"],
     "Resource": "arn:aws:ivs:*:000000000000:*"},
    {"Sid": "Tags", "Effect": "Allow", "Action": "ivs:TagResource", "Resource": "*",
     "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["team", "cost", "stage"]}}},
    {"Sid": "Never", "Effect": "Deny", "Action": ["ivs:DeletePublicKey", "ivs:ImportPublicKey"], "Resource": "*"}
]}"#;

/// Every path without a store.
pub fn pure() -> Vec<Path> {
    let mut paths = vec![decode("decode/GetStage", "GetStage", json!({"arn": ARN}).to_string())];
    paths.push(decode("decode/StartComposition, large", "StartComposition", composition()));
    paths.extend([encode_stage(), encode_page(), check_signature(), sign(), mint(), verify(), parse()]);
    paths.extend([decide("policy/decide, small", SMALL_POLICY), decide("policy/decide, large", LARGE_POLICY)]);
    paths.extend(page_token());
    paths
}

/// Decodes a request's bytes into a valid input.
fn decode(name: &'static str, operation: &str, body: String) -> Path {
    let operation = OPERATIONS.iter().find(|known| known.name == operation).expect("an operation");
    Path::new(name, move || {
        let input = serde_json::from_slice(black_box(body.as_bytes())).expect("JSON");
        drop((operation.read)(input).map_err(drop).expect("a valid request"));
    })
}

/// An input with every member.
fn composition() -> String {
    let encoder = "arn:aws:ivs:us-east-1:000000000000:encoder-configuration/abcdABCDefgh";
    let tags: BTreeMap<_, _> = (0..50).map(|n| (format!("key {n}"), format!("the value of tag {n}"))).collect();
    json!({
        "stageArn": ARN,
        "idempotencyToken": "a-token",
        "layout": {
            "pip": {
                "featuredParticipantAttribute": "host", "omitStoppedVideo": true, "videoFillMode": "FILL",
                "gridGap": 1, "pipParticipantAttribute": "guest", "pipBehavior": "DYNAMIC", "pipOffset": 9,
                "pipPosition": "TOP_LEFT", "pipWidth": 320, "pipHeight": 180, "participantOrderAttribute": "seat",
            },
        },
        "destinations": [
            {"name": "archive", "s3": {
                "storageConfigurationArn": "arn:aws:ivs:us-east-1:000000000000:storage-configuration/abcdABCDefgh",
                "encoderConfigurationArns": [encoder],
                "recordingConfiguration": {"format": "HLS", "hlsConfiguration": {"targetSegmentDurationSeconds": 10}},
                "thumbnailConfigurations": [{"targetIntervalSeconds": 86400, "storage": ["LATEST", "SEQUENTIAL"]}],
            }},
            {"name": "live", "channel": {
                "channelArn": "arn:aws:ivs:us-east-1:000000000000:channel/abcdABCDefgh",
                "encoderConfigurationArn": encoder,
            }},
        ],
        "tags": tags,
    })
    .to_string()
}

fn encode_stage() -> Path {
    let endpoint = |url: &str| Some(StageEndpoint(url.into()));
    let answer = GetStageResponse {
        stage: Some(Stage {
            arn: ARN.into(),
            name: Some("a stage".into()),
            active_session_id: None,
            tags: Some(Default::default()),
            auto_participant_recording_configuration: Some(greenroom::domain::stage::recording(None)),
            endpoints: Some(StageEndpoints {
                events: endpoint("ws://127.0.0.1:4600/events"),
                whip: endpoint("http://127.0.0.1:4600/whip"),
                rtmp: endpoint("rtmp://127.0.0.1/app/"),
                rtmps: endpoint("rtmps://127.0.0.1:443/app/"),
            }),
        }),
    };
    Path::new("encode/GetStage", move || drop(black_box(serde_json::to_vec(black_box(&answer)))))
}

fn encode_page() -> Path {
    let summary = || StageSummary {
        arn: ARN.into(),
        name: Some("a stage".into()),
        active_session_id: None,
        tags: Some(Default::default()),
    };
    let answer = ListStagesResponse { stages: (0..100).map(|_| summary()).collect(), next_token: None };
    Path::new("encode/ListStages, 100", move || drop(black_box(serde_json::to_vec(black_box(&answer)))))
}

static REGIONS: LazyLock<Regions> = LazyLock::new(|| "us-east-1".parse().expect("a region"));

/// The complete verification of a request's signature.
pub fn check(Signed(parts, body): &Signed, secret: &SecretAccessKey) {
    let authorization = SigV4Authorization::parse(black_box(parts)).expect("an Authorization header");
    authorization.check_head(&REGIONS, NOW, Duration::from_secs(300)).expect("the right scope and time");
    authorization.check_digest(parts, body).expect("the right digest");
    authorization.verify(parts, body, secret).expect("the right signature");
}

fn check_signature() -> Path {
    let request = signed("/GetStage", json!({"arn": ARN}).to_string().as_bytes(), &Key::development());
    let secret = SecretAccessKey::from("test".to_owned());
    Path::new("signature/check", move || check(&request, &secret))
}

/// One signature of a token's algorithm over as many bytes.
fn sign() -> Path {
    let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
    Path::new("token/ES384 alone", move || {
        black_box(key.sign(&SystemRandom::new(), black_box(&[0; 600])).expect("a signature"));
    })
}

/// A new private key.
pub fn private() -> Vec<u8> {
    SigningKey::generate().expect("a key")
}

fn key() -> SigningKey {
    SigningKey::from_pkcs8("a key".into(), NOW, &private()).expect("a key")
}

fn token(key: &SigningKey) -> String {
    key.sign(&claims(&BTreeMap::from([("role".to_owned(), "guest".to_owned())]))).expect("a token").0
}

/// The claims of a token.
pub fn claims(attributes: &BTreeMap<String, String>) -> Claims<'_> {
    let capabilities = ParticipantTokenCapability::ALL.iter().copied().collect::<ParticipantTokenCapabilities>();
    Claims {
        exp: NOW.unix_seconds() + 3600,
        iat: NOW.unix_seconds(),
        jti: "abcdABCDefgh",
        resource: ARN,
        topic: "abcdABCDefgh",
        events_url: "ws://127.0.0.1:4600/events",
        whip_url: "http://127.0.0.1:4600/whip",
        user_id: Some("alice"),
        attributes: Some(attributes),
        capabilities: (&capabilities).into(),
        version: VERSION,
        encoder: None,
    }
}

fn mint() -> Path {
    let key = key();
    Path::new("token/mint", move || drop(black_box(token(&key))))
}

fn verify() -> Path {
    let key = key();
    let token = token(&key);
    Path::new("token/verify", move || {
        token::parse(black_box(&token)).expect("a token").verify(key.point()).expect("a right signature");
    })
}

fn parse() -> Path {
    Path::new("policy/parse, large", || drop(black_box(Policy::parse(black_box(LARGE_POLICY)).expect("a policy"))))
}

fn decide(name: &'static str, policy: &str) -> Path {
    let policy = Policy::parse(policy).expect("a policy");
    let context = Context { region: "us-east-1".into(), source_ip: "127.0.0.1".parse().ok(), ..Context::default() };
    Path::new(name, move || {
        let request = Request { action: "ivs:GetStage", resource: ARN, context: black_box(&context) };
        assert_eq!(policy.decide(&request), Decision::Allowed);
    })
}

fn page_token() -> [Path; 2] {
    let secret = Rc::new(MasterKey::new(&[7; 32]));
    let question = || {
        let scope = Scope { account: "000000000000".into(), region: "us-east-1".into() };
        Query { operation: "ListStages", scope: &scope, filters: &[] }.to_bytes()
    };
    let place = Position { order: NOW.0, id: "abcdABCDefgh".into() };
    let (signed, again) = (secret.sign(&question(), &place.to_bytes()), secret.clone());
    [
        Path::new("page token/sign", move || {
            black_box(secret.sign(&question(), &black_box(&place).to_bytes()));
        }),
        Path::new("page token/verify", move || {
            let bytes = again.verify(&question(), black_box(&signed)).expect("our own");
            assert!(Position::from_bytes(&bytes).is_some());
        }),
    ]
}
