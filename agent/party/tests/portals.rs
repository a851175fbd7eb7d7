//! Something else answers where a hub should: the login page of a network (a captive portal), or whatever
//! else has its port. A real server on loopback, which answers whoever connects.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use anyhow::{Result, ensure};
use common::{LIMIT, SUM, demo, three};

/// Serves this answer to everybody, for as long as the test runs.
fn answering(answer: &'static str, speaks_first: bool) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = stream;
                // Whoever hangs up meanwhile is served no more.
                if speaks_first || stream.read(&mut [0; 4096]).is_ok() {
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
        }
    });
    Ok(address)
}

const PORTAL: &str =
    "HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\nContent-Length: 0\r\n\r\n";

#[test]
fn what_answers_in_place_of_a_hub_is_told() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SUM).deadline(std::time::Duration::from_secs(20)))?;
    let alice = network.party("alice");
    for (answer, speaks_first) in [
        (PORTAL, false),
        ("HTTP/1.0 400 Bad Request\r\n\r\n<html>Log in</html>", false),
        ("SSH-2.0-OpenSSH_9.2\r\n", true),
    ] {
        let address = answering(answer, speaks_first)?;
        alice.configure(&format!(
            "network.local-discovery = false\nnetwork.hubs = [\"{address}\"]\n"
        ))?;
        let output = alice.command().args(["doctor", "--wait", "1s"]).output()?;
        let doctor = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut all = vec![doctor];
        if answer == PORTAL {
            let mut run = alice.run("demo")?;
            ensure!(run.exit(LIMIT)?.code() == Some(1), "{}", run.said());
            all.push(run.said());
        }
        for said in all {
            for word in [&*address.to_string(), "does not speak TLS", "log in to that network"] {
                ensure!(said.contains(word), "no «{word}»: {said}");
            }
            ensure!(!said.contains("InvalidContentType"), "{said}");
        }
    }
    Ok(network.end()?)
}
