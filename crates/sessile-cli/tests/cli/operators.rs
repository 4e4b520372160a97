//! `sessile operators`.

use sessile::{Role, SqliteStore, Store as _};
use sha2::{Digest as _, Sha256};

use crate::support::{Place, steady};

fn ready(place: &Place) {
    // Operators look at a store that is there.
    drop(place.demo());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gets_a_token_once_and_goes_again() {
    for place in Place::both().await {
        ready(&place);
        assert_eq!(place.run(&["operators", "list"]), (Some(1), String::new(), "nothing matched\n".into()));
        let (code, token, said) = place.run(&["operators", "add", "ada"]);
        let random = token.trim_end().strip_prefix("sessile_op_").unwrap();
        assert!(random.len() == 43 && random.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{token}");
        assert_eq!((code, &*said), (Some(0), "This is the token of ada, role admin. It is not shown again.\n"));
        let viewer = &place.listed(&["operators", "add", "eve", "--viewer"])[0];
        assert_eq!((&viewer["name"], &viewer["role"]), (&"eve".into(), &"viewer".into()));
        assert_ne!(viewer["token"], token.trim_end());

        let listed = place.prints(&["operators", "list"]);
        insta::assert_snapshot!("operators_list", steady(&listed));
        assert!(!listed.contains(random));
        let names: Vec<_> = place.listed(&["operators", "list"]).iter().map(|one| one["role"].clone()).collect();
        assert_eq!(names, ["admin", "viewer"]);

        let (code, out, err) = place.run(&["operators", "add", "ada"]);
        assert_eq!((code, &*out), (Some(1), ""));
        assert!(err.contains("there is an operator called \"ada\" already"), "{err}");
        assert_eq!(place.run(&["operators", "remove", "ada"]), (Some(0), String::new(), "removed: ada\n".into()));
        assert_eq!(place.run(&["operators", "remove", "ada"]).0, Some(1));
        let (code, _, err) = place.run(&["operators", "add", "\u{1b}"]);
        assert!(code == Some(2) && err.contains("expected an operator's name of 1 to 64 characters"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_token_only_the_hash_is_kept_and_what_was_done_is_written_down() {
    let place = Place::sqlite();
    ready(&place);
    let (_, token, _) = place.run(&["operators", "add", "ada"]);
    let file = std::fs::read(place.directory.0.join("x.sqlite")).unwrap();
    let store = SqliteStore::builder(place.directory.0.join("x.sqlite")).open().await.unwrap();
    let operations = store.operations().unwrap();
    let [ada] = &operations.operators().await.unwrap()[..] else { panic!("one operator") };
    assert_eq!(ada.token_hash, <[u8; 32]>::from(Sha256::digest(token.trim_end())));
    assert_eq!(ada.role, Role::Admin);
    assert!(!file.windows(20).any(|bytes| bytes == &token.as_bytes()[11..31]), "the token itself is nowhere");
    assert_eq!(place.run(&["operators", "remove", "ada"]).0, Some(0));
    let actions = operations.actions(None, 10).await.unwrap();
    let told: Vec<_> = actions.iter().map(|(_, one)| (&*one.actor, &*one.action, &*one.target)).collect();
    assert_eq!(told, [("grace@cli", "operator.remove", "ada"), ("grace@cli", "operator.add", "ada")]);
}
