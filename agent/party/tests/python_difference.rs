//! The same computation needs the same MPyC and numpy: parties whose Python differs are named.
//!
//! The other Pythons are virtual environments that see the packages of the usual one, and change
//! what these say of themselves. Nothing is installed.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{LIMIT, SUM, demo, fails, three};
use mpyc_party::config::Directories;
use mpyc_party::runner::engine::mpyc::python::Python;
use mpyc_party_lab::party::{Network, Outcome, Party, Run, Session};

/// The session with everything that MPyC uses where it is there.
fn usual() -> Session {
    demo(SUM).without("options").deadline(Duration::from_secs(20))
}

/// The interpreter that the other tests use, made if need be.
fn interpreter() -> Result<PathBuf> {
    let configured = std::env::var_os("MPYC_PARTY_TEST_PYTHON").map(PathBuf::from);
    let dirs = Directories::find(None, None)?;
    let environment = Python::new(configured, &dirs.cache).prepare(&mut |_| {})?;
    Ok(environment.interpreter)
}

/// Where `package` is installed for `interpreter`.
fn directory_of(interpreter: &Path, package: &str) -> Result<PathBuf> {
    let script = "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]).origin)";
    let output = Command::new(interpreter).args(["-I", "-c", script, package]).output()?;
    let file = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    Ok(file.parent().context("a package")?.to_owned())
}

/// A virtual environment for `party`; returns it and its directory of packages.
fn environment(party: &Party) -> Result<(PathBuf, PathBuf)> {
    let venv = party.directory().join("venv");
    let mut make = Command::new(interpreter()?);
    let made = make.args(["-I", "-m", "venv", "--without-pip"]).arg(&venv).status()?;
    ensure!(made.success(), "no virtual environment");
    let lib = fs::read_dir(venv.join("lib"))?.next().context("a lib directory")??;
    let packages = lib.path().join("site-packages");
    party.use_python(&venv.join("bin/python"))?;
    Ok((venv.join("bin/python"), packages))
}

/// Lets `party` use the usual packages after the Python text `change` was run.
fn change_packages(party: &Party, change: &str) -> Result<()> {
    let (_, packages) = environment(party)?;
    let usual = directory_of(&interpreter()?, "mpyc")?;
    let usual = usual.parent().context("a directory")?.display().to_string();
    fs::write(packages.join("fake_versions.py"), change)?;
    Ok(fs::write(packages.join("fake.pth"), format!("{usual}\nimport fake_versions\n"))?)
}

/// Starts the session at all, with a cache of its own for bob, whose Python soon is gone.
fn run(network: &Network) -> Result<Vec<Run>> {
    let run = |party: &Party| {
        let mut command = party.command();
        if party.name() == "bob" {
            command.env("XDG_CACHE_HOME", party.directory().join("cache"));
        }
        command.args(["session", "run", "demo", "--json", "-vv"]);
        Ok(party.run_by(command)?)
    };
    network.parties().iter().map(run).collect()
}

/// The verdicts of all, in time.
fn verdicts(network: &Network, session: &Session) -> Result<Vec<Outcome>> {
    network.declare(session)?;
    let mut runs = run(network)?;
    runs.iter().try_for_each(|run| run.wait_for("waiting", LIMIT).map(drop))?;
    let due = Instant::now() + Duration::from_secs(20);
    runs.iter_mut().map(|run| fails(run, due)).collect()
}

/// All name bob, and what of his differs.
fn bob_differs(network: Network, label: &str) -> Result<()> {
    bob_differs_in(network, &usual(), label)
}

/// The same in this session.
fn bob_differs_in(network: Network, session: &Session, label: &str) -> Result<()> {
    for outcome in verdicts(&network, session)? {
        ensure!(outcome.who() == ["bob"], "{}", outcome.text);
        let labels = &outcome.failure()["reason"]["differs"];
        ensure!(labels == &serde_json::json!([label]), "{}", outcome.text);
    }
    Ok(network.end()?)
}

/// Lets `party` use an MPyC that differs from the usual one by a comment, and calls itself the same.
fn change_mpyc(party: &Party) -> Result<()> {
    let (_, packages) = environment(party)?;
    let (mpyc, own) = (directory_of(&interpreter()?, "mpyc")?, packages.join("mpyc"));
    fs::create_dir(&own)?;
    for entry in fs::read_dir(&mpyc)?.flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), own.join(entry.file_name()))?;
    }
    let text = fs::read_to_string(own.join("runtime.py"))?;
    fs::write(own.join("runtime.py"), text + "# changed\n")?;
    let usual = mpyc.parent().context("a directory")?.display().to_string();
    Ok(fs::write(packages.join("usual.pth"), usual)?)
}

/// The usual session, in which MPyC may be no known release.
fn unknown_allowed() -> Session {
    usual().set("allow-unknown-mpyc", "true")
}

#[test]
fn other_files_of_mpyc_that_call_themselves_the_same_are_named() -> Result<()> {
    let network = three()?;
    change_mpyc(network.party("bob"))?;
    bob_differs_in(network, &unknown_allowed(), "engine-files")
}

#[test]
fn other_files_of_mpyc_are_refused_where_nothing_allows_them() -> Result<()> {
    let network = three()?;
    change_mpyc(network.party("bob"))?;
    let outcomes = verdicts(&network, &usual().deadline(Duration::from_secs(4)))?;
    for outcome in &outcomes {
        ensure!(outcome.who() == ["bob"], "{}", outcome.text);
    }
    let text = "MPyC 0.11 is not a version this launcher knows: install MPyC 0.11";
    ensure!(outcomes[1].text.contains(text), "{}", outcomes[1].text);
    ensure!(outcomes[1].text.contains("allow-unknown-mpyc = true"), "{}", outcomes[1].text);
    Ok(network.end()?)
}

#[test]
fn an_unknown_mpyc_runs_where_all_have_it_and_allow_it() -> Result<()> {
    let network = three()?;
    network.parties().iter().try_for_each(change_mpyc)?;
    network.declare(&unknown_allowed())?;
    run(&network)?.into_iter().try_for_each(common::completes)?;
    Ok(network.end()?)
}

#[test]
fn a_checkout_that_was_installed_to_be_edited_is_in_view() -> Result<()> {
    let network = three()?;
    for party in network.parties() {
        change_mpyc(party)?;
        let (_, packages) = environment(party)?;
        // As setuptools does it: a finder that knows where the package is, outside of every path.
        let checkout = party.directory().join("checkout/mpyc");
        fs::create_dir(party.directory().join("checkout"))?;
        fs::rename(packages.join("mpyc"), &checkout)?;
        let finder = format!(
            "
import importlib.util
import sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == 'mpyc':
            return importlib.util.spec_from_file_location(
                name, {file:?}, submodule_search_locations=[{checkout:?}])

sys.meta_path.insert(0, Finder)
",
            file = checkout.join("__init__.py")
        );
        fs::write(packages.join("checkout_finder.py"), finder)?;
        fs::write(packages.join("checkout.pth"), "import checkout_finder\n")?;
    }
    network.declare(&unknown_allowed())?;
    run(&network)?.into_iter().try_for_each(common::completes)?;
    Ok(network.end()?)
}

#[test]
fn numpy_is_missing_at_one_party() -> Result<()> {
    let network = three()?;
    let (_, packages) = environment(network.party("bob"))?;
    let (mpyc, own) = (directory_of(&interpreter()?, "mpyc")?, packages.join("mpyc"));
    fs::create_dir(&own)?;
    for entry in fs::read_dir(mpyc)?.flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), own.join(entry.file_name()))?;
    }
    bob_differs(network, "runtime-libraries")
}

#[test]
fn numpy_has_another_major_version_at_one_party() -> Result<()> {
    let network = three()?;
    let fake = "import numpy\nnumpy.__version__ = '99.0.0'\n";
    change_packages(network.party("bob"), fake)?;
    bob_differs(network, "runtime-libraries")
}

#[test]
fn a_minor_version_of_numpy_may_differ() -> Result<()> {
    let network = three()?;
    let fake = "import numpy\nmajor = numpy.__version__.split('.')[0]\nnumpy.__version__ = major + '.999.0'\n";
    change_packages(network.party("bob"), fake)?;
    network.declare(&usual())?;
    run(&network)?.into_iter().try_for_each(common::completes)?;
    Ok(network.end()?)
}

#[test]
fn a_launcher_that_writes_another_format_is_named() -> Result<()> {
    let network = three()?;
    let fake = "
import json

def fake(value, dumps=json.dumps, **options):
    # What the launcher would say if its format had another number.
    if isinstance(value, dict) and 'message_format' in value:
        value['message_format'] += 1
    return dumps(value, **options)

json.dumps = fake
";
    change_packages(network.party("bob"), fake)?;
    bob_differs(network, "message-format")
}

#[test]
fn an_unknown_mpyc_is_refused_where_it_is() -> Result<()> {
    let network = three()?;
    let fake = "import mpyc\nmpyc.__version__ = '0.10.2+fake'\n";
    change_packages(network.party("bob"), fake)?;
    let outcomes = verdicts(&network, &usual().deadline(Duration::from_secs(4)))?;
    for outcome in &outcomes {
        ensure!(outcome.who() == ["bob"], "{}", outcome.text);
    }
    let text = "MPyC 0.10.2+fake is not a version this launcher knows: install MPyC 0.11";
    ensure!(outcomes[1].text.contains(text), "{}", outcomes[1].text);
    Ok(network.end()?)
}

#[test]
fn another_mpyc_that_passes_for_a_known_one_is_noticed() -> Result<()> {
    let network = three()?;
    let fake = "
import mpyc

class Fake(str):
    '''A version that the launcher takes for the one it knows.'''
    __hash__ = str.__hash__

    def __eq__(self, other):
        return other == '0.11' or str.__eq__(self, other)

mpyc.__version__ = Fake('0.11.99+fake')
";
    change_packages(network.party("bob"), fake)?;
    bob_differs(network, "engine-version")
}
