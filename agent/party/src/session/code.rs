//! What of a session's files Python could import or run, and that a person sees all of it before:
//! such a file has to be text that means what it shows.
//!
//! Python's own rules are behind this: [the import system](https://docs.python.org/3/reference/import.html)
//! takes a module from the first directory in `sys.path` that has one, which in the sandbox is that of
//! the session; byte code comes before source, a package before a module, and `runpy` runs byte code or
//! an archive whatever its name. [PEP 263](https://peps.python.org/pep-0263/) lets a comment choose
//! how the bytes of a file are read.
//!
//! Other files are data. A program may take them for code all the same, and whoever agrees to it is told.

mod content;
mod reading;

use std::collections::BTreeMap;

use mpyc_party_core::text::visible;
use serde::{Deserialize, Serialize};

/// The modules of Python's standard library, by name, in lines; a line with `#` is a comment.
const STANDARD_MODULES: &str = include_str!("code/standard_modules.txt");
/// The modules of the environment that a program runs in, beside the standard library.
const ENVIRONMENT: [&str; 8] =
    ["mpyc", "numpy", "gmpy2", "uvloop", "pip", "setuptools", "pkg_resources", "_distutils_hack"];
/// The most bytes and lines of code in a bundle, all files together: people are asked to read it, and it is
/// held in lines, rows and pages meanwhile.
const MAX_CODE_BYTES: usize = 1 << 20;
const MAX_CODE_LINES: usize = 100_000;
/// What Python imports by itself when it starts, where it is there (the module `site`).
const SITE_HOOKS: [&str; 2] = ["sitecustomize", "usercustomize"];
/// What Python reads and obeys by its name alone: the start of an environment, and what its debugger does
/// first, in the directory in which a program runs (the module `pdb`).
const RUN_BY_NAME: [&str; 2] = ["pyvenv.cfg", ".pdbrc"];
/// Where Python keeps byte code.
const BYTE_CODE_DIRECTORY: &str = "__pycache__";
/// The module that is a package's own.
const PACKAGE: &str = "__init__";

/// What a file of a session is to Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Python could import or run it.
    Code,
    /// It means what the program makes of it.
    Data,
}

/// Why a file cannot be part of a session. Names are [visible].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// More than [`MAX_CODE_BYTES`] or [`MAX_CODE_LINES`].
    #[error(
        "the program and the code that it can import have {bytes} bytes in {lines} lines, more than anybody reads before agreeing to it (at most {MAX_CODE_BYTES} bytes in {MAX_CODE_LINES} lines): keep data in files that are no code, or declare the session in each configuration"
    )]
    TooMuch {
        /// How many bytes.
        bytes: usize,
        /// How many lines.
        lines: usize,
    },
    /// It could be imported, and nobody can read it.
    #[error("«{name}» is {what}, which nobody can read before Python runs it: leave it out")]
    Unreadable {
        /// The file.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// It is an archive with code in it.
    #[error(
        "«{name}» is an archive with «{member}» in it, which Python could import and nobody is shown: give the files themselves, or leave «{member}» out"
    )]
    InArchive {
        /// The file.
        name: String,
        /// The first name in it that is one of code.
        member: String,
    },
    /// It has the name of something that Python runs without being told to.
    #[error("«{name}» is called like a module that Python runs by itself: give it another name")]
    SiteHook {
        /// The file.
        name: String,
    },
    /// It has the name of a module that is there already.
    #[error(
        "«{name}» is called like the module {module} of Python or MPyC, and one would run in place of the other: give it another name"
    )]
    Shadows {
        /// The file.
        name: String,
        /// The module.
        module: String,
    },
    /// Two files that people take for one.
    #[error("«{name}» and «{other}» differ in upper and lower case alone: give one another name")]
    Alike {
        /// One file.
        name: String,
        /// The other.
        other: String,
    },
    /// A module and a package, of which Python takes the package.
    #[error(
        "«{name}» and «{other}» are one module to Python, which takes the second: leave one out"
    )]
    TwoModules {
        /// The file that would not be imported.
        name: String,
        /// The one that would.
        other: String,
    },
    /// It is no UTF-8.
    #[error("«{name}» is code and not UTF-8 (line {line}): save it as UTF-8")]
    NotUtf8 {
        /// The file.
        name: String,
        /// Where, from 1.
        line: usize,
    },
    /// It begins with U+FEFF.
    #[error("«{name}» begins with a byte order mark: save it as UTF-8 without one")]
    ByteOrderMark {
        /// The file.
        name: String,
    },
    /// A control character, which Python does not take as it looks.
    #[error(
        "«{name}» is code with the control character U+{:04X} (line {line}): take it out, or write it as an escape sequence",
        u32::from(*character)
    )]
    Control {
        /// The file.
        name: String,
        /// Where, from 1.
        line: usize,
        /// Which.
        character: char,
    },
    /// A comment that has Python read the file in another way than it is shown.
    #[error(
        "«{name}» says that it is in the encoding «{encoding}» (line {line}), and would be read in another way than it is shown: save it as UTF-8 and take that comment out"
    )]
    Encoding {
        /// The file.
        name: String,
        /// Where, from 1.
        line: usize,
        /// What it says.
        encoding: String,
    },
}

/// The last part of a path, and what stands before it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The end of a file's name from the last dot on, in lower case, and what stands before it.
fn extension(file: &str) -> (&str, String) {
    file.rsplit_once('.').map_or((file, String::new()), |(stem, end)| (stem, end.to_lowercase()))
}

/// What the file `name` is to Python; the program is always code.
#[must_use]
pub fn kind(name: &str, is_program: bool) -> Kind {
    let (_, file) = split(name);
    let is_code = matches!(extension(file).1.as_str(), "py" | "pyw" | "pth" | "_pth");
    let is_code = is_code || RUN_BY_NAME.iter().any(|name| file.eq_ignore_ascii_case(name));
    if is_program || is_code { Kind::Code } else { Kind::Data }
}

/// Under which name Python imports the file `name`, if it does.
#[must_use]
pub fn module(name: &str) -> Option<String> {
    let (stem, end) = name.rsplit_once('.')?;
    if end != "py" {
        return None;
    }
    let stem = stem.strip_suffix(PACKAGE).and_then(|of| of.strip_suffix('/')).unwrap_or(stem);
    let is_identifier = |part: &str| !part.is_empty() && !part.contains('.');
    stem.split('/').all(is_identifier).then(|| stem.replace('/', "."))
}

/// Checks the names of all files of a session: nothing that Python would run unread, by itself, or in
/// place of something else.
///
/// # Errors
/// Says which name cannot be, and what to do.
pub fn check_names<'a>(
    program: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), CodeError> {
    let mut alike = BTreeMap::new();
    for name in names.clone() {
        check_name(name, name == program)?;
        if let Some(other) = alike.insert(name.to_lowercase(), name) {
            return Err(CodeError::Alike { name: visible(name), other: visible(other) });
        }
    }
    for name in names {
        let package = name.strip_suffix(".py").map(|stem| format!("{stem}/{PACKAGE}.py"));
        if let Some(other) = package.and_then(|package| alike.get(&package.to_lowercase())) {
            return Err(CodeError::TwoModules { name: visible(name), other: visible(other) });
        }
    }
    Ok(())
}

fn check_name(name: &str, is_program: bool) -> Result<(), CodeError> {
    let (directories, file) = split(name);
    let is_cache = |part: &str| part.eq_ignore_ascii_case(BYTE_CODE_DIRECTORY);
    let what =
        if name.split('/').any(is_cache) { Some("Python's byte code") } else { unreadable(file) };
    if let Some(what) = what {
        return Err(CodeError::Unreadable { name: visible(name), what });
    }
    let stem = |part: &str| part.split('.').next().unwrap_or_default().to_lowercase();
    if name.split('/').any(|part| SITE_HOOKS.contains(&stem(part).as_str())) {
        return Err(CodeError::SiteHook { name: visible(name) });
    }
    let is_code = kind(name, is_program) == Kind::Code;
    let top = match directories.split('/').next() {
        Some("") | None => extension(file).0,
        Some(directory) => directory,
    };
    // A directory without code is no module where there is a real one.
    let is_taken = (is_code && is_standard(top))
        || (ENVIRONMENT.contains(&top) && (is_code || !directories.is_empty()));
    if is_taken {
        return Err(CodeError::Shadows { name: visible(name), module: top.to_owned() });
    }
    Ok(())
}

/// What a file of this name is, where that is nothing to read and Python runs it.
fn unreadable(file: &str) -> Option<&'static str> {
    // A library may have numbers behind its ending, as in `libx.so.6`.
    let file = file.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
    Some(match extension(file).1.as_str() {
        "pyc" | "pyo" => "Python's byte code",
        "so" | "pyd" | "dll" | "dylib" => "machine code",
        "egg" | "whl" | "pyz" | "pyzw" | "zip" => "an archive from which Python can import",
        _ => return None,
    })
}

fn is_standard(module: &str) -> bool {
    let lines = STANDARD_MODULES.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).any(|name| name == module)
}

/// Checks the content of the file `name`: where that is code, it is text that Python reads as it is
/// shown; where it is data, it is not code all the same.
///
/// # Errors
/// Says what is wrong, where, and what to do.
pub fn check_content(name: &str, is_program: bool, content: &[u8]) -> Result<(), CodeError> {
    match kind(name, is_program) {
        Kind::Code => reading::check(name, content),
        Kind::Data => content::check(name, content),
    }
}

/// Checks the names and the contents of all files of a bundle, and that people can be asked to read its code.
///
/// # Errors
/// As [`check_names`] and [`check_content`], and where there is too much code.
pub fn check(program: &str, files: &[(String, Vec<u8>)]) -> Result<(), CodeError> {
    check_names(program, files.iter().map(|(name, _)| name.as_str()))?;
    let code = files.iter().filter(|(name, _)| kind(name, name == program) == Kind::Code);
    let (mut bytes, mut lines) = (0, 0);
    for (_, content) in code {
        bytes += content.len();
        lines += content.iter().filter(|byte| **byte == b'\n').count();
    }
    if bytes > MAX_CODE_BYTES || lines > MAX_CODE_LINES {
        return Err(CodeError::TooMuch { bytes, lines });
    }
    files.iter().try_for_each(|(name, content)| check_content(name, name == program, content))
}

/// What data is by its content that is more than what stands in it: an archive, a pickle.
#[must_use]
pub fn disguise(content: &[u8]) -> Option<&'static str> {
    content::disguise(content)
}

#[cfg(test)]
mod tests;
