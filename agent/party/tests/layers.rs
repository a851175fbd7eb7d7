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

/// Modules that the file at `path` names by a path from the crate's root, be it by `crate::` or by as
/// many `super::` as lead there.
fn imports(path: &Path, code: &str) -> Vec<&'static str> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = "super::".repeat(path.strip_prefix(src).unwrap().components().count());
    let named = |layer: &&&str| {
        code.contains(&format!("crate::{layer}")) || code.contains(&format!("{root}{layer}"))
    };
    let of_root = |line: &str| {
        let begins = |unseen: &str| line.contains(&format!("{root}{unseen}"));
        // Inside a module in the same file they lead to that file.
        let of_file = line.starts_with(' ');
        ["crate::{", "crate::*", "crate as "].iter().any(|unseen| line.contains(unseen))
            || !of_file && (begins("{") || begins("*"))
    };
    let unseen = code.lines().find(|line| of_root(line));
    assert!(unseen.is_none(), "{}: import one module a line: {unseen:?}", path.display());
    LAYERS.iter().filter(named).copied().collect()
}

#[test]
fn every_path_to_another_module_is_seen() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let seen = |file: &str, code: &str| imports(&src.join(file), code);
    assert_eq!(seen("runner.rs", "use super::command;"), ["command"]);
    assert_eq!(seen("runner/view.rs", "super::super::command::run()"), ["command"]);
    assert_eq!(seen("runner/view.rs", "use crate::agent::notify;"), ["agent"]);
    assert!(seen("runner/view.rs", "use super::session::x;").is_empty());
}

#[test]
fn modules_import_only_from_their_left() {
    for (path, code) in rust_files("src") {
        let Some(own) = layer(&path) else { continue };
        for import in imports(&path, &code) {
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

/// What the crate of this folder depends on, except in its tests: on every platform, for its build
/// script as well, and by its own name whatever it is called there.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("Cargo.toml");
    in_manifest(&fs::read_to_string(manifest).unwrap())
}

fn in_manifest(text: &str) -> Vec<String> {
    let manifest: toml::Table = text.parse().unwrap();
    let platforms = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let platforms = platforms.filter_map(|(_, platform)| platform.as_table());
    let sections = std::iter::once(&manifest).chain(platforms).flat_map(|table| {
        ["dependencies", "build-dependencies"].into_iter().filter_map(|name| table.get(name))
    });
    let name = |(name, wanted): (&String, &toml::Value)| {
        wanted.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned()
    };
    sections.filter_map(toml::Value::as_table).flat_map(|all| all.iter().map(name)).collect()
}

#[test]
fn every_dependency_in_a_manifest_is_seen() {
    let found = in_manifest(
        "[dependencies]
        own = { package = \"mpyc-party-hub\", path = \"../hub\" }
        [target.'cfg(unix)'.dependencies]
        tokio = \"1\"
        [build-dependencies]
        cc = \"1\"
        [dev-dependencies]
        toml = \"1\"",
    );
    assert_eq!(found, ["mpyc-party-hub", "cc", "tokio"]);
}

/// The sources of all crates of the product except `left_out`.
fn product(left_out: &[&str]) -> Vec<(PathBuf, String)> {
    let folders = CRATES.iter().filter(|(folder, _)| !left_out.contains(folder));
    folders.flat_map(|(folder, _)| rust_files(&format!("../{folder}/src"))).collect()
}

#[test]
fn every_crate_has_its_rules() {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let has_manifest = |entry: &fs::DirEntry| entry.path().join("Cargo.toml").exists();
    let folders = fs::read_dir(agent).unwrap().flatten().filter(has_manifest);
    for folder in folders.map(|entry| entry.file_name().into_string().unwrap()) {
        let ruled = CRATES.iter().any(|(known, _)| *known == folder);
        assert!(ruled || folder == "lab", "{folder} is not in the table of crates");
    }
}

#[test]
fn only_the_sandbox_may_be_unsafe() {
    for (folder, _) in CRATES.iter().filter(|(folder, _)| *folder != "sandbox") {
        let roots = rust_files(&format!("../{folder}/src"))
            .into_iter()
            .filter(|(path, _)| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs"));
        for (path, code) in roots {
            assert!(code.contains("#![forbid(unsafe_code)]"), "{} allows it", path.display());
        }
    }
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
    for (path, code) in product(&["authority"]) {
        let found = signs.iter().find(|word| code.contains(**word));
        assert!(found.is_none(), "{} uses {found:?}", path.display());
    }
}

#[test]
fn one_place_writes_to_the_outputs() {
    // «println!» and «eprint!» end in these as well. They panic where an output is full, and wait
    // for whoever reads.
    let writes = [
        "println!(",
        "print!(",
        "dbg!(",
        "stdout().lock",
        "stderr().lock",
        "stdout().write",
        "stderr().write",
    ];
    for (path, code) in product(&[]).into_iter().filter(|(path, _)| !of_tests(path)) {
        let found = writes.iter().find(|word| code.contains(**word));
        assert!(found.is_none(), "{} uses {found:?}: see command/terminal.rs", path.display());
    }
}

#[test]
fn one_place_opens_files_to_read_them() {
    // Whatever else opens one waits for who is at the other end of a FIFO, or for a mount that hangs.
    let reads = ["File::open(", "fs::read(", "fs::read_to_string(", ".read(true)"];
    let places = ["party/src/config/files.rs", "party/src/config/files/reading.rs"];
    // The authority uses no crate that has one. What the sandbox reads is the kernel's, and what it copies:
    // without waiting, in a process that is ended where it takes too long.
    let others = ["authority/src/files.rs", "sandbox/src/namespaces.rs", "sandbox/src/copies.rs"];
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
    let own = |(path, _): &(PathBuf, String)| !of_tests(path);
    let spawns = ["tokio::spawn", "task::spawn(", "spawn_local(", "Handle::current"];
    for (path, code) in product(&[]).into_iter().filter(own) {
        let found = spawns.iter().find(|word| code.contains(**word));
        assert!(found.is_none(), "{} spawns a task of its own by {found:?}", path.display());
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
