//! WAN lines: delay, jitter and loss by a thread between two TAP devices, for kernels without
//! netem; the rate by the token bucket that every kernel has.
//!
//! A line keeps the order of its packets, as real ones nearly always do, and drops what does not
//! fit into its queue. One seed always loses the same packets of the same traffic.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::LabError;
use crate::namespace::Namespace;

mod pump;

/// What a line does to each direction. One that has nothing but a rate is a cable, and cannot be
/// changed later; any other can.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Wan {
    /// One way.
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
    /// Up to this much more, evenly spread.
    #[serde(with = "humantime_serde")]
    pub jitter: Duration,
    /// How many of a hundred packets are lost.
    pub loss_percent: f64,
    /// Megabits per second; as fast as it goes where none is given. With delay, jitter or loss this
    /// machine carries about a hundred.
    pub rate_mbit: Option<f64>,
    /// The path MTU in bytes, where it is smaller than that of the interfaces: a larger IP packet
    /// vanishes, and no ICMP message says so, as with a tunnel behind a firewall that filters ICMP.
    /// Nothing on such a line is segmented by an interface: both ends of it are TAP devices.
    pub mtu: Option<u16>,
    /// Chooses which packets are lost and how late others are.
    pub seed: u64,
}

impl Wan {
    /// A line of this delay, one way.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// A line that loses this share of the packets, in percent.
    #[must_use]
    pub fn lossy(loss_percent: f64) -> Self {
        Self { loss_percent, ..Self::default() }
    }

    /// A line on which packets of more than `mtu` bytes vanish without a word.
    #[must_use]
    pub fn narrow(mtu: u16) -> Self {
        Self { mtu: Some(mtu), ..Self::default() }
    }

    /// Whether a cable that is limited to the rate does not do.
    pub(crate) fn needs_line(&self) -> bool {
        let rate_alone = Self { rate_mbit: self.rate_mbit, ..Self::default() };
        self.rate_mbit.is_none() || *self != rate_alone
    }

    /// The commands that make `interface` send no faster than this.
    pub(crate) fn bucket(&self, interface: &str) -> String {
        let queue = match self.rate_mbit {
            Some(rate) => format!("tbf rate {rate}mbit burst 32kb latency 50ms"),
            None => "pfifo limit 1000".into(),
        };
        format!("qdisc replace dev {interface} root {queue}\n")
    }
}

/// A line between two interfaces; they are gone when it is dropped.
pub(crate) struct Line {
    wan: Arc<Mutex<Wan>>,
    /// Closing it ends the thread.
    _running: OwnedFd,
}

impl Line {
    /// Makes the two interfaces, by namespace and name, and carries packets between them.
    pub(crate) fn new(ends: [(&Namespace, &str); 2], wan: &Wan) -> Result<Self, LabError> {
        let cannot = || LabError::io("cannot make a WAN line");
        let [near, far] = ends.map(|(namespace, name)| namespace.tap(name));
        let taps = [File::from(near?), File::from(far?)];
        let (stop, running) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| cannot()(error.into()))?;
        let wan = Arc::new(Mutex::new(wan.clone()));
        let carried = Arc::clone(&wan);
        thread::Builder::new()
            .name("wan".into())
            .spawn(move || pump::carry(&taps, &stop, &carried))
            .map_err(cannot())?;
        Ok(Self { wan, _running: running })
    }

    /// Changes what it does, from the next packet on.
    pub(crate) fn set(&self, wan: &Wan) {
        *self.wan.lock().unwrap_or_else(PoisonError::into_inner) = wan.clone();
    }
}
