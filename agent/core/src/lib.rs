//! What mpyc-party decides. No sockets, clocks, files or runtime: time and events come in, actions
//! go out.
//!
//! # The story
//!
//! A [network](name::NetworkName) is one trust domain with one authority. A
//! [party](name::PartyName) enrols once: it shows a [`token`], bound to its new
//! key, and gets a certificate whose [`claims`] name its [`role`] in the network. From then on the
//! certificate is who it is.
//!
//! A *session* is a named, declared computation among an ordered [`roster`] of parties. Its
//! [tag](sni::Tag) stands for it in public: the [`lighthouse`] of a hub lets the parties of a
//! session find each other by it, and tells nobody else. An [address](addr) names its kind of path,
//! and what only that kind reads; those that would make others probe machines of the announcer's choice
//! are dropped. Parties that cannot reach each other meet at the [`relay`]. A local network needs no
//! hub: there a party shows itself under an [alias] that only its session can read.
//!
//! Of all the [paths](path) to a peer the best that opens becomes the link, and another when that
//! dies. Over their links the parties exchange [`control`] messages. Each says what it would run,
//! cut into [`component`]s with a [`label`] each; the [`agreement`] holds only if all parties have told
//! all others the same. Then, and only then, the [`run`] starts: one execution of the session, with an
//! id that is never reused. Each connection of its engine's processes is a [`stream`], which outlives the
//! link that carries it. The run ends in a [`verdict`]: completed, or failed with who, where and why.
//!
//! Beside sessions, a party may [`expose`] ports of its machine to some others, so that those who
//! administer it reach it wherever it is.
//!
//! What others wrote is made [visible](text::visible) before a person reads it.

#![forbid(unsafe_code)]

pub mod addr;
pub mod agreement;
pub mod alias;
pub mod claims;
pub mod component;
pub mod control;
pub mod credentials;
pub mod expose;
mod key;
pub mod label;
pub mod lighthouse;
pub mod membership;
pub mod name;
#[cfg(test)]
mod numbers;
pub mod path;
pub mod relay;
pub mod role;
mod root;
pub mod roster;
pub mod run;
pub mod sni;
pub mod stream;
pub mod text;
pub mod token;
pub mod verdict;
pub mod waits;
