//! The table of operations, the only definition of the API.
//!
//! A row feeds the router, the OpenAPI document, the log and the tests that compare the API with the AWS model. The types
//! of input and output come from the function that the row names. To add an operation, write its row, an input, an output
//! and a function.

use super::authorization::Target::{self, Every, Everything, In};
use crate::app::{
    OperationContext, compositions, encoder_configurations, ingest_configurations, participants, public_keys,
    replications, retry, sessions, stages, storage_configurations, tags, tokens,
};
use crate::model::arn::ResourceKind::{
    self, Composition, EncoderConfiguration, IngestConfiguration, PublicKey, Stage, StorageConfiguration,
};
use crate::model::fault::FaultKind::{
    self, AccessDenied, Conflict, InternalServer, PendingVerification, ResourceNotFound, ServiceQuotaExceeded,
    Validation,
};
use crate::model::fault::{Fault, RejectionKind};
use crate::model::shape::{Def, FieldPath, Shape, ValidationErrors};
use axum::http::Method;
use serde::Serialize;
use serde_json::Value;
use std::pin::Pin;

/// One operation of the API.
#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    pub method: Method,
    /// The path; `{resourceArn}` stands for an ARN.
    pub path: &'static str,
    /// One line for the OpenAPI document.
    pub doc: &'static str,
    /// The faults that the AWS model declares for it.
    pub faults: &'static [FaultKind],
    /// The resources of its IAM action.
    pub target: Target,
    /// The kind of resource that it creates, optionally with tags.
    pub makes: Option<ResourceKind>,
    /// Whether the AWS model marks it as read-only. All others are in the audit log.
    pub readonly: bool,
    pub input: fn() -> &'static Def,
    pub output: fn() -> &'static Def,
    /// Decodes and validates the input.
    pub read: fn(Value) -> Result<Box<dyn ValidRequest>, Fault>,
}

impl Operation {
    /// A decoded input for records: sensitive values are redacted, and undeclared members left out.
    pub fn redacted_input(&self, input: Value) -> Value {
        (self.input)().shown(input)
    }

    /// The encoded output for records, likewise.
    pub fn redacted_output(&self, output: &[u8]) -> Value {
        (self.output)().shown(serde_json::from_slice(output).unwrap_or_default())
    }
}

/// A decoded and validated request.
pub trait ValidRequest: Send {
    /// The decoded input as JSON: the members that the operation declares and that were sent, without `null`s.
    fn input(&self) -> Result<Value, Fault>;

    /// Runs the operation and encodes its output.
    fn run(self: Box<Self>, ctx: OperationContext) -> BodyFuture;
}

struct Decoded<I, F> {
    input: I,
    operation: F,
}

/// Initial capacity of response bodies: most have fewer bytes and never reallocate.
const BODY_CAPACITY: usize = 1000;

/// The body of a response, in the making.
pub type BodyFuture = Pin<Box<dyn Future<Output = Result<Vec<u8>, Fault>> + Send>>;

fn read<I, O, F, R>(operation: F, input: Value) -> Result<Box<dyn ValidRequest>, Fault>
where
    I: Shape + Clone + Serialize + Send + Sync + 'static,
    O: Serialize + Send,
    F: Fn(OperationContext, I) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, Fault>> + Send + 'static,
{
    Ok(Box::new(Decoded { input: decode::<I>(input)?, operation }))
}

impl<I, O, F, R> ValidRequest for Decoded<I, F>
where
    I: Clone + Serialize + Send + Sync + 'static,
    O: Serialize + Send,
    F: Fn(OperationContext, I) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, Fault>> + Send + 'static,
{
    fn input(&self) -> Result<Value, Fault> {
        serde_json::to_value(&self.input).map_err(Fault::internal)
    }

    fn run(self: Box<Self>, ctx: OperationContext) -> BodyFuture {
        Box::pin(async move {
            let done = retry(|| (self.operation)(ctx.clone(), self.input.clone())).await?;
            let mut body = Vec::with_capacity(BODY_CAPACITY);
            serde_json::to_writer(&mut body, &done).map_err(Fault::internal)?;
            Ok(body)
        })
    }
}

/// Decodes an input. Wrong JSON types are a `SerializationException`, violated constraints a `ValidationException`.
pub fn decode<I: Shape>(input: Value) -> Result<I, Fault> {
    let mut errors = ValidationErrors::default();
    let decoded = I::decode(input, FieldPath::Root, &mut errors)
        .map_err(|wrong| Fault::rejected(RejectionKind::Serialization, wrong.0))?;
    match (errors.text(), decoded) {
        (None, Some(input)) => Ok(input),
        (text, _) => Err(Fault::validation(text.unwrap_or_default())),
    }
}

fn input_of<I: Shape, O, F: Future<Output = Result<O, Fault>>>(_: impl Fn(OperationContext, I) -> F) -> &'static Def {
    I::def()
}

fn output_of<I, O: Shape, F: Future<Output = Result<O, Fault>>>(_: impl Fn(OperationContext, I) -> F) -> &'static Def {
    O::def()
}

macro_rules! operations {
    ($(
        #[doc = $doc:literal]
        $name:ident $(($readonly:ident))?: $method:ident $path:literal => $module:ident :: $function:ident,
            on $target:expr, $(makes $kind:ident,)? [$($fault:ident),*];
    )*) => {
        /// All operations.
        pub static OPERATIONS: &[Operation] = &[$(
            Operation {
                name: stringify!($name),
                method: Method::$method,
                path: $path,
                doc: $doc.trim_ascii_start(),
                faults: &[$($fault),*],
                target: $target,
                makes: [$(Some($kind),)? None][0],
                readonly: matches!(stringify!($($readonly)?).as_bytes(), b"readonly"),
                input: || input_of($module::$function),
                output: || output_of($module::$function),
                read: |input| read($module::$function, input),
            },
        )*];
    };
}

/// The members of `StartComposition` that name resources.
const COMPOSED: &[&str] = &[
    "stageArn",
    "destinations.*.channel.channelArn",
    "destinations.*.channel.encoderConfigurationArn",
    "destinations.*.s3.encoderConfigurationArns.*",
    "destinations.*.s3.storageConfigurationArn",
];

operations! {
    /// Creates an encoder configuration.
    CreateEncoderConfiguration: POST "/CreateEncoderConfiguration" => encoder_configurations::create,
        on Every(EncoderConfiguration), makes EncoderConfiguration,
        [AccessDenied, Conflict, InternalServer, PendingVerification, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Creates an ingest configuration, with a stream key and a participant of its own.
    CreateIngestConfiguration: POST "/CreateIngestConfiguration" => ingest_configurations::create,
        on Every(IngestConfiguration), makes IngestConfiguration,
        [AccessDenied, PendingVerification, ServiceQuotaExceeded, Validation];
    /// Creates a participant token for a stage.
    CreateParticipantToken: POST "/CreateParticipantToken" => tokens::create,
        on In(&["stageArn"]),
        [AccessDenied, PendingVerification, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Creates a stage, and participant tokens for it on request.
    CreateStage: POST "/CreateStage" => stages::create,
        on Every(Stage), makes Stage,
        [AccessDenied, PendingVerification, ServiceQuotaExceeded, Validation];
    /// Creates a storage configuration.
    CreateStorageConfiguration: POST "/CreateStorageConfiguration" => storage_configurations::create,
        on Every(StorageConfiguration), makes StorageConfiguration,
        [AccessDenied, Conflict, InternalServer, PendingVerification, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Deletes an encoder configuration that no running composition uses.
    DeleteEncoderConfiguration: POST "/DeleteEncoderConfiguration" => encoder_configurations::delete,
        on In(&["arn"]),
        [AccessDenied, Conflict, InternalServer, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Deletes an ingest configuration; if it publishes, only with `force`.
    DeleteIngestConfiguration: POST "/DeleteIngestConfiguration" => ingest_configurations::delete,
        on In(&["arn"]),
        [AccessDenied, Conflict, PendingVerification, ResourceNotFound, Validation];
    /// Deletes a public key: tokens signed with its private key are refused from then on.
    DeletePublicKey: POST "/DeletePublicKey" => public_keys::delete,
        on In(&["arn"]),
        [AccessDenied, Conflict, PendingVerification, ResourceNotFound, Validation];
    /// Deletes a stage and its history; its participants are disconnected.
    DeleteStage: POST "/DeleteStage" => stages::delete,
        on In(&["arn"]),
        [AccessDenied, Conflict, PendingVerification, ResourceNotFound, Validation];
    /// Deletes a storage configuration that no stage and no running composition uses.
    DeleteStorageConfiguration: POST "/DeleteStorageConfiguration" => storage_configurations::delete,
        on In(&["arn"]),
        [AccessDenied, Conflict, InternalServer, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Disconnects a participant and bans the participant from the stage.
    DisconnectParticipant: POST "/DisconnectParticipant" => participants::disconnect,
        on In(&["stageArn"]),
        [AccessDenied, PendingVerification, ResourceNotFound, Validation];
    /// Gets a composition.
    GetComposition (readonly): POST "/GetComposition" => compositions::get,
        on In(&["arn"]),
        [AccessDenied, Conflict, InternalServer, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Gets an encoder configuration.
    GetEncoderConfiguration (readonly): POST "/GetEncoderConfiguration" => encoder_configurations::get,
        on In(&["arn"]),
        [AccessDenied, Conflict, InternalServer, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Gets an ingest configuration, with its stream key.
    GetIngestConfiguration (readonly): POST "/GetIngestConfiguration" => ingest_configurations::get,
        on In(&["arn"]),
        [AccessDenied, ResourceNotFound, Validation];
    /// Gets a participant of a session.
    GetParticipant (readonly): POST "/GetParticipant" => participants::get,
        on In(&["stageArn"]),
        [AccessDenied, ResourceNotFound, Validation];
    /// Gets a public key.
    GetPublicKey (readonly): POST "/GetPublicKey" => public_keys::get,
        on In(&["arn"]),
        [AccessDenied, ResourceNotFound, Validation];
    /// Gets a stage.
    GetStage (readonly): POST "/GetStage" => stages::get,
        on In(&["arn"]),
        [AccessDenied, ResourceNotFound, Validation];
    /// Gets a session of a stage.
    GetStageSession (readonly): POST "/GetStageSession" => sessions::get,
        on In(&["stageArn"]),
        [AccessDenied, ResourceNotFound, Validation];
    /// Gets a storage configuration.
    GetStorageConfiguration (readonly): POST "/GetStorageConfiguration" => storage_configurations::get,
        on In(&["arn"]),
        [AccessDenied, Conflict, InternalServer, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Imports a public key that verifies self-signed participant tokens.
    ImportPublicKey: POST "/ImportPublicKey" => public_keys::import,
        on Every(PublicKey), makes PublicKey,
        [AccessDenied, Conflict, PendingVerification, ServiceQuotaExceeded, Validation];
    /// Lists compositions, newest first.
    ListCompositions (readonly): POST "/ListCompositions" => compositions::list,
        on In(&["filterByStageArn", "filterByEncoderConfigurationArn"]),
        [AccessDenied, Conflict, InternalServer, ServiceQuotaExceeded, Validation];
    /// Lists encoder configurations in the order of their creation.
    ListEncoderConfigurations (readonly): POST "/ListEncoderConfigurations" => encoder_configurations::list,
        on Everything,
        [AccessDenied, Conflict, InternalServer, ServiceQuotaExceeded, Validation];
    /// Lists ingest configurations in the order of their creation.
    ListIngestConfigurations (readonly): POST "/ListIngestConfigurations" => ingest_configurations::list,
        on Everything,
        [AccessDenied, Validation];
    /// Lists the events of a participant in a session, oldest first.
    ListParticipantEvents (readonly): POST "/ListParticipantEvents" => participants::events,
        on In(&["stageArn"]),
        [AccessDenied, Validation];
    /// Lists the replicas of a participant in other stages.
    ListParticipantReplicas (readonly): POST "/ListParticipantReplicas" => replications::list,
        on In(&["sourceStageArn"]),
        [AccessDenied, Validation];
    /// Lists the participants of a session in the order of first joining.
    ListParticipants (readonly): POST "/ListParticipants" => participants::list,
        on In(&["stageArn"]),
        [AccessDenied, Validation];
    /// Lists public keys in the order of their import.
    ListPublicKeys (readonly): POST "/ListPublicKeys" => public_keys::list,
        on Everything,
        [AccessDenied, Validation];
    /// Lists the sessions of a stage, newest first.
    ListStageSessions (readonly): POST "/ListStageSessions" => sessions::list,
        on In(&["stageArn"]),
        [AccessDenied, Validation];
    /// Lists stages in the order of their creation.
    ListStages (readonly): POST "/ListStages" => stages::list,
        on Every(Stage),
        [AccessDenied, Conflict, Validation];
    /// Lists storage configurations in the order of their creation.
    ListStorageConfigurations (readonly): POST "/ListStorageConfigurations" => storage_configurations::list,
        on Everything,
        [AccessDenied, Conflict, InternalServer, ServiceQuotaExceeded, Validation];
    /// Lists the tags of a resource.
    ListTagsForResource (readonly): GET "/tags/{resourceArn}" => tags::list,
        on In(&["resourceArn"]),
        [InternalServer, ResourceNotFound, Validation];
    /// Revokes a connection token.
    RevokeConnectionToken: POST "/RevokeConnectionToken" => tokens::revoke_connection,
        on Everything,
        [AccessDenied, InternalServer, Validation];
    /// Starts a composition of a stage.
    StartComposition: POST "/StartComposition" => compositions::start,
        on In(COMPOSED), makes Composition,
        [AccessDenied, Conflict, InternalServer, PendingVerification, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Replicates a publisher of one stage to another stage.
    StartParticipantReplication: POST "/StartParticipantReplication" => replications::start,
        on In(&["sourceStageArn", "destinationStageArn"]),
        [AccessDenied, Conflict, InternalServer, PendingVerification, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Stops a composition.
    StopComposition: POST "/StopComposition" => compositions::stop,
        on In(&["arn"]),
        [AccessDenied, Conflict, InternalServer, ResourceNotFound, ServiceQuotaExceeded, Validation];
    /// Stops the replication of a participant to another stage.
    StopParticipantReplication: POST "/StopParticipantReplication" => replications::stop,
        on In(&["sourceStageArn", "destinationStageArn"]),
        [AccessDenied, InternalServer, ResourceNotFound, Validation];
    /// Adds tags to a resource.
    TagResource: POST "/tags/{resourceArn}" => tags::tag,
        on In(&["resourceArn"]),
        [InternalServer, ResourceNotFound, Validation];
    /// Removes tags from a resource.
    UntagResource: DELETE "/tags/{resourceArn}" => tags::untag,
        on In(&["resourceArn"]),
        [InternalServer, ResourceNotFound, Validation];
    /// Attaches an ingest configuration to a stage, or detaches it.
    UpdateIngestConfiguration: POST "/UpdateIngestConfiguration" => ingest_configurations::update,
        on In(&["arn"]),
        [AccessDenied, Conflict, PendingVerification, ResourceNotFound, Validation];
    /// Changes the name and the recording of a stage.
    UpdateStage: POST "/UpdateStage" => stages::update,
        on In(&["arn"]),
        [AccessDenied, Conflict, PendingVerification, ResourceNotFound, ServiceQuotaExceeded, Validation];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::composition::StartCompositionRequest;
    use crate::model::stage::CreateStageRequest;
    use crate::model::tag::TagResourceRequest;
    use proptest::prelude::*;

    /// Any JSON; some member names are those of shapes.
    fn json() -> impl Strategy<Value = Value> {
        let name = prop_oneof![
            Just("name".to_owned()),
            Just("tags".to_owned()),
            Just("stageArn".to_owned()),
            Just("destinations".to_owned()),
            Just("layout".to_owned()),
            Just("participantTokenConfigurations".to_owned()),
            Just("autoParticipantRecordingConfiguration".to_owned()),
            ".{0,8}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,140}".prop_map(Value::from),
            Just(Value::from("arn:aws:ivs:us-west-2:123456789012:stage/abcdABCDefgh")),
        ];
        leaf.prop_recursive(4, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Decoding, encoding and decoding again gives the same input.
    fn assert_round_trip<T: Shape + Clone + PartialEq + Serialize + std::fmt::Debug>(input: Value) {
        match decode::<T>(input) {
            Ok(parsed) => {
                let written = serde_json::to_value(&parsed).unwrap();
                assert_eq!(decode::<T>(written).unwrap(), parsed);
            }
            Err(fault) => assert!(matches!(fault.status(), 400), "{fault}"),
        }
    }

    proptest! {
        #[test]
        fn any_json_is_decoded_or_rejected(input in json()) {
            assert_round_trip::<CreateStageRequest>(input.clone());
            assert_round_trip::<StartCompositionRequest>(input.clone());
            assert_round_trip::<TagResourceRequest>(input);
        }
    }

    #[test]
    fn every_violated_constraint_is_named_in_the_words_of_aws() {
        let input = serde_json::json!({"stageArn": "x", "destinations": [{"name": "a b"}, {}, {}]});
        let fault = decode::<StartCompositionRequest>(input).unwrap_err();
        let text = fault.message();
        assert!(
            text.starts_with("3 validation errors detected: Value 'x' at 'stageArn' failed to satisfy constraint: "),
            "{text}"
        );
        assert!(text.contains("Value 'a b' at 'destinations.1.member.name'"), "{text}");
        assert!(
            text.contains(
                "at 'destinations' failed to satisfy constraint: Member must have length less than or equal to 2"
            ),
            "{text}"
        );
    }

    #[test]
    fn null_is_absent_and_unknown_members_are_ignored() {
        let input = serde_json::json!({"name": null, "tags": {"a": "b", "c": null}, "unknown": [1]});
        let parsed = decode::<CreateStageRequest>(input).unwrap();
        assert_eq!((parsed.name, parsed.tags.unwrap().len()), (None, 1));
        let missing = decode::<StartCompositionRequest>(serde_json::json!({"stageArn": null})).unwrap_err();
        assert!(
            missing
                .message()
                .contains("Value null at 'stageArn' failed to satisfy constraint: Member must not be null")
        );
    }
}
