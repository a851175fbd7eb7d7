//! `mpyc-party`: see `mpyc-party --help`, and `lib.rs` for how it is made.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    mpyc_party::command::main(mpyc_party_net::Stack::default())
}
