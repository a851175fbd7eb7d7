//! The kinds of path and the discoveries that a process has: what it can reach by, and find by.

use std::collections::BTreeSet;
use std::sync::Arc;

use mpyc_party_core::addr::{Address, MAX_KIND_BYTES, Vantage, is_kind};
use mpyc_party_core::path::{Kind, Target};

use crate::accept::Listener;
use crate::addr::OwnAddresses;
use crate::dial::{self, LocalEnd, PathKind};
use crate::discovery::{self, Discovery, Sources};

/// A row of a [`Stack`] that cannot stand beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    /// It tags no addresses.
    #[error(
        "«{0}» cannot be the name of a kind of path, because it tags addresses: use 1 to {MAX_KIND_BYTES} lower-case letters, digits and hyphens"
    )]
    KindName(&'static str),
    /// The tag is taken.
    #[error(
        "two kinds of path are named «{0}», and addresses tell kinds apart by the name: rename one"
    )]
    SameKind(&'static str),
    /// Neither is the better one.
    #[error("the kinds of path «{0}» and «{1}» have the same preference, {2}: give one another")]
    SamePreference(&'static str, &'static str, u8),
    /// What is found is kept by this name.
    #[error("two discoveries are named «{0}», and findings are kept by the name: rename one")]
    SameDiscovery(&'static str),
}

/// Both tables, the kinds in the order of their preference. Everything goes by them, so that whoever
/// adds a row here has added it everywhere.
#[derive(Clone, Debug)]
pub struct Stack {
    kinds: Vec<Arc<dyn PathKind>>,
    discoveries: Vec<Arc<dyn Discovery>>,
}

impl Default for Stack {
    /// What comes with mpyc-party.
    fn default() -> Self {
        Self::new(dial::standard(), discovery::standard())
    }
}

impl Stack {
    fn new(mut kinds: Vec<Arc<dyn PathKind>>, discoveries: Vec<Arc<dyn Discovery>>) -> Self {
        kinds.sort_by_key(|kind| kind.kind());
        Self { kinds, discoveries }
    }

    /// One more kind of path.
    ///
    /// # Errors
    /// Where its name cannot tag addresses, or its name or its preference is another kind's.
    pub fn with_kind(mut self, kind: impl PathKind + 'static) -> Result<Self, StackError> {
        self.kinds.push(Arc::new(kind));
        Self::new(self.kinds, self.discoveries).checked()
    }

    /// One more discovery.
    ///
    /// # Errors
    /// Where its name is another discovery's.
    pub fn with_discovery(
        mut self,
        discovery: impl Discovery + 'static,
    ) -> Result<Self, StackError> {
        self.discoveries.push(Arc::new(discovery));
        self.checked()
    }

    /// Itself, where all rows can stand beside each other.
    fn checked(self) -> Result<Self, StackError> {
        let kinds: Vec<Kind> = self.kinds().map(|kind| kind.kind()).collect();
        let names = kinds.iter().map(|kind| kind.name);
        if let Some(bad) = names.clone().find(|name| !is_kind(name)) {
            return Err(StackError::KindName(bad));
        }
        if let Some(twice) = repeated(names) {
            return Err(StackError::SameKind(twice));
        }
        // They are sorted.
        let mut pairs = kinds.iter().zip(kinds.iter().skip(1));
        if let Some((a, b)) = pairs.find(|(a, b)| a.preference == b.preference) {
            return Err(StackError::SamePreference(a.name, b.name, a.preference));
        }
        match repeated(self.discoveries().map(|discovery| discovery.name())) {
            Some(twice) => Err(StackError::SameDiscovery(twice)),
            None => Ok(self),
        }
    }

    /// The kind of this name, where there is one.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&Arc<dyn PathKind>> {
        self.kinds.iter().find(|kind| kind.kind().name == name)
    }

    /// All kinds of path, the best first.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<dyn PathKind>> {
        self.kinds.iter()
    }

    /// All discoveries.
    pub fn discoveries(&self) -> impl Iterator<Item = &Arc<dyn Discovery>> {
        self.discoveries.iter()
    }

    /// The discoveries that `sources` give anything to look at.
    pub fn used(&self, sources: &Sources) -> impl Iterator<Item = &Arc<dyn Discovery>> {
        self.discoveries.iter().filter(|discovery| discovery.is_used(sources))
    }

    /// What can be tried of an address that was told at `vantage`: nothing where its kind is not
    /// known here, or its policy refuses it.
    #[must_use]
    pub fn target(&self, address: &Address, vantage: Vantage) -> Option<Target> {
        let kind = self.kind(&address.kind)?;
        match kind.check(address, vantage) {
            Ok(()) => Some(Target { kind: kind.kind(), address: address.clone() }),
            Err(refusal) => {
                log::debug!("{address} is not tried: {refusal}");
                None
            }
        }
    }

    /// Where this process can be reached now, over all kinds.
    #[must_use]
    pub fn own(&self, local: &LocalEnd) -> OwnAddresses {
        let addresses = self.kinds.iter().flat_map(|kind| kind.own(local)).collect();
        let reflexive = self.kinds.iter().filter_map(|kind| kind.reflexive(local)).collect();
        OwnAddresses { addresses, reflexive }
    }

    /// Where the connections of those kinds come in that have a place of their own.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn listen(&self, local: &LocalEnd) -> std::io::Result<Vec<Box<dyn Listener>>> {
        let opened = self.kinds.iter().map(|kind| kind.listen(local));
        opened.filter_map(Result::transpose).collect()
    }

    /// What people call the paths of this kind.
    #[must_use]
    pub fn label<'a>(&self, name: &'a str) -> &'a str {
        self.kind(name).map_or(name, |kind| kind.label())
    }

    /// The best kind there is.
    #[must_use]
    pub fn best(&self) -> Option<Kind> {
        self.kinds.first().map(|kind| kind.kind())
    }
}

/// The first of `names` that is there twice.
fn repeated(mut names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let mut seen = BTreeSet::new();
    names.find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests;
