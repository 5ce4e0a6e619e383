//! `/snapshots`: copies of the state of the selection, in memory and as files.

use super::call::{Call, Selection};
use super::endpoint::Endpoint;
use super::state::counts;
use super::{participants, scenarios};
use crate::api::JsonReply;
use crate::app::test_state;
use crate::backup::BackupError;
use crate::backup::snapshot::{self, Content, File};
use crate::model::fault::Fault;
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The content type of a file.
const CONTENT_TYPE: &str = "application/vnd.greenroom.snapshot+jsonl";
/// Maximum bytes of all snapshots together.
const MAX_BYTES: usize = 1 << 30;
/// Maximum characters of a name.
const MAX_NAME: usize = 128;

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::PUT,
        path: "/snapshots/{name}",
        name: "TestPutSnapshot",
        summary: "Takes a snapshot of the selection in memory, or uploads the file of one.",
        query: &[],
        request: Some(file),
        response: described,
        handler: |call| Box::pin(put(call)),
    },
    Endpoint {
        method: Method::GET,
        path: "/snapshots",
        name: "TestListSnapshots",
        summary: "Lists the snapshots of the selection.",
        query: &[],
        request: None,
        response: || json!({"type": "object", "properties": {"snapshots": {"type": "array", "items": described()}}}),
        handler: |call| Box::pin(std::future::ready(list(&call))),
    },
    Endpoint {
        method: Method::GET,
        path: "/snapshots/{name}",
        name: "TestGetSnapshot",
        summary: "Downloads the file of a snapshot, which is as secret as the access keys in it.",
        query: &[],
        request: None,
        response: file,
        handler: |call| Box::pin(std::future::ready(get(&call))),
    },
    Endpoint {
        method: Method::DELETE,
        path: "/snapshots/{name}",
        name: "TestDeleteSnapshot",
        summary: "Deletes a snapshot.",
        query: &[],
        request: None,
        response: || json!({"type": "object"}),
        handler: |call| Box::pin(std::future::ready(delete(&call))),
    },
    Endpoint {
        method: Method::POST,
        path: "/snapshots/{name}/restore",
        name: "TestRestoreSnapshot",
        summary: "Replaces the state of the selection by a snapshot.",
        query: &[],
        request: None,
        response: || json!({"type": "object", "properties": {"restored": counts("Restored rows by table.")}}),
        handler: |call| Box::pin(restore(call)),
    },
];

fn file() -> Value {
    json!({"type": "string", "x-content-types": [CONTENT_TYPE]})
}

fn described() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "takenAt": {"type": "string", "format": "date-time"},
            "rows": counts("Rows by table."),
            "bytes": {"type": "integer", "description": "Size of the file."},
        },
    })
}

/// The snapshots of this server, by selection and name. They are in memory, and gone when the server stops.
#[derive(Debug, Default)]
pub struct Snapshots(Mutex<BTreeMap<(Selection, String), Arc<File>>>);

impl Snapshots {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(Selection, String), Arc<File>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &(Selection, String)) -> Result<Arc<File>, Fault> {
        self.all().get(key).cloned().ok_or_else(|| missing(&key.1))
    }

    /// Keeps a snapshot; one of the same name is replaced.
    fn put(&self, key: (Selection, String), file: File) -> Result<Arc<File>, Fault> {
        let (file, mut all) = (Arc::new(file), self.all());
        let others = all.iter().filter(|(other, _)| **other != key).map(|(_, file)| file.bytes.len());
        if others.sum::<usize>() + file.bytes.len() > MAX_BYTES {
            let text =
                format!("The snapshots of the server would have more than {MAX_BYTES} bytes together; delete some");
            return Err(Fault::quota(text));
        }
        all.insert(key, file.clone());
        Ok(file)
    }
}

fn missing(name: &str) -> Fault {
    Fault::not_found(&format!("snapshot '{name}' of the selection"))
}

/// The selection and the name of a snapshot.
fn key(call: &Call) -> Result<(Selection, String), Fault> {
    let name = call.parameter(0);
    let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(valid) {
        let text = format!("name: must have 1 to {MAX_NAME} letters, digits, '-', '_' and '.'");
        return Err(Fault::validation(text));
    }
    Ok((call.selection.clone(), name.to_owned()))
}

fn shown(name: &str, file: &File) -> Value {
    json!({"name": name, "takenAt": file.taken_at, "rows": file.rows, "bytes": file.bytes.len()})
}

/// A fault of a file.
fn refused(error: BackupError) -> Fault {
    match error {
        BackupError::Line(..) | BackupError::CutOff(_) | BackupError::Changed(_) => {
            Fault::validation(format!("The snapshot: {error}"))
        }
        BackupError::Store(error) => error.into(),
        other => Fault::internal(other),
    }
}

/// Runs work that takes long for a large snapshot, on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(refused),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Fault::internal(error)),
    }
}

async fn put(call: Call) -> Result<JsonReply, Fault> {
    let key = key(&call)?;
    let upload = call.content_type == CONTENT_TYPE;
    if !upload && call.no_body().is_err() {
        return Err(Fault::validation(format!("Content-Type: must be {CONTENT_TYPE} for the file of a snapshot")));
    }
    let (state, selection, body) = (call.state.clone(), call.selection.clone(), call.body);
    let app = state.app.clone();
    let content = match upload {
        true => None,
        false => {
            let taken_at = app.clock().now();
            Some(Content { tables: test_state::take(&app, selection.scope()).await?, taken_at })
        }
    };
    let large = state.lock_large(body.len()).await;
    let file = blocking(move || {
        // Until the end of the work, which goes on if the client disconnects.
        let _large = large;
        let content = content.map_or_else(|| snapshot::read(&app, selection.scope(), &body), Ok)?;
        drop(body);
        snapshot::write(&app, selection.scope(), content)
    });
    let file = state.snapshots.put(key.clone(), file.await?)?;
    let (selection, name) = key;
    tracing::info!(%selection, snapshot = name, upload, bytes = file.bytes.len(), "snapshot taken");
    Ok(JsonReply::Json(shown(&name, &file)))
}

fn list(call: &Call) -> Result<JsonReply, Fault> {
    let all = call.state.snapshots.all();
    let own = all.iter().filter(|((selection, _), _)| *selection == call.selection);
    let own: Vec<_> = own.map(|((_, name), file)| shown(name, file)).collect();
    Ok(JsonReply::Json(json!({"snapshots": own})))
}

fn get(call: &Call) -> Result<JsonReply, Fault> {
    let file = call.state.snapshots.get(&key(call)?)?;
    Ok(JsonReply::Other(CONTENT_TYPE, file.bytes.clone()))
}

fn delete(call: &Call) -> Result<JsonReply, Fault> {
    let key = key(call)?;
    call.state.snapshots.all().remove(&key).ok_or_else(|| missing(&key.1))?;
    Ok(JsonReply::Json(json!({})))
}

/// Restores a snapshot, even if the client disconnects meanwhile.
async fn restore(call: Call) -> Result<JsonReply, Fault> {
    let state = call.state.clone();
    state.to_the_end(Box::pin(run_restore(call))).await
}

async fn run_restore(call: Call) -> Result<JsonReply, Fault> {
    call.no_body()?;
    let key = key(&call)?;
    let file = call.state.snapshots.get(&key)?;
    let (state, selection) = (call.state.clone(), call.selection.clone());
    let _large = state.lock_large(file.bytes.len()).await;
    let app = state.app.clone();
    let content = blocking(move || snapshot::read(&app, selection.scope(), &file.bytes)).await?;
    scenarios::stop_all(&state, &call.selection).await?;
    let restored = test_state::restore(&state.app, call.selection.scope(), &content.tables).await?;
    participants::reconcile(&state).await?;
    let rows = restored.values().sum::<u64>();
    tracing::info!(selection = %call.selection, snapshot = key.1, rows, "snapshot restored");
    Ok(JsonReply::Json(json!({"restored": restored})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::model::arn::Scope;

    #[test]
    fn snapshots_belong_to_their_selection_and_are_bounded_together() {
        let snapshots = Snapshots::default();
        let of = |account: &str| Selection::One(Scope { account: account.into(), region: "r".into() });
        let file = |bytes| File { bytes: vec![0; bytes].into(), rows: BTreeMap::new(), taken_at: Timestamp(0) };
        let key = (of("1"), "a".to_owned());
        assert!(snapshots.put(key.clone(), file(MAX_BYTES)).is_ok());
        assert!(snapshots.get(&key).is_ok());
        assert!(snapshots.get(&(of("2"), "a".into())).is_err());
        assert!(snapshots.get(&(Selection::All, "a".into())).is_err());
        assert!(snapshots.put((of("1"), "b".into()), file(1)).is_err());
        assert!(snapshots.put(key.clone(), file(MAX_BYTES)).is_ok(), "it is replaced");
    }
}
