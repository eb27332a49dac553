//! A program that prints the workload's own token (Google's AIP-4117).

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::NAME;
use super::subject::{ExecutableFields, SubjectContext};
use crate::clock::unix_seconds;
use crate::error::{SourceError, SourceErrorKind};
use crate::source::file::{CredentialsFile, read_text};
use crate::source::program::Program;
use crate::source::wire::Wire;

/// The program, and the file it may leave its answer in.
pub(super) struct Executable {
    program: Program,
    output_file: Option<PathBuf>,
}

impl Executable {
    pub(super) fn new(
        file: &CredentialsFile,
        fields: ExecutableFields,
    ) -> Result<Self, SourceError> {
        let timeout = Duration::from_millis(fields.timeout_millis.unwrap_or(30_000));
        if !(Duration::from_secs(5)..=Duration::from_secs(120)).contains(&timeout) {
            return Err(file.fail("has a \"timeout_millis\" outside 5000 to 120000"));
        }
        // Words, not a shell's line: nothing in it is expanded.
        let mut words = fields.command.split_whitespace();
        let name = words
            .next()
            .ok_or_else(|| file.fail("has an empty \"command\""))?;
        let program = Program::new(NAME, name, words, timeout);
        Ok(Self {
            program,
            output_file: fields.output_file,
        })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.program.timeout()
    }

    pub(super) async fn token(
        &self,
        context: &SubjectContext,
        wire: &Wire,
    ) -> Result<Zeroizing<String>, SourceError> {
        if let Some(path) = &self.output_file
            && let Ok(text) = read_text(path, invalid)
            && let Ok(answer) = serde_json::from_str::<Answer>(&text)
            && answer.success
            && answer.outlives(wire.now())
        {
            return answer.into_token(context, wire.now());
        }
        let mut program = self.program.clone();
        program.set("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE", context.audience());
        program.set(
            "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE",
            context.subject_token_type(),
        );
        program.set("GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE", "0");
        if let Some(email) = context.impersonated_email() {
            program.set("GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL", email);
        }
        if let Some(path) = &self.output_file {
            program.set("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE", path);
        }
        let output = program.run().await?;
        let answer = serde_json::from_str::<Answer>(&output.printed);
        match (answer, output.failure) {
            (Ok(answer), None) => answer.into_token(context, wire.now()),
            // What it has to say of its failure is in its answer, if it has one.
            (Ok(answer), Some(_)) if !answer.success => answer.into_token(context, wire.now()),
            (_, Some(failure)) => Err(failure),
            (Err(_), None) => Err(invalid(
                "the program printed something other than its answer in JSON",
            )),
        }
    }
}

/// What the program prints.
#[derive(Deserialize)]
struct Answer {
    version: u32,
    success: bool,
    token_type: Option<String>,
    id_token: Option<Zeroizing<String>>,
    saml_response: Option<Zeroizing<String>>,
    expiration_time: Option<u64>,
    code: Option<String>,
    message: Option<String>,
}

impl Answer {
    fn outlives(&self, now: SystemTime) -> bool {
        self.expiration_time
            .is_some_and(|end| end > unix_seconds(now))
    }

    fn into_token(
        self,
        context: &SubjectContext,
        now: SystemTime,
    ) -> Result<Zeroizing<String>, SourceError> {
        if self.version != 1 {
            return Err(invalid("the program answers in a version other than 1"));
        }
        if !self.success {
            let message = self.message.as_deref().unwrap_or("the program said no");
            let error = SourceError::new(SourceErrorKind::Refused, NAME, message);
            return Err(match &self.code {
                Some(code) => error.with_code(code),
                None => error,
            });
        }
        if self.token_type.as_deref() != Some(context.subject_token_type()) {
            return Err(invalid(
                "the program gave a token of another type than the file names",
            ));
        }
        if self.expiration_time.is_some() && !self.outlives(now) {
            return Err(invalid("the program gave a token that has expired"));
        }
        self.id_token
            .or(self.saml_response)
            .filter(|token| !token.is_empty())
            .ok_or_else(|| invalid("the program's answer has no token in it"))
    }
}

fn invalid(message: &str) -> SourceError {
    SourceError::new(SourceErrorKind::InvalidAnswer, NAME, message)
}
