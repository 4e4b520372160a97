//! `sessile keys`.

use std::collections::BTreeSet;

use crate::support::{Directory, stderr, stdout};

#[test]
fn a_new_secret_is_all_that_is_printed_and_works() {
    let directory = Directory::new();
    let output = directory.sessile(&["keys", "generate", "--count", "20"]).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let secrets: BTreeSet<&str> = stdout(&output).lines().collect();
    assert_eq!(secrets.len(), 20, "each is another");
    for secret in secrets {
        assert!(secret.len() == 44 && !secret.contains(','), "{secret}");
        let check = directory.sessile(&["config", "check"]).env("SESSION_SECRET", secret).output().unwrap();
        assert!(check.status.success(), "{}", stderr(&check));
    }
    assert_eq!(stdout(&directory.sessile(&["keys", "generate"]).output().unwrap()).lines().count(), 1);
    for wrong in ["0", "many"] {
        assert_eq!(directory.sessile(&["keys", "generate", "--count", wrong]).output().unwrap().status.code(), Some(2));
    }
}
