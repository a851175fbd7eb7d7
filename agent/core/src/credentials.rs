//! What a member shows and proves: certificate, private key, and the root that both belong to.

use std::fmt;

use zeroize::Zeroizing;

/// All that a member needs to be one.
#[derive(Clone)]
pub struct Credentials {
    /// Its certificate in DER.
    pub certificate: Vec<u8>,
    /// Its private key in PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
    /// The network's root in DER.
    pub root: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
