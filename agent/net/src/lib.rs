//! How mpyc-party reaches: the paths and links to peers, who is found where, and the party's side of
//! what a hub and an authority serve.
//!
//! # The story
//!
//! What a process can reach by and find by is its [`Stack`]: a table of kinds of path ([`dial`]) and a
//! table of discoveries ([`discovery`]). An [address book](address_book::AddressBook) asks all discoveries
//! where the [peers](peers) of a session are, and says what each kind of path may try. The
//! [`links`] dial that, let in the peers that dial this party ([`accept`]), and keep one link to each
//! peer over the best path there is. What a kind of path finds is a [`route`]; carriers of streams go
//! over the route of the link. When this machine's addresses change, the [`monitor`] notices.
//!
//! Beside runs, a party can [ask](probe) a peer what it would run, [ping] it, [expose] ports to other
//! parties and [connect] with theirs. The [clients](client) speak to hubs and authorities.
//!
//! A new kind of path, or a new discovery, is one file and one row: see [`dial::standard`] and
//! [`discovery::standard`]. A program outside of this crate adds its row to a [`Stack`].

#![forbid(unsafe_code)]

pub mod accept;
pub mod addr;
pub mod address_book;
pub mod client;
pub mod connect;
pub mod dial;
pub mod discovery;
pub mod expose;
pub mod links;
pub mod monitor;
pub mod packets;
pub mod peers;
pub mod ping;
pub mod probe;
pub mod publication;
pub mod route;
mod segment_memory;
pub mod stack;

pub use client::RequestError;
pub use segment_memory::Stalled;
pub use stack::{Stack, StackError};
