//! Who may import whom: the rooms of the house, held to the table in the architecture page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each room may import of ours. `main` may import everything.
const MAY: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("ids", &[]),
    ("config", &[]),
    // Exports spans with the HTTP client.
    ("telemetry", &["http"]),
    // Knows nothing of ours: numbers and names.
    ("metrics", &[]),
    ("secret", &[]),
    // Times are part of the vocabulary.
    ("model", &["clock"]),
    ("domain", &["model", "clock"]),
    ("token", &["model", "clock"]),
    // Two types of `domain` are stored as JSON; `config` owns what can be set.
    ("store", &["metrics", "model", "domain", "clock", "config"]),
    ("app", &["metrics", "domain", "store", "token", "model", "clock", "ids", "secret", "config"]),
    ("api", &["http", "metrics", "app", "domain", "model", "clock", "config"]),
    // Counts requests, and gives each an id.
    ("http", &["metrics", "ids"]),
    ("events", &["http", "metrics", "app", "clock", "config", "domain", "model"]),
    // The commands: on top of everything.
    (
        "cli",
        &[
            "api",
            "app",
            "backup",
            "clock",
            "config",
            "domain",
            "events",
            "http",
            "ids",
            "secret",
            "server",
            "store",
            "telemetry",
        ],
    ),
    // A file to and from a store. `app` knows what secrets are sealed under.
    ("backup", &["app", "clock", "ids", "secret", "store"]),
    ("signaling", &["http", "metrics", "app", "connections", "domain", "model", "clock", "config"]),
    ("connections", &["metrics", "app", "domain", "model", "clock"]),
    ("console", &["http", "app"]),
    (
        "server",
        &[
            "api",
            "app",
            "clock",
            "config",
            "connections",
            "console",
            "domain",
            "events",
            "http",
            "ids",
            "metrics",
            "model",
            "secret",
            "signaling",
            "store",
        ],
    ),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file of the library with its room: the folder or file right under `src`.
fn rooms() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
            let room = Path::new(first.as_os_str()).file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            (room, path, text)
        })
        .filter(|(room, ..)| room != "lib" && room != "main")
        .collect()
}

#[test]
fn rooms_import_only_whom_they_may() {
    let may: BTreeMap<_, BTreeSet<_>> = MAY.iter().map(|(room, may)| (*room, may.iter().copied().collect())).collect();
    let mut seen = BTreeSet::new();
    for (room, path, text) in rooms() {
        seen.insert(room.clone());
        let allowed = may.get(room.as_str()).unwrap_or_else(|| panic!("{room} stands in no row of the table"));
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for (at, _) in line.match_indices("crate::") {
                let name: String =
                    line[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                assert!(
                    name == room || allowed.contains(name.as_str()),
                    "{}: {room} may not import {name}",
                    path.display()
                );
            }
        }
    }
    let known: BTreeSet<_> = MAY.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(seen, known, "a row for every room, and a room for every row");
}

#[test]
fn only_the_store_branches_on_the_name_of_its_engine() {
    for (room, path, text) in rooms().into_iter().filter(|(room, ..)| room != "store") {
        assert!(!text.contains("engine() =="), "{room}: {}: ask for a capability of the store", path.display());
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    for (library, homes) in [
        ("sqlx_core::", &["store"][..]),
        ("sqlx_postgres::", &["store"]),
        ("rusqlite::", &["store"]),
        ("deadpool::", &["store"]),
        ("axum::", &["api", "http", "signaling", "console", "server", "config"]),
        ("str0m::", &[]),
        ("hyper", &["events", "http"]),
        ("opentelemetry", &["http", "telemetry"]),
        ("prometheus_client", &["metrics"]),
        ("tokio_rustls", &["events", "http"]),
        ("toml::", &["cli", "events"]),
        ("aws_sdk_eventbridge", &["events"]),
    ] {
        for (room, path, text) in rooms() {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let uses = code.into_iter().any(|line| line.contains(library));
            assert!(!uses || homes.contains(&room.as_str()), "{} uses {library}", path.display());
        }
    }
}

#[test]
fn the_engines_have_migrations_of_the_same_names() {
    let names = |engine: &str| -> BTreeSet<_> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

/// The conformance suite runs every check on both engines; here it is held to leave no function of the store out.
#[test]
fn every_function_of_the_store_is_in_the_conformance_suite() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store"), &mut files);
    let suite: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let engines = include_str!("support/engines.rs");
    let mut count = 0;
    for (room, path, text) in rooms() {
        if room != "store" {
            continue;
        }
        for (at, _) in text.match_indices("pub async fn ") {
            let name: String = text[at + 13..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let called = [format!(".{name}("), format!("::{name}(")];
            let used = called.iter().any(|call| suite.contains(call) || engines.contains(call));
            assert!(used, "{}: {name} is not called in tests/store", path.display());
            count += 1;
        }
    }
    assert!(count > 60, "found {count} functions");
}
