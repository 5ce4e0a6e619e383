//! PostgreSQL's LISTEN and NOTIFY: a node notifies the others that it has written something. It saves them polling, and
//! nothing depends on it.

use super::{Db, Pools, StoreError};
use crate::config::Secret;
use crate::store::sqlx;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// The channel. Names of channels belong to a database.
const CHANNEL: &str = "greenroom";
/// Longest time for connecting, and for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A connection without a notification for so long is checked.
const CHECK_AFTER: Duration = Duration::from_secs(30);

/// A connection that listens.
#[derive(Debug)]
pub struct Notifications(PgListener);

impl Db {
    /// Whether nodes notify each other.
    pub fn has_notifications(&self) -> bool {
        self.listen.is_some()
    }

    /// Notifies the other nodes that `node` has written something; with a message in base64url after its id, sends them the
    /// message. Outside of the transaction that wrote it: commits that notify wait for each other.
    pub async fn notify(&self, node: &str) -> Result<(), StoreError> {
        let Pools::Postgres(server) = &self.pools else { return Ok(()) };
        let payload: String = node.chars().filter(|c| c.is_ascii_alphanumeric() || " -_".contains(*c)).collect();
        // One message, so that it passes every pooler.
        server.execute_alone(format!("NOTIFY {CHANNEL}, '{payload}'")).await
    }

    /// Listens to the other nodes from now on; `None` where the store has no LISTEN.
    pub async fn listen(&self) -> Result<Option<Notifications>, StoreError> {
        let Some(Secret(url)) = &self.listen else { return Ok(None) };
        let connect = PgConnectOptions::from_str(url)?.application_name("greenroom: listen").extra_float_digits(None);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(connect);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Some(Notifications(listener)))
    }
}

impl Notifications {
    /// The id of a node that has written something, and perhaps a message; an error when the connection is broken.
    pub async fn next(&mut self) -> Result<String, StoreError> {
        loop {
            match tokio::time::timeout(CHECK_AFTER, self.0.try_recv()).await {
                Ok(Ok(Some(notification))) => return Ok(notification.payload().to_owned()),
                Ok(Ok(None)) => return Err(StoreError::Away),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => self.check().await?,
            }
        }
    }

    async fn check(&mut self) -> Result<(), StoreError> {
        let asked = sqlx::raw_sql("SELECT 1").execute(&mut self.0);
        match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(answer) => Ok(answer.map(drop)?),
            Err(_) => Err(StoreError::Away),
        }
    }
}
