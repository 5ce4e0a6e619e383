//! The inspection by `greenroom doctor`, which leaves nothing behind.

use super::sql::execute;
use super::{Db, StoreError};

/// Deletes no row, but needs the privilege.
const TOUCH: &str = "DELETE FROM access_keys WHERE 1 = 0";
/// Needs the privilege of the first migration; never committed.
const CREATE: &str = "CREATE TABLE greenroom_doctor (id BIGINT)";

/// The state of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The number of its last migration; `None` if it is empty.
    pub schema: Option<i64>,
    /// Why it cannot be written to, if it cannot.
    pub unwritable: Option<String>,
}

impl Db {
    /// Reads the schema's version, and tries to write without leaving anything behind.
    pub async fn inspect(&self) -> Result<Inspection, StoreError> {
        let schema = self.read().await?.schema().await?;
        let statement = if schema.is_some() { TOUCH } else { CREATE };
        let attempt = async {
            let mut conn = self.write().await?;
            execute!(conn, statement)
        };
        let unwritable = attempt.await.err().map(|error: StoreError| error.detail());
        Ok(Inspection { schema, unwritable })
    }
}
