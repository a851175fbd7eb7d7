//! Takes every privilege away, for this process and all that come from it.

use rustix::io::Errno;
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use crate::error::{Failure, Stage};

/// Empties all capability sets and forbids exec to fill them again.
pub(crate) fn drop_all() -> Result<(), Failure> {
    apply().map_err(Failure::at(Stage::Privileges))
}

fn apply() -> Result<(), Errno> {
    use rustix::thread as t;
    // Without a user namespace an ordinary user has no say over these two, and needs none.
    if t::capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        empty_bounding_set()?;
        t::set_capabilities_secure_bits(locked())?;
    }
    t::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    t::set_capabilities(None, sets)?;
    t::set_no_new_privs(true)
}

/// The kernel ends the list of capabilities it knows with `EINVAL`.
fn empty_bounding_set() -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

/// User 0 is nothing special, for ever.
fn locked() -> CapabilitiesSecureBits {
    CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED
}
