//! The state of an account with 1,000 stages: taken as a snapshot, restored and deleted.

use crate::paths::Path;
use crate::paths::world::{NOW, World};
use greenroom::app::OperationContext;
use greenroom::app::test_state::{self, PastParticipant, PastSession, Seed, SeedStage};
use greenroom::backup::snapshot::{self, Content};
use greenroom::clock::Timestamp;
use greenroom::model::arn::Scope;
use greenroom::model::participant::ParticipantAttributes;
use std::cell::RefCell;
use std::rc::Rc;

const STAGES: usize = 1000;

/// Snapshots and restores of stages without a past, and of stages with a past session of two publishers each: 15,000 rows.
pub fn state(world: &Rc<World>) -> Vec<Path> {
    let plain =
        ["state/snapshot of 1,000 stages", "state/restore of 1,000 stages", "state/reset and restore of 1,000 stages"];
    let past = [
        "state/snapshot of 1,000 stages with sessions",
        "state/restore of 1,000 stages with sessions",
        "state/reset and restore of 1,000 stages with sessions",
    ];
    let mut paths = of_account(world, "100000000001", false, plain);
    paths.extend(of_account(world, "100000000002", true, past));
    paths
}

fn of_account(world: &Rc<World>, account: &str, past: bool, names: [&'static str; 3]) -> Vec<Path> {
    let scope = Scope { account: account.into(), region: "us-east-1".into() };
    seed(world, &scope, past);
    let file = Rc::new(RefCell::new(taken(world, &scope)));
    let (take, restore, reset) = (world.clone(), world.clone(), world.clone());
    let (to, from, scopes) = (file.clone(), file.clone(), [scope.clone(), scope.clone(), scope]);
    let [first, second, third] = scopes;
    vec![
        path(names[0], move || *to.borrow_mut() = taken(&take, &first)),
        path(names[1], move || restored(&restore, &second, &from.borrow())),
        path(names[2], move || {
            reset.wait(test_state::reset(reset.app(), Some(&third))).expect("the state is deleted");
            restored(&reset, &third, &file.borrow());
        }),
    ]
}

fn path(name: &'static str, walk: impl FnMut() + 'static) -> Path {
    Path { name, walk: Box::new(walk) }
}

fn taken(world: &World, scope: &Scope) -> bytes::Bytes {
    let tables = world.wait(test_state::take(world.app(), Some(scope))).expect("a snapshot");
    snapshot::write(world.app(), Some(scope), Content { tables, taken_at: NOW }).expect("a file").bytes
}

fn restored(world: &World, scope: &Scope, file: &[u8]) {
    let content = snapshot::read(world.app(), Some(scope), file).expect("a snapshot");
    let restored = world.wait(test_state::restore(&world.call.app, Some(scope), &content.tables));
    assert_eq!(restored.expect("the state is restored")["stages"], STAGES as u64);
}

fn seed(world: &World, scope: &Scope, past: bool) {
    let start = Timestamp(NOW.0 - 3_600_000);
    let participant = |leaves: i64| PastParticipant {
        user_id: "alice".into(),
        attributes: ParticipantAttributes::default(),
        joins_at: start,
        publishes_at: Some(start),
        unpublishes_at: None,
        subscriptions: Vec::new(),
        leaves_at: Some(Timestamp(start.0 + leaves)),
    };
    let session =
        PastSession { started_at: start, participants: vec![participant(1000), participant(2000)], ends_at: None };
    let stage = |n| SeedStage {
        name: format!("stage-{n}").into(),
        tags: None,
        recording: None,
        sessions: if past { vec![session.clone()] } else { Vec::new() },
    };
    let seed = Seed { stages: (0..STAGES).map(stage).collect(), ..Seed::default() };
    let ctx = OperationContext::new(world.call.app.clone(), scope.clone());
    world.wait(test_state::seed(&ctx, &seed)).map(drop).expect("stages");
}
