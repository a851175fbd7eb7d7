//! The layers of the design hold, where the compiler does not see to it: which crate may depend on
//! which, that a module of the party imports only from its left, that of the runner only its engines
//! know what computes, and that `core` has no sockets, files, clocks or runtime.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the party, in the order in which they may know each other.
const LAYERS: [&str; 6] = ["config", "identity", "session", "runner", "agent", "command"];
/// What each crate of the product may depend on, of the others and of what brings in the outside.
const CRATES: [(&str, &[&str]); 7] = [
    ("core", &[]),
    ("transport", &["mpyc-party-core", "tokio", "rcgen"]),
    ("net", &["mpyc-party-core", "mpyc-party-transport", "tokio"]),
    ("authority", &["mpyc-party-core", "rcgen"]),
    ("hub", &["mpyc-party-core", "mpyc-party-transport", "mpyc-party-authority", "tokio"]),
    ("sandbox", &["tokio"]),
    (
        "party",
        &[
            "mpyc-party-core",
            "mpyc-party-transport",
            "mpyc-party-net",
            "mpyc-party-authority",
            "mpyc-party-hub",
            "mpyc-party-sandbox",
            "tokio",
        ],
    ),
];
/// Dependencies that not every crate may have, beside the crates of the product.
const RESTRICTED: [&str; 2] = ["tokio", "rcgen"];
/// What the core may not use: each would bring in the outside world.
const OUTSIDE: [&str; 12] = [
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::",
    "std::fs",
    "std::io::",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "tokio",
    "getrandom",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn rust_files(dir: &str) -> Vec<(PathBuf, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut found = Vec::new();
    sources(&dir, &mut found);
    assert!(!found.is_empty(), "no sources in {}", dir.display());
    let text = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        (path, code)
    };
    found.into_iter().map(text).collect()
}

/// Whether a file has tests only.
fn of_tests(path: &Path) -> bool {
    path.components().any(|part| ["tests", "tests.rs"].iter().any(|name| part.as_os_str() == *name))
}

/// The layer that a file of `agent/party/src` belongs to.
fn layer(path: &Path) -> Option<usize> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().components().next()?;
    let name = Path::new(first.as_os_str()).file_stem()?.to_str()?;
    LAYERS.iter().position(|layer| *layer == name)
}

/// Modules named in `use crate::{…}` or by a path from the crate's root.
fn imports(code: &str) -> Vec<&'static str> {
    let named = |layer: &&&str| code.contains(&format!("crate::{layer}"));
    assert!(!code.contains("use crate::{"), "import one module a line, so that this test sees it");
    LAYERS.iter().filter(named).copied().collect()
}

#[test]
fn modules_import_only_from_their_left() {
    for (path, code) in rust_files("src") {
        let Some(own) = layer(&path) else { continue };
        for import in imports(&code) {
            let other = LAYERS.iter().position(|layer| *layer == import).unwrap();
            assert!(other <= own, "{} imports {import}, which is to its right", path.display());
        }
    }
}

#[test]
fn of_the_runner_only_its_engines_know_what_computes() {
    // The interface has the table of all engines.
    let engines = ["src/runner/engine.rs", "src/runner/engine/"];
    let ruled = |path: &Path| {
        let own = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap();
        own.starts_with("src/runner") && !engines.iter().any(|engine| own.starts_with(engine))
    };
    for (path, code) in rust_files("src").into_iter().filter(|(path, _)| ruled(path)) {
        let of_the_project = ["mpyc_party", "mpyc-party", "org.mpyc"];
        let code =
            of_the_project.iter().fold(code.to_lowercase(), |code, own| code.replace(own, ""));
        let found = code.lines().find(|line| line.contains("mpyc"));
        assert!(found.is_none(), "{} names an engine: {found:?}", path.display());
    }
}

#[test]
fn the_core_knows_nothing_of_the_outside() {
    // Its tests may be told by the environment which random schedule to replay.
    for (path, code) in rust_files("../core/src").into_iter().filter(|(path, _)| !of_tests(path)) {
        for outside in OUTSIDE {
            assert!(!code.contains(outside), "{} uses {outside}", path.display());
        }
    }
    for name in ["rustls", "rustix", "libc", "getrandom", "time"] {
        assert!(!dependencies("core").iter().any(|used| used == name), "the core uses {name}");
    }
}

/// What the crate of this folder depends on, except in its tests.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn crates_depend_only_on_those_below_them() {
    for (folder, allowed) in CRATES {
        for used in dependencies(folder) {
            let ruled = used.starts_with("mpyc-party") || RESTRICTED.contains(&used.as_str());
            assert!(!ruled || allowed.contains(&used.as_str()), "{folder} depends on {used}");
        }
    }
}

#[test]
fn signing_lives_in_the_authority_only() {
    let signs = ["self_signed", "signed_by"];
    for (folder, _) in CRATES.into_iter().filter(|(folder, _)| *folder != "authority") {
        for (path, code) in rust_files(&format!("../{folder}/src")) {
            let found = signs.iter().find(|word| code.contains(**word));
            assert!(found.is_none(), "{} uses {found:?}", path.display());
        }
    }
}

#[test]
fn one_place_writes_to_the_outputs() {
    // «println!» and «eprint!» end in these as well. They panic where an output is full, and wait
    // for whoever reads.
    let writes = ["println!(", "print!(", "stdout().lock", "stdout().write", "stderr().write"];
    for (folder, _) in CRATES {
        let product = rust_files(&format!("../{folder}/src")).into_iter();
        for (path, code) in product.filter(|(path, _)| !of_tests(path)) {
            let found = writes.iter().find(|word| code.contains(**word));
            assert!(found.is_none(), "{} uses {found:?}: see command/terminal.rs", path.display());
        }
    }
}

#[test]
fn one_place_opens_files_to_read_them() {
    // Whatever else opens one waits for who is at the other end of a FIFO, or for a mount that hangs.
    let reads = ["File::open(", "fs::read(", "fs::read_to_string(", ".read(true)"];
    let places = ["party/src/config/files.rs", "party/src/config/files/reading.rs"];
    // The authority uses no crate that has one; what the sandbox reads is the kernel's.
    let others = ["authority/src/files.rs", "sandbox/src/namespaces.rs"];
    for (folder, _) in CRATES {
        let product = rust_files(&format!("../{folder}/src")).into_iter();
        for (path, code) in product.filter(|(path, _)| !of_tests(path)) {
            let is_place = places.iter().chain(&others).any(|place| path.ends_with(place));
            let code = code.split("#[cfg(test)]").next().unwrap_or_default();
            let found = reads.iter().find(|word| code.contains(**word));
            assert!(
                found.is_none() || is_place,
                "{} uses {found:?}: see config/files/reading.rs",
                path.display()
            );
        }
    }
}

#[test]
fn every_task_is_somebodys() {
    // One that nobody has dies unseen: see transport/src/task.rs.
    let spawns = ["tokio::spawn", "task::spawn(", "spawn_local", "Handle::current"];
    for (folder, _) in CRATES {
        let product = rust_files(&format!("../{folder}/src")).into_iter();
        for (path, code) in product.filter(|(path, _)| !of_tests(path)) {
            let found = spawns.iter().find(|word| code.contains(**word));
            assert!(found.is_none(), "{} spawns a task of its own: {found:?}", path.display());
        }
    }
}

#[test]
fn files_read_in_one_sitting() {
    let crates = CRATES.map(|(folder, _)| format!("../{folder}/src"));
    for dir in crates.iter().map(String::as_str).chain(["../lab/src", "tests"]) {
        for (path, _) in rust_files(dir) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 500, "{} has {lines} lines: split it by what it does", path.display());
        }
    }
}
