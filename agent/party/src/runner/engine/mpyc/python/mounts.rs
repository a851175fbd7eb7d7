//! Which files a Python needs, for a root directory that holds nothing else.
//!
//! Packages are seen where Python imports from, shared libraries where it has loaded them from, and
//! programs and loaders under every name that leads to them. A directory is taken as a whole only
//! if nothing but code is in there; from anywhere else single files are taken.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::probe::Report;

/// Everything in it is public and never changes. What a path in it needs besides is not written in
/// that path, so that it is shown as a whole.
const NIX_STORE: &str = "/nix/store";

/// Directories of nothing but shared libraries and what belongs to them.
const LIBRARIES: [&str; 6] =
    ["/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];

/// What the C library and OpenSSL read at start, if it is there. Neither the time zone nor the languages of
/// this machine are anything that peers should learn.
pub(super) const SETTINGS: [&str; 5] = [
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl/openssl.cnf",
    "/usr/lib/locale/C.utf8",
    "/usr/lib/locale/C.UTF-8",
];

/// Directories that hold more than code, whoever is asked.
const NEVER: [&str; 14] = [
    "/", "/boot", "/dev", "/etc", "/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
    "/srv", "/tmp", "/var",
];

/// Symbolic links followed for one path, as the kernel does it (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A file or directory to be shown read-only, or a symbolic link to be made again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute; no part of it but the last can be a symbolic link.
    pub path: PathBuf,
    /// The target as it is written, if this is a symbolic link.
    pub link_to: Option<PathBuf>,
}

/// Whether a path can neither change nor hold anything private.
pub(super) fn is_immutable(path: &Path) -> bool {
    path.starts_with(NIX_STORE)
}

/// What a Python needs; else the directory that it needs and that must not be shown.
pub(super) fn needed(report: &Report) -> Result<Vec<Mount>, PathBuf> {
    let in_prefixes = |name| report.prefixes.iter().map(move |prefix| prefix.join(name));
    let library_roots: Vec<PathBuf> =
        LIBRARIES.iter().map(PathBuf::from).chain(in_prefixes("lib")).collect();
    let mut view = View::default();
    let programs = report.loader.iter().chain([&report.executable]).cloned();
    let settings = SETTINGS.map(PathBuf::from);
    for path in programs.chain(in_prefixes("pyvenv.cfg")).chain(settings) {
        view.show(&path);
    }
    report.imported_from.iter().for_each(|path| view.show(path));
    view.show_libraries(&report.mapped, &library_roots);
    for root in library_roots {
        view.show_links_to(&root);
    }
    view.finish()
}

/// What is in view so far: symbolic links with their targets, files and directories without.
#[derive(Default)]
struct View(BTreeMap<PathBuf, Option<PathBuf>>);

impl View {
    /// Shows what `path` leads to and every symbolic link on the way; nothing if it leads nowhere.
    fn show(&mut self, path: &Path) {
        if let Some(end) = self.show_links_to(path) {
            self.0.insert(end, None);
        }
    }

    /// Shows only the links on the way. The names that the loader goes by begin with `/lib`, which
    /// is a link to `usr/lib` on most systems.
    fn show_links_to(&mut self, path: &Path) -> Option<PathBuf> {
        let (links, end) = follow(path)?;
        self.0.extend(links.into_iter().map(|(link, target)| (link, Some(target))));
        Some(end)
    }

    /// Shows shared libraries: their directories if those are below `roots`, else the files; and
    /// the other names they have there, which may lead through `/etc/alternatives`.
    fn show_libraries(&mut self, mapped: &[PathBuf], roots: &[PathBuf]) {
        let directories: BTreeSet<&Path> = mapped.iter().filter_map(|file| file.parent()).collect();
        for directory in directories {
            if roots.iter().any(|root| directory.starts_with(root)) {
                self.show(directory);
            } else {
                let inside = |file: &&PathBuf| file.parent() == Some(directory);
                mapped.iter().filter(inside).for_each(|file| self.show(file));
            }
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.path();
                let leads_to_one =
                    || fs::canonicalize(&name).is_ok_and(|end| mapped.contains(&end));
                if name.is_symlink() && leads_to_one() {
                    self.show(&name);
                }
            }
        }
    }

    /// Leaves out what lies in a directory that is shown anyway.
    fn finish(mut self) -> Result<Vec<Mount>, PathBuf> {
        if self.0.keys().any(|path| is_immutable(path)) {
            self.0.insert(NIX_STORE.into(), None);
        }
        let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
        let mut mounts: Vec<Mount> = Vec::new();
        for (path, link_to) in self.0 {
            let shown = |mount: &Mount| mount.link_to.is_none() && path.starts_with(&mount.path);
            if mounts.iter().any(shown) {
                continue;
            }
            if link_to.is_none() && is_too_broad(&path, home.as_deref()) {
                return Err(path);
            }
            mounts.push(Mount { path, link_to });
        }
        Ok(mounts)
    }
}

/// Whether a directory holds more than code.
fn is_too_broad(path: &Path, home: Option<&Path>) -> bool {
    let is_a_home = path.parent() == Some(Path::new("/home"));
    let holds_home = home.is_some_and(|home| home.starts_with(path));
    let listed = NEVER.iter().any(|never| path == Path::new(never));
    is_a_home || holds_home || listed
}

/// The symbolic links on the way of an absolute path, each under its real path with its target as
/// written, and the real path at the end.
fn follow(path: &Path) -> Option<(Vec<(PathBuf, PathBuf)>, PathBuf)> {
    let parts = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
    };
    let (mut links, mut end, mut ahead) = (Vec::new(), PathBuf::from("/"), parts(path));
    while let Some(part) = ahead.pop() {
        if part == ".." {
            end.pop();
            continue;
        }
        let next = end.join(part);
        if !fs::symlink_metadata(&next).ok()?.is_symlink() {
            end = next;
            continue;
        }
        if links.len() == MAX_LINKS {
            return None;
        }
        let target = fs::read_link(&next).ok()?;
        ahead.extend(parts(&target));
        links.push((next, target));
    }
    Some((links, end))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn real(path: &Path) -> Mount {
        Mount { path: path.to_owned(), link_to: None }
    }

    #[test]
    fn links_are_kept_and_what_lies_in_a_shown_directory_is_left_out() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("usr/lib/deep")).unwrap();
        fs::write(root.join("usr/lib/deep/libx.so.1.2"), "").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("deep/../deep/libx.so.1.2", root.join("usr/lib/libx.so.1")).unwrap();

        let mut view = View::default();
        view.show(&root.join("lib/libx.so.1"));
        let link = |path: &str, to: &str| Mount { path: root.join(path), link_to: Some(to.into()) };
        let mut expected = vec![
            link("lib", "usr/lib"),
            real(&root.join("usr/lib/deep/libx.so.1.2")),
            link("usr/lib/libx.so.1", "deep/../deep/libx.so.1.2"),
        ];
        expected.sort();
        assert_eq!(view.finish().unwrap(), expected);

        let mut view = View::default();
        view.show(&root.join("lib/libx.so.1"));
        view.show(&root.join("lib"));
        let expected = [link("lib", "usr/lib"), real(&root.join("usr/lib"))];
        assert_eq!(view.finish().unwrap(), expected);
    }

    #[test]
    fn a_library_outside_the_usual_places_comes_alone_with_its_other_names() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        fs::write(root.join("libx.so.1.2"), "").unwrap();
        fs::write(root.join("private"), "").unwrap();
        symlink("libx.so.1.2", root.join("libx.so.1")).unwrap();

        let mut view = View::default();
        view.show_libraries(&[root.join("libx.so.1.2")], &[]);
        let mounts = view.finish().unwrap();
        let paths: Vec<&Path> = mounts.iter().map(|mount| mount.path.as_path()).collect();
        assert_eq!(paths, [root.join("libx.so.1"), root.join("libx.so.1.2")]);
    }

    #[test]
    fn of_the_nix_store_all_is_shown() {
        let mut view = View::default();
        view.0.insert("/nix/store/aaa-python3/bin/python3.13".into(), None);
        view.0.insert("/nix/store/bbb-env/bin/python3".into(), Some("../x".into()));
        assert_eq!(view.finish().unwrap(), [real(Path::new(NIX_STORE))]);
    }

    #[test]
    fn a_loop_of_links_leads_nowhere() {
        let scratch = tempfile::tempdir().unwrap();
        symlink("round", scratch.path().join("round")).unwrap();
        assert_eq!(follow(&scratch.path().join("round")), None);
    }

    #[test]
    fn a_home_is_never_shown_nor_anything_that_holds_one() {
        let home = Some(Path::new("/data/people/alice"));
        for broad in ["/", "/etc", "/data", "/data/people", "/data/people/alice", "/home/bob"] {
            assert!(is_too_broad(Path::new(broad), home), "{broad}");
        }
        for fine in ["/data/people/alice/.venv/lib/python3.11", "/usr/lib", "/opt/python/lib"] {
            assert!(!is_too_broad(Path::new(fine), home), "{fine}");
        }
        let mut view = View::default();
        view.show(Path::new("/etc"));
        assert_eq!(view.finish(), Err(PathBuf::from("/etc")));
    }
}
