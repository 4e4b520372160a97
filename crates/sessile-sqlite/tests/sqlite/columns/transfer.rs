//! Sessions move between the two kinds of table, and nobody is signed out.

use sessile_core::{Piece, Place, Transfer as _};

use super::*;

async fn exported(store: &SqliteStore) -> Vec<Piece> {
    let (mut pieces, mut place) = (Vec::new(), Some(Place::default()));
    while let Some(from) = place {
        let (page, next) = store.export(&from, at(0), 2).await.unwrap();
        pieces.extend(page);
        place = next;
    }
    pieces
}

/// Moves everything; how much was written.
async fn moved(from: &SqliteStore, to: &SqliteStore) -> u64 {
    let pieces = exported(from).await;
    let imported = to.import(&pieces).await.unwrap();
    assert_eq!(imported.present, 0);
    imported.written
}

/// What a request sees of a session.
async fn seen(
    store: &SqliteStore,
    name: &str,
) -> (Option<UserId>, Handle, String, SystemTime, SystemTime, Option<SystemTime>) {
    let record = store.load(&key(name), at(0)).await.unwrap().unwrap();
    let cart = record.data.get("cart").unwrap_or_default().to_owned();
    (record.owner.clone(), record.handle.clone(), cart, record.created_at, record.expires_at, record.authenticated_at())
}

#[tokio::test]
async fn an_export_to_express_and_back_signs_nobody_out() {
    let (here, there, back) = (Columns::new(), Directory::new(), Columns::new());
    let store = here.store().await;
    signed_in(&store, "ours", "alice", 1).await;
    signed_in(&store, "ended", "alice", 2).await;
    assert!(store.remove(&key("ended"), &revoked(0)).await.unwrap());
    here.row("theirs", Some("bob"), r#"{"cart":[1.50]}"#);
    here.row("nobodys", None, r#"{"cart":["é","\u00e9"]}"#);
    here.row("broken", None, r#"{"cookie":7}"#);
    let names = ["ours", "theirs", "nobodys"];

    let express = open(&there).await;
    assert_eq!(moved(&store, &express).await, 5, "three sessions, two devices");
    let sql = "SELECT count(*) FROM session WHERE json_type(sess, '$.cookie') = 'object'";
    assert_eq!(there.number(sql), 3, "an Express app can read each of them");
    let returned = back.store().await;
    assert_eq!(moved(&express, &returned).await, 5);
    for name in names {
        let before = seen(&store, name).await;
        assert_eq!(seen(&express, name).await, before, "{name}");
        assert_eq!(seen(&returned, name).await, before, "{name}");
        assert_eq!(back.user(name), here.user(name), "{name}");
        assert!(!back.read(name).1.contains("cookie"), "{name}");
    }
    for (store, user) in [(&express, "alice"), (&returned, "alice")] {
        assert_eq!(devices(store, user).await.len(), 1);
        assert_eq!(ends(store, user).await, [(handle(2), revoked(0))]);
    }
    // What was read there can be written there.
    for store in [&express, &returned] {
        for name in names {
            let record = store.load(&key(name), at(0)).await.unwrap().unwrap();
            assert_eq!(store.update(&key(name), &record).await.unwrap(), Written::Done, "{name}");
        }
    }
}
