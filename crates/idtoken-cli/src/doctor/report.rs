//! What was found, in the order in which it was looked for.

use serde_json::{Value, json};

use crate::exit::Exit;
use crate::output::{BAD, DIM, GOOD, WARN, printable};

#[derive(Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(super) fn first_fault(&self) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| matches!(finding.state, State::Bad(_)))
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let (style, mark) = match finding.state {
                State::Bad(_) => (BAD, "FAIL"),
                State::Good => (GOOD, "ok"),
                State::Note => (WARN, "note"),
            };
            text.push_str(&format!(
                "{style}{mark:<4}{style:#}  {:<12} {}\n",
                finding.name,
                printable(&finding.text)
            ));
            if let Some(advice) = &finding.advice {
                text.push_str(&format!("      {DIM}{}{DIM:#}\n", printable(advice)));
            }
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "advice": finding.advice,
                "name": finding.name,
                "state": match finding.state {
                    State::Bad(_) => "fail",
                    State::Good => "ok",
                    State::Note => "note",
                },
                "text": finding.text,
            })
        };
        json!({
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "healthy": self.first_fault().is_none(),
        })
    }
}

pub(super) struct Finding {
    name: &'static str,
    state: State,
    text: String,
    advice: Option<String>,
}

enum State {
    /// The call will fail; the code to end with.
    Bad(Exit),
    Good,
    /// Worth knowing, and perhaps the reason.
    Note,
}

impl Finding {
    pub(super) fn bad(name: &'static str, exit: Exit, text: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Bad(exit),
            text: text.into(),
            advice: None,
        }
    }

    pub(super) fn good(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Good,
            text: text.into(),
            advice: None,
        }
    }

    pub(super) fn note(
        name: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            name,
            state: State::Note,
            text: text.into(),
            advice: Some(advice.into()),
        }
    }

    pub(super) fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(super) fn exit(&self) -> Exit {
        match self.state {
            State::Bad(exit) => exit,
            State::Good | State::Note => Exit::Success,
        }
    }

    pub(super) fn line(&self) -> String {
        format!("{}: {}", self.name, self.text)
    }

    #[cfg(test)]
    pub(super) fn summary(&self) -> String {
        let state = match self.state {
            State::Bad(_) => "bad",
            State::Good => "good",
            State::Note => "note",
        };
        let advice = self.advice.as_deref().unwrap_or_default();
        format!("{state}: {} | {advice}", self.text)
    }
}
