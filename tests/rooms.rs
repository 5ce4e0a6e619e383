//! The rooms: which module of the service may import which. The table is the one on the architecture page, and the picture
//! there is drawn from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The packages of the workspace besides the service, which import nothing of it.
const PACKAGES: [&str; 7] = [
    "greenroom-client",
    "greenroom-codecs",
    "greenroom-ingest",
    "greenroom-media",
    "greenroom-netem",
    "greenroom-recording",
    "greenroom-rtmp",
];

type Table = BTreeMap<String, BTreeSet<String>>;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Room and imports of every row of the table in docs/design/architecture.md.
fn table() -> Table {
    let page = std::fs::read_to_string(file("docs/design/architecture.md")).unwrap();
    let (_, rest) = page.split_once("<!-- rooms -->").unwrap();
    let (table, _) = rest.split_once("<!-- /rooms -->").unwrap();
    let names = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
            let [room, _, imports] = cells[..] else { panic!("three cells: {line}") };
            (names(room).remove(0), names(imports).into_iter().collect())
        })
        .collect()
}

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

/// The rooms and packages that each room imports.
fn imports() -> Table {
    let mut found = Table::new();
    for (room, _, text) in rooms() {
        let imports = found.entry(room.clone()).or_default();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for (at, _) in line.match_indices("crate::") {
                let name = line[at + 7..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                if name != room {
                    imports.insert(name.to_owned());
                }
            }
            let packages = PACKAGES.iter().filter(|name| line.contains(&format!("{}::", name.replace('-', "_"))));
            imports.extend(packages.map(|name| (*name).to_owned()));
        }
    }
    found
}

#[test]
fn rooms_import_what_the_architecture_page_allows_and_no_more_is_allowed() {
    let (allowed, found) = (table(), imports());
    let rooms: BTreeSet<_> = found.keys().collect();
    assert_eq!(rooms, allowed.keys().collect(), "a row for every room, and a room for every row");
    for (room, imports) in &found {
        assert_eq!(imports, &allowed[room], "{room}: its imports, and those of docs/design/architecture.md");
    }
}

#[test]
fn the_picture_of_the_rooms_shows_the_table() {
    let (picture, at) = (draw(&table()), file("docs/images/rooms.svg"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&at, &picture).unwrap();
    }
    assert!(
        std::fs::read_to_string(&at).unwrap_or_default() == picture,
        "UPDATE=1 cargo test --test rooms draws it anew"
    );
}

/// Draws the rooms in levels: each above all that it imports. An import that follows from others is left out.
fn draw(table: &Table) -> String {
    const WIDTH: usize = 960;
    const ROW: usize = 84;
    const BOX: (usize, usize) = (118, 36);
    const LEFT: usize = 20;
    let levels = levels(table);
    let mut rows: BTreeMap<usize, Vec<&String>> = BTreeMap::new();
    for (room, level) in &levels {
        rows.entry(*level).or_default().push(room);
    }
    let height = (rows.len() - 1) * ROW + BOX.1 + 2 * LEFT;
    let mut places = BTreeMap::new();
    for (level, rooms) in &rows {
        let step = WIDTH / (rooms.len() + 1);
        for (n, room) in rooms.iter().enumerate() {
            places.insert(*room, (step * (n + 1), height - LEFT - BOX.1 - level * ROW));
        }
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title>The rooms of the service and what they import</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"12\" fill=\"#f8fafc\"/>\n"
    );
    for (room, imports) in table {
        let (x, y) = places[room];
        for import in imports.iter().filter(|import| !follows(table, room, import)) {
            let (to_x, to_y) = places[import];
            svg += &format!("<line x1=\"{x}\" y1=\"{}\" x2=\"{to_x}\" y2=\"{to_y}\" stroke=\"#94a3b8\"/>\n", y + BOX.1);
        }
    }
    for (room, (x, y)) in &places {
        let fill = if PACKAGES.contains(&room.as_str()) { "#dcfce7" } else { "#dbeafe" };
        svg += &format!(
            "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"{fill}\" stroke=\"#64748b\"/>\n\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{room}</text>\n",
            x - BOX.0 / 2,
            BOX.0,
            BOX.1,
            y + 23
        );
    }
    svg + "</svg>\n"
}

/// The level of each room and package: one above the highest that it imports.
fn levels(table: &Table) -> BTreeMap<String, usize> {
    fn level(table: &Table, name: &str, above: usize) -> usize {
        assert!(above <= table.len(), "rooms import each other in a circle: {name}");
        let imports = table.get(name).into_iter().flatten();
        imports.map(|import| level(table, import, above + 1) + 1).max().unwrap_or(0)
    }
    let packages = PACKAGES.iter().map(|name| (*name).to_owned());
    table.keys().cloned().chain(packages).map(|name| (name.clone(), level(table, &name, 0))).collect()
}

/// Whether `room` reaches `import` by way of another import.
fn follows(table: &Table, room: &str, import: &str) -> bool {
    fn reaches(table: &Table, from: &str, to: &str) -> bool {
        table.get(from).into_iter().flatten().any(|next| next == to || reaches(table, next, to))
    }
    table[room].iter().any(|other| other != import && reaches(table, other, import))
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
        ("axum::", &["api", "http", "signaling", "console", "server", "config", "test_server", "testing"]),
        ("str0m::", &[]),
        ("hyper", &["events", "http"]),
        ("opentelemetry", &["http", "telemetry"]),
        ("prometheus_client", &["metrics"]),
        ("tokio_rustls", &["events", "http"]),
        ("rcgen::", &["http"]),
        ("toml::", &["cli", "config", "events", "storage"]),
        ("saphyr_parser", &["testing"]),
        ("p384::", &["token"]),
        ("aws_sdk_eventbridge", &["events"]),
        ("aws_sdk_s3", &["storage"]),
        // Only crates/greenroom-codecs wraps codecs.
        ("jpeg_encoder::", &[]),
        ("openh264::", &[]),
        ("oxideav_vp8::", &[]),
        ("ropus::", &[]),
        ("rusty_h264", &[]),
        ("syom::", &[]),
        ("shiguredo_mp4", &[]),
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
