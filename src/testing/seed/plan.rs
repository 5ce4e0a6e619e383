//! From the document of a seed to what is created: names are resolved, times become absolute.

use super::document::{
    SeedIngestConfiguration, SeedName, SeedParticipant, SeedRecording, SeedReference, SeedRequest, SeedSession,
    SeedSubscription,
};
use crate::app::credentials::NewKey;
use crate::app::test_state::{PastParticipant, PastSession, PastSubscription, Reference, Seed, SeedStage};
use crate::clock::Timestamp;
use crate::domain::policy::Policy;
use crate::model::common::UserId;
use crate::model::encoder_configuration::CreateEncoderConfigurationRequest;
use crate::model::fault::Fault;
use crate::model::ingest_configuration::CreateIngestConfigurationRequest;
use crate::model::public_key::ImportPublicKeyRequest;
use crate::model::stage::{AutoParticipantRecordingConfiguration, AutoParticipantRecordingStorageConfigurationArn};
use crate::model::storage_configuration::{CreateStorageConfigurationRequest, S3StorageConfiguration};
use crate::model::token::ParticipantTokenConfiguration;
use serde_json::Value;

/// The names in a list of the document, which must differ.
#[derive(Debug)]
pub struct Names {
    list: &'static str,
    names: Vec<String>,
}

impl Names {
    fn of<'a>(list: &'static str, names: impl Iterator<Item = &'a SeedName>) -> Result<Names, Fault> {
        let mut known = Names { list, names: Vec::new() };
        for (n, name) in names.enumerate() {
            if let Some(first) = known.position(name) {
                let text = format!(
                    "{list}.{}.member.name: '{}' is the name of {list}.{}.member, too; names must differ",
                    n + 1,
                    &**name,
                    first + 1
                );
                return Err(Fault::validation(text));
            }
            known.names.push(name.0.clone());
        }
        Ok(known)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// The resource that a member refers to.
    fn reference(&self, path: &str, reference: &SeedReference) -> Result<Reference, Fault> {
        if reference.starts_with("arn:") {
            return Ok(Reference::Existing(reference.0.clone()));
        }
        self.position(reference).map(Reference::Seeded).ok_or_else(|| {
            let list = self.list;
            Fault::validation(format!("{path}: '{}' is neither an ARN nor a name in {list} of the seed", &**reference))
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.names.iter()
    }
}

/// A seed, and the names of its resources in the order of the seed.
#[derive(Debug)]
pub struct Plan {
    pub seed: Seed,
    pub storage_configurations: Names,
    pub encoder_configurations: Names,
    pub public_keys: Names,
    pub stages: Names,
    pub ingest_configurations: Names,
    pub access_keys: Names,
}

/// What to create for a document.
pub fn plan(document: SeedRequest) -> Result<Plan, Fault> {
    let storages = document.storage_configurations.unwrap_or_default().0;
    let encoders = document.encoder_configurations.unwrap_or_default().0;
    let public_keys = document.public_keys.unwrap_or_default().0;
    let stages = document.stages.unwrap_or_default().0;
    let ingests = document.ingest_configurations.unwrap_or_default().0;
    let access_keys = document.access_keys.unwrap_or_default().0;
    let mut plan = Plan {
        seed: Seed::default(),
        storage_configurations: Names::of("storageConfigurations", storages.iter().map(|storage| &storage.name))?,
        encoder_configurations: Names::of("encoderConfigurations", encoders.iter().map(|encoder| &encoder.name))?,
        public_keys: Names::of("publicKeys", public_keys.iter().map(|key| &key.name))?,
        stages: Names::of("stages", stages.iter().map(|stage| &stage.name))?,
        ingest_configurations: Names::of("ingestConfigurations", ingests.iter().map(|ingest| &ingest.name))?,
        access_keys: Names::of("accessKeys", access_keys.iter().map(|key| &key.name))?,
    };
    let seed = &mut plan.seed;
    for storage in storages {
        let (name, s3) = (Some(storage.name.0.into()), S3StorageConfiguration { bucket_name: storage.bucket });
        seed.storage_configurations.push(CreateStorageConfigurationRequest { name, s3, tags: storage.tags });
    }
    for encoder in encoders {
        let (name, video, tags) = (Some(encoder.name.0.into()), encoder.video, encoder.tags);
        seed.encoder_configurations.push(CreateEncoderConfigurationRequest { name, video, tags });
    }
    for key in public_keys {
        let (name, public_key_material, tags) = (Some(key.name.0.into()), key.public_key_material, key.tags);
        seed.public_keys.push(ImportPublicKeyRequest { public_key_material, name, tags });
    }
    for (n, stage) in stages.into_iter().enumerate() {
        let path = format!("stages.{}.member", n + 1);
        let recording = stage.auto_participant_recording_configuration;
        let recording = recording.map(|given| recorded(&plan.storage_configurations, &path, given)).transpose()?;
        let sessions = stage.sessions.unwrap_or_default().0.into_iter().enumerate();
        let session = |(n, past)| session(&format!("{path}.sessions.{}.member", n + 1), past);
        let sessions = sessions.map(session).collect::<Result<_, _>>()?;
        seed.stages.push(SeedStage { name: stage.name.0.into(), tags: stage.tags, recording, sessions });
    }
    for (n, ingest) in ingests.into_iter().enumerate() {
        let path = format!("ingestConfigurations.{}.member.stage", n + 1);
        let stage = ingest.stage.as_ref().map(|stage| plan.stages.reference(&path, stage)).transpose()?;
        seed.ingest_configurations.push((stage, ingest_request(ingest)));
    }
    for (n, key) in access_keys.into_iter().enumerate() {
        let policy = key.policy.map(|policy| policy_of(n, Value::Object(policy.0))).transpose()?;
        seed.access_keys.push(NewKey {
            account: String::new(),
            name: key.name.0,
            policy,
            session_token: key.session_token.unwrap_or_default().0,
            expires_at: key.expires_at.map(|at| at.0),
        });
    }
    for (n, token) in document.tokens.unwrap_or_default().0.into_iter().enumerate() {
        let stage = plan.stages.reference(&format!("tokens.{}.member.stage", n + 1), &token.stage)?;
        let configuration = ParticipantTokenConfiguration {
            duration: token.duration,
            user_id: token.user_id,
            attributes: token.attributes,
            capabilities: token.capabilities,
        };
        seed.tokens.push((stage, configuration));
    }
    Ok(plan)
}

fn recorded(
    storages: &Names,
    path: &str,
    given: SeedRecording,
) -> Result<(Reference, AutoParticipantRecordingConfiguration), Fault> {
    let path = format!("{path}.autoParticipantRecordingConfiguration.storageConfiguration");
    let storage = storages.reference(&path, &given.storage_configuration)?;
    let recording = AutoParticipantRecordingConfiguration {
        // That of the reference.
        storage_configuration_arn: AutoParticipantRecordingStorageConfigurationArn::default(),
        media_types: given.media_types,
        thumbnail_configuration: given.thumbnail_configuration,
        recording_reconnect_window_seconds: given.recording_reconnect_window_seconds,
        hls_configuration: given.hls_configuration,
        record_participant_replicas: given.record_participant_replicas,
    };
    Ok((storage, recording))
}

fn session(path: &str, past: SeedSession) -> Result<PastSession, Fault> {
    let started_at = past.started_at.0;
    let users: Vec<_> = past.participants.iter().map(|participant| participant.user_id.clone()).collect();
    let participants = past.participants.0.into_iter().enumerate();
    let participant =
        |(n, past)| participant(&format!("{path}.participants.{}.member", n + 1), started_at, &users, past);
    let participants = participants.map(participant).collect::<Result<_, _>>()?;
    Ok(PastSession { started_at, participants, ends_at: past.ends_at.map(|at| at.of(started_at)) })
}

fn participant(
    path: &str,
    start: Timestamp,
    users: &[Option<UserId>],
    past: SeedParticipant,
) -> Result<PastParticipant, Fault> {
    let subscriptions = past.subscriptions.unwrap_or_default().0.into_iter().enumerate();
    let subscription = |(n, SeedSubscription { to, starts_at, ends_at }): (usize, SeedSubscription)| {
        let mut found = (0..users.len()).filter(|user| users[*user].as_ref() == Some(&to));
        let (Some(position), None) = (found.next(), found.next()) else {
            let text = format!(
                "{path}.subscriptions.{}.member.to: '{}' is not the userId of one participant of the session",
                n + 1,
                &*to
            );
            return Err(Fault::validation(text));
        };
        Ok(PastSubscription { to: position, starts_at: starts_at.of(start), ends_at: ends_at.map(|at| at.of(start)) })
    };
    Ok(PastParticipant {
        user_id: past.user_id.unwrap_or_default().0,
        attributes: past.attributes.unwrap_or_default(),
        joins_at: past.joins_at.map_or(start, |at| at.of(start)),
        publishes_at: past.publishes_at.map(|at| at.of(start)),
        unpublishes_at: past.unpublishes_at.map(|at| at.of(start)),
        subscriptions: subscriptions.map(subscription).collect::<Result<_, _>>()?,
        leaves_at: past.leaves_at.map(|at| at.of(start)),
    })
}

fn ingest_request(ingest: SeedIngestConfiguration) -> CreateIngestConfigurationRequest {
    CreateIngestConfigurationRequest {
        name: Some(ingest.name.0.into()),
        // That of the reference.
        stage_arn: None,
        user_id: ingest.user_id,
        attributes: ingest.attributes,
        ingest_protocol: ingest.protocol,
        insecure_ingest: ingest.insecure_ingest,
        redundant_ingest: ingest.redundant_ingest,
        tags: ingest.tags,
    }
}

fn policy_of(n: usize, policy: Value) -> Result<Policy, Fault> {
    Policy::parse(&policy.to_string())
        .map_err(|error| Fault::validation(format!("accessKeys.{}.member.policy.{error}", n + 1)))
}
