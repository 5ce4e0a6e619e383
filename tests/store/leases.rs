//! Leases: resources with one owning node at a time.

use super::{connection, other_scopes, scope};
use crate::engines::Engine;
use greenroom::domain::admission::Intent;
use greenroom::model::arn::Scope;
use greenroom::store::{Conn, Leased};

/// The id of the owning node.
async fn owner(tx: &mut Conn, leased: Leased<'_>) -> Option<String> {
    tx.owner(leased).await.unwrap().map(|node| node.id)
}

/// Claims the media of a stage from its current owner.
async fn take(tx: &mut Conn, scope: &Scope, stage: &str, node: &str) {
    let leased = Leased::StageMedia(scope, stage);
    let owner = tx.owner(leased).await.unwrap();
    assert!(tx.claim(leased, node, owner.as_ref(), 9).await.unwrap());
}

conformance! {
    a_claim_is_a_compare_and_set_on_the_owner(tx) {
        let scope = scope();
        tx.insert_event_target("t", 7).await.unwrap();
        for id in ["n1", "n2"] {
            tx.insert_node(id, "http://x", 100).await.unwrap();
        }
        for leased in [Leased::EventTarget("t"), Leased::StageMedia(&scope, "s")] {
            assert_eq!(tx.owner(leased).await.unwrap(), None);
            assert!(tx.claim(leased, "n1", None, 100).await.unwrap());
            assert!(!tx.claim(leased, "n2", None, 100).await.unwrap(), "the lease has another owner");
            let first = tx.owner(leased).await.unwrap();
            assert_eq!(first.as_ref().map(|node| (node.id.as_str(), node.expires_at)), Some(("n1", 100)));
            assert!(tx.claim(leased, "n2", first.as_ref(), 100).await.unwrap(), "taken over");
            assert!(!tx.claim(leased, "n3", first.as_ref(), 100).await.unwrap(), "n1 is not the owner any more");
            tx.release(leased, "n1", 50).await.unwrap();
            assert_eq!(owner(&mut tx, leased).await.as_deref(), Some("n2"), "only the owner can release it");
            tx.release(leased, "n2", 50).await.unwrap();
            assert_eq!(owner(&mut tx, leased).await, None);
            assert!(tx.claim(leased, "n1", None, 100).await.unwrap());
        }
        tx.release_all_of("n1", 60).await.unwrap();
        assert_eq!(owner(&mut tx, Leased::EventTarget("t")).await, None);
        assert_eq!(owner(&mut tx, Leased::StageMedia(&scope, "s")).await, None);
        assert_eq!(tx.event_target("t").await.unwrap().unwrap().lease_ends_at, 60);
    }

    a_lease_ends_with_its_expiry_or_when_its_node_is_fenced_or_deleted(tx) {
        let scope = scope();
        let leased = Leased::StageMedia(&scope, "s");
        tx.insert_node("n1", "http://x", 100).await.unwrap();
        assert!(tx.claim(leased, "n1", None, 100).await.unwrap());
        let node = tx.owner(leased).await.unwrap().unwrap();
        assert_eq!((node.is_expired(99), node.is_expired(100)), (false, true));
        assert!(tx.renew_node("n1", "http://x", 200).await.unwrap());
        assert!(!tx.owner(leased).await.unwrap().unwrap().is_expired(199), "the heartbeat renews all leases of the node");
        tx.fence_node("n1", 200).await.unwrap();
        assert!(tx.owner(leased).await.unwrap().unwrap().is_expired(0));
        assert!(!tx.renew_node("n1", "http://x", 300).await.unwrap(), "a fenced node cannot renew");
        tx.delete_node("n1", 200).await.unwrap();
        assert!(tx.owner(leased).await.unwrap().unwrap().is_expired(0));
    }

    the_media_of_a_stage_has_one_owner_while_a_participant_publishes(tx) {
        let scope = scope();
        let media = |stage| Leased::StageMedia(&scope, stage);
        assert_eq!(owner(&mut tx, media("s")).await, None);
        for node in ["n1", "n2"] {
            take(&mut tx, &scope, "s", node).await;
            assert_eq!(owner(&mut tx, media("s")).await.as_deref(), Some(node));
        }
        tx.insert_connection(&scope, "s", &connection("c", "p", Intent::Publish)).await.unwrap();
        tx.insert_connection(&scope, "s", &connection("d", "p", Intent::Events)).await.unwrap();
        tx.release_unused_media(&scope, "s").await.unwrap();
        assert!(owner(&mut tx, media("s")).await.is_some(), "a participant publishes");
        for other in other_scopes() {
            assert_eq!(owner(&mut tx, Leased::StageMedia(&other, "s")).await, None);
            tx.release_unused_media(&other, "s").await.unwrap();
        }
        tx.delete_connection(&scope, "s", "c").await.unwrap();
        tx.release_unused_media(&scope, "s").await.unwrap();
        assert_eq!(owner(&mut tx, media("s")).await, None);
        for (stage, node) in [("a", "n1"), ("b", "n2")] {
            take(&mut tx, &scope, stage, node).await;
        }
        tx.release_all_of("n1", 9).await.unwrap();
        assert_eq!((owner(&mut tx, media("a")).await, owner(&mut tx, media("b")).await.is_some()), (None, true));
    }
}
