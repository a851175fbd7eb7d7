//! MPyC programs for tests and measurements, as text.

/// Computes until every party has got a line on standard input, or the end of it.
pub const MEET: &str = include_str!("../programs/meet.py");

/// Sends seeded messages of all sizes and compares every byte, until every party has got a line on
/// standard input, or the end of it. Its one argument is the seed.
pub const MESSAGES: &str = include_str!("../programs/messages.py");
