//! Checks of the store: connection, schema, writes, clock.

use super::finding::Finding;
use crate::clock::Clock;
use crate::config::{StoreArgs, Url};
use crate::server;
use crate::store::{Db, Inspection, SCHEMA};
use std::path::Path;
use std::time::Duration;

const CHECK: &str = "database";
/// Time limit of all checks of the database.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Clock offset, in milliseconds, above which to warn, and above which leases and tokens fail.
const CLOCK_LIMITS: (i64, i64) = (500, 2000);

/// Checks the store, without a change and without creating one.
pub async fn database(args: &StoreArgs, clock: &Clock) -> Vec<Finding> {
    match &args.database_url {
        Url::Memory => vec![Finding::ok(CHECK, "sqlite::memory: stores nothing on disk".into())],
        Url::File(path) if !path.exists() => vec![new_file(path)],
        Url::File(_) => check(args, clock).await,
        Url::Postgres(_) if args.master_key.is_none() => {
            let text = "PostgreSQL needs a master key, the same for every node: set GREENROOM_MASTER_KEY (make one with: openssl rand -base64 32)";
            let mut found = vec![Finding::failed("master key", text.into())];
            found.extend(check(args, clock).await);
            found
        }
        Url::Postgres(_) => check(args, clock).await,
    }
}

/// A file that the server would create.
fn new_file(path: &Path) -> Finding {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = folder.join(format!(".greenroom-doctor-{}", std::process::id()));
    let made = std::fs::File::options().write(true).create_new(true).open(&probe);
    match made.and_then(|_| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::ok(CHECK, format!("{} is not there yet, and can be created", path.display())),
        Err(error) => Finding::failed(CHECK, format!("{} cannot be created: {error}", path.display())),
    }
}

async fn check(args: &StoreArgs, clock: &Clock) -> Vec<Finding> {
    let (url, inspecting) = (&args.database_url, inspect(args, clock));
    let (inspection, offset) = match tokio::time::timeout(TIMEOUT, inspecting).await {
        Ok(Ok(found)) => found,
        Ok(Err(text)) => return vec![Finding::failed(CHECK, format!("{url}: {text}"))],
        Err(_) => {
            return vec![Finding::failed(CHECK, format!("{url} does not respond within {} s", TIMEOUT.as_secs()))];
        }
    };
    let mut found = vec![schema(url, &inspection)];
    match inspection.unwritable {
        None => found.push(Finding::ok(CHECK, "writable".into())),
        Some(reason) => found.push(Finding::failed(CHECK, format!("not writable: {reason}"))),
    }
    found.extend(offset.map(clock_offset));
    found
}

/// The state of the store, and the offset of this machine's clock from the database's, in milliseconds.
async fn inspect(args: &StoreArgs, clock: &Clock) -> Result<(Inspection, Option<i64>), String> {
    let db = Db::open_beside(&server::options(args)).await.map_err(|error| error.to_string())?;
    // The first query opens the connection, so that the read of the clock is quick.
    db.ping().await.map_err(|error| error.detail())?;
    let inspection = db.inspect().await.map_err(|error| error.detail())?;
    let reading = db.read_clock(clock).await.map_err(|error| error.detail())?;
    db.close().await;
    Ok((inspection, reading.map(|reading| reading.offset)))
}

fn schema(url: &Url, inspection: &Inspection) -> Finding {
    match inspection.schema {
        None => Finding::ok(CHECK, format!("{url} is empty; the server creates the schema")),
        Some(SCHEMA) => Finding::ok(CHECK, format!("{url} has schema {SCHEMA}, which is current")),
        Some(older) if older < SCHEMA => {
            let text = format!("{url} has schema {older}; the next start migrates it to {SCHEMA}: back it up first");
            Finding::warning(CHECK, text)
        }
        Some(newer) => {
            let text =
                format!("{url} has schema {newer}, and this version supports up to {SCHEMA}: install a newer one");
            Finding::failed(CHECK, text)
        }
    }
}

fn clock_offset(offset: i64) -> Finding {
    const CHECK: &str = "clock";
    let text = format!("{:+.3} s from the database's clock to this machine's", offset as f64 / 1000.0);
    match offset.abs() {
        ms if ms <= CLOCK_LIMITS.0 => Finding::ok(CHECK, text),
        ms if ms <= CLOCK_LIMITS.1 => Finding::warning(CHECK, format!("{text}: synchronize both with NTP")),
        _ => Finding::failed(CHECK, format!("{text}: signatures, tokens and leases fail; synchronize both with NTP")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn clock_offsets_are_reported() {
        for (offset, status) in [
            (0, Status::Ok),
            (-500, Status::Ok),
            (501, Status::Warning),
            (2000, Status::Warning),
            (-2001, Status::Failed),
            (20_000, Status::Failed),
        ] {
            assert_eq!(clock_offset(offset).status, status, "{offset}");
        }
        assert!(clock_offset(20_000).text.starts_with("+20.000 s"), "{}", clock_offset(20_000).text);
    }

    #[test]
    fn schemas_of_other_versions_are_reported() {
        let status = |schema| schema_of(schema).status;
        assert_eq!(status(None), Status::Ok);
        assert_eq!(status(Some(SCHEMA)), Status::Ok);
        assert_eq!(status(Some(SCHEMA - 1)), Status::Warning);
        assert_eq!(status(Some(SCHEMA + 1)), Status::Failed);
    }

    fn schema_of(schema: Option<i64>) -> Finding {
        super::schema(&Url::Memory, &Inspection { schema, unwritable: None })
    }
}
