//! What nodes tell each other through PostgreSQL: that one of them has written something. It wakes those who look for
//! changes, and nothing depends on it.

use super::{Db, Pools, StoreError};
use crate::config::Secret;
use crate::store::sqlx;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// Where it is told. Names of channels belong to a database.
const CHANNEL: &str = "greenroom";
/// How long connecting may take, and an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection on which nothing was heard for so long is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection that listens.
#[derive(Debug)]
pub struct Notices(PgListener);

impl Db {
    /// Whether nodes tell each other of what they write.
    pub fn has_notices(&self) -> bool {
        self.listen.is_some()
    }

    /// Tells the other nodes that `node` has written something; or, with a message in base64url after its name, sends them
    /// that. Outside of the transaction that wrote it: a commit that
    /// notifies waits for every other one that does.
    pub async fn notify(&self, node: &str) -> Result<(), StoreError> {
        let Pools::Postgres(server) = &self.pools else { return Ok(()) };
        let payload: String = node.chars().filter(|c| c.is_ascii_alphanumeric() || " -_".contains(*c)).collect();
        // One message, so that it passes every pooler.
        server.execute_alone(format!("NOTIFY {CHANNEL}, '{payload}'")).await
    }

    /// Listens to the other nodes from now on; `None` where nothing is told.
    pub async fn listen(&self) -> Result<Option<Notices>, StoreError> {
        let Some(Secret(url)) = &self.listen else { return Ok(None) };
        let connect = PgConnectOptions::from_str(url)?.application_name("greenroom: listen").extra_float_digits(None);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(connect);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Some(Notices(listener)))
    }
}

impl Notices {
    /// The name of a node that has written something, perhaps with a message; an error when the connection is broken.
    pub async fn next(&mut self) -> Result<String, StoreError> {
        loop {
            match tokio::time::timeout(SILENCE, self.0.try_recv()).await {
                Ok(Ok(Some(notice))) => return Ok(notice.payload().to_owned()),
                Ok(Ok(None)) => return Err(StoreError::Away),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => self.lives().await?,
            }
        }
    }

    async fn lives(&mut self) -> Result<(), StoreError> {
        let asked = sqlx::raw_sql("SELECT 1").execute(&mut self.0);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => Ok(answer.map(drop)?),
            Err(_) => Err(StoreError::Away),
        }
    }
}
