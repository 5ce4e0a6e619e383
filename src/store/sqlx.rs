//! The parts of sqlx that the store uses, under the names of the crate `sqlx`. That crate depends on the SQLite driver of
//! its own, whether it is used or not, and so pins SQLite's C library to an older version than rusqlite's.

pub use sqlx_core::connection::{ConnectOptions, Connection};
pub use sqlx_core::decode::Decode;
pub use sqlx_core::encode::{self, Encode};
pub use sqlx_core::error::{self, Error, Result};
pub use sqlx_core::from_row::FromRow;
pub use sqlx_core::migrate;
pub use sqlx_core::query::query;
pub use sqlx_core::query_as::query_as;
pub use sqlx_core::raw_sql::raw_sql;
pub use sqlx_core::row::Row;
pub use sqlx_core::sql_str::{AssertSqlSafe, SqlSafeStr};
pub use sqlx_core::types::{self, Type};
pub use sqlx_postgres::{self as postgres, PgConnection, Postgres};
