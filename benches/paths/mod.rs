//! The inner paths of a request, each as a repeatable closure, shared by the benches by the clock (`benches/inner.rs`)
//! and by instructions (`benches/instructions.rs`).

pub mod pure;
pub mod world;

use greenroom::model::page::Position;
use greenroom::store::{Json, StageRow};
use std::rc::Rc;
use world::{Key, World};

/// A path.
pub struct Path {
    /// `group/name`.
    pub name: &'static str,
    /// Runs it once.
    pub walk: Box<dyn FnMut()>,
}

impl Path {
    fn new(name: &'static str, walk: impl FnMut() + 'static) -> Self {
        Path { name, walk: Box::new(walk) }
    }
}

/// Single calls of the store.
pub fn stored(world: &Rc<World>) -> Vec<Path> {
    let (one, page, create, operation) = (world.clone(), world.clone(), world.clone(), world.clone());
    vec![
        Path::new("store/stage", move || {
            let read = async { one.app().db().read().await?.stage(&one.call.scope, &one.stage).await };
            assert!(one.wait(read).expect("the store answers").is_some());
        }),
        Path::new("store/page of 100 stages", move || {
            let first = Position::first();
            let read = async { page.app().db().read().await?.stages(&page.call.scope, &first, 100).await };
            assert_eq!(page.wait(read).expect("the store answers").len(), 100);
        }),
        Path::new("store/create a stage", move || {
            let row = StageRow {
                id: create.app().ids().resource(),
                name: "a stage".into(),
                tags: Json::default(),
                recording: Json(greenroom::domain::stage::recording(None)),
                recording_storage_id: None,
                created_at: world::NOW.0,
                quiet_since: world::NOW.0,
                active_session: None,
            };
            let write = async {
                let mut tx = create.app().db().write().await?;
                tx.insert_stage(&create.call.scope, &row).await?;
                tx.commit().await
            };
            create.wait(write).expect("the store answers");
        }),
        Path::new("store/GetStage without the API", move || operation.get_stage()),
    ]
}

/// Whole requests through the router, without a socket.
pub fn whole(world: &Rc<World>) -> Vec<Path> {
    let arn = world.arn.to_string();
    let get = format!(r#"{{"arn":"{arn}"}}"#);
    let token = format!(r#"{{"stageArn":"{arn}","userId":"alice","attributes":{{"role":"guest"}}}}"#);
    let request = |name, path: &str, body: &str, key: &Key| {
        let (world, asked) = (world.clone(), world.signed(path, body.as_bytes(), key));
        Path::new(name, move || world.ask(&asked))
    };
    let (development, stored) = (Key::development(), world.stored_key(pure::LARGE_POLICY));
    vec![
        request("request/GetStage", "/GetStage", &get, &development),
        request("request/GetStage, key with a policy", "/GetStage", &get, &stored),
        request("request/CreateStage", "/CreateStage", r#"{"name":"a-stage","tags":{"a":"b"}}"#, &development),
        request("request/CreateParticipantToken", "/CreateParticipantToken", &token, &development),
        request("request/ListStages, 100", "/ListStages", r#"{"maxResults":100}"#, &development),
    ]
}

/// A server's logs, written to a sink.
pub fn log() -> tracing::Dispatch {
    greenroom::telemetry::json_log(std::io::sink)
}
