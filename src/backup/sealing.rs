//! Secrets of a backup: decrypted with one key, encrypted with the other.

use crate::app::credentials::{SECRET, SESSION_TOKEN, sealed_name};
use crate::secret::SecretError;
use crate::store::tables::{Cell, Column, Kind, Table};

/// Replaces each secret of a row by `reseal` of the name that it is sealed under and of its sealed text.
pub(super) fn reseal(
    table: &Table,
    columns: &[Column],
    row: &mut [Cell],
    reseal: impl Fn(&str, &str) -> Result<String, SecretError>,
) -> Result<(), SecretError> {
    for (n, column) in columns.iter().enumerate().filter(|(_, column)| column.kind == Kind::Sealed) {
        let (Cell::Text(id), Cell::Text(sealed)) = (&row[0], &row[n]) else { return Err(SecretError::Unreadable) };
        if !sealed.is_empty() {
            let name = name(table, column, id).ok_or(SecretError::Unreadable)?;
            row[n] = Cell::Text(reseal(&name, sealed)?);
        }
    }
    Ok(())
}

/// The name under which the secret in a column of the row `id` is sealed.
fn name(table: &Table, column: &Column, id: &str) -> Option<String> {
    match (table.name, column.name) {
        ("signing_keys", "sealed") => Some(id.to_owned()),
        ("access_keys", "sealed_secret") => Some(sealed_name(id, SECRET)),
        ("access_keys", "sealed_session_token") => Some(sealed_name(id, SESSION_TOKEN)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tables::TABLES;

    #[test]
    fn every_secret_of_the_store_has_a_name() {
        for table in TABLES {
            for column in table.columns.iter().filter(|column| column.kind == Kind::Sealed) {
                assert!(name(table, column, "id").is_some(), "{}.{}", table.name, column.name);
                assert_eq!(table.columns[0].name, "id");
            }
        }
    }
}
