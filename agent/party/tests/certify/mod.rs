//! Certificates of other days.

use std::fs;

use anyhow::Result;
use mpyc_party::identity::Store;
use mpyc_party_authority::BACKDATING;
use mpyc_party_lab::party::{Network, Party};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, SanType,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// Gives `party` a certificate as its authority made it `made` ago, or will make it.
pub(crate) fn certify(network: &Network, party: &Party, made: Duration) -> Result<()> {
    let ca = network.hub_state().join("ca");
    let read = |key: Vec<u8>| {
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &PKCS_ED25519)
    };
    let root = CertificateDer::from(fs::read(ca.join("root.der"))?);
    let issuer = Issuer::from_ca_cert_der(&root, read(fs::read(ca.join("root.key"))?)?)?;
    let identity = party.state().join("identity");
    let key = pem::parse(fs::read(identity.join("key.pem"))?)?.into_contents();
    let (claims, mut params) = (Store::new(&party.state()).claims()?, CertificateParams::default());
    let made = OffsetDateTime::now_utc() - made;
    params.not_before = made - Duration::seconds(BACKDATING.cast_signed());
    params.not_after = made + Duration::days(1);
    params.is_ca = IsCa::ExplicitNoCa;
    params.subject_alt_names = vec![
        SanType::DnsName(claims.role.dns_name(&claims.network).try_into()?),
        SanType::IpAddress(claims.address),
        SanType::URI(claims.role.spiffe_id(&claims.network).try_into()?),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&read(key)?, &issuer)?;
    let certificate = pem::Pem::new("CERTIFICATE", certificate.der().to_vec());
    Ok(fs::write(identity.join("certificate.pem"), pem::encode(&certificate))?)
}
