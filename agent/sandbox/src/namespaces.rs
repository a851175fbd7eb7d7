//! Which namespaces the sandbox has, who the program is in them, and what to do where the machine
//! does not allow them.

use std::fs;
use std::path::Path;

use crate::error::{Failure, Stage};

/// All in one clone: the user namespace comes first and pays for the others.
pub(crate) const ALL: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Who the program is inside, whoever runs it: not root, for exec gives user 0 all capabilities back, and
/// not the number that this user has on the host.
const ORDINARY: u32 = 1000;
/// The host's own name is nothing a peer's code should learn.
const HOST_NAME: &[u8] = b"sandbox";
/// What the kernel calls the domain (of NIS) of a host that has none.
const DOMAIN_NAME: &[u8] = b"(none)";

/// The user and group outside, to be read before the user namespace hides them.
pub(crate) struct Identity {
    user: u32,
    group: u32,
}

impl Identity {
    pub(crate) fn of_this_process() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.user == 0
    }

    /// Maps this user and group, and no others, into the new user namespace, and hides their numbers and the
    /// host's name. The kernel lets a
    /// process without privileges map its group only after it has given up `setgroups`.
    pub(crate) fn enter(&self) -> Result<(), Failure> {
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", &line(self.user))?;
        write("/proc/self/gid_map", &line(self.group))?;
        rustix::system::sethostname(HOST_NAME).map_err(Failure::at(Stage::HostName))?;
        rustix::system::setdomainname(DOMAIN_NAME).map_err(Failure::at(Stage::HostName))
    }
}

/// One line of a map: number inside, number outside, how many.
fn line(outside: u32) -> String {
    format!("{ORDINARY} {outside} 1")
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(Failure::on(Stage::IdentityMap, Path::new(path)))
}

/// What to change on this machine so that namespaces can be made.
pub(crate) fn remedy() -> &'static str {
    let setting = |path| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    if setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        "User namespaces are switched off: set the sysctl user.max_user_namespaces to 1000 or more"
    } else if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        "User namespaces are kept from ordinary users: set the sysctl \
         kernel.unprivileged_userns_clone to 1"
    } else if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref()
        == Some("1")
    {
        "AppArmor keeps user namespaces from programs without a profile, as on Ubuntu 24.04: give \
         mpyc-party a profile with the rule «userns,», or set the sysctl \
         kernel.apparmor_restrict_unprivileged_userns to 0"
    } else {
        "Something around this process forbids namespaces or mounts, a container or a service \
         manager (in a systemd unit: RestrictNamespaces, or a SystemCallFilter without @mount): \
         allow them"
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn everybody_is_the_same_ordinary_user_inside() {
        assert_eq!(line(0), "1000 0 1");
        assert_eq!(line(4711), "1000 4711 1");
    }
}
