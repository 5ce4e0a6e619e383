//! Macros that write a statement once and run it on either engine.

/// Runs a query; the first argument says the number of rows: `fetch_optional`, `fetch_one`, `fetch_all`.
macro_rules! fetch {
    ($how:ident, $conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $conn.raw() {
            $crate::store::RawConnectionMut::Sqlite(c) => {
                $crate::store::sqlite::yield_budget().await;
                c.$how::<$row>($sql, &[$(&$bind),*])
            }
            $crate::store::RawConnectionMut::Postgres(c, session) => {
                let query = $crate::store::sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.persistent(session.named);
                session.run(query.$how(c)).await.map_err($crate::store::StoreError::from)
            }
        }
        .map_err(|error| $conn.failed(error))
    };
}

/// Runs a statement. Returns how many rows it changed.
macro_rules! execute {
    ($conn:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $conn.raw() {
            $crate::store::RawConnectionMut::Sqlite(c) => {
                $crate::store::sqlite::yield_budget().await;
                c.execute($sql, &[$(&$bind),*])
            }
            $crate::store::RawConnectionMut::Postgres(c, session) => {
                let query = $crate::store::sqlx::query($sql)$(.bind($bind))*.persistent(session.named);
                let done = session.run(query.execute(c)).await;
                done.map(|done| done.rows_affected()).map_err($crate::store::StoreError::from)
            }
        }
        .map_err(|error| $conn.failed(error))
    };
}

/// Declares a row type that both engines can fill; the fields have the columns' names. A field that is declared
/// `Option<…> as OrEmpty` is of a column that has `""` for `None`.
macro_rules! rows {
    ($( $(#[$meta:meta])* $name:ident {
        $( $(#[$fmeta:meta])* $field:ident: $type:ty $(as $column:ident)? ),* $(,)?
    } )*) => {$(
        $(#[$meta])*
        pub struct $name { $( $(#[$fmeta])* pub $field: $type ),* }

        impl crate::store::sqlite::FromRow for $name {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn read(row: &rusqlite::Row<'_>, indices: &[usize]) -> rusqlite::Result<Self> {
                let mut indices = indices.iter().copied();
                Ok(Self { $($field: $crate::store::sql::rows!(
                    @field row.get(indices.next().unwrap_or(usize::MAX))?, $($column)?
                )),* })
            }
        }

        impl crate::store::sqlx::FromRow<'_, crate::store::sqlx::postgres::PgRow> for $name {
            fn from_row(row: &crate::store::sqlx::postgres::PgRow) -> Result<Self, crate::store::sqlx::Error> {
                use crate::store::sqlx::Row as _;
                Ok(Self { $($field: $crate::store::sql::rows!(@field row.try_get(stringify!($field))?, $($column)?)),* })
            }
        }
    )*};
    (@field $value:expr, $column:ident) => {{
        let $column(value) = $value;
        value
    }};
    (@field $value:expr,) => {
        $value
    };
}

/// For PostgreSQL only: a statement that returns up to `$limit` rows, of [`PAGE`](crate::store::sql::PAGE) at most.
/// PostgreSQL plans a statement for every execution while the limit is unknown, as a page could be a whole long list; with
/// a constant it keeps the plan. SQLite has no such cost, and would take longer for the subquery.
macro_rules! page {
    ($statement:expr, $order:literal, $limit:literal) => {
        concat!(
            "SELECT * FROM (",
            $statement,
            " ORDER BY ",
            $order,
            " LIMIT 101) AS page ORDER BY ",
            $order,
            " LIMIT ",
            $limit
        )
    };
}

/// A statement on the table of a kind of resource: the text before the table's name and after it.
macro_rules! for_kind {
    ($kind:expr, $before:literal, $after:literal) => {
        match $kind {
            $crate::model::arn::ResourceKind::Stage => concat!($before, "stages", $after),
            $crate::model::arn::ResourceKind::PublicKey => concat!($before, "public_keys", $after),
            $crate::model::arn::ResourceKind::Composition => concat!($before, "compositions", $after),
            $crate::model::arn::ResourceKind::EncoderConfiguration => {
                concat!($before, "encoder_configurations", $after)
            }
            $crate::model::arn::ResourceKind::StorageConfiguration => {
                concat!($before, "storage_configurations", $after)
            }
            $crate::model::arn::ResourceKind::IngestConfiguration => {
                concat!($before, "ingest_configurations", $after)
            }
        }
    };
}

/// Maximum rows of a page, and the one that shows whether another page follows.
pub const PAGE: i64 = 101;

pub(crate) use {execute, fetch, for_kind, page, rows};

#[cfg(test)]
mod tests {
    #[test]
    fn the_constant_in_the_statement_is_that_of_a_page() {
        let limits: Vec<_> = page!("", "x", "$1").split("LIMIT ").skip(1).map(str::to_owned).collect();
        assert_eq!(limits, [format!("{}) AS page ORDER BY x ", super::PAGE), "$1".to_owned()]);
    }
}
