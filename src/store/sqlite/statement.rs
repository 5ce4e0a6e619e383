//! Statements, run where they are called, and the rows that they answer.

use rusqlite::types::FromSql;
use rusqlite::{Connection, Error, Result, Row, Statement, ToSql};

/// A row of a known shape.
pub trait FromRow: Sized {
    /// The columns by their names; none where they are known by their places.
    const COLUMNS: &'static [&'static str];

    /// Reads a row; `places` is where the columns stand.
    fn read(row: &Row<'_>, places: &[usize]) -> Result<Self>;
}

/// Rows that are known by the places of their columns.
macro_rules! tuples {
    ($( ($($type:ident $place:literal),+) )*) => {$(
        impl<$($type: FromSql),+> FromRow for ($($type,)+) {
            const COLUMNS: &'static [&'static str] = &[];

            fn read(row: &Row<'_>, _: &[usize]) -> Result<Self> {
                Ok(($(row.get::<_, $type>($place)?,)+))
            }
        }
    )*};
}

tuples! { (A 0) (A 0, B 1) (A 0, B 1, C 2, D 3) }

/// Binds values to what the statement calls `$1`, `$2` and so on, each as often as it likes and in any order, or to
/// nameless ones in theirs.
fn bind(statement: &mut Statement<'_>, values: &[&dyn ToSql]) -> Result<()> {
    for place in 1..=statement.parameter_count() {
        let number = statement.parameter_name(place).and_then(|name| name.get(1..)?.parse().ok()).unwrap_or(place);
        let Some(value) = values.get(number.wrapping_sub(1)) else {
            return Err(Error::InvalidParameterCount(values.len(), number));
        };
        statement.raw_bind_parameter(place, value)?;
    }
    Ok(())
}

/// Where a row's columns stand in what a statement answers.
fn places(statement: &Statement<'_>, columns: &[&str]) -> Result<Vec<usize>> {
    let place = |(expected, name): (usize, &&str)| {
        // Most statements name them in the order of the fields.
        if statement.column_name(expected).is_ok_and(|found| found == *name) {
            return Ok(expected);
        }
        statement.column_index(name)
    };
    columns.iter().enumerate().map(place).collect()
}

/// Runs a query and reads its rows with `read`, `most` of them.
pub fn rows<T>(
    conn: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    most: usize,
    columns: &[&str],
    read: impl Fn(&Row<'_>, &[usize]) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    let places = places(&statement, columns)?;
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while found.len() < most
        && let Some(row) = rows.next()?
    {
        found.push(read(row, &places)?);
    }
    Ok(found)
}

/// Runs a statement and answers how many rows it touched.
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
    fn a_value_goes_where_its_number_is() {
        assert_eq!(pair("SELECT $2, $1", &[&"a", &7]), Ok((7, "a".into())));
        assert_eq!(pair("SELECT $2 + $2, $1 || $1", &[&"a", &7]), Ok((14, "aa".into())));
        assert_eq!(pair("SELECT $11, $1", &[&"a", &0, &0, &0, &0, &0, &0, &0, &0, &0, &11]), Ok((11, "a".into())));
        assert_eq!(pair("SELECT ?, ?", &[&7, &"a"]), Ok((7, "a".into())));
        assert_eq!(pair("SELECT $2, 'a'", &[&7]), Err(Error::InvalidParameterCount(1, 2)));
    }

    #[test]
    fn a_column_is_found_by_its_name() {
        let conn = Connection::open_in_memory().unwrap();
        let read = |row: &Row<'_>, places: &[usize]| Ok((row.get(places[0])?, row.get(places[1])?));
        let read = |sql: &str| rows(&conn, sql, &[], 9, &["a", "b"], read);
        assert_eq!(read("SELECT 1 AS a, 2 AS b"), Ok(vec![(1, 2)]));
        assert_eq!(read("SELECT 2 AS b, 0 AS c, 1 AS a"), Ok(vec![(1, 2)]));
        assert_eq!(read("SELECT 1 AS a, 2 AS c"), Err(Error::InvalidColumnName("b".into())));
    }
}
