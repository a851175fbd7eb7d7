//! Of pip's settings those that say where packages are and how to get there. The rest of them (a target
//! directory, say, or one's own directory instead of the environment) would install something else or
//! somewhere else.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The variables of the environment that pip and what it uses know such things by. pip's own settings have
/// the same names in its files, in small letters and without `PIP_`.
const PASSED_ON: [&str; 24] = [
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PIP_CACHE_DIR",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
    "PIP_NO_CACHE_DIR",
    "PIP_NO_INDEX",
    "PIP_PROXY",
    "PIP_TRUSTED_HOST",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Where pip's files are, for the command that reads them.
pub(super) const CONFIG_FILE: &str = "PIP_CONFIG_FILE";
/// The file that is none (`os.devnull`): pip then reads no other either.
pub(super) const NO_FILE: &str = "/dev/null";

/// Variables for a command of pip.
pub(super) type Variables = BTreeMap<String, OsString>;

/// Those of this process.
pub(super) fn of_this_process() -> Variables {
    let known = |name: &str| Some((name.to_owned(), std::env::var_os(name)?));
    PASSED_ON.into_iter().filter_map(known).collect()
}

/// What `pip config list` tells of pip's files, `section.key='value'` in a line, as variables. What is for
/// `install` goes before what is for all.
pub(super) fn of_files(listed: &str) -> Variables {
    let mut found = Variables::new();
    for section in ["global.", "install."] {
        for (key, value) in
            listed.lines().filter_map(|line| line.strip_prefix(section)?.split_once('='))
        {
            let key = if key == "timeout" { "default-timeout" } else { key };
            let name = format!("PIP_{}", key.to_uppercase().replace('-', "_"));
            if PASSED_ON.contains(&&*name) {
                found.insert(name, unquoted(value).into());
            }
        }
    }
    found
}

/// A text that Python has quoted; a line break in it parts values, as a blank does.
fn unquoted(text: &str) -> String {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let text = inside('\'').or_else(|| inside('"')).unwrap_or(text);
    text.replace("\\n", " ").replace("\\'", "'").replace("\\\\", "\\").trim().to_owned()
}

/// Where packages are fetched from by these, and by way of whom, for an error message.
pub(super) fn source(variables: &Variables) -> String {
    let value = |name: &&str| {
        let value = variables.get(*name)?.to_string_lossy();
        (!value.is_empty()).then(|| format!("{} ({name})", without_password(&value)))
    };
    let first = |names: &[&str]| names.iter().find_map(value);
    let index = first(&["PIP_INDEX_URL"]).unwrap_or_else(|| "the usual package index".to_owned());
    let proxy = [
        "PIP_PROXY",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ];
    match first(&proxy) {
        Some(proxy) => format!("{index}, by way of the proxy {proxy}"),
        None => index,
    }
}

/// An address without the name and password in it (RFC 3986, section 3.2.1).
fn without_password(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let begin = rest[..end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[begin..])
        }
        None => address.rsplit('@').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_packages_are_is_taken_from_files() {
        let found = of_files(
            "global.index-url='https://me:secret@packages.example/simple'\nglobal.target='/somewhere'\n\
             global.user='yes'\ninstall.prefix='/usr'\nglobal.timeout='5'\ninstall.find-links='\\n/a\\n/b'\n\
             install.no-index=\"true\"\n:env:.cert='/x'\n",
        );
        let found: Vec<_> =
            found.iter().map(|(name, value)| format!("{name}={}", value.display())).collect();
        let expected = [
            "PIP_DEFAULT_TIMEOUT=5",
            "PIP_FIND_LINKS=/a /b",
            "PIP_INDEX_URL=https://me:secret@packages.example/simple",
            "PIP_NO_INDEX=true",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn no_password_is_told() {
        let set = |pairs: &[(&str, &str)]| {
            source(&pairs.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect())
        };
        assert_eq!(set(&[]), "the usual package index");
        let index = ("PIP_INDEX_URL", "https://me:secret@packages.example/simple/@x");
        let proxy = ("https_proxy", "me:secret@proxy.example:3128");
        let told = set(&[index, proxy]);
        assert!(!told.contains("secret") && !told.contains("me:"), "{told}");
        assert!(
            told.starts_with("https://packages.example/simple/@x (PIP_INDEX_URL), by way of"),
            "{told}"
        );
        assert!(told.ends_with("the proxy proxy.example:3128 (https_proxy)"), "{told}");
    }
}
