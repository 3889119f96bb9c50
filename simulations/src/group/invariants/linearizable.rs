//! What clients saw can be explained by one order of their operations that agrees with when each began and ended.

use super::Broken;
use crate::group::linear::{self, Operation, Verdict};
use std::collections::BTreeMap;

/// What clients did with each register: a member's name or version, which only they change.
#[derive(Debug, Default)]
pub struct History {
    by_register: BTreeMap<String, Vec<Operation>>,
}

impl History {
    /// A client begins an operation. Returns its number in the register's history.
    pub fn begins(&mut self, register: &str, operation: Operation) -> usize {
        let operations = self.by_register.entry(register.to_owned()).or_default();
        operations.push(operation);
        operations.len() - 1
    }

    /// It ended, having read what it says.
    pub fn ends(&mut self, register: &str, number: usize, ended: u64, read: Option<u64>) {
        let operations = self.by_register.get_mut(register);
        if let Some(operation) = operations.and_then(|operations| operations.get_mut(number)) {
            operation.ended = Some(ended);
            if let (linear::What::Read(value), Some(read)) = (&mut operation.what, read) {
                *value = read;
            }
        }
    }

    /// Operations in all histories.
    pub fn count(&self) -> usize {
        self.by_register.values().map(Vec::len).sum()
    }

    /// Checks every register. Returns how many could not be decided with the effort allowed, too.
    pub fn check(&self) -> (Vec<Broken>, usize) {
        let mut undecided = 0;
        let mut broken = Vec::new();
        for (register, operations) in &self.by_register {
            // A read without an answer says nothing.
            let told = |one: &&Operation| one.ended.is_some() || matches!(one.what, linear::What::Write(_));
            let operations: Vec<_> = operations.iter().filter(told).cloned().collect();
            match linear::check(&operations) {
                Verdict::Linearizable => {}
                Verdict::Undecided => undecided += 1,
                Verdict::Broken(upto) => {
                    let what = format!(
                        "register {register}: no order explains the {upto}th event of {operations:?}"
                    );
                    broken.push(("what clients see is linearizable", what));
                }
            }
        }
        (broken, undecided)
    }
}
