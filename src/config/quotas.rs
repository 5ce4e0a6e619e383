//! Quotas of an account: in one region, and over all regions.

use std::str::FromStr;

/// Quotas; `None` is unlimited. The defaults are AWS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Quotas {
    pub stages: Option<u32>,
    pub public_keys: Option<u32>,
    pub encoder_configurations: Option<u32>,
    pub storage_configurations: Option<u32>,
    pub ingest_configurations: Option<u32>,
    /// `compositions`: compositions that have not ended.
    pub compositions: Option<u32>,
    /// `compositions-per-stage`: compositions of one stage that have not ended.
    pub compositions_per_stage: Option<u32>,
    /// `participant-replicas`: concurrent replicas of one participant.
    pub participant_replicas: Option<u32>,
    /// `publishers`: concurrent publishers of one stage, replicas included.
    pub publishers: Option<u32>,
    /// `subscribers`: concurrent subscribers of one stage.
    pub subscribers: Option<u32>,
}

impl Default for Quotas {
    fn default() -> Self {
        Quotas {
            stages: Some(1000),
            public_keys: Some(3),
            encoder_configurations: Some(20),
            storage_configurations: Some(5),
            ingest_configurations: Some(100),
            compositions: Some(20),
            compositions_per_stage: Some(5),
            participant_replicas: Some(5),
            publishers: Some(12),
            subscribers: Some(10_000),
        }
    }
}

impl FromStr for Quotas {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut quotas = Quotas::default();
        for (name, value) in named(text)? {
            *quotas.named(name).ok_or_else(|| format!("there is no quota named '{name}'"))? = value;
        }
        Ok(quotas)
    }
}

impl Quotas {
    fn named(&mut self, name: &str) -> Option<&mut Option<u32>> {
        Some(match name {
            "stages" => &mut self.stages,
            "public-keys" => &mut self.public_keys,
            "encoder-configurations" => &mut self.encoder_configurations,
            "storage-configurations" => &mut self.storage_configurations,
            "ingest-configurations" => &mut self.ingest_configurations,
            "compositions" => &mut self.compositions,
            "compositions-per-stage" => &mut self.compositions_per_stage,
            "participant-replicas" => &mut self.participant_replicas,
            "publishers" => &mut self.publishers,
            "subscribers" => &mut self.subscribers,
            _ => return None,
        })
    }
}

/// Quotas of an account over all regions; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AccountQuotas {
    pub stages: Option<u32>,
    pub public_keys: Option<u32>,
    pub encoder_configurations: Option<u32>,
    pub storage_configurations: Option<u32>,
    pub ingest_configurations: Option<u32>,
    /// `compositions`: compositions that have not ended.
    pub compositions: Option<u32>,
}

impl FromStr for AccountQuotas {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut quotas = AccountQuotas::default();
        for (name, value) in named(text)? {
            let quota = match name {
                "stages" => &mut quotas.stages,
                "public-keys" => &mut quotas.public_keys,
                "encoder-configurations" => &mut quotas.encoder_configurations,
                "storage-configurations" => &mut quotas.storage_configurations,
                "ingest-configurations" => &mut quotas.ingest_configurations,
                "compositions" => &mut quotas.compositions,
                _ if Quotas::default().named(name).is_some() => {
                    return Err(format!("'{name}' is a quota of one stage or participant, set by --quotas alone"));
                }
                _ => return Err(format!("there is no quota named '{name}'")),
            };
            *quota = value;
        }
        Ok(quotas)
    }
}

/// Parses a list of `NAME=NUMBER` or `NAME=unlimited`.
fn named(text: &str) -> Result<Vec<(&str, Option<u32>)>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let value = |part| {
        let (name, value) = str::split_once(part, '=').ok_or_else(|| format!("'{part}' is not NAME=NUMBER"))?;
        let value = match value {
            "unlimited" => None,
            number => Some(number.parse().map_err(|_| format!("'{value}' is neither a number nor 'unlimited'"))?),
        };
        Ok((name, value))
    };
    parts.map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_not_named_keep_their_defaults() {
        let quotas: Quotas = "stages=7, public-keys=unlimited".parse().unwrap();
        assert_eq!(quotas, Quotas { stages: Some(7), public_keys: None, ..Quotas::default() });
        for bad in ["stages", "stages=", "stages=-1", "rooms=1"] {
            assert!(bad.parse::<Quotas>().is_err(), "{bad}");
        }
    }

    #[test]
    fn quotas_of_an_account_are_unlimited_unless_named() {
        let quotas: AccountQuotas = "stages=7,compositions=2".parse().unwrap();
        assert_eq!(quotas, AccountQuotas { stages: Some(7), compositions: Some(2), ..AccountQuotas::default() });
        assert_eq!("".parse(), Ok(AccountQuotas::default()));
        for bad in ["stages", "stages=x", "rooms=1", "publishers=1", "compositions-per-stage=1"] {
            assert!(bad.parse::<AccountQuotas>().is_err(), "{bad}");
        }
    }
}
