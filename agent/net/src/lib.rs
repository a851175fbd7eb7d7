//! How mpyc-party reaches: the paths and links to peers, who is found where, and the party's side of
//! what a hub and an authority serve.
//!
//! # The story
//!
//! What a process can reach by and find by is its [`Stack`]: a table of kinds of path ([`dial`]) and a
//! table of discoveries ([`discovery`]). An [address book](discovery::AddressBook) asks all discoveries
//! where the [peers](peers) of a session are, and tells what each kind of path may try. The
//! [`links`] dial that, let in who dials this party ([`accept`]), and keep one link to each peer over
//! the best path there is; carriers of streams go over the route of the link. When this machine's
//! addresses change, the [`monitor`] notices.
//!
//! Beside runs, a peer can be [asked](probe) what it would run or [pinged](ping), and ports can be
//! [exposed](expose) to other parties and [connected](connect) with. Hubs and authorities are spoken
//! to by their [clients](client).
//!
//! A new kind of path, or a new discovery, is one file and one row: see [`dial::standard`] and
//! [`discovery::standard`]. Who cannot add a row there, adds it to a [`Stack`].

#![forbid(unsafe_code)]

pub mod accept;
pub mod addr;
pub mod client;
pub mod connect;
pub mod dial;
pub mod discovery;
pub mod expose;
pub mod links;
pub mod monitor;
pub mod peers;
pub mod ping;
pub mod probe;
pub mod route;
pub mod stack;

pub use client::RequestError;
pub use stack::Stack;
