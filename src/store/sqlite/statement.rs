//! Statements, their parameters, and their rows.

use rusqlite::types::FromSql;
use rusqlite::{Connection, Error, Result, Row, Statement, ToSql};

/// A type that is read from a row.
pub trait FromRow: Sized {
    /// The names of its columns; none if they are read by position.
    const COLUMNS: &'static [&'static str];

    /// Reads a row; `indices` are those of the columns.
    fn read(row: &Row<'_>, indices: &[usize]) -> Result<Self>;
}

/// Tuples are read by position.
macro_rules! tuples {
    ($( ($($type:ident $index:literal),+) )*) => {$(
        impl<$($type: FromSql),+> FromRow for ($($type,)+) {
            const COLUMNS: &'static [&'static str] = &[];

            fn read(row: &Row<'_>, _: &[usize]) -> Result<Self> {
                Ok(($(row.get::<_, $type>($index)?,)+))
            }
        }
    )*};
}

tuples! { (A 0) (A 0, B 1) (A 0, B 1, C 2, D 3) }

/// Binds values to the parameters `$1`, `$2` and so on, in any order and each any number of times, or to `?` in order.
fn bind(statement: &mut Statement<'_>, values: &[&dyn ToSql]) -> Result<()> {
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse().ok()).unwrap_or(index);
        let Some(value) = values.get(number.wrapping_sub(1)) else {
            return Err(Error::InvalidParameterCount(values.len(), number));
        };
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

/// The indices of columns in the result of a statement.
fn indices(statement: &Statement<'_>, columns: &[&str]) -> Result<Vec<usize>> {
    let index = |(expected, name): (usize, &&str)| {
        // Most statements have them in the order of the fields.
        if statement.column_name(expected).is_ok_and(|found| found == *name) {
            return Ok(expected);
        }
        statement.column_index(name)
    };
    columns.iter().enumerate().map(index).collect()
}

/// Runs a query and reads up to `max` of its rows with `read`.
pub fn rows<T>(
    conn: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    max: usize,
    columns: &[&str],
    read: impl Fn(&Row<'_>, &[usize]) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    let indices = indices(&statement, columns)?;
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while found.len() < max
        && let Some(row) = rows.next()?
    {
        found.push(read(row, &indices)?);
    }
    Ok(found)
}

/// Runs a statement. Returns how many rows it changed.
pub fn execute(conn: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<usize> {
    let mut statement = conn.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    statement.raw_execute()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(sql: &str, values: &[&dyn ToSql]) -> Result<(i64, String)> {
        let conn = Connection::open_in_memory()?;
        let mut found = rows(&conn, sql, values, 1, &[], <(i64, String)>::read)?;
        Ok(found.remove(0))
    }

    #[test]
    fn values_are_bound_by_number_or_order() {
        assert_eq!(pair("SELECT $2, $1", &[&"a", &7]), Ok((7, "a".into())));
        assert_eq!(pair("SELECT $2 + $2, $1 || $1", &[&"a", &7]), Ok((14, "aa".into())));
        assert_eq!(pair("SELECT $11, $1", &[&"a", &0, &0, &0, &0, &0, &0, &0, &0, &0, &11]), Ok((11, "a".into())));
        assert_eq!(pair("SELECT ?, ?", &[&7, &"a"]), Ok((7, "a".into())));
        assert_eq!(pair("SELECT $2, 'a'", &[&7]), Err(Error::InvalidParameterCount(1, 2)));
    }

    #[test]
    fn a_column_is_found_by_its_name() {
        let conn = Connection::open_in_memory().unwrap();
        let read = |row: &Row<'_>, indices: &[usize]| Ok((row.get(indices[0])?, row.get(indices[1])?));
        let read = |sql: &str| rows(&conn, sql, &[], 9, &["a", "b"], read);
        assert_eq!(read("SELECT 1 AS a, 2 AS b"), Ok(vec![(1, 2)]));
        assert_eq!(read("SELECT 2 AS b, 0 AS c, 1 AS a"), Ok(vec![(1, 2)]));
        assert_eq!(read("SELECT 1 AS a, 2 AS c"), Err(Error::InvalidColumnName("b".into())));
    }
}
