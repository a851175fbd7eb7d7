//! Sessions that go well, from the authority to the verdict: every process here is the real binary.
//! Newcomers to the project: begin with [`three_parties_meet_and_compute`].

use std::time::Duration;

use anyhow::{Result, ensure};
use mpyc_party_lab::party::{Network, Session};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Each party's index is its input; all learn the sum.
const SUM: &str = "
from mpyc.runtime import mpc
secint = mpc.SecInt()
mpc.run(mpc.start())
print('sum', mpc.run(mpc.output(mpc.sum(mpc.input(secint(mpc.pid))))))
mpc.run(mpc.shutdown())
";

#[test]
fn three_parties_meet_and_compute() -> Result<()> {
    let names = ["alice", "bob", "carol"];
    let network = Network::on_loopback(&names)?;
    network.declare(&Session::new("demo", SUM).parties(&names))?;
    let runs = network.run("demo")?;
    for mut run in runs {
        let outcome = run.verdict(LIMIT)?;
        ensure!(outcome.completed(), "{}", run.said());
        run.wait_for_line("sum 3", LIMIT)?;
        ensure!(run.exit(LIMIT)?.success());
    }
    Ok(network.end()?)
}
