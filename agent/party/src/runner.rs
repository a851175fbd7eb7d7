//! Running MPyC for one party of a session: its Python, its sandbox, its streams, its end.

pub mod python;
pub mod sandbox;
