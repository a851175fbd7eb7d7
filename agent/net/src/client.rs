//! The party's side of what a hub and an authority serve.

pub mod enrolment;
pub mod lighthouse;
pub mod probe;
pub mod relay;
pub mod renewal;
mod request;

pub use request::RequestError;
