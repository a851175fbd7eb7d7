//! Tells the agent how a run goes, beside whoever else is shown it.

use tokio::sync::watch;

use super::view::{Countdown, Excerpt, Notice, View};
use crate::runner::handover::Progress;

/// Shows notices to `view`, and what the agent wants to know to it.
pub struct Telling<'a> {
    /// Who is shown everything.
    pub view: &'a mut dyn View,
    /// What the agent is told.
    pub progress: watch::Sender<Progress>,
}

impl View for Telling<'_> {
    fn show(&mut self, notice: Notice<'_>) {
        match &notice {
            Notice::Agreed(run) => {
                self.progress.send_modify(|progress| progress.run = Some(run.to_string()));
            }
            Notice::Ended(verdict) => {
                let verdict = Some((*verdict).clone());
                self.progress.send_modify(|progress| progress.verdict = verdict);
            }
            _ => {}
        }
        self.view.show(notice);
    }

    fn count_down(&mut self, countdown: Option<Countdown<'_>>) {
        self.view.count_down(countdown);
    }

    fn wrote(&mut self, excerpt: Excerpt) {
        self.view.wrote(excerpt);
    }
}
