//! Where no configuration is named: only a name that does not exist is none. Whatever else is there may
//! hold pins, and forbid local discovery.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use tempfile::TempDir;

fn shows_configuration(home: &Path) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpyc-party"));
    command.env_clear().env("HOME", home).args(["--json", "config", "show"]);
    Ok(command.output()?)
}

/// The command fails and says why, as an answer for scripts.
fn refuses(output: &Output, case: &str, words: &[&str]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(2), "{case}: {}: {said}", output.status);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(answer["status"] == 2, "{case}: {said}");
    let error = answer["error"].as_str().unwrap_or_default();
    for word in words {
        ensure!(error.contains(word), "{case}: no «{word}» in «{error}»");
    }
    ensure!(output.stderr.is_empty(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn no_name_is_no_configuration_and_everything_else_is_one() -> Result<()> {
    let home = TempDir::new()?;
    let directory = home.path().join(".config/mpyc-party");
    ensure!(shows_configuration(home.path())?.status.success(), "there is none");
    fs::create_dir_all(home.path().join(".config"))?;
    ensure!(shows_configuration(home.path())?.status.success(), "there is none yet");

    symlink("nowhere", &directory)?;
    refuses(
        &shows_configuration(home.path())?,
        "a directory that is a link to nowhere",
        &[".config/mpyc-party is a link to nowhere, which does not exist", "mend the link"],
    )?;
    fs::remove_file(&directory)?;
    fs::write(&directory, "")?;
    refuses(&shows_configuration(home.path())?, "a file for a directory", &["Not a directory"])?;
    fs::remove_file(&directory)?;

    let file = directory.join("config.toml");
    fs::create_dir_all(&directory)?;
    ensure!(shows_configuration(home.path())?.status.success(), "the directory is empty");
    symlink("/nonexistent/config.toml", &file)?;
    refuses(
        &shows_configuration(home.path())?,
        "a link to nowhere",
        &["config.toml is a link to /nonexistent/config.toml, which does not exist"],
    )?;
    fs::remove_file(&file)?;
    symlink("config.toml", &file)?;
    refuses(&shows_configuration(home.path())?, "a link to itself", &["symbolic link"])?;
    fs::remove_file(&file)?;
    fs::create_dir(&file)?;
    refuses(&shows_configuration(home.path())?, "a directory", &["cannot be read"])?;
    fs::remove_dir(&file)?;
    Ok(())
}

/// As where a home lies on another disk, or `~/.config` in a directory that is kept under version control.
#[test]
fn a_link_that_leads_somewhere_is_no_obstacle() -> Result<()> {
    let place = TempDir::new()?;
    let (real, home) = (place.path().join("real"), place.path().join("home"));
    let kept = place.path().join("kept");
    for directory in [&real, &kept] {
        fs::create_dir(directory)?;
    }
    symlink(&real, &home)?;
    ensure!(shows_configuration(&home)?.status.success(), "the home is a link");
    symlink(&kept, real.join(".config"))?;
    ensure!(shows_configuration(&home)?.status.success(), "~/.config is a link");
    fs::remove_file(real.join(".config"))?;
    fs::create_dir(real.join(".config"))?;
    symlink(&kept, real.join(".config/mpyc-party"))?;
    ensure!(shows_configuration(&home)?.status.success(), "~/.config/mpyc-party is a link");
    fs::write(kept.join("config.toml"), "network.local-discovery = false\n")?;
    let shown = shows_configuration(&home)?;
    ensure!(
        String::from_utf8_lossy(&shown.stdout).contains("\"local-discovery\": false"),
        "{shown:?}"
    );
    Ok(())
}

#[test]
fn a_configuration_that_may_not_be_read_is_one() -> Result<()> {
    let home = TempDir::new()?;
    let directory = home.path().join(".config/mpyc-party");
    fs::create_dir_all(&directory)?;
    let file = directory.join("config.toml");
    fs::write(&file, "network.local-discovery = false\n")?;
    for (path, case) in [(&file, "a file of somebody else"), (&directory, "its directory")] {
        let before = fs::metadata(path)?.permissions();
        fs::set_permissions(path, Permissions::from_mode(0o0))?;
        if fs::read(&file).is_ok() {
            // Root may read everything: there it is asked as nobody.
            let mut command = Command::new("setpriv");
            let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
            // The build's directory may be closed to others.
            let binary = home.path().join("mpyc-party");
            fs::copy(env!("CARGO_BIN_EXE_mpyc-party"), &binary)?;
            command.args(nobody).arg(&binary);
            command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home.path());
            fs::set_permissions(home.path(), Permissions::from_mode(0o755))?;
            let output = command.args(["--json", "config", "show"]).output()?;
            refuses(&output, case, &["cannot be read", "Permission denied"])?;
        } else {
            refuses(&shows_configuration(home.path())?, case, &["Permission denied"])?;
        }
        fs::set_permissions(path, before)?;
    }
    Ok(())
}
