//! `greenroom export` and `greenroom import`.

use super::args::{BackupArgs, BackupFile, Output};
use super::error::CommandError;
use crate::backup::{self, BackupError, Keys, Progress, Totals};
use crate::clock::Clock;
use crate::config::Url;
use crate::ids::Ids;
use crate::server::{self, KeySource, ServerError};
use crate::store::Db;
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};

/// Size of the file buffer, in bytes.
const BUFFER: usize = 1 << 16;

/// Exports a store to a file; servers can run. The file is only visible once it is complete; `stop` aborts.
pub(super) async fn export<S: Future<Output = ()>>(
    args: BackupArgs,
    stop: impl FnOnce() -> S,
) -> Result<String, CommandError> {
    let export = backup::export_key(&args.export_key.0)?;
    let source = KeySource::of(&args.store)?;
    match &args.store.database_url {
        Url::Memory => return Err(CommandError::MemoryStore),
        // SQLite would create the file.
        Url::File(path) if !path.try_exists().unwrap_or(true) => return Err(BackupError::NoStore.into()),
        Url::File(_) | Url::Postgres(_) => {}
    }
    let db = Db::open_beside(&server::options(&args.store)).await.map_err(ServerError::from)?;
    backup::schema(&mut db.read().await?).await?;
    let master = source.open_existing(&db).await?;
    let keys = Keys { master, export };
    let mut progress = Progress::new(Clock::System, None);
    let totals = match &args.file {
        BackupFile::Standard => {
            let out = BufWriter::with_capacity(BUFFER, std::io::stdout().lock());
            backup::export(&db, &keys, &Clock::System, out, &mut progress).await?
        }
        BackupFile::File(path) => {
            let draft = Draft::new(path, &Ids::Random).map_err(BackupError::Write)?;
            let out = BufWriter::with_capacity(BUFFER, &draft.file);
            let totals = tokio::select! {
                totals = backup::export(&db, &keys, &Clock::System, out, &mut progress) => totals?,
                () = stop() => return Err(CommandError::Stopped),
            };
            draft.keep(path).map_err(BackupError::Write)?;
            totals
        }
    };
    db.close().await;
    let text = summary("Exported", "from", &args, &totals, progress.elapsed());
    drop(progress);
    if args.file == BackupFile::Standard {
        eprint!("{text}");
        return Ok(String::new());
    }
    Ok(text)
}

/// Imports a file into an empty store that no server uses.
pub(super) async fn import(args: BackupArgs) -> Result<String, CommandError> {
    let export = backup::export_key(&args.export_key.0)?;
    let source = KeySource::of(&args.store)?;
    if args.store.database_url == Url::Memory {
        return Err(CommandError::MemoryStore);
    }
    let ids = Ids::Random;
    let (input, whole): (Box<dyn BufRead>, _) = match &args.file {
        BackupFile::Standard => (Box::new(std::io::stdin().lock()), None),
        BackupFile::File(path) => {
            let failed = |error| CommandError::BackupFile(path.clone(), error);
            let file = File::open(path).map_err(failed)?;
            let whole = file.metadata().map_err(failed)?.len();
            (Box::new(BufReader::with_capacity(BUFFER, file)), Some(whole))
        }
    };
    let db = Db::open(&server::options(&args.store)).await.map_err(ServerError::from)?;
    db.migrate().await.map_err(ServerError::from)?;
    let keys = Keys { master: source.take(&ids)?, export };
    let mut progress = Progress::new(Clock::System, whole);
    let totals = backup::import(&db, &keys, &ids, input, &mut progress).await?;
    db.close().await;
    Ok(summary("Imported", "into", &args, &totals, progress.elapsed()))
}

fn summary(did: &str, where_to: &str, args: &BackupArgs, totals: &Totals, elapsed: i64) -> String {
    let (store, rows, tables, bytes) = (&args.store.database_url, totals.all(), totals.rows.len(), totals.bytes);
    match args.output {
        Output::Human => {
            let seconds = elapsed as f64 / 1000.0;
            format!("{did} {rows} rows of {tables} tables, {bytes} bytes, {where_to} {store} in {seconds:.1} s.\n")
        }
        Output::Json => {
            let value = json!({"rows": rows, "tables": totals.rows, "bytes": bytes, "milliseconds": elapsed});
            format!("{value:#}\n")
        }
    }
}

/// A file written under a temporary name, readable by its owner only; removed on drop unless kept.
struct Draft {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Draft {
    fn new(path: &Path, ids: &Ids) -> std::io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        if path.metadata().is_ok_and(|there| !there.is_file()) {
            return Err(std::io::Error::other(format!(
                "{} is not a regular file; - is standard output",
                path.display()
            )));
        }
        let path = PathBuf::from(format!("{}.{}.tmp", path.display(), ids.resource()));
        let file = File::options().create_new(true).write(true).mode(0o600).open(&path)?;
        Ok(Draft { file, path, kept: false })
    }

    /// Syncs the file, and renames it to its final name.
    fn keep(mut self, path: &Path) -> std::io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, path)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
