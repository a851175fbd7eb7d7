//! `mpyc-party-lab`: what the lab does by hand. Benchmarks, and hosts to play with.

mod bench;
mod cold;
mod hosts;
mod load;
mod matrix;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use bench::{ends, hub, traffic};
use clap::{Parser, Subcommand};

/// Hosts, networks and benchmarks for testing mpyc-party.
#[derive(Parser)]
#[command(name = "mpyc-party-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure links, MPC rounds and session starts against plain TCP.
    Bench(bench::Bench),
    /// Make hosts by hand and run a shell in the first; all is gone when it ends.
    Hosts(hosts::Hosts),
    /// Start sessions behind NATs again and again, and show how fast they are there.
    Cold(cold::Cold),
    /// Let two parties in networks of every kind meet in a session, and show how they did.
    Matrix(matrix::Matrix),
    /// Build a topology with its NATs, firewalls and lines, and hold it to be entered by hand.
    Topology(world::World),
    /// Load a hub with thousands of parties and measure what that costs.
    HubLoad(load::HubLoad),
    /// One end of measured traffic; the benchmarks and tests start both.
    #[command(subcommand, hide = true)]
    Traffic(traffic::End),
    /// A hub beside its authority; the benchmarks start it.
    #[command(hide = true)]
    Hub(hub::Hub),
    /// One end of our link, as a runner forwards; the benchmarks start both.
    #[command(subcommand, hide = true)]
    Link(ends::End),
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Bench(wanted) => bench::run(&wanted).map(|()| ExitCode::SUCCESS),
        Command::Hub(wanted) => hub::run(&wanted).map(|()| ExitCode::SUCCESS),
        Command::Link(end) => ends::run(end).map(|()| ExitCode::SUCCESS),
        Command::Cold(wanted) => cold::run(&wanted),
        Command::Hosts(wanted) => hosts::run(&wanted),
        Command::Matrix(wanted) => matrix::run(&wanted),
        Command::Topology(wanted) => world::run(&wanted).map(|()| ExitCode::SUCCESS),
        Command::HubLoad(wanted) => load::run(&wanted).map(|()| ExitCode::SUCCESS),
        Command::Traffic(end) => traffic::run(end).map(|()| ExitCode::SUCCESS),
    }
}
