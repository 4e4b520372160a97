//! What every store has to do, as tests: [`store_contract!`](crate::store_contract) runs each clause as a test of its own
//! on a fresh database.
//!
//! The clauses know a store by its public traits only, so a store outside this repository is held to the same words. They
//! bring their own time, which is in the year 2040, and never wait for it: a store compares its rows with the time that it is
//! given, never with a clock of its own.
//!
//! ```
//! use sessile_core::MemoryStore;
//! use sessile_testkit::{contract, store_contract};
//!
//! struct Memory(MemoryStore);
//!
//! impl contract::Fixture for Memory {
//!     type Store = MemoryStore;
//!
//!     async fn open(&self) -> MemoryStore {
//!         self.0.clone()
//!     }
//! }
//!
//! store_contract!(memory, async || Memory(MemoryStore::new()));
//! # fn main() {}
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test tools: what goes wrong here ends the test")]

mod crowd;
mod ends;
mod operations;
mod registry;
mod requests;
mod revocations;
mod stats;
mod sweeps;
mod transfers;
mod values;
mod writes;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sessile_core::{End, Ending, KeyForm, Record, SessionId, Store, StoreKey};

pub use crowd::*;
pub use ends::*;
pub use operations::*;
pub use registry::*;
pub use requests::*;
pub use revocations::*;
pub use stats::*;
pub use sweeps::*;
pub use transfers::*;
pub use values::*;
pub use writes::*;

/// One empty database of a store's kind, for one clause. It keeps what the database needs (a directory, a server) until
/// it is dropped.
pub trait Fixture: Sized {
    /// The store under test.
    type Store: Store;

    /// A store on this database. Each call gives an instance of its own, like another process that shares the database.
    fn open(&self) -> impl Future<Output = Self::Store>;

    /// Whether a document comes back byte for byte, key order, spaces, `1E400` and lone surrogates included. A store that
    /// keeps JSON as a tree (PostgreSQL's `jsonb`) says `false`, and is held to the values alone.
    fn keeps_bytes(&self) -> bool {
        true
    }

    /// Whether Express's cookie object comes back with the document. A store that has no place for it (the columns table)
    /// says `false`, and a row that another program gave one is no session there.
    fn keeps_cookies(&self) -> bool {
        true
    }

    /// Writes a row as another program would, past the store and unchecked; `false` where this fixture has no such way.
    /// Then the rows that only this can make are not tested.
    #[allow(unused_variables, reason = "the names are the documentation")]
    fn plant(&self, key: &str, document: &str, expires_at: SystemTime) -> impl Future<Output = bool> {
        async { false }
    }
}

/// When the clauses happen: 2040-01-01 12:00:00 UTC. Later than any clock that runs these tests, so that a store that
/// lets its database expire rows keeps them, and later than 32 bits of seconds reach.
pub const NOW: Duration = Duration::from_secs(2_209_032_000);

/// Expands to a module with one test per clause of the store contract.
///
/// The first argument names the module, the second is an async function or closure that makes an empty
/// [`Fixture`](crate::contract::Fixture); it is called once per test, and tests run side by side. No other dependency is
/// needed: the tests bring their runtime.
///
/// ```
/// # use sessile_core::MemoryStore;
/// # use sessile_testkit::{contract, store_contract};
/// # struct Memory(MemoryStore);
/// # impl contract::Fixture for Memory {
/// #     type Store = MemoryStore;
/// #     async fn open(&self) -> MemoryStore { self.0.clone() }
/// # }
/// store_contract!(memory, async || Memory(MemoryStore::new()));
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! store_contract {
    ($module:ident, $fixture:expr) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;

            $crate::store_contract! { @clauses $fixture;
                // writes
                an_unknown_session_is_absent
                insert_creates_and_load_reads_it_back
                insert_never_overwrites
                update_replaces_the_document_and_the_end
                update_never_creates
                a_stale_update_writes_nothing
                a_record_that_was_never_read_replaces_nothing
                a_writer_knows_its_own_document_as_the_next_revision
                touch_moves_the_end_and_leaves_the_document_alone
                touch_can_shorten
                touch_never_creates
                rotate_moves_the_session_to_its_new_key
                rotate_never_creates
                a_stale_rotate_moves_nothing
                rotate_onto_a_taken_key_loses_neither_session
                a_key_that_was_rotated_away_stays_gone
                a_rotated_session_rotates_again
                a_session_that_moved_is_known_by_the_key_it_had
                remove_says_true_then_false
                a_removed_session_stays_gone_whatever_is_in_flight
                writes_leave_other_sessions_alone
                // ends
                a_session_lives_until_its_end_and_not_a_millisecond_longer
                an_expired_session_cannot_be_written_touched_or_rotated
                an_end_is_never_early_and_at_most_one_second_late
                ends_far_away_are_kept
                ends_in_1970_are_kept
                a_record_tells_when_it_was_read
                the_stores_own_clock_agrees_with_this_hosts
                // sweeps
                sweep_removes_what_has_expired_and_counts_it
                sweep_leaves_a_session_at_its_very_end
                sweep_honours_its_limit
                sweep_leaves_what_was_touched_in_time
                two_sweepers_count_each_session_once
                // values
                every_json_value_comes_back
                unicode_comes_back
                a_megabyte_comes_back
                hostile_session_keys_are_only_names
                hostile_data_keys_come_back
                an_express_session_is_read_and_written_back
                the_document_keeps_its_bytes_and_order
                a_row_that_is_no_session_is_poisoned_and_left_alone
                a_row_that_is_no_object_is_poisoned_and_left_alone
                a_poisoned_row_can_be_removed
                neither_description_nor_debug_shows_a_secret
                // crowd
                two_instances_see_each_others_writes_at_once
                sixty_four_sessions_at_once_are_all_kept
                one_of_many_creators_of_a_key_wins
                one_of_many_updates_of_a_revision_wins
                one_of_many_rotations_wins
                increments_of_many_tasks_are_never_lost
                touches_and_an_update_at_once_all_count
                nothing_revives_a_session_removed_meanwhile
                a_call_given_up_leaves_the_store_working
                a_name_is_taken_once
                an_entry_is_taken_once_and_before_anything_else_happens
                // registry
                a_sign_in_writes_the_session_and_its_device
                a_sign_in_moves_the_session_that_was_there
                a_sign_in_again_keeps_the_device_and_its_beginning
                another_user_in_a_session_ends_the_device_before
                removing_a_session_ends_its_device_once
                a_rotation_keeps_the_device
                what_cannot_be_revoked_is_left_alone
                no_other_user_ends_or_sees_a_session_by_its_handle
                revoke_all_ends_every_session_of_one_owner
                a_sign_in_from_before_a_revocation_is_refused
                a_providers_session_ends_what_was_signed_in_from_it
                a_cut_off_ends_everyone_at_once
                a_limit_evicts_the_oldest
                a_limit_denies_the_newest
                uses_are_recorded_and_revive_nothing
                requests_are_counted_where_that_is_asked_for
                requests_of_all_instances_add_up
                an_end_keeps_the_count
                a_count_revives_and_creates_nothing
                expiry_is_recorded_by_the_sweep
                lists_are_paged
                an_operator_finds_everybodys_sessions
                another_programs_sign_ins_are_followed
                what_is_brought_back_is_not_registered_again
                what_was_not_known_does_not_survive_a_revocation
                a_handle_that_had_its_end_is_not_used_again
                sessions_and_registry_are_brought_into_step
                history_is_forgotten_in_time
                hostile_user_ids_are_only_names
                // revocations
                a_revocation_leaves_nothing_alive
                a_revocation_reaches_what_is_just_being_registered
                a_session_is_revoked_once
                a_sign_in_in_flight_does_not_slip_past_a_revocation
                fifty_sign_ins_at_once_respect_the_limit
                a_session_of_another_program_is_registered_once
                keeping_in_step_disturbs_nobody
                // stats
                an_empty_store_counts_nothing
                sessions_are_counted_by_their_state
                what_a_cut_off_of_everyone_ended_is_neither_found_nor_counted
                ends_are_counted_by_the_minute
                sizes_of_documents_are_told
                users_with_the_most_sessions_come_first
                a_timeline_tells_what_happened_when
                a_timeline_counts_what_the_sweep_ended
                // operations
                before_the_first_operator_there_is_nothing_to_read
                operators_are_added_listed_and_removed
                an_operators_name_is_a_name
                an_action_is_written_down_as_it_was
                actions_are_paged
                actions_of_many_at_once_are_all_kept
                uses_of_secrets_add_up
                strange_times_of_actions_come_back
                // transfers
                an_export_gives_everything_once
                an_export_tells_what_is_there
                an_import_signs_nobody_out
                an_import_twice_changes_nothing
                a_cut_off_that_was_carried_out_arrives_as_such
                what_ended_in_the_new_place_stays_ended
                what_ended_during_an_export_does_not_live
                an_end_in_the_old_place_reaches_the_new_one
                an_import_overwrites_nothing
                an_import_is_whole_or_not_there
                an_export_leaves_out_what_cannot_be_read
            }
        }
    };
    (@clauses $fixture:expr; $($clause:ident)+) => {
        $(
            #[test]
            fn $clause() {
                $crate::contract::run($fixture, $crate::contract::$clause);
            }
        )+
    };
}

/// Runs one clause on a fixture of its own. For [`store_contract!`](crate::store_contract).
#[doc(hidden)]
pub fn run<F, Made, Clause>(fixture: impl FnOnce() -> Made, clause: impl FnOnce(F) -> Clause)
where
    F: Fixture,
    Made: Future<Output = F>,
    Clause: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { clause(fixture().await).await });
}

/// The store's key of this name.
pub fn key(name: &str) -> StoreKey {
    StoreKey::new(&SessionId::parse(name).expect("a name that fits a session id"), KeyForm::Raw)
}

/// A record that no store has seen, with this document.
pub fn record(document: &str, expires_at: SystemTime) -> Record {
    let mut record = Record::stored(&key("new"), document, expires_at, at(0)).expect("a session's document");
    record.revision = None;
    record
}

/// [`NOW`] and that many milliseconds.
fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + NOW + Duration::from_millis(millis)
}

/// An hour after [`NOW`], when most sessions of the clauses end.
fn later() -> SystemTime {
    at(3_600_000)
}

/// A session's document with this value under `v`.
fn document(value: &str) -> String {
    format!(r#"{{"cookie":{{"originalMaxAge":3600000,"path":"/"}},"v":{value}}}"#)
}

/// Stores a session with this value under `v`, and reads it back.
async fn stored(store: &impl Store, name: &str, value: &str) -> Record {
    let written = store.insert(&key(name), &record(&document(value), later())).await.unwrap();
    assert_eq!(written, sessile_core::Written::Done);
    found(store, name).await
}

/// How the sessions of the clauses end.
pub fn signed_out() -> Ending {
    Ending { end: End::LoggedOut, at: at(0), reason: None }
}

/// The session of this name at [`NOW`].
async fn load(store: &impl Store, name: &str) -> Option<Record> {
    store.load(&key(name), at(0)).await.unwrap()
}

/// The session of this name, which is there.
async fn found(store: &impl Store, name: &str) -> Record {
    load(store, name).await.unwrap_or_else(|| panic!("expected a session {name:?}, found none"))
}

/// The record with another value under `v`.
fn changed(record: &Record, value: &str) -> Record {
    let mut record = record.clone();
    record.data.insert("v", value);
    record
}

/// The JSON text under `v` of the session of this name, without the spaces that a store may add or drop.
async fn value(store: &impl Store, name: &str) -> Option<String> {
    let record = load(store, name).await?;
    let json: serde_json::Value = serde_json::from_str(record.data.get("v")?).unwrap();
    Some(json.to_string())
}
