//! Access keys and signing keys on a node: changes take effect immediately.

use crate::cluster;
use crate::cluster::{Node, START, on_each_engine, scope};
use greenroom::app::credentials::{self, NewKey};
use greenroom::app::keys;
use greenroom::backup::{self, BackupError};
use greenroom::metrics::Format;
use greenroom::secret::{MasterKey, SecretError};

/// The number of store reads of this node.
fn reads(node: &Node) -> u64 {
    let page = node.0.metrics().page(Format::OpenMetrics);
    let name = r#"greenroom_store_duration_seconds_count{operation="read"}"#;
    let line = page.lines().find_map(|line| line.strip_prefix(name)).expect("it is counted");
    line.trim().parse().unwrap()
}

/// Looks a key up five times; returns whether it is valid, and the number of store reads.
async fn call(node: &Node, key: &str) -> (bool, u64) {
    let before = reads(node);
    let mut valid = Vec::new();
    for _ in 0..5 {
        valid.push(node.0.caller(key, None).await.is_ok());
    }
    assert!(valid.iter().all(|one| *one == valid[0]), "{valid:?}");
    (valid[0], reads(node) - before)
}

#[tokio::test]
async fn a_key_is_read_for_every_request_so_that_changes_take_effect_immediately() {
    on_each_engine(&["--metrics-listen", "127.0.0.1:0"], async |cluster, node| {
        let app = &node.0;
        let new = |name: &str| NewKey {
            account: scope().account,
            name: name.into(),
            policy: None,
            session_token: false,
            expires_at: None,
        };
        let key = credentials::create(app.db(), app.secret(), app.ids(), START, new("one")).await.unwrap().row.id;
        assert_eq!(call(&node, &key).await, (true, 5));
        assert_eq!(call(&node, &key).await, (true, 5));
        // Changes by this process, then by another process.
        assert!(credentials::enable(app.db(), &key, false).await.unwrap());
        assert_eq!(call(&node, &key).await, (false, 5));
        assert!(credentials::enable(app.db(), &key, true).await.unwrap());
        assert_eq!(call(&node, &key).await, (true, 5));
        cluster.engine.write(&["UPDATE access_keys SET name = 'two'"]).await;
        assert_eq!(call(&node, &key).await, (true, 5));
        assert!(node.0.caller(&key, None).await.unwrap().0.user.ends_with(":user/two"));
        cluster.engine.write(&["UPDATE access_keys SET enabled = FALSE"]).await;
        assert_eq!(call(&node, &key).await, (false, 5));
        // The expiry is a minute after the start.
        cluster.engine.write(&["UPDATE access_keys SET enabled = TRUE, expires_at = 1767225660000"]).await;
        assert_eq!(call(&node, &key).await, (true, 5));
        cluster.advance(60, &[]).await;
        assert!(!call(&node, &key).await.0, "the key has expired");
        cluster.engine.write(&["UPDATE access_keys SET expires_at = NULL"]).await;
        assert_eq!(call(&node, &key).await, (true, 5));
        cluster.engine.write(&["DELETE FROM access_keys"]).await;
        assert_eq!(call(&node, &key).await, (false, 5));
    })
    .await;
}

#[tokio::test]
async fn rewrapped_secrets_are_decrypted_by_the_new_master_key_only() {
    on_each_engine(&[], async |_, node| {
        let app = &node.0;
        let new = |name: &str, session_token| NewKey {
            account: scope().account,
            name: name.into(),
            policy: None,
            session_token,
            expires_at: None,
        };
        for (name, session_token) in [("one", true), ("two", false)] {
            credentials::create(app.db(), app.secret(), app.ids(), START, new(name, session_token)).await.unwrap();
        }
        let signs = app.signing_key().await.unwrap().id.clone();
        keys::rotate(app.db(), app.secret(), app.clock(), app.ids()).await.unwrap();
        keys::retire(app.db(), app.clock(), &signs).await.unwrap();
        let (bytes, other) = ([9; 32], MasterKey::new(&[8; 32]));
        let wrong = backup::rewrap(app.db(), &other, app.ids()).await.unwrap_err();
        assert!(matches!(wrong, BackupError::Secret(SecretError::Unreadable)), "{wrong}");
        keys::check(app.db(), app.secret()).await.expect("nothing has changed");
        let given = MasterKey::parse(cluster::MASTER_KEY).unwrap();
        let both = MasterKey::new(&bytes).with_previous(given);
        for _ in 0..2 {
            assert_eq!(backup::rewrap(app.db(), &both, app.ids()).await.unwrap(), 4);
        }
        let new = MasterKey::new(&bytes);
        keys::check(app.db(), &new).await.unwrap();
        assert!(keys::check(app.db(), app.secret()).await.is_err());
        let mut opened = 0;
        for row in credentials::list(app.db()).await.unwrap() {
            let open = |what, sealed: &str| new.open(&credentials::sealed_name(&row.id, what), sealed).unwrap();
            assert!(!open(credentials::SECRET, &row.sealed_secret).is_empty());
            if !row.sealed_session_token.is_empty() {
                open(credentials::SESSION_TOKEN, &row.sealed_session_token);
                opened += 1;
            }
        }
        assert_eq!(opened, 1);
    })
    .await;
}

#[tokio::test]
async fn tokens_are_signed_by_the_newest_key_which_is_read_for_every_token() {
    on_each_engine(&["--metrics-listen", "127.0.0.1:0"], async |cluster, node| {
        let app = &node.0;
        // The signing keys of five tokens, and the number of store reads.
        let sign = async || {
            let before = reads(&node);
            let mut signed = Vec::new();
            for _ in 0..5 {
                signed.push(app.signing_key().await.unwrap().id.clone());
            }
            signed.dedup();
            (signed, reads(&node) - before)
        };
        let (first, _) = sign().await;
        assert_eq!(sign().await, (first.clone(), 5));
        let mut newest = first.clone();
        for _ in 0..3 {
            newest = vec![keys::rotate(app.db(), app.secret(), app.clock(), app.ids()).await.unwrap()];
            assert_eq!(sign().await.0, newest);
        }
        assert_eq!(sign().await, (newest.clone(), 5));
        cluster.engine.write(&["UPDATE signing_keys SET created_at = -created_at"]).await;
        assert_eq!(sign().await.0, first, "it is the newest now");
    })
    .await;
}
