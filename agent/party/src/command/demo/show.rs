//! The live view of a demo.

use anstyle::{AnsiColor, Style};
use mpyc_party_core::name::PartyName;
use serde_json::{Value, json};

use super::super::output::{self, Mark, Step};
use super::site::Site;

/// One colour a party, in turn.
const COLOURS: [AnsiColor; 5] =
    [AnsiColor::Cyan, AnsiColor::Magenta, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Blue];

/// Shows what the parties report.
#[derive(Debug)]
pub(super) struct Show {
    json: bool,
    parties: Vec<PartyName>,
    width: usize,
    directory: String,
}

impl Show {
    pub(super) fn new(json: bool, site: &Site) -> Self {
        let parties = site.parties().to_vec();
        let width = parties.iter().map(|name| name.as_str().len()).max().unwrap_or(0);
        Self { json, parties, width, directory: site.directory().display().to_string() }
    }

    /// A step of one party, or of the hub.
    pub(super) fn step(&self, party: Option<&PartyName>, text: &str) {
        if self.json {
            return output::json_line(&json!({"party": party, "event": "step", "text": text}));
        }
        let name = party.map_or("hub", PartyName::as_str);
        output::of_one(Step, &self.label(name), text);
    }

    fn label(&self, name: &str) -> String {
        let at = self.parties.iter().position(|party| party.as_str() == name);
        let colour = at.map_or(Style::new().bold(), |at| COLOURS[at % COLOURS.len()].on_default());
        format!("{colour}{name:width$} │{colour:#}", width = self.width)
    }

    /// An event that a party reports.
    pub(super) fn event(&self, party: &PartyName, event: &Value) {
        if self.json {
            let mut event = event.clone();
            event["party"] = json!(party);
            return output::json_line(&event);
        }
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        let after = |key: &str| format!("{:.2} s", event[key].as_f64().unwrap_or_default());
        let label = self.label(party.as_str());
        match text("event") {
            "output" => output::of_program_of_one(&label, text("line")),
            "log" => output::of_program_log_of_one(&label, text("line")),
            "warning" => output::of_one(Mark::Doubtful, &label, text("text")),
            "linked" if event["missing"].as_array().is_some_and(Vec::is_empty) => {
                output::of_one(Step, &label, "found and linked to all others");
            }
            "agreed" => output::of_one(Step, &label, format!("agreed on run {}", text("run"))),
            "running" => {
                output::of_one(Step, &label, format!("running after {}", after("after_s")))
            }
            "connected" => {
                output::of_one(Step, &label, format!("MPyC connected after {}", after("after_s")));
            }
            "ended" if event["verdict"] == "completed" => {
                output::of_one(Mark::Good, &label, "completed");
            }
            "ended" => output::of_one(Mark::Bad, &label, text("text")),
            _ => {}
        }
    }

    /// The end.
    pub(super) fn end(&self, completed: bool) {
        if self.json {
            let end = json!({"event": "end", "completed": completed, "directory": self.directory});
            return output::json_line(&end);
        }
        let where_ = format!("output and logs of each party are below {}", self.directory);
        if completed {
            output::good(format!("all parties completed; {where_}"));
        } else {
            output::bad(format!("not completed; {where_}"));
        }
    }
}
