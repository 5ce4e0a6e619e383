//! Places in lists: what a `nextToken` holds.

use super::arn::Scope;

/// The place after an item of a list: the item's sort key. Lists are read from here on, never by counting, so that
/// what others insert or delete meanwhile neither skips nor repeats an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// What the list is ordered by: a time in milliseconds, or a number.
    pub order: i64,
    /// The id that breaks ties.
    pub id: String,
}

/// The layout of a page token; a token of another version is refused.
const VERSION: u8 = 1;

impl Position {
    /// Before the first item of a list that ascends.
    pub fn first() -> Self {
        Position { order: i64::MIN, id: String::new() }
    }

    /// Before the first item of a list that descends.
    pub fn last() -> Self {
        Position { order: i64::MAX, id: String::new() }
    }

    /// The bytes that a token carries.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.order.to_be_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes
    }

    /// The place that a token's bytes name.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (order, id) = rest.split_first_chunk::<8>()?;
        let id = String::from_utf8(id.to_vec()).ok()?;
        (*version == VERSION).then_some(Position { order: i64::from_be_bytes(*order), id })
    }
}

/// What a list was asked for. A token is good for the very same question only.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// The operation.
    pub operation: &'static str,
    /// Whose resources.
    pub scope: &'a Scope,
    /// Every other thing that decides what is in the list, in a fixed order.
    pub filters: &'a [&'a str],
}

impl Query<'_> {
    /// The question as bytes, without two questions ever having the same.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = [self.operation, &self.scope.account, &self.scope.region];
        let mut bytes = Vec::new();
        for part in parts.iter().chain(self.filters) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_bytes() {
        let place = Position { order: -5, id: "abcABC".into() };
        assert_eq!(Position::from_bytes(&place.to_bytes()), Some(place.clone()));
        let mut other = place.to_bytes();
        other[0] = 9;
        assert_eq!(Position::from_bytes(&other), None);
        assert_eq!(Position::from_bytes(&[]), None);
    }

    #[test]
    fn questions_that_differ_only_in_where_a_part_ends_differ() {
        let scope = Scope { account: "1".into(), region: "r".into() };
        let ask = |filters: &[&str]| Query { operation: "X", scope: &scope, filters }.to_bytes();
        assert_ne!(ask(&["ab", "c"]), ask(&["a", "bc"]));
    }
}
