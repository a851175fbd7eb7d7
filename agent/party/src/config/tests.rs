use mpyc_party_core::claims::PublicKey;

use super::*;

/// Loads `text`, all of which has to be in order.
fn load(text: &str) -> Result<Config, String> {
    let mut config = judged(text).map_err(|error| error.to_string())?;
    config.broken.pop_first().map_or(Ok(config), |(_, why)| Err(why.to_string()))
}

fn judged(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

fn session(more: &str) -> Result<Config, String> {
    load(&format!(
        "[sessions.demo]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\n{more}"
    ))
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(load("").unwrap(), Config::default());
}

#[test]
fn what_is_written_is_read_again() {
    let config = session("threshold = 1\ndeadline = \"10m\"").unwrap();
    assert_eq!(load(&config.to_toml().unwrap()).unwrap(), config);
}

#[test]
fn a_section_leaves_the_other_defaults_alone() {
    let hubs = load("[network]\nhubs = [\"hub.example.org:4747\"]").unwrap().network;
    assert!(hubs.local_discovery, "three laptops in one room need no configuration");
    assert!(!load("[network]\nlocal-discovery = false").unwrap().network.local_discovery);
}

#[test]
fn mistakes_are_named() {
    let demo = "[sessions.demo]\nprogram = \"p.py\"\n";
    let key = PublicKey([0; 32]);
    let cases = [
        ("[network]\nhub = []".to_owned(), "unknown field `hub`"),
        ("[listen]\nport = \"x\"".to_owned(), "line 2"),
        ("[listen]\nport = 70000".to_owned(), "line 2"),
        ("[agent]\nmetrics = \"0.0.0.0:9747\"".to_owned(), "metrics are for this machine alone"),
        ("[agent]\nmetrics = \"127.0.0.1:0\"".to_owned(), "metrics are for this machine alone"),
        ("[agent]\nmetrics = \"metrics.sock\"".to_owned(), "metrics are for this machine alone"),
        ("[agent]\nmetadata = \"https://x\"".to_owned(), "does not begin with http://"),
        ("[agent]\nbus = \"city\"".to_owned(), "line 2"),
        ("[peers.Bob]".to_owned(), "«Bob» is not a name"),
        ("[peers.bob]\nkey = \"ed25519:zz\"".to_owned(), "key"),
        (format!("{demo}parties = [\"alice\"]"), "at least 2 parties"),
        (format!("{demo}parties = [\"alice\", \"alice\"]"), "«alice» is in the roster twice"),
        (format!("{demo}parties = [\"alice\", \"bob\"]"), "allow-no-privacy = true"),
        ("[sessions.demo]\nparties = [\"a\", \"b\", \"c\"]".to_owned(), "missing field `program`"),
        (format!("{demo}parties = [\"alice\", \"bob\", \"you\"]"), "no party can be called «you»"),
        (
            format!(
                "{demo}parties = [\"alice\", \"bob\", \"carol\"]\nkeys = {{bob = \"{key}\"}}\n[peers.carol]\nkey = \"{key}\""
            ),
            "bob and carol have the same key",
        ),
    ];
    for (text, expected) in cases {
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n… does not say {expected}");
    }
    let cases = [
        ("threshold = 2", "[sessions.demo] in /"),
        ("threshold = 2", "threshold 2 is too large for 3 parties"),
        ("threshold = 0", "every party can learn every input"),
        ("grace = \"1ms\"", "grace at least 1s"),
        ("deadline = \"500000000000y\"", "deadline is longer than 30days, the most"),
        ("deadline = \"500000000000y\"", "give a shorter time, as in deadline = \"10m\""),
        ("deadline = \"30days 1ms\"", "deadline is longer than"),
        ("grace = \"31d\"", "grace is longer than 30days"),
        ("interval = \"11y\"", "interval is longer than"),
        ("output = 9999999999", "output is more than 16384 MiB, the most"),
        ("output = 9999999999", "give a smaller size, as in output = 1024"),
        ("memory = 16777217", "memory is more than 16777216 MiB"),
        (
            "arguments = [\"1\", \"a\\u0000b\"]",
            "argument number 2 in arguments has a NUL character",
        ),
        ("files = [\"../p.py\"]", "two files are called «p.py»"),
        ("files = [\"a/x.csv\", \"./a/x.csv\"]", "two files are called «a/x.csv»"),
        ("python = \"three\"", "write it as \"3.12\""),
        ("keys = {dave = \"ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", "«dave»"),
        ("thresold = 1", "unknown field `thresold`"),
    ];
    for (text, expected) in cases {
        let error = session(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n… does not say {expected}");
    }
}

#[test]
fn a_session_with_an_error_concerns_nothing_else() {
    let good = "[sessions.good]\nprogram = \"p.py\"\nparties = [\"alice\", \"bob\", \"carol\"]\n";
    let mistakes = [
        ("[sessions.bad]\nprogram = 3", "line 5, column 11"),
        ("[sessions.bad]\nprogram = \"p.py\"", "missing field `parties`"),
        ("[sessions]\nbad = 3", "line 5"),
        ("[sessions]\nbad = 3", "expected a table of settings"),
        ("[sessions]\nbad = { thresold = 1 }", "unknown field `thresold`"),
        (
            "[sessions.Bad]\nprogram = \"p.py\"\nparties = [\"a\", \"b\", \"c\"]",
            "«Bad» is not a name",
        ),
        ("[sessions.bad]\nprogram = \"p.py\"\nparties = [\"a\", \"b\"]", "allow-no-privacy"),
    ];
    for (text, why) in mistakes {
        let config = judged(&format!("{good}{text}")).unwrap();
        assert_eq!(config.sessions.len(), 1, "{text}");
        let (name, broken) = config.broken.first_key_value().unwrap();
        assert!(name.eq_ignore_ascii_case("bad") && config.broken.len() == 1, "{text}: {name}");
        let said = broken.to_string();
        assert!(said.contains(why) && said.contains(&format!("[sessions.{name}] in /")), "{said}");
    }
    for elsewhere in ["sessions = 3", "[session.x]", "[sessions.x", "[listen]\nport = \"x\""] {
        assert!(judged(elsewhere).is_err(), "{elsewhere}");
    }
}

#[test]
fn a_file_in_another_encoding_is_told_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, b"# \xe4\n").unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.contains("(save it as UTF-8)"), "{error}");
}

#[test]
fn many_sessions_with_errors_take_little_room() {
    let sections: Vec<_> = (0..1000).map(|n| format!("[sessions.s{n}]\nprogram = 3\n")).collect();
    let config = judged(&sections.concat()).unwrap();
    assert_eq!(config.broken.len(), 1000);
    let said: Vec<_> = config.broken.values().map(ToString::to_string).collect();
    assert!(said.iter().all(|error| error.contains("invalid type: integer `3`")), "{said:?}");
    let quoted = config.broken.values().filter(|broken| match &broken.source {
        SectionError::Text(error) => error.to_string().contains("line "),
        _ => false,
    });
    assert_eq!(quoted.count(), 32);
}

#[test]
fn a_place_of_a_hub_or_peer_has_the_form_that_it_needs() {
    for fine in ["bob.example.org:4747", "[2001:db8::1]:4747", "quic 203.0.113.7:4747", "tcp bob:1"]
    {
        let config = load(&format!("[peers.bob]\naddress = \"{fine}\"")).unwrap();
        assert_eq!(config.check_for(&Stack::default(), Path::new("c")).ok(), Some(()), "{fine}");
    }
    let (hub, peer) = ("[network]\nhubs = [\"hub:1\", \"?\"]", "[peers.bob]\naddress = \"?\"");
    let cases = [
        (hub, "hub", "network.hubs in "),
        (hub, "quic 203.0.113.7:4747", "as in \"hub.example.org:4747\""),
        (hub, "hub:0", "«hub:0» is no address of a hub"),
        (peer, "foo", "peers.bob.address in "),
        (peer, "foo", "as in \"bob.example.org:4747\""),
        (peer, "", "no address of its kind"),
        (peer, "foo:70000", "no address of its kind"),
        (peer, "203.0.113.7:0", "port 0 cannot be dialled"),
        (peer, "quic bob:4747", "as in \"quic 203.0.113.7:4747\""),
        (peer, "quic", "«quic» cannot be dialled"),
        (peer, "relay hub", "no address of its kind"),
    ];
    for (text, place, expected) in cases {
        let error = load(&text.replace('?', place)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n… does not say {expected}");
    }
    // Another program may have the kind, so that only a process knows whether it has.
    let unknown = load("[peers.bob]\naddress = \"qiuc 203.0.113.7:4747\"").unwrap();
    let error = unknown.check_for(&Stack::default(), Path::new("c")).unwrap_err().to_string();
    assert!(
        error.contains("«qiuc», which is not known here: there are tcp, quic, relay"),
        "{error}"
    );
}

#[test]
fn nothing_is_exposed_unless_it_says_to_whom() {
    assert!(load("").unwrap().expose.is_empty());
    let config = load("[expose.ssh]\nport = 22\ngroups = [\"admins\"]").unwrap();
    assert_eq!(rules(&config.expose).0[0].to, "127.0.0.1:22".parse().unwrap());
    assert_eq!(load(&config.to_toml().unwrap()).unwrap(), config);
    let who = "parties = [\"operator\"]\n";
    let many: Vec<String> = (0..65).map(|number| format!("\"p{number}\"")).collect();
    let cases = [
        ("port = 22".to_owned(), "say who may connect"),
        (who.to_owned(), "missing field `port`"),
        (format!("{who}port = 0"), "port 0 cannot be dialled"),
        (format!("{who}port = 22\naddress = \"localhost\""), "line 4"),
        (format!("{who}port = 80\naddress = \"169.254.169.254\""), "link-local"),
        (format!("{who}port = 80\naddress = \"fd00:ec2::254\""), "metadata service"),
        (format!("{who}port = 80\naddress = \"224.0.0.1\""), "multicast"),
        (format!("{who}port = 80\naddress = \"0.0.0.0\""), "unspecified"),
        (format!("{who}port = 22\ngroup = [\"admins\"]"), "unknown field `group`"),
        (format!("{who}port = 22\ngroups = [\"Admins\"]"), "«Admins» is not a name"),
        (format!("{who}port = 22\n[expose.web]\nport = 22\n{who}"), "exposed as «ssh» already"),
        (format!("port = 22\nparties = [{}]", many.join(", ")), "make a group of them"),
    ];
    for (text, expected) in cases {
        let error = load(&format!("[expose.ssh]\n{text}")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n… does not say {expected}");
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = session("files = [\"helper.py\", \"/abs.py\"]").unwrap();
    let session = config.sessions.values().next().unwrap();
    assert!(session.program.is_absolute() && session.program.ends_with("p.py"));
    assert_eq!(session.files[1], Path::new("/abs.py"));
}

#[test]
fn a_demanded_python_is_compared_by_number() {
    let demand = Demand::try_from("3.1".to_owned()).unwrap();
    assert!(demand.met_by("3.1.4") && demand.met_by("3.1") && !demand.met_by("3.12.1"));
}
