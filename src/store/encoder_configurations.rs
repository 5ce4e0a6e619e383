//! Encoder configurations.

use super::sql::{execute, fetch, rows};
use super::{Conn, Json, StoreError};
use crate::model::arn::Scope;
use crate::model::encoder_configuration::Video;
use crate::model::page::Position;
use crate::model::tag::Tags;

rows! {
    /// An encoder configuration as it is stored.
    #[derive(Clone, Debug)]
    EncoderConfigurationRow {
        id: String,
        name: String,
        /// Size, frame rate and bit rate; every default filled in.
        video: Json<Video>,
        tags: Json<Tags>,
        created_at: i64,
    }
}

const ONE: &str = "SELECT id, name, video, tags, created_at FROM encoder_configurations
    WHERE account = $1 AND region = $2 AND id = $3";
const PAGE: &str = "SELECT id, name, video, tags, created_at FROM encoder_configurations
    WHERE account = $1 AND region = $2 AND (created_at, id) > ($3, $4) ORDER BY created_at, id LIMIT $5";
const INSERT: &str = "INSERT INTO encoder_configurations (account, region, id, name, video, tags, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

impl Conn {
    /// The encoder configuration `id`.
    pub async fn encoder_configuration(
        &mut self,
        scope: &Scope,
        id: &str,
    ) -> Result<Option<EncoderConfigurationRow>, StoreError> {
        fetch!(fetch_optional, self, EncoderConfigurationRow, ONE, &scope.account, &scope.region, id)
    }

    /// Encoder configurations in the order of their creation, after `place`.
    pub async fn encoder_configurations(
        &mut self,
        scope: &Scope,
        place: &Position,
        limit: i64,
    ) -> Result<Vec<EncoderConfigurationRow>, StoreError> {
        fetch!(
            fetch_all,
            self,
            EncoderConfigurationRow,
            PAGE,
            &scope.account,
            &scope.region,
            place.order,
            &place.id,
            limit
        )
    }

    /// Adds an encoder configuration.
    pub async fn insert_encoder_configuration(
        &mut self,
        scope: &Scope,
        row: &EncoderConfigurationRow,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT,
            &scope.account,
            &scope.region,
            &row.id,
            &row.name,
            &row.video,
            &row.tags,
            row.created_at,
        )
        .map(drop)
    }
}
