//! A token admits as many nodes as it says: one that is for one node never admits two.

use super::Broken;
use orbit_core::grid::Change;
use orbit_core::ids::{PeerKey, TokenId};
use std::collections::{BTreeMap, BTreeSet};

const RULE: &str = "a single-use token is used once";

/// Who was admitted by what.
#[derive(Debug, Default)]
pub struct Tokens {
    admitted: BTreeMap<TokenId, BTreeSet<PeerKey>>,
}

impl Tokens {
    /// Records changed.
    pub fn changed(&self, who: &str, changes: &[Change]) -> Vec<Broken> {
        let overused = changes.iter().find_map(|change| match change {
            Change::Token(token) if token.used_by.len() > token.uses as usize => Some(token),
            _ => None,
        });
        let told =
            overused.map(|token| (RULE, format!("{who}: token {} by {}", token.id, token.used_by.len())));
        told.into_iter().collect()
    }

    /// A client was told that its node was admitted by a token for one.
    pub fn admitted(&mut self, token: TokenId, key: PeerKey) -> Vec<Broken> {
        let keys = self.admitted.entry(token).or_default();
        keys.insert(key);
        if keys.len() == 1 {
            return Vec::new();
        }
        vec![(RULE, format!("token {token} admitted {} nodes", keys.len()))]
    }

    /// Tokens that admitted somebody.
    pub fn count(&self) -> usize {
        self.admitted.len()
    }
}
