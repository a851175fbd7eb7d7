//! The kinds of path and the discoveries that a process has: what it can reach by, and find by.

use std::sync::Arc;

use mpyc_party_core::addr::{Address, Vantage};
use mpyc_party_core::path::{Kind, Target};

use crate::accept::Listener;
use crate::addr::OwnAddresses;
use crate::dial::{self, LocalEnd, PathKind};
use crate::discovery::{self, Discovery};

/// Both tables. Everything goes by them, so that who adds a row here has added it everywhere.
#[derive(Clone, Debug)]
pub struct Stack {
    kinds: Vec<Arc<dyn PathKind>>,
    discoveries: Vec<Arc<dyn Discovery>>,
}

impl Default for Stack {
    /// What comes with mpyc-party.
    fn default() -> Self {
        Self { kinds: dial::standard(), discoveries: discovery::standard() }
    }
}

impl Stack {
    /// One more kind of path; its name and its preference must be its own.
    #[must_use]
    pub fn with_kind(mut self, kind: impl PathKind + 'static) -> Self {
        self.kinds.push(Arc::new(kind));
        self.kinds.sort_by_key(|kind| kind.kind());
        self
    }

    /// One more discovery.
    #[must_use]
    pub fn with_discovery(mut self, discovery: impl Discovery + 'static) -> Self {
        self.discoveries.push(Arc::new(discovery));
        self
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
