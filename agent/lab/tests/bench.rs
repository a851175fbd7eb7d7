//! The benchmarks run from end to end and print what they promise.
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

use std::process::Command;

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mpyc-party-lab");

fn figure<'a>(section: &'a Value, row: &str, what: &str) -> &'a Value {
    let find = |list: &'a Value, key: &str, wanted: &str| {
        list.as_array().unwrap().iter().find(|item| item[key] == wanted).unwrap()
    };
    find(&find(&section["rows"], "name", row)["figures"], "what", what)
}

#[test]
fn links_are_compared_with_plain_tcp() {
    let arguments = ["bench", "--quick", "--only", "links", "--json"];
    let ended = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let sections: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let links = &sections[0];
    assert_eq!(figure(links, "plain TCP", "MB/s")["ratio"], 1.0);
    assert_eq!(figure(links, "plain TCP", "CPU-s/GB, tunnel")["highest"], 0.0);
    for row in ["our link", "our link, QUIC", "our link, relayed"] {
        for what in ["MB/s", "CPU-s/GB, all", "CPU-s/GB, tunnel", "64 B p50 µs", "64 B p99 µs"] {
            assert!(figure(links, row, what)["lowest"].as_f64().unwrap() > 0.0, "{row}: {what}");
        }
    }
    let notes = links["notes"].as_array().unwrap();
    let told = |note: &Value| note.as_str().unwrap().contains("of the throughput of TLS alone");
    assert!(notes.iter().any(told), "{notes:?}");
}
