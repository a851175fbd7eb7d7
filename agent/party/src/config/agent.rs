//! The agent's settings.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a Raspberry Pi's card is written on another machine.
const FIRMWARE_TOKEN: &str = "/boot/firmware/mpyc-party.token";

/// Why the settings of an agent cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentSettingsError {
    /// Metrics would be served to others.
    #[error(
        "metrics are for this machine alone: «{0}» is neither a loopback address with a port, as in 127.0.0.1:9747, nor the path of a socket"
    )]
    Metrics(String),
    /// User data cannot be had like that.
    #[error("metadata: «{0}» does not begin with http://")]
    Metadata(String),
}

/// What the agent of this machine does beside sessions.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Agent {
    /// The bus on which it answers and starts sessions.
    pub bus: Bus,
    /// Where it serves metrics: a loopback address with its port, or the path of a Unix socket.
    /// Nowhere where none is given. Sessions matter more: where it cannot serve them there, the
    /// journal and its status say so, and it works on and tries again at each reload.
    pub metrics: Option<String>,
    /// Files in which an enrolment token may have been left.
    pub token_files: Vec<PathBuf>,
    /// Address of user data that may hold a token; that of DigitalOcean on its machines where none
    /// is given.
    pub metadata: Option<String>,
}

/// A message bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bus {
    /// The system's.
    #[default]
    System,
    /// That of the user's session.
    Session,
    /// None: sessions are then started as children of the agent.
    None,
}

impl Default for Agent {
    fn default() -> Self {
        let token_files = vec![FIRMWARE_TOKEN.into()];
        Self { bus: Bus::System, metrics: None, token_files, metadata: None }
    }
}

impl Agent {
    /// Checks that the values can be used.
    ///
    /// # Errors
    /// Says what cannot, and what to do.
    pub fn check(&self) -> Result<(), AgentSettingsError> {
        if let Some(metrics) = &self.metrics
            && !metrics.starts_with('/')
            && !metrics.parse().is_ok_and(|address: std::net::SocketAddr| {
                address.ip().is_loopback() && address.port() != 0
            })
        {
            return Err(AgentSettingsError::Metrics(metrics.clone()));
        }
        match &self.metadata {
            Some(url) if !url.starts_with("http://") => {
                Err(AgentSettingsError::Metadata(url.clone()))
            }
            _ => Ok(()),
        }
    }
}
