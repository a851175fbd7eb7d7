use std::os::unix::fs::{PermissionsExt, chown, symlink};

use tempfile::TempDir;

use super::*;

/// A user and a group that are nobody's here.
const OTHER: u32 = 54_321;

/// A directory of this user's own in the machine's `/tmp`, with a file in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("d")).unwrap();
        fs::write(place.path("d/file"), "x").unwrap();
        place.mode("d/file", 0o644);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Who can change what is at `name`, each with its place.
    fn found(&self, name: &str) -> Vec<(PathBuf, Writers)> {
        self.trusting(name, Trust::own())
    }

    fn trusting(&self, name: &str, trust: Trust) -> Vec<(PathBuf, Writers)> {
        let found = Walk::to(&self.path(name), trust).unwrap();
        found.into_iter().map(|exposed| (exposed.place, exposed.writers)).collect()
    }
}

#[test]
fn what_is_ones_own_is_nobody_elses_in_a_sticky_tmp_too() {
    let place = Place::new();
    assert_eq!(place.found("d/file"), []);
    assert_eq!(place.found("d"), []);
    place.mode("d", 0o1777);
    assert_eq!(place.found("d/file"), [], "the sticky bit keeps others from replacing it");
    // The user's own group, which with a umask of 002 may write everywhere.
    place.mode("d", 0o775);
    place.mode("d/file", 0o664);
    assert_eq!(place.found("d/file"), []);
}

#[test]
fn whoever_may_write_to_it_or_to_a_directory_above_is_found() {
    let place = Place::new();
    place.mode("d/file", 0o666);
    assert_eq!(place.found("d/file"), [(place.path("d/file"), Writers::All)]);
    place.mode("d/file", 0o644);
    place.mode("d", 0o777);
    assert_eq!(place.found("d/file"), [(place.path("d"), Writers::All)]);
    assert_eq!(place.found("d/none"), [(place.path("d"), Writers::All)]);
    place.mode("d", 0o702);
    assert_eq!(place.found("d/file"), [(place.path("d"), Writers::All)]);
    place.mode("d", 0o1777);
    assert_eq!(place.found("d/none"), [(place.path("d"), Writers::All)], "anybody can make it");
    assert_eq!(place.found("d"), [(place.path("d"), Writers::All)]);
}

#[test]
fn groups_and_owners_of_others_are_found() {
    let place = Place::new();
    let group = place.path("d").metadata().unwrap().gid();
    place.mode("d/file", 0o664);
    let stranger = Trust { group: OTHER, ..Trust::own() };
    let theirs = place.trusting("d/file", stranger);
    let expected = [(place.path("d/file"), Writers::Group(group))];
    assert_eq!(theirs, if group == 0 { &[][..] } else { &expected });
    if geteuid().is_root() {
        chown(place.path("d/file"), None, Some(OTHER)).unwrap();
        assert_eq!(place.found("d/file"), [(place.path("d/file"), Writers::Group(OTHER))]);
        place.mode("d/file", 0o644);
        assert_eq!(place.found("d/file"), [], "it may not write");
        chown(place.path("d"), Some(OTHER), None).unwrap();
        assert_eq!(place.found("d/file"), [(place.path("d"), Writers::Owner(OTHER))]);
        place.mode("d", 0o1777);
        let found = place.found("d/file");
        assert_eq!(found, [(place.path("d"), Writers::Owner(OTHER))], "who owns it is not held");
    } else {
        let user = geteuid().as_raw();
        place.mode("d/file", 0o644);
        let found = place.trusting("d/file", Trust { user: OTHER, ..Trust::own() });
        assert!(found.contains(&(place.path("d/file"), Writers::Owner(user))), "{found:?}");
    }
}

#[test]
fn both_ends_of_a_link_count() {
    let place = Place::new();
    fs::create_dir(place.path("open")).unwrap();
    place.mode("open", 0o777);
    let all = [(place.path("open"), Writers::All)];
    symlink("../d/file", place.path("open/link")).unwrap();
    assert_eq!(place.found("open/link"), all, "it can be pointed elsewhere");
    fs::write(place.path("open/file"), "x").unwrap();
    place.mode("open/file", 0o644);
    symlink(place.path("open/file"), place.path("d/link")).unwrap();
    assert_eq!(place.found("d/link"), all, "what it points to can be replaced");
    symlink("../open", place.path("d/way")).unwrap();
    assert_eq!(place.found("d/way/file"), all);
    assert_eq!(place.found("d/way/../d/file"), all, "the way leads through it");
    place.mode("open", 0o1777);
    assert_eq!(place.found("open/link"), []);
    if geteuid().is_root() {
        std::os::unix::fs::lchown(place.path("open/link"), Some(OTHER), None).unwrap();
        assert_eq!(place.found("open/link"), [(place.path("open/link"), Writers::Owner(OTHER))]);
    }
    symlink("loop", place.path("d/loop")).unwrap();
    assert!(Walk::to(&place.path("d/loop"), Trust::own()).is_err());
}

#[test]
fn where_root_is_not_known_nobody_may_be_root() {
    let trust = Trust { user: 1000, group: 1000, knows_root: false };
    assert!(trust.owner(OVERFLOW_UID) && !trust.owner(OTHER));
    assert!(!Trust { knows_root: true, ..trust }.owner(OVERFLOW_UID));
}

#[test]
fn only_what_is_below_the_credentials_is_one() {
    for (path, is) in [
        ("/run/credentials/mpyc-session@demo.service/input", true),
        ("/run/credentials/../../tmp/input", false),
        ("/run/credentials.d/input", false),
        ("/tmp/run/credentials/input", false),
    ] {
        assert_eq!(is_credential(Path::new(path)), is, "{path}");
    }
}
