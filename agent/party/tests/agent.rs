//! The agent: it enrols, holds the one port, starts what is proposed, answers on a bus. Every
//! process here is the real binary, but for the stand-ins that say so.

mod common;

#[path = "agent/bus.rs"]
mod bus;
#[path = "agent/enrolment.rs"]
mod enrolment;
#[path = "agent/journal.rs"]
mod journal;
#[path = "agent/machine.rs"]
mod machine;
#[path = "agent/port.rs"]
mod port;
#[path = "agent/proposals.rs"]
mod proposals;
#[path = "agent/service.rs"]
mod service;
#[path = "agent/stops.rs"]
mod stops;
#[path = "agent/supervision.rs"]
mod supervision;
