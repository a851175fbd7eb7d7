//! The Python that runs MPyC, made for real: needs `python3` with its venv module, a package index
//! that pip can reach, and user namespaces for what only another view of the system can show.

#![expect(clippy::unwrap_used, reason = "a test may end that way")]

use std::fs::{self, TryLockError};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mpyc_party::runner::engine::mpyc::python::{
    Environment, Error, Mount, Progress, Python, REQUIREMENTS, probe,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Imports all that was installed.
const IMPORT_ALL: &str = "import mpyc.runtime, numpy, numpy.random, gmpy2, uvloop, ssl, decimal";

/// The pins of MPyC alone, which is quick to install.
fn only_mpyc() -> String {
    REQUIREMENTS
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("uvloop"))
        .fold(String::new(), |text, line| text + line + "\n")
}

fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn prepare(python: &Python) -> (Result<Environment, Error>, Vec<Progress>) {
    let mut steps = Vec::new();
    let prepared = python.prepare(&mut |step| steps.push(step));
    (prepared, steps)
}

fn made(steps: &[Progress]) -> usize {
    steps.iter().filter(|step| matches!(step, Progress::Creating(..))).count()
}

fn rebuilt(steps: &[Progress]) -> bool {
    steps.iter().any(|step| matches!(step, Progress::Rebuilding(..)))
}

/// What is in a directory, by name.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn assert_nothing_left_over(cache: &Path) {
    let left = names(&cache.join("python"));
    let over = |name: &String| name.ends_with(".making") || name.ends_with(".broken");
    assert!(!left.iter().any(over), "{left:?}");
}

fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// `maker` below, in a process of its own, in mount and user namespaces where `setup` was run.
fn maker_process(cache: &Path, requirements: &str, setup: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec"]);
    command.arg(format!("{setup}\nexec \"$0\" maker --exact --ignored --nocapture"));
    command.arg(std::env::current_exe().unwrap());
    command.env("CACHE", cache).env("REQUIREMENTS", requirements);
    command
}

#[test]
#[ignore = "a maker in a process of its own, which other tests start"]
fn maker() {
    let Some(cache) = std::env::var_os("CACHE") else { return };
    let mut python = Python::new(None, Path::new(&cache));
    python.requirements = std::env::var("REQUIREMENTS").unwrap();
    let told = |step| {
        println!("{step}");
        std::io::stdout().flush().unwrap();
    };
    match python.prepare(&mut { told }) {
        Ok(environment) => println!("prepared {}", environment.interpreter.display()),
        Err(error) => println!("failed: {error}"),
    }
}

/// Runs the interpreter where nothing is but what its description says.
fn run_with_only(mounts: &[Mount], interpreter: &Path, code: &str) -> String {
    let root = scratch();
    let mut script = "mount -t tmpfs none \"$0\"\n".to_owned();
    for Mount { path, link_to } in mounts {
        let place = format!("\"$0{}\"", path.display());
        script += &format!("mkdir -p \"$0{}\"\n", path.parent().unwrap().display());
        script += &match link_to {
            Some(target) => format!("ln -s '{}' {place}\n", target.display()),
            None if path.is_dir() => {
                format!("mkdir {place}\nmount --rbind '{}' {place}\n", path.display())
            }
            None => format!("touch {place}\nmount --bind '{}' {place}\n", path.display()),
        };
    }
    script += "chroot=$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)\nexec env -i \"$chroot\" \"$0\" \"$1\" -I -c \"$2\"";
    succeeds(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-ec", &script])
            .arg(root.path())
            .arg(interpreter)
            .arg(code),
    )
}

/// One environment through its whole life, since making one takes a while.
#[test]
fn it_is_made_once_works_alone_and_is_mended() {
    let cache = scratch();
    let python = Python::new(None, cache.path());

    let (prepared, steps) = prepare(&python);
    let environment = prepared.unwrap();
    assert_eq!(made(&steps), 1, "{steps:?}");
    assert_eq!(environment.mpyc, "0.11");
    assert_eq!(environment.extras.len(), 3, "{environment:?}");
    assert!(environment.missing.is_empty(), "{:?}", environment.missing);
    assert_nothing_left_over(cache.path());
    let place = environment.interpreter.parent().unwrap().parent().unwrap().to_owned();
    let identity = || fs::metadata(&place).unwrap().ino();
    let first = identity();

    // It works at its place, and leaves no script behind that names another.
    succeeds(Command::new(&environment.interpreter).args(["-I", "-c", IMPORT_ALL]));
    let bin = place.join("bin");
    assert!(names(&bin).iter().all(|name| bin.join(name).is_symlink()), "{:?}", names(&bin));

    // A second start does nothing, and a read-only cache does not matter then.
    let (again, steps) = prepare(&python);
    assert_eq!((again.unwrap(), steps, identity()), (environment.clone(), vec![], first));
    let read_only = "mount --bind \"$CACHE\" \"$CACHE\"; mount -o remount,bind,ro \"$CACHE\"";
    let said = succeeds(&mut maker_process(cache.path(), REQUIREMENTS, read_only));
    assert!(said.contains("prepared ") && !said.contains("making"), "{said}");

    // Nothing else of the machine is needed, and none of it is in view.
    let code = format!(
        "{IMPORT_ALL}, os\n\
         assert not os.path.exists('/etc/passwd') and not os.path.exists('/proc/self')\n\
         print(uvloop.new_event_loop(), numpy.random.rand(3) @ numpy.ones(3), gmpy2.invert(3, 7))"
    );
    let said = run_with_only(&environment.mounts, &environment.interpreter, &code);
    assert!(said.starts_with("<uvloop.Loop"), "{said}");

    // Whatever is lost, it is made anew, once.
    let site = site_packages(&place);
    for lost in ["mpyc", "uvloop"] {
        fs::remove_dir_all(site.join(lost)).unwrap();
        let (mended, steps) = prepare(&python);
        assert!(rebuilt(&steps) && made(&steps) == 1, "{lost}: {steps:?}");
        assert_eq!(mended.unwrap(), environment);
        assert_nothing_left_over(cache.path());
    }
}

fn site_packages(place: &Path) -> PathBuf {
    let lib = place.join("lib");
    lib.join(&names(&lib)[0]).join("site-packages")
}

#[test]
fn two_makers_at_once_make_one() {
    let cache = scratch();
    let start = || {
        let mut command = maker_process(cache.path(), &only_mpyc(), "true");
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let makers = [start(), start()];
    let said = makers.map(|maker| {
        let output = maker.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    });
    assert!(said.iter().all(|said| said.contains("prepared ")), "{said:?}");
    let makers = said.iter().filter(|said| said.contains("making a private Python")).count();
    assert_eq!(makers, 1, "{said:?}");
    assert_nothing_left_over(cache.path());
}

/// Killed while its pip waits for an index that never answers: pip lives on for a while.
#[test]
fn a_killed_maker_is_no_hindrance() {
    let cache = scratch();
    let index = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", index.local_addr().unwrap());
    let mut maker = maker_process(cache.path(), REQUIREMENTS, "true");
    maker.env("PIP_INDEX_URL", address).env("NO_PROXY", "127.0.0.1").stdout(Stdio::null());
    let mut maker = maker.spawn().unwrap();
    let connection = index.accept().unwrap();
    maker.kill().unwrap();
    maker.wait().unwrap();

    let kept = cache.path().join("python");
    let with_ending = |ending: &str| {
        let name = names(&kept).into_iter().find(|name| name.ends_with(ending)).unwrap();
        kept.join(name)
    };
    let left_over = with_ending(".making");
    fs::write(left_over.join("left-over"), "").unwrap();
    let lock = fs::File::open(with_ending(".lock")).unwrap();
    let held = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
    assert!(held, "what the dead maker started can still write, and the lock is free");

    drop((connection, index));
    let (prepared, steps) = prepare(&Python::new(None, cache.path()));
    assert_eq!(prepared.unwrap().extras.len(), 3);
    assert_eq!(made(&steps), 1);
    assert_nothing_left_over(cache.path());
    assert!(!left_over.with_extension("").join("left-over").exists());
}

/// Puts a fake `python3`, a shell script, where alone is searched.
fn with_fake_python(directory: &Path, script: &str) -> Python {
    let path = directory.join("python3");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut python = Python::new(None, &directory.join("cache"));
    python.search_path = directory.into();
    python
}

#[test]
fn a_python_that_will_not_do_is_explained() {
    let scratch = scratch();
    let old = r#"echo '{"executable": "/usr/bin/python3", "implementation": "cpython",
        "version": [3, 9, 2], "abi": "cpython-39", "pointer_bits": 64}'"#;
    let error = prepare(&with_fake_python(scratch.path(), old)).0.unwrap_err().to_string();
    assert!(error.contains("is Python 3.9.2") && error.contains("3.10 or newer"), "{error}");

    let failing = "echo no such version >&2; exit 127";
    let error = prepare(&with_fake_python(scratch.path(), failing)).0.unwrap_err();
    assert!(matches!(error, Error::DoesNotRun { .. }), "{error}");
    assert!(error.to_string().contains("no such version"), "{error}");

    let mut python = Python::new(None, scratch.path());
    python.search_path = "/var/empty/of/anything".into();
    let error = prepare(&python).0.unwrap_err().to_string();
    assert!(error.contains("apt install python3") && error.contains("interpreter"), "{error}");
}

/// As on Debian without the package `python3-venv`: Python is there, its `ensurepip` is not.
#[test]
fn a_python_without_ensurepip_is_explained() {
    let scratch = scratch();
    let hide = "import ensurepip, os; print(os.path.dirname(ensurepip.__file__))";
    let hide = format!("mount -t tmpfs none \"$(python3 -c '{hide}')\"");
    let said = succeeds(&mut maker_process(scratch.path(), REQUIREMENTS, &hide));
    assert!(said.contains("failed: ") && said.contains("apt install python3-venv"), "{said}");
    assert_nothing_left_over(scratch.path());
}

#[test]
fn a_given_interpreter_is_used_as_it_is_or_refused() {
    let scratch = scratch();
    let bare = scratch.path().join("bare");
    succeeds(Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&bare));
    let interpreter = bare.join("bin/python3");
    let python = Python::new(Some(interpreter.clone()), &scratch.path().join("cache"));
    let error = prepare(&python).0.unwrap_err();
    assert!(matches!(error, Error::NoMpyc { .. }), "{error}");
    assert!(error.to_string().contains("-m pip install mpyc"), "{error}");

    // It is remembered, and asked again as soon as something was installed or changed.
    let mpyc = site_packages(&bare).join("mpyc");
    fs::create_dir(&mpyc).unwrap();
    for module in ["runtime", "seclists", "statistics"] {
        fs::write(mpyc.join(module).with_extension("py"), "").unwrap();
    }
    for version in ["0.12", "0.125"] {
        fs::write(mpyc.join("__init__.py"), format!("__version__ = '{version}'\n")).unwrap();
        let (prepared, steps) = prepare(&python);
        let environment = prepared.unwrap();
        assert_eq!((environment.mpyc.as_str(), steps.len()), (version, 1));
        assert_eq!(prepare(&python).0.unwrap(), environment);
        assert_eq!(prepare(&python).1, []);
        assert_eq!(probe(&interpreter).unwrap(), environment);
    }

    // An interpreter that imports from one's home would show all of it.
    let home = std::env::home_dir().unwrap();
    let more = site_packages(&bare).join("home.pth");
    fs::write(more, format!("{}\n", home.display())).unwrap();
    let error = prepare(&python).0.unwrap_err();
    assert!(matches!(error, Error::TooBroad { .. }), "{error}");
}

#[test]
fn a_wrong_hash_is_refused() {
    let scratch = scratch();
    let mut python = Python::new(None, scratch.path());
    let pins = only_mpyc();
    let (rest, last) = pins.trim_end().split_at(pins.trim_end().len() - 1);
    python.requirements = format!("{rest}{}\n", if last == "0" { "1" } else { "0" });
    let error = prepare(&python).0.unwrap_err();
    assert!(matches!(error, Error::WrongHash { .. }), "{error}");
    assert_nothing_left_over(scratch.path());
}

#[test]
fn a_package_without_a_build_or_with_a_broken_one_is_left_out() {
    let scratch = scratch();
    let broken = "raise RuntimeError('this processor will not do')";
    let (wheel, digest) = wheel(scratch.path(), "gmpy2", broken);
    let none = "0".repeat(64);
    let requirements = format!(
        "{}gmpy2==99 --hash=sha256:{digest}\nuvloop==0.1.0 --hash=sha256:{none}\n",
        only_mpyc()
    );
    let cache = scratch.path().join("cache");
    let mut maker = maker_process(&cache, &requirements, "true");
    let said = succeeds(maker.env("PIP_FIND_LINKS", wheel.parent().unwrap()));
    assert!(said.contains("prepared "), "{said}");
    assert!(said.contains("going on without uvloop: it is not installed"), "{said}");
    let why = "going on without gmpy2: RuntimeError: this processor will not do";
    assert!(said.contains(why), "{said}");

    let mut python = Python::new(None, &cache);
    python.requirements = requirements;
    let (prepared, steps) = prepare(&python);
    assert_eq!(steps, []);
    assert!(prepared.unwrap().missing.iter().all(|missing| !missing.installed));
}

/// A wheel of one module, and its digest.
fn wheel(directory: &Path, name: &str, code: &str) -> (PathBuf, String) {
    let path = directory.join(format!("{name}-99-py3-none-any.whl"));
    let zip = "\
import sys, zipfile
path, name, code = sys.argv[1:]
info = f'{name}-99.dist-info/'
files = {
    f'{name}.py': code,
    info + 'METADATA': f'Metadata-Version: 2.1\\nName: {name}\\nVersion: 99\\n',
    info + 'WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
}
files[info + 'RECORD'] = ''.join(f'{file},,\\n' for file in [*files, info + 'RECORD'])
with zipfile.ZipFile(path, 'w') as wheel:
    for file, text in files.items():
        wheel.writestr(file, text)
";
    succeeds(Command::new("python3").args(["-c", zip]).arg(&path).args([name, code]));
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(fs::read(&path).unwrap()));
    (path, digest)
}

#[test]
fn a_cache_that_cannot_be_used_is_explained() {
    let scratch = scratch();
    let said = |setup: &str| {
        let output = succeeds(&mut maker_process(scratch.path(), REQUIREMENTS, setup));
        let failure = output.split("failed: ").nth(1);
        failure.unwrap_or_else(|| panic!("it did not fail: {output}")).to_owned()
    };
    let read_only = said("mount -t tmpfs -o ro none \"$CACHE\"");
    assert!(
        read_only.contains("Read-only") && read_only.contains("$XDG_CACHE_HOME"),
        "{read_only}"
    );

    // Full while the virtual environment is made, and while pip installs.
    for size in ["1m", "5m", "12m", "40m"] {
        let full = said(&format!("mount -t tmpfs -o size={size} none \"$CACHE\""));
        assert!(full.contains("is full") && full.contains("120 MB"), "{size}: {full}");
    }

    let others = "mount -t tmpfs none \"$CACHE\"; mkdir -m 777 \"$CACHE/python\"";
    let others = said(others);
    assert!(others.contains("others may write to it"), "{others}");

    let offline = "mount -t tmpfs none \"$CACHE\"; set -- unshare --net";
    let offline =
        said(&format!("{offline}; exec \"$@\" \"$0\" maker --exact --ignored --nocapture"));
    assert!(offline.contains("the network is needed this one time"), "{offline}");
}

/// Settings of pip that would put packages elsewhere, or take them from elsewhere, in a real `pip.conf`.
#[test]
fn settings_of_pip_do_not_lead_astray() {
    let scratch = scratch();
    let broken = "raise RuntimeError('from the index of the file')";
    let (wheel, digest) = wheel(scratch.path(), "gmpy2", broken);
    let requirements = format!("{}gmpy2==99 --hash=sha256:{digest}\n", only_mpyc());
    let elsewhere = scratch.path().join("elsewhere");
    for (at, setting) in ["target", "prefix", "root"].iter().enumerate() {
        let cache = scratch.path().join(format!("cache-{at}"));
        let file = scratch.path().join("pip.conf");
        let mut links = wheel.parent().unwrap().display().to_string();
        // What the environment says goes before what files say.
        links += &std::env::var("PIP_FIND_LINKS")
            .map_or_else(|_| String::new(), |more| format!("\n  {more}"));
        let text = format!(
            "[global]\n{setting} = {}\nfind-links =\n  {links}\n[install]\nuser = yes\n",
            elsewhere.display()
        );
        fs::write(&file, text).unwrap();
        let mut maker = maker_process(&cache, &requirements, "true");
        let said = succeeds(maker.env("PIP_CONFIG_FILE", &file).env_remove("PIP_FIND_LINKS"));
        assert!(said.contains("prepared "), "{setting}: {said}");
        // What says where packages are still holds.
        assert!(said.contains("gmpy2: RuntimeError: from the index"), "{setting}: {said}");
        assert!(!elsewhere.exists(), "{setting}: something was installed elsewhere");
    }
}

#[test]
fn an_index_that_cannot_be_reached_is_named() {
    let scratch = scratch();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = scratch.path().join("pip.conf");
    let said = |text: &str, variables: &[(&str, String)]| {
        fs::write(&file, text).unwrap();
        let mut maker = maker_process(&scratch.path().join("cache"), &only_mpyc(), "true");
        let maker = maker.env("PIP_CONFIG_FILE", &file).envs(variables.iter().cloned());
        succeeds(maker.env_remove("PIP_INDEX_URL").env_remove("PIP_EXTRA_INDEX_URL"))
    };
    let index = format!("http://me:secret@{unused}/simple");
    let told = said(&format!("[global]\nindex-url = {index}\n"), &[]);
    for word in [
        &*format!("could not fetch MPyC from http://{unused}/simple (PIP_INDEX_URL)"),
        "pip config list",
    ] {
        assert!(told.contains(word), "no «{word}»: {told}");
    }
    assert!(!told.contains("from http://me:"), "{told}");
    let proxy = ("PIP_PROXY", format!("http://{unused}"));
    let told = said("[global]\nindex-url = http://packages.invalid/simple\n", &[proxy]);
    assert!(told.contains(&format!("by way of the proxy http://{unused} (PIP_PROXY)")), "{told}");
    let told = said("index-url = no section\n", &[]);
    assert!(
        told.contains("failed: pip's settings cannot be read") && told.contains("pip.conf"),
        "{told}"
    );
    assert_nothing_left_over(&scratch.path().join("cache"));
}

/// As where Python was built, or packaged, without it.
#[test]
fn a_python_without_venv_is_explained() {
    let scratch = scratch();
    let hide = "import venv, os; print(os.path.dirname(venv.__file__))";
    let hide = format!("mount -t tmpfs none \"$(python3 -c '{hide}')\"");
    let said = succeeds(&mut maker_process(scratch.path(), REQUIREMENTS, &hide));
    assert!(said.contains("failed: ") && said.contains("apt install python3-venv"), "{said}");
    assert_nothing_left_over(scratch.path());
}
