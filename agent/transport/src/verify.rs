//! The check of the other end's certificate, made inside the handshake: nobody whom it refuses
//! ever reads or writes a byte of application data.

use std::sync::OnceLock;

use mpyc_party_core::claims::{Claims, ClaimsError, Fingerprint, PublicKey, Root, RootError};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::role::Role;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::expect::Expect;
use crate::provider::SIGNATURES;

/// Why the other end's certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The certificate itself is unacceptable.
    #[error("its certificate is not acceptable: {0}")]
    Claims(#[from] ClaimsError),
    /// The certificate leaves the root's network or pool, or the root is not valid.
    #[error("its certificate is not acceptable: {0}")]
    Root(#[from] RootError),
    /// Another number of certificates than the protocol says.
    #[error("it presented {0} certificates, where {1} belong")]
    Chain(usize, usize),
    /// Signed by somebody else.
    #[error("its certificate is not signed by this network's authority")]
    OtherAuthority,
    /// The root it presented is not the token's.
    #[error(
        "its root is {found}, the token demands {expected}: it is not the server that the token was made for"
    )]
    OtherRoot {
        /// What the token holds.
        expected: Fingerprint,
        /// What the server showed.
        found: Fingerprint,
    },
    /// Refused by webpki for another reason.
    #[error("its certificate is not acceptable: {0}")]
    Webpki(String),
    /// Somebody else.
    #[error("this is {found}, expected {expected}")]
    Unexpected {
        /// Who it is.
        found: Role,
        /// Who was expected, in words.
        expected: String,
    },
    /// Another key than the configuration demands.
    #[error(
        "the key of {party} is {found}, but {pinned} is pinned here: ask {party} by another channel which one is right"
    )]
    Pin {
        /// Whose key.
        party: PartyName,
        /// The key in the configuration.
        pinned: PublicKey,
        /// The key in the certificate.
        found: PublicKey,
    },
}

impl PeerError {
    /// What the other end learns, as a TLS alert.
    fn alert(&self) -> CertificateError {
        match self {
            Self::Claims(ClaimsError::Expired { .. } | ClaimsError::NotYetValid { .. }) => {
                CertificateError::Expired
            }
            Self::Claims(ClaimsError::Usage) => CertificateError::InvalidPurpose,
            Self::OtherAuthority | Self::OtherRoot { .. } | Self::Root(_) => {
                CertificateError::UnknownIssuer
            }
            Self::Unexpected { .. } | Self::Pin { .. } => {
                CertificateError::ApplicationVerificationFailure
            }
            Self::Claims(_) | Self::Chain(..) | Self::Webpki(_) => CertificateError::BadEncoding,
        }
    }
}

/// By what the other end's certificate is recognised.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The network's root; the other end presents its own certificate alone.
    Root(Root),
    /// Only the root's fingerprint is known yet; the other end presents the root as well.
    Fingerprint(Fingerprint),
}

/// The verified other end.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) claims: Claims,
    pub(crate) certificate: Vec<u8>,
    pub(crate) root: Root,
}

/// The verifier of one connection; it remembers what it found, because a TLS library passes on
/// neither claims nor reasons.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    expect: Expect,
    found: OnceLock<Result<Verified, PeerError>>,
}

impl Verifier {
    pub(crate) fn new(trust: Trust, expect: Expect) -> Self {
        Self { trust, expect, found: OnceLock::new() }
    }

    /// What the handshake found, once it has come that far.
    pub(crate) fn found(&self) -> Option<Result<Verified, PeerError>> {
        self.found.get().cloned()
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let verdict = self.verify(leaf, others, usage, now.as_secs());
        let refusal = verdict.as_ref().err().map(PeerError::alert);
        // A second certificate in one handshake would be renegotiation, which TLS 1.3 has not.
        if self.found.set(verdict).is_err() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: u64,
    ) -> Result<Verified, PeerError> {
        let root = match (&self.trust, others) {
            (Trust::Root(root), []) => root.clone(),
            (Trust::Fingerprint(expected), [root]) => {
                let root = Root::from_der(root)?;
                if root.fingerprint != *expected {
                    let (expected, found) = (*expected, root.fingerprint);
                    return Err(PeerError::OtherRoot { expected, found });
                }
                root
            }
            (Trust::Root(_), _) => return Err(PeerError::Chain(others.len() + 1, 1)),
            (Trust::Fingerprint(_), _) => return Err(PeerError::Chain(others.len() + 1, 2)),
        };
        root.check_validity(now)?;
        let claims = Claims::from_der(leaf)?;
        root.covers(&claims)?;
        let late = now.saturating_sub(claims.not_after) <= self.expect.lateness();
        let at = if late { now.min(claims.not_after) } else { now };
        claims.check_validity(at)?;
        check_signature(leaf, &root, usage, at)?;
        self.expect.check(&claims)?;
        Ok(Verified { claims, certificate: leaf.to_vec(), root })
    }
}

/// What the certificate `leaf` claims, if it was made under `root` and both are valid at `at`, in
/// Unix seconds: the same check as in a handshake, for what its holder has signed.
///
/// # Errors
/// Says why the certificate is not acceptable.
pub fn certified(leaf: &[u8], root: &Root, at: u64) -> Result<Claims, PeerError> {
    root.check_validity(at)?;
    let claims = Claims::from_der(leaf)?;
    root.covers(&claims)?;
    claims.check_validity(at)?;
    check_signature(&CertificateDer::from(leaf), root, KeyUsage::client_auth(), at)?;
    Ok(claims)
}

/// One signature by the root, within its name constraints, for this usage.
fn check_signature(
    leaf: &CertificateDer<'_>,
    root: &Root,
    usage: KeyUsage,
    at: u64,
) -> Result<(), PeerError> {
    let explain = |error: webpki::Error| match error {
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            PeerError::OtherAuthority
        }
        webpki::Error::NameConstraintViolation => {
            PeerError::Webpki("its names are outside the network".to_owned())
        }
        other => PeerError::Webpki(other.to_string()),
    };
    let root = CertificateDer::from(root.der());
    let anchor = anchor_from_trusted_cert(&root).map_err(explain)?;
    let leaf = EndEntityCert::try_from(leaf).map_err(explain)?;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
    leaf.verify_for_usage(SIGNATURES.all, &[anchor], &[], at, usage, None, None)
        .map_err(explain)?;
    Ok(())
}

/// Checks that `certificate` was issued by `root`, whether or not it has expired since: for pinning
/// keys, not for connections.
///
/// # Errors
/// When it is not a member's certificate of this network.
pub fn verify_issued(root: &Root, certificate: &[u8]) -> Result<Claims, PeerError> {
    certified(certificate, root, Claims::from_der(certificate)?.not_after)
}

/// The answer to any TLS 1.2 signature; the configuration never offers that version.
fn no_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The server name is a session's tag or nothing; who answers is told by the certificate.
        self.judge(end_entity, intermediates, KeyUsage::server_auth(), now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A hint would name the network to anybody who connects.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, KeyUsage::client_auth(), now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}
