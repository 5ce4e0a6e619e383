//! Creates resources with a past: all of a seed in one transaction, or nothing.

use super::history::{self, PastSession, PlayedSession};
use crate::app::credentials::{self, CreatedKey, NewKey};
use crate::app::{
    OperationContext, encoder_configurations, ingest_configurations, public_keys, retry, stages,
    storage_configurations, tokens,
};
use crate::clock::Timestamp;
use crate::model::arn::ResourceKind;
use crate::model::encoder_configuration::CreateEncoderConfigurationRequest;
use crate::model::fault::Fault;
use crate::model::ingest_configuration::{CreateIngestConfigurationRequest, IngestConfiguration};
use crate::model::public_key::ImportPublicKeyRequest;
use crate::model::stage::{
    AutoParticipantRecordingConfiguration, AutoParticipantRecordingStorageConfigurationArn, StageName,
};
use crate::model::storage_configuration::CreateStorageConfigurationRequest;
use crate::model::tag::Tags;
use crate::model::token::{ParticipantToken, ParticipantTokenConfiguration};
use crate::store::{Conn, StoreError};
use crate::token::SigningKey;

/// A resource that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// One of the same seed, by its position.
    Seeded(usize),
    /// One that exists, by its ARN.
    Existing(String),
}

/// What to create.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    pub storage_configurations: Vec<CreateStorageConfigurationRequest>,
    pub encoder_configurations: Vec<CreateEncoderConfigurationRequest>,
    pub public_keys: Vec<ImportPublicKeyRequest>,
    pub stages: Vec<SeedStage>,
    /// With the stages that they are attached to.
    pub ingest_configurations: Vec<(Option<Reference>, CreateIngestConfigurationRequest)>,
    /// The account is that of the context.
    pub access_keys: Vec<NewKey>,
    /// With their stages.
    pub tokens: Vec<(Reference, ParticipantTokenConfiguration)>,
}

/// A stage with past sessions, the oldest first.
#[derive(Clone, Debug)]
pub struct SeedStage {
    pub name: StageName,
    pub tags: Option<Tags>,
    /// With the storage configuration.
    pub recording: Option<(Reference, AutoParticipantRecordingConfiguration)>,
    pub sessions: Vec<PastSession>,
}

/// What was created, each in the order of the seed.
#[derive(Default)]
pub struct Seeded {
    /// ARNs.
    pub storage_configurations: Vec<String>,
    pub encoder_configurations: Vec<String>,
    pub public_keys: Vec<String>,
    /// ARNs with the past sessions.
    pub stages: Vec<(String, Vec<PlayedSession>)>,
    pub ingest_configurations: Vec<IngestConfiguration>,
    pub access_keys: Vec<CreatedKey>,
    pub tokens: Vec<ParticipantToken>,
}

/// The problem of a resource whose id exists already.
const ID_IN_USE: &str = "its id exists already: the sequence of ids began again, and what has this id was not deleted (a \
                         reset keeps access keys)";

/// A fault with the member of the seed that it is about.
fn at(list: &str, n: usize, fault: Fault) -> Fault {
    // The faults of a past session begin with a member.
    let joint = if fault.message().starts_with("sessions.") { "." } else { ": " };
    prefixed(&format!("{list}.{}.member", n + 1), joint, fault)
}

/// A fault with a path before its message. A row that exists already is a conflict of ids.
fn prefixed(path: &str, joint: &str, fault: Fault) -> Fault {
    match fault {
        Fault::Modelled { kind, message, cause: None, retryable: false } => {
            Fault::Modelled { kind, message: format!("{path}{joint}{message}"), cause: None, retryable: false }
        }
        Fault::Modelled { cause: Some(cause), .. }
            if matches!(cause.downcast_ref::<StoreError>(), Some(StoreError::Duplicate(_))) =>
        {
            Fault::conflict(format!("{path}: {ID_IN_USE}"))
        }
        other => other,
    }
}

/// Creates everything of a seed. Quotas and the rules of the operations apply; errors begin with the path of the member.
pub async fn seed(ctx: &OperationContext, seed: &Seed) -> Result<Seeded, Fault> {
    let now = ctx.now();
    for (n, stage) in seed.stages.iter().enumerate() {
        check_sessions(&stage.sessions, now).map_err(|fault| at("stages", n, fault))?;
    }
    // Read before the transaction: a store in memory has one connection.
    let key = ctx.app.signing_key().await?;
    retry(|| async {
        let mut tx = ctx.write().await?;
        tx.disable_timeouts().await?;
        let mut creation = Creation { ctx, tx: &mut tx, seeded: Seeded::default() };
        Box::pin(creation.all(seed, &key)).await?;
        let seeded = creation.seeded;
        ctx.commit(tx).await?;
        ctx.app.metrics.tokens.alone.inc_by(seeded.tokens.len() as u64);
        Ok(seeded)
    })
    .await
}

fn check_sessions(sessions: &[PastSession], now: Timestamp) -> Result<(), Fault> {
    let mut before = None;
    for (n, session) in sessions.iter().enumerate() {
        let path = format!("sessions.{}.member", n + 1);
        if before.is_some_and(|before| session.started_at <= before) {
            return Err(Fault::validation(format!(
                "{path}.startedAt: is not after the session before; the oldest comes first"
            )));
        }
        before = Some(session.started_at);
        history::check(session, now).map_err(|fault| Fault::validation(format!("{path}.{}", fault.message())))?;
    }
    Ok(())
}

/// A seed that is being created in a transaction.
struct Creation<'a> {
    ctx: &'a OperationContext,
    tx: &'a mut Conn,
    seeded: Seeded,
}

impl Creation<'_> {
    async fn all(&mut self, seed: &Seed, key: &SigningKey) -> Result<(), Fault> {
        // Lock order: that of `super::LOCKS`.
        for (n, input) in seed.encoder_configurations.iter().enumerate() {
            let done = self.encoder_configuration(input.clone()).await;
            self.seeded.encoder_configurations.push(done.map_err(|fault| at("encoderConfigurations", n, fault))?);
        }
        for (n, input) in seed.public_keys.iter().enumerate() {
            let done = self.public_key(input.clone()).await;
            self.seeded.public_keys.push(done.map_err(|fault| at("publicKeys", n, fault))?);
        }
        for (n, input) in seed.storage_configurations.iter().enumerate() {
            let done = self.storage_configuration(input.clone()).await;
            self.seeded.storage_configurations.push(done.map_err(|fault| at("storageConfigurations", n, fault))?);
        }
        for (n, stage) in seed.stages.iter().enumerate() {
            let done = self.stage(stage).await;
            self.seeded.stages.push(done.map_err(|fault| at("stages", n, fault))?);
        }
        for (n, (stage, input)) in seed.ingest_configurations.iter().enumerate() {
            let done = self.ingest_configuration(stage.as_ref(), input.clone()).await;
            self.seeded.ingest_configurations.push(done.map_err(|fault| at("ingestConfigurations", n, fault))?);
        }
        for (n, new) in seed.access_keys.iter().enumerate() {
            let done = self.access_key(new.clone()).await;
            self.seeded.access_keys.push(done.map_err(|fault| at("accessKeys", n, fault))?);
        }
        for (n, (stage, configuration)) in seed.tokens.iter().enumerate() {
            let done = self.token(stage, configuration.clone(), key).await;
            self.seeded.tokens.push(done.map_err(|fault| at("tokens", n, fault))?);
        }
        Ok(())
    }

    fn arn(&self, kind: ResourceKind, id: &str) -> String {
        self.ctx.scope.arn(kind, id)
    }

    async fn encoder_configuration(&mut self, input: CreateEncoderConfigurationRequest) -> Result<String, Fault> {
        let row = encoder_configurations::new(self.ctx, input)?;
        encoder_configurations::insert(self.ctx, self.tx, &row).await?;
        Ok(self.arn(ResourceKind::EncoderConfiguration, &row.id))
    }

    async fn public_key(&mut self, input: ImportPublicKeyRequest) -> Result<String, Fault> {
        let row = public_keys::new(self.ctx, input)?;
        // The insert takes any row that exists for one with the same key material.
        if self.tx.public_key(&self.ctx.scope, &row.id).await?.is_some() {
            return Err(Fault::conflict(ID_IN_USE));
        }
        public_keys::insert(self.ctx, self.tx, &row).await?;
        Ok(self.arn(ResourceKind::PublicKey, &row.id))
    }

    async fn storage_configuration(&mut self, input: CreateStorageConfigurationRequest) -> Result<String, Fault> {
        let row = storage_configurations::new(self.ctx, input)?;
        storage_configurations::insert(self.ctx, self.tx, &row).await?;
        Ok(self.arn(ResourceKind::StorageConfiguration, &row.id))
    }

    async fn stage(&mut self, stage: &SeedStage) -> Result<(String, Vec<PlayedSession>), Fault> {
        let recording = stage.recording.as_ref().map(|(storage, recording)| {
            let arn = match storage {
                Reference::Seeded(n) => self.seeded.storage_configurations[*n].clone(),
                Reference::Existing(arn) => arn.clone(),
            };
            let storage_configuration_arn = AutoParticipantRecordingStorageConfigurationArn(arn);
            AutoParticipantRecordingConfiguration { storage_configuration_arn, ..recording.clone() }
        });
        // It was created before its first session.
        let ctx = stage.sessions.first().map_or_else(|| self.ctx.clone(), |first| self.ctx.at(first.started_at));
        let mut row = stages::new(&ctx, Some(stage.name.clone()), stage.tags.clone(), recording)?;
        stages::insert(&ctx, self.tx, &mut row).await?;
        let mut played = Vec::new();
        for (n, past) in stage.sessions.iter().enumerate() {
            let done = history::play(self.ctx, self.tx, &row.id, past).await;
            played.push(done.map_err(|fault| prefixed(&format!("sessions.{}.member", n + 1), ".", fault))?);
        }
        Ok((self.arn(ResourceKind::Stage, &row.id), played))
    }

    fn stage_arn(&self, stage: &Reference) -> String {
        match stage {
            Reference::Seeded(n) => self.seeded.stages[*n].0.clone(),
            Reference::Existing(arn) => arn.clone(),
        }
    }

    async fn ingest_configuration(
        &mut self,
        stage: Option<&Reference>,
        input: CreateIngestConfigurationRequest,
    ) -> Result<IngestConfiguration, Fault> {
        let mut row = ingest_configurations::new(self.ctx, input)?;
        let stage = stage.map(|stage| self.stage_arn(stage).into());
        ingest_configurations::insert(self.ctx, self.tx, &mut row, stage).await?;
        Ok(ingest_configurations::configuration(&self.ctx.scope, row))
    }

    async fn access_key(&mut self, new: NewKey) -> Result<CreatedKey, Fault> {
        let app = &self.ctx.app;
        let new = NewKey { account: self.ctx.scope.account.clone(), ..new };
        let created = credentials::new(&app.secret, &app.ids, self.ctx.now(), new);
        self.tx.insert_access_key(&created.row).await?;
        Ok(created)
    }

    async fn token(
        &mut self,
        stage: &Reference,
        configuration: ParticipantTokenConfiguration,
        key: &SigningKey,
    ) -> Result<ParticipantToken, Fault> {
        let attributes = configuration.attributes.clone().unwrap_or_default();
        crate::domain::token::attributes("attributes", &attributes)?;
        let arn = self.stage_arn(stage);
        let id = self.ctx.own(&arn)?;
        self.tx.stage(&self.ctx.scope, id).await?.ok_or_else(|| Fault::not_found(&arn))?;
        tokens::mint(self.ctx, key, id, configuration)
    }
}
