//! What the targets have in common: a network, and changes to what is valid in it.

use std::sync::LazyLock;

use mpyc_party_authority::Authority;
use mpyc_party_core::claims::Root;
use mpyc_party_core::role::Role;
use mpyc_party_transport::{Identity, generate_key, now};
use tempfile::TempDir;

/// A network with a party.
pub struct Network {
    /// Its authority.
    pub authority: Authority,
    /// Its root.
    pub root: Root,
    /// Alice.
    pub alice: Identity,
    _dir: TempDir,
}

/// Made once: keys cost more than a run of a target.
pub static NETWORK: LazyLock<Network> = LazyLock::new(|| make().expect("a network"));

fn make() -> Result<Network, Box<dyn std::error::Error>> {
    let dir = TempDir::new()?;
    let authority = Authority::init(dir.path(), &"example".parse()?, None, now())?;
    let alice =
        Identity::try_from(authority.own_credentials(&Role::party("alice".parse()?)?, now())?)?;
    Ok(Network { root: authority.root().clone(), authority, alice, _dir: dir })
}

/// A private key of a newcomer.
pub fn key() -> Vec<u8> {
    generate_key().expect("a key").to_vec()
}

/// Input that begins with 0 as it is; any other as changes to what is `valid`, each of them a place
/// (2 bytes), how much goes there (1), how much comes there (1), and that.
pub fn changed(valid: &[u8], input: &[u8]) -> Vec<u8> {
    let [1..=255, changes @ ..] = input else { return input.get(1..).unwrap_or_default().to_vec() };
    let (mut changed, mut rest) = (valid.to_vec(), changes);
    while let [a, b, goes, comes, more @ ..] = rest {
        let at = usize::from(u16::from_be_bytes([*a, *b])) % (changed.len() + 1);
        let end = changed.len().min(at + usize::from(goes % 16));
        let (new, following) = more.split_at(more.len().min(usize::from(comes % 16)));
        changed.splice(at..end, new.iter().copied());
        rest = following;
    }
    changed
}
