//! A session bundle: one signed text file that carries a session to its other parties.
//!
//! ```text
//! bundle = 1                          the content: TOML that people can read
//! network = "example"
//! …
//! -----BEGIN CERTIFICATE-----         who signed
//! …
//! -----BEGIN SIGNATURE-----           Ed25519 over the label and every byte of the content
//! …
//! ```
//!
//! A bundle proposes; it grants nothing. Bundles travel slowly and certificates live a day, so one
//! that has expired is accepted here as long as it was valid at the time of signing that the
//! bundle states, and that is not long ago. Nobody can prove when a signature was made: whoever
//! has a party's former key could propose a session in its name. To take part in a run they would
//! need a certificate that is valid then, for the key that the bundle pins.

mod error;

use std::fmt::Write;

use mpyc_party_core::claims::{Claims, ClaimsError, Fingerprint, PublicKey, Root};
use mpyc_party_core::name::{NetworkName, PartyName, SessionName};
use mpyc_party_transport::{Identity, PeerError, RENEWAL_GRACE, certified, verify};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use toml_parser::Source;

use super::code;
use super::proposal::{Enclosed, Proposal, ProposalError};
use super::words::file_name;
use crate::config::same_key;

pub use error::{BundleError, ContentError, SignerFault};

/// The largest bundle in bytes.
pub const MAX_BYTES: u64 = 16 << 20;
/// The version of the format.
const FORMAT_VERSION: u32 = 1;
/// Set before the content where it is signed: no other signature of the same key says the same.
const SIGNATURE_CONTEXT: &[u8] = b"mpyc-party session bundle 1\n";
/// Largest certificate and signature together, as text in bytes.
const MAX_TRAILER_BYTES: usize = 16 << 10;
/// Largest beginning of a bundle in bytes that is looked at before anything is checked.
const MAX_HEAD_BYTES: usize = 4 << 10;
/// The most tokens of TOML in the content, of which a file's whole text is one: the most files, the longest
/// arguments and a roster take some 50,000.
const MAX_TOKENS: usize = 1 << 16;
/// Where the content ends; the last such line counts, for the content may hold one as well.
const END_OF_CONTENT: &str = "\n-----BEGIN CERTIFICATE-----\n";
/// How far clocks may differ, in seconds.
const MAX_CLOCK_SKEW: u64 = 300;

/// A session as it travels.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    pub(super) bundle: u32,
    /// The network.
    pub network: NetworkName,
    /// What the network is known by.
    pub root: Fingerprint,
    /// Who proposes the session.
    pub from: PartyName,
    /// When it was signed, as that party says.
    #[serde(with = "time::serde::rfc3339")]
    pub signed: OffsetDateTime,
    /// The session's name.
    pub session: SessionName,
    /// Its definition.
    pub proposal: Proposal,
    /// The program and the other files.
    pub files: Vec<Enclosed>,
}

/// A bundle whose signature was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// What it says.
    pub bundle: Bundle,
    /// The key of the party that signed it.
    pub key: PublicKey,
    /// The program and the other files, by name.
    pub files: Vec<(String, Vec<u8>)>,
}

fn message(content: &[u8]) -> Vec<u8> {
    [SIGNATURE_CONTEXT, content].concat()
}

fn trailer(certificate: &[u8], signature: &[u8]) -> String {
    let blocks = [("CERTIFICATE", certificate), ("SIGNATURE", signature)];
    let block = |(label, bytes)| {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new(label, bytes), config)
    };
    blocks.map(block).concat()
}

/// Makes the bundle of `proposal` with `files` (names and bytes), signed by `identity` at `now`, in
/// Unix seconds.
///
/// # Errors
/// Where the other parties would not accept it.
pub fn seal(
    identity: &Identity,
    session: SessionName,
    proposal: Proposal,
    files: &[(String, Vec<u8>)],
    now: u64,
) -> Result<String, BundleError> {
    let claims = identity.claims();
    let Some(from) = claims.party().cloned() else {
        let (signer, fault) = (claims.role.clone(), SignerFault::NotAParty);
        return Err(BundleError::OtherSigner { signer, fault });
    };
    let root = identity.root();
    let bundle = Bundle {
        bundle: FORMAT_VERSION,
        network: root.network.clone(),
        root: root.fingerprint,
        from,
        signed: OffsetDateTime::from_unix_timestamp(i64::try_from(now).unwrap_or(i64::MAX))
            .map_err(ContentError::from)?,
        session,
        proposal,
        files: files.iter().map(|(name, content)| Enclosed::new(name, content)).collect(),
    };
    let mut text = String::from(
        "# A session of mpyc-party. Look at it with: mpyc-party session import FILE\n\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", toml::to_string_pretty(&bundle).map_err(ContentError::from)?);
    let signature = identity.sign(&message(text.as_bytes()));
    text.push_str(&trailer(identity.certificate(), &signature));
    // What is sent is what was meant, and the others will accept it.
    let opened = open(text.as_bytes(), root, now)?;
    if opened.files != files {
        return Err(ContentError::Files.into());
    }
    Ok(text)
}

/// Checks the bundle in `bytes` under `root` at `now`, in Unix seconds: whole, unchanged, signed by
/// a party of its roster, and in order.
///
/// Nothing is read before it is known to be bounded and whose it is: first comes the size, then the
/// certificate under the root, then the signature over all bytes, then how many tokens they are (16 MiB of
/// small values take a hundred times that in memory), and then what they say.
///
/// # Errors
/// Says what is wrong.
pub fn open(bytes: &[u8], root: &Root, now: u64) -> Result<Opened, BundleError> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(BundleError::TooLarge);
    }
    let (content, certificate) = split(bytes, root, now)?;
    let bundle = read(content)?;
    if bundle.root != root.fingerprint {
        return Err(other_network((bundle.network, bundle.root), root));
    }
    if bundle.network != root.network {
        let (network, own_network) = (bundle.network, root.network.clone());
        return Err(BundleError::NetworkName { network, own_network });
    }
    let claims = signer(&certificate, &bundle, root, now)?;
    let files = enclosed(&bundle)?;
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    bundle.proposal.check(&names)?;
    code::check(&bundle.proposal.program, &files).map_err(ProposalError::from)?;
    if let Some(&found) = bundle.proposal.keys.get(&bundle.from).filter(|key| **key != claims.key) {
        return Err(BundleError::Key { party: bundle.from, found, known: claims.key });
    }
    Ok(Opened { bundle, key: claims.key, files })
}

/// The content, and the certificate of a member of the network of `root` by whose key it was signed.
fn split<'a>(bytes: &'a [u8], root: &Root, now: u64) -> Result<(&'a str, Vec<u8>), BundleError> {
    let seam = seam(bytes).ok_or(BundleError::Torn)?;
    let (content, sealed) = bytes.split_at(seam);
    let sealed = std::str::from_utf8(sealed).map_err(|_| BundleError::Torn)?;
    let blocks = pem::parse_many(sealed).map_err(|_| BundleError::Torn)?;
    let [certificate, signature] = &blocks[..] else { return Err(BundleError::Torn) };
    // One form only: what is not signed cannot be changed either.
    if sealed != trailer(certificate.contents(), signature.contents()) {
        return Err(BundleError::Torn);
    }
    let certificate = certificate.contents();
    let key = issued(certificate, root, now).map_err(|error| match origin(content) {
        Some(theirs) if theirs.1 != root.fingerprint => other_network(theirs, root),
        _ => error,
    })?;
    if !verify(&key, &message(content), signature.contents()) {
        return Err(BundleError::Signature);
    }
    let content = std::str::from_utf8(content).map_err(|_| BundleError::Torn)?;
    Ok((content, certificate.to_vec()))
}

/// Where the certificate begins: in the last bytes, for what comes after the content is short.
fn seam(bytes: &[u8]) -> Option<usize> {
    let tail = bytes.len().saturating_sub(MAX_TRAILER_BYTES);
    let end = END_OF_CONTENT.as_bytes();
    let found = bytes[tail..].windows(end.len()).rposition(|window| window == end)?;
    Some(tail + found + 1)
}

/// The key of a certificate that the authority of `root` issued, however long ago.
fn issued(certificate: &[u8], root: &Root, now: u64) -> Result<PublicKey, BundleError> {
    let signer = |error| BundleError::Signer(PeerError::Claims(error));
    let claims = Claims::from_der(certificate).map_err(signer)?;
    let at = now.min(claims.not_after).max(claims.not_before);
    Ok(certified(certificate, root, at).map_err(BundleError::Signer)?.key)
}

/// The network that a bundle says it is of, from its first lines: only to say so, for nobody vouches
/// for them.
fn origin(content: &[u8]) -> Option<(NetworkName, Fingerprint)> {
    #[derive(Deserialize)]
    struct Origin {
        network: NetworkName,
        root: Fingerprint,
    }
    let head = String::from_utf8_lossy(&content[..content.len().min(MAX_HEAD_BYTES)]);
    // The first table follows what stands for itself.
    let end = head.find("\n[")?;
    let Origin { network, root } = toml::from_str(&head[..end]).ok()?;
    Some((network, root))
}

fn other_network((network, root): (NetworkName, Fingerprint), own: &Root) -> BundleError {
    let (own_network, own_root) = (own.network.clone(), own.fingerprint);
    BundleError::OtherNetwork { network, root, own_network, own_root }
}

fn read(content: &str) -> Result<Bundle, BundleError> {
    #[derive(Deserialize)]
    struct Head {
        bundle: u32,
    }
    let version = |bundle| match bundle {
        FORMAT_VERSION => None,
        other => Some(BundleError::Version(other)),
    };
    if Source::new(content).lex().nth(MAX_TOKENS).is_some() {
        return Err(ContentError::TooManyTokens.into());
    }
    match toml::from_str::<Bundle>(content) {
        Ok(bundle) => version(bundle.bundle).map_or(Ok(bundle), Err),
        // Another version may hold something else.
        Err(error) => {
            let head = toml::from_str::<Head>(content).ok().and_then(|head| version(head.bundle));
            Err(head.unwrap_or_else(|| ContentError::from(error).into()))
        }
    }
}

/// What the signer's certificate claims, once it is found good.
fn signer(
    certificate: &[u8],
    bundle: &Bundle,
    root: &Root,
    now: u64,
) -> Result<Claims, BundleError> {
    let signed = u64::try_from(bundle.signed.unix_timestamp()).unwrap_or(0);
    if signed > now + MAX_CLOCK_SKEW {
        return Err(BundleError::Future(bundle.signed));
    }
    let claims = certified(certificate, root, signed).map_err(BundleError::Signer)?;
    root.check_validity(now).map_err(|error| BundleError::Signer(error.into()))?;
    let late = now.saturating_sub(claims.not_after);
    if late > RENEWAL_GRACE {
        return Err(BundleError::Old(ClaimsError::Expired { seconds: late }));
    }
    let other = |fault| BundleError::OtherSigner { signer: claims.role.clone(), fault };
    if claims.party() != Some(&bundle.from) {
        return Err(other(SignerFault::SomebodyElse));
    }
    if bundle.proposal.parties.index_of(&bundle.from).is_none() {
        return Err(other(SignerFault::NotInRoster));
    }
    Ok(claims)
}

fn enclosed(bundle: &Bundle) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
    let open = |file: &Enclosed| {
        let (name, content) = file.open()?;
        Ok((name.to_owned(), content))
    };
    bundle.files.iter().map(open).collect()
}

impl Opened {
    /// Checks that the session is for `party`, whose key is `own`, and that no key differs from
    /// those that `pinned` knows.
    ///
    /// # Errors
    /// Says what does not fit.
    pub fn check_for(
        &self,
        party: &PartyName,
        own: PublicKey,
        pinned: impl Fn(&PartyName) -> Option<PublicKey>,
    ) -> Result<(), BundleError> {
        let parties = &self.bundle.proposal.parties;
        if parties.index_of(party).is_none() {
            return Err(BundleError::NotForThisParty {
                roster: parties.clone(),
                party: party.clone(),
            });
        }
        let mut keys = Vec::new();
        for name in parties {
            let stated = self.bundle.proposal.keys.get(name).copied();
            let stated = stated.or_else(|| (*name == self.bundle.from).then_some(self.key));
            let known = if name == party { Some(own) } else { pinned(name) };
            if let (Some(found), Some(known)) = (stated, known)
                && found != known
            {
                return Err(BundleError::Key { party: name.clone(), found, known });
            }
            keys.extend(stated.or(known).map(|key| (name, key)));
        }
        // One that is stated may be known here as that of somebody else.
        match same_key(keys) {
            Some((first, second)) => Err(BundleError::SameKey { first, second }),
            None => Ok(()),
        }
    }

    /// The names of the files, the program's first.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.files.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_by_key(|name| *name != self.bundle.proposal.program);
        names
    }

    /// In what `other` would be another session, each as a person would say it. When it was signed makes
    /// no difference.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (own, others) = (&self.bundle.proposal, &other.bundle.proposal);
        let mut all = Vec::new();
        let (from, now_from) = (&self.bundle.from, &other.bundle.from);
        if from != now_from {
            all.push(format!("who proposes it ({from}, now {now_from})"));
        } else if self.key != other.key {
            all.push(format!("the key of {from}, who proposes it"));
        }
        all.extend(own.differences(others).into_iter().map(str::to_owned));
        let find = |files: &[(String, Vec<u8>)], name: &str| {
            files.iter().find(|(n, _)| n == name).map(|(_, content)| content.clone())
        };
        let mut names: Vec<&str> = self.names().into_iter().chain(other.names()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (own, theirs) = (find(&self.files, name), find(&other.files, name));
            let name = file_name(name);
            match (own, theirs) {
                (Some(own), Some(theirs)) if own == theirs => {}
                (Some(_), Some(_)) => all.push(format!("the content of {name}")),
                (None, _) => all.push(format!("{name} is new")),
                (_, None) => all.push(format!("{name} is gone")),
            }
        }
        all
    }
}

/// A time to the minute, for people.
#[must_use]
pub fn minute(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    time.to_offset(UtcOffset::UTC).format(form).unwrap_or_else(|_| time.to_string())
}

/// SHA-256 in the form in which people compare it.
#[must_use]
pub fn hash(content: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(content))
}
