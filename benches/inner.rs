//! Criterion benches of the inner paths. `cargo bench --bench inner` runs all of them, `cargo bench --bench inner -- NAME`
//! those with NAME in their name. With GREENROOM_TEST_POSTGRES they include PostgreSQL.

#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../tests/support/engines.rs"]
mod engines;
#[expect(dead_code, reason = "the other benches use all of it")]
mod paths;
#[path = "paths/state.rs"]
mod state;

use criterion::Criterion;
use engines::Engine;
use greenroom::config::{MetricsMode, Url};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use paths::Path;
use paths::pure;
use paths::world::World;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn measure(criterion: &mut Criterion, engine: &str, paths: Vec<Path>) {
    for mut path in paths {
        let name = [path.name, engine].join(if engine.is_empty() { "" } else { " · " });
        criterion.bench_function(&name, |bencher| bencher.iter(&mut path.walk));
    }
}

/// A token made by the JWT library alone, which parses and checks the private key for each. Ours exists for as long as
/// that costs more.
fn by_the_library(criterion: &mut Criterion) {
    let key = EncodingKey::from_ec_der(&pure::private());
    let header = Header { kid: Some("a key".into()), ..Header::new(Algorithm::ES384) };
    let attributes = BTreeMap::from([("role".to_owned(), "guest".to_owned())]);
    criterion.bench_function("token/mint by the library", |bencher| {
        bencher.iter(|| jsonwebtoken::encode(&header, &pure::claims(&attributes), &key).expect("a token"));
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    measure(&mut criterion, "", pure::pure());
    by_the_library(&mut criterion);
    let world = World::open(runtime(), Url::Memory, MetricsMode::On);
    measure(&mut criterion, "SQLite in memory", paths::stored(&world));
    measure(&mut criterion, "SQLite in memory", paths::whole(&world));
    for engine in runtime().block_on(Engine::both()) {
        let name = match &engine {
            Engine::Sqlite(_) => "SQLite in a file",
            Engine::Postgres(..) => "PostgreSQL",
        };
        let world = World::open(runtime(), engine.url(), MetricsMode::On);
        measure(&mut criterion, name, paths::stored(&world));
        measure(&mut criterion, name, paths::whole(&world));
        measure(&mut criterion, name, state::state(&world));
    }
    criterion.final_summary();
}
