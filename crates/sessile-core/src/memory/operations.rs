//! What is kept for operators, in memory: a test of the dashboard needs no database.

use std::cmp::Reverse;

use async_trait::async_trait;

use super::{MemoryStore, whole};
use crate::{Action, Error, Operations, Operator, SecretUse};

#[async_trait]
impl Operations for MemoryStore {
    async fn add_operator(&self, operator: &Operator) -> Result<bool, Error> {
        operator.check()?;
        let mut tables = self.tables();
        let is_free = !tables.operators.contains_key(&operator.name);
        if is_free {
            let operator = Operator { created_at: whole(operator.created_at), ..operator.clone() };
            tables.operators.insert(operator.name.clone(), operator);
        }
        Ok(is_free)
    }

    async fn operators(&self) -> Result<Vec<Operator>, Error> {
        Ok(self.tables().operators.values().cloned().collect())
    }

    async fn remove_operator(&self, name: &str) -> Result<bool, Error> {
        Ok(self.tables().operators.remove(name).is_some())
    }

    async fn record(&self, action: &Action) -> Result<(), Error> {
        self.tables().actions.push(action.cleaned());
        Ok(())
    }

    async fn actions(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Action)>, Error> {
        let tables = self.tables();
        let numbered = tables.actions.iter().enumerate().map(|(place, action)| (place as i64 + 1, action)).rev();
        let earlier = numbered.skip_while(|(number, _)| before.is_some_and(|before| *number >= before));
        Ok(earlier.take(limit as usize).map(|(number, action)| (number, action.clone())).collect())
    }

    async fn note_secrets(&self, uses: &[SecretUse]) -> Result<(), Error> {
        let mut tables = self.tables();
        for new in uses {
            let unused = SecretUse { cookies: 0, ..new.clone() };
            let noted = tables.secrets.entry(new.fingerprint.clone()).or_insert(unused);
            noted.cookies = noted.cookies.saturating_add(new.cookies);
            noted.last_used_at = whole(noted.last_used_at.max(new.last_used_at));
        }
        Ok(())
    }

    async fn secrets(&self) -> Result<Vec<SecretUse>, Error> {
        let mut secrets: Vec<_> = self.tables().secrets.values().cloned().collect();
        secrets.sort_by_key(|noted| (Reverse(noted.last_used_at), noted.fingerprint.clone()));
        Ok(secrets)
    }
}
