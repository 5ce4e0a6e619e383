//! The settings of a server, from those of the operator.

use super::error::ServerError;
use super::ingest::{self, IngestAddresses};
use super::master_key::KeySource;
use super::reachable;
use crate::api::operations::OPERATIONS;
use crate::app::credentials::ConfiguredKey;
use crate::app::{Endpoints, Events, Participation, Settings};
use crate::config::{Listen, Pooler, PublicUrl, RateLimits, Secret, ServeArgs, StoreArgs, Switch, TestApi, Url};
use crate::domain::composition::Durations;
use crate::domain::rate::{self, Rates};
use crate::events::Config;
use crate::http::tls::Tls;
use crate::ids::Ids;
use crate::storage::StorageSettings;
use crate::store::Options;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The settings that can be validated without the store and without sockets.
pub struct Valid {
    pub source: KeySource,
    pub given: Option<ConfiguredKey>,
    pub rates: Rates,
    pub tls: Option<Arc<Tls>>,
    /// The certificate of RTMPS, unless that is off.
    pub rtmps_tls: Option<Arc<Tls>>,
    pub targets: Arc<Config>,
    pub storage: StorageSettings,
}

impl Valid {
    pub fn of(args: &ServeArgs) -> Result<Self, ServerError> {
        let source = KeySource::of(&args.store)?;
        if args.dev_credentials == Switch::On && !args.listen.ip().is_loopback() {
            return Err(ServerError::Exposed(args.listen));
        }
        if args.testing.test_api == TestApi::On && (!args.listen.ip().is_loopback() || is_proxied(args)) {
            return Err(ServerError::ExposedTestApi);
        }
        let has_proxies = !args.listener.trusted_proxies.is_empty();
        if args.testing.test_api == TestApi::Public && args.dev_credentials == Switch::On && has_proxies {
            return Err(ServerError::ExposedByDevelopmentKeys);
        }
        if !args.regions.contains(&args.region) {
            return Err(ServerError::Region(args.region.clone(), args.regions.clone()));
        }
        let given = given_key(args)?;
        let rates = rates(&args.rate_limits)?;
        let tls = super::http::open_tls(&args.listener)?.map(Arc::new);
        let rtmps_tls = ingest::open_tls(args)?;
        let targets = Arc::new(Config::open(args.events.events_config.as_deref())?);
        let storage = StorageSettings::read(&args.storage, &args.store.database_url)?;
        Ok(Valid { source, given, rates, tls, rtmps_tls, targets, storage })
    }
}

/// Validates settings as a start does, without the store and without sockets.
pub fn validate(args: &ServeArgs) -> Result<(), ServerError> {
    Valid::of(args).map(drop)
}

/// Where to LISTEN for notifications of other nodes; `None` if notifications are not available.
fn listen(args: &StoreArgs) -> Option<Secret> {
    match (&args.database_listen_url, &args.database_url) {
        (Some(Listen::At(url)), Url::Postgres(_)) => Some(url.clone()),
        (None, Url::Postgres(url)) if args.database_pooler == Pooler::Off => Some(url.clone()),
        _ => None,
    }
}

/// The options of the store.
pub fn options(args: &StoreArgs) -> Options {
    Options {
        url: args.database_url.clone(),
        connections: args.database_connections,
        acquire_timeout: Duration::from_millis(args.database_acquire_ms),
        statement_timeout: Duration::from_millis(args.database_statement_ms),
        synchronous: args.sqlite_synchronous,
        pooler: args.database_pooler,
        listen: listen(args),
    }
}

/// The configured access key. Errors do not repeat the values, as id and secret are easily swapped.
fn given_key(args: &ServeArgs) -> Result<Option<ConfiguredKey>, ServerError> {
    let (Some(id), Some(Secret(secret))) = (&args.access_key_id, &args.secret_access_key) else {
        return Ok(None);
    };
    // The format of AWS, which also excludes the development keys.
    let is_id = (16..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_id {
        let text = "--access-key-id (GREENROOM_ACCESS_KEY_ID): use 16 to 128 letters, digits and underscores";
        return Err(ServerError::BadAccessKey(text));
    }
    // A short secret can be guessed offline from a signature.
    if !(32..=128).contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ServerError::BadAccessKey(
            "--secret-access-key (GREENROOM_SECRET_ACCESS_KEY): use 32 to 128 printable ASCII characters without spaces (make one with: openssl rand -hex 20)",
        ));
    }
    Ok(Some(ConfiguredKey { account: args.account.clone(), id: id.clone(), secret: secret.clone() }))
}

/// Whether clients on other machines reach a loopback address through a proxy.
pub fn is_proxied(args: &ServeArgs) -> bool {
    args.public_url.is_some() || !args.listener.trusted_proxies.is_empty()
}

/// The rate limit of each operation that has one.
fn rates(chosen: &RateLimits) -> Result<Rates, ServerError> {
    let names = || OPERATIONS.iter().map(|operation| operation.name);
    let mut rates = Rates::default();
    if chosen.aws {
        rates.0.extend(names().map(|name| (name.to_owned(), rate::aws_rate(name))));
    }
    for (name, rate) in &chosen.single {
        if !names().any(|known| known == name) {
            return Err(ServerError::UnknownOperation(name.clone()));
        }
        rates.0.insert(name.clone(), *rate);
    }
    Ok(rates)
}

/// The source of ids: with the test API, one that can be reseeded, and is seeded by `--test-seed`.
pub fn ids(args: &ServeArgs, ids: Ids) -> Ids {
    if args.testing.test_api == TestApi::Off {
        return ids;
    }
    args.testing.test_seed.map_or(ids, Ids::seeded).switchable()
}

pub fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// The base URL of the API for clients. `address` is that of the API.
pub fn public_url(args: &ServeArgs, address: SocketAddr) -> PublicUrl {
    args.public_url.clone().unwrap_or_else(|| PublicUrl {
        secure: args.listener.tls_cert.is_some(),
        authority: reachable(address).to_string(),
        path: String::new(),
    })
}

/// The settings of the operations.
pub fn app_settings(args: &ServeArgs, address: SocketAddr, rates: Rates, encoders: &IngestAddresses) -> Settings {
    let public = public_url(args, address);
    let (rtmp, rtmps) = ingest::public_urls(args, address, encoders);
    Settings {
        endpoints: Endpoints {
            events: public.url(("ws", "wss"), "/events"),
            whip: public.url(("http", "https"), "/whip"),
            rtmp: rtmp.as_str().to_owned(),
            rtmps: rtmps.as_str().to_owned(),
        },
        regions: args.regions.clone(),
        quotas: args.quotas,
        account_quotas: args.account_quotas,
        compositions: Durations {
            start: seconds(args.composition_start_seconds),
            idle: seconds(args.composition_idle_seconds),
            most: seconds(args.composition_max_seconds),
            stop: seconds(args.composition_stop_seconds),
            retention: seconds(args.composition_retention_seconds),
        },
        development: (args.dev_credentials == Switch::On).then(|| args.account.clone()),
        clock_skew: seconds(args.clock_skew_seconds),
        rates,
        participation: Participation {
            node_url: args.participants.node_url.as_ref().unwrap_or(&public).url(("http", "https"), ""),
            lease: seconds(args.participants.node_lease_seconds),
            session_end: seconds(args.participants.session_end_seconds),
            session_silent: (args.participants.session_silent_seconds > 0)
                .then(|| seconds(args.participants.session_silent_seconds)),
            token_leeway: seconds(args.participants.token_leeway_seconds),
        },
        events: Events {
            extended: args.events.extended_events == Switch::On,
            audit: args.events.audit == Switch::On,
            retention: seconds(args.events.event_retention_seconds),
        },
        least_free_disk: u64::from(args.database.database_min_free_mb) << 20,
        test_controls: args.testing.test_api != TestApi::Off,
    }
}
