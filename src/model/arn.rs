//! ARNs: which resource of whom, and where.

use super::composition::{ChannelArn, CompositionArn};
use super::encoder_configuration::EncoderConfigurationArn;
use super::ingest_configuration::{IngestConfigurationArn, IngestConfigurationStageArn};
use super::public_key::PublicKeyArn;
use super::stage::{AutoParticipantRecordingStorageConfigurationArn, StageArn};
use super::storage_configuration::StorageConfigurationArn;
use super::tag::ResourceArn;

/// Whose resources a request sees: every resource belongs to one account in one region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
}

/// The kinds of resources that this service keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A stage.
    Stage,
    /// A public key.
    PublicKey,
    /// A composition.
    Composition,
    /// An encoder configuration.
    EncoderConfiguration,
    /// A storage configuration.
    StorageConfiguration,
    /// An ingest configuration.
    IngestConfiguration,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [ResourceKind; 6] = [
        ResourceKind::Stage,
        ResourceKind::PublicKey,
        ResourceKind::Composition,
        ResourceKind::EncoderConfiguration,
        ResourceKind::StorageConfiguration,
        ResourceKind::IngestConfiguration,
    ];

    /// The word before the slash of an ARN.
    pub const fn as_str(self) -> &'static str {
        match self {
            ResourceKind::Stage => "stage",
            ResourceKind::PublicKey => "public-key",
            ResourceKind::Composition => "composition",
            ResourceKind::EncoderConfiguration => "encoder-configuration",
            ResourceKind::StorageConfiguration => "storage-configuration",
            ResourceKind::IngestConfiguration => "ingest-configuration",
        }
    }
}

impl ResourceKind {
    /// The kind of a word before the slash.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl Scope {
    /// The ARN of the resource `id` of this scope.
    pub fn arn(&self, kind: ResourceKind, id: &str) -> String {
        format!("arn:aws:ivs:{}:{}:{}/{id}", self.region, self.account, kind.as_str())
    }

    /// The id in `arn` if the resource is of this scope. A resource of another account or region does not exist.
    pub fn own<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let parts = Parts::of(arn)?;
        (parts.region == self.region && parts.account == self.account).then_some(parts.id)
    }
}

/// The parts of an ARN of the service `ivs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// The account's digits.
    pub account: &'a str,
    /// The word before the slash.
    pub kind: &'a str,
    /// What follows the slash.
    pub id: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes `arn:aws:ivs:<region>:<account>:<kind>/<id>` apart.
    pub fn of(arn: &'a str) -> Option<Self> {
        let mut fields = arn.strip_prefix("arn:aws:ivs:")?.splitn(3, ':');
        let (region, account, resource) = (fields.next()?, fields.next()?, fields.next()?);
        let (kind, id) = resource.split_once('/')?;
        Some(Parts { region, account, kind, id })
    }
}

/// Gives each ARN shape its kind and a constructor.
macro_rules! arns {
    ($($shape:ident => $kind:ident),* $(,)?) => {$(
        impl $shape {
            /// The ARN of the resource `id` of `scope`.
            pub fn new(scope: &Scope, id: &str) -> Self {
                Self(scope.arn(ResourceKind::$kind, id))
            }
        }
    )*};
}

arns! {
    StageArn => Stage,
    PublicKeyArn => PublicKey,
    CompositionArn => Composition,
    EncoderConfigurationArn => EncoderConfiguration,
    StorageConfigurationArn => StorageConfiguration,
    AutoParticipantRecordingStorageConfigurationArn => StorageConfiguration,
    IngestConfigurationArn => IngestConfiguration,
    IngestConfigurationStageArn => Stage,
}

impl ChannelArn {
    /// Whether the channel is of `scope`. Channels belong to another service, so that no more can be known.
    pub fn is_of(&self, scope: &Scope) -> bool {
        scope.own(self).is_some()
    }
}

impl ResourceArn {
    /// The kind of the resource, or `None` if this service has no such kind.
    pub fn kind(&self) -> Option<ResourceKind> {
        ResourceKind::parse(Parts::of(self)?.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { account: "123456789012".into(), region: "us-west-2".into() }
    }

    #[test]
    fn an_arn_is_made_and_taken_apart() {
        let arn = StageArn::new(&scope(), "abcdABCDefgh");
        assert_eq!(&*arn, "arn:aws:ivs:us-west-2:123456789012:stage/abcdABCDefgh");
        assert_eq!(scope().own(&arn), Some("abcdABCDefgh"));
    }

    #[test]
    fn a_resource_of_another_account_or_region_is_not_ones_own() {
        let arn = StageArn::new(&scope(), "x");
        let other = |account: &str, region: &str| Scope { account: account.into(), region: region.into() };
        assert_eq!(other("123456789013", "us-west-2").own(&arn), None);
        assert_eq!(other("123456789012", "us-west-1").own(&arn), None);
    }

    #[test]
    fn a_kind_of_another_service_is_unknown() {
        assert_eq!(ResourceArn::from("arn:aws:ivs:us-west-2:123456789012:channel/x").kind(), None);
        assert_eq!(
            ResourceArn::from("arn:aws:ivs:us-west-2:123456789012:public-key/x").kind(),
            Some(ResourceKind::PublicKey)
        );
    }
}
