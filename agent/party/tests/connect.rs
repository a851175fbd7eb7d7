//! `expose` and `connect`: SSH to a party behind a NAT, and who gets to a port and who does not.

#[path = "connect/access.rs"]
mod access;
mod common;
#[path = "connect/hostile.rs"]
mod hostile;
#[path = "agent/machine.rs"]
#[allow(dead_code, reason = "an exposing process is watched like an agent")]
mod machine;
#[path = "connect/networks.rs"]
mod networks;
#[path = "connect/service.rs"]
mod service;
