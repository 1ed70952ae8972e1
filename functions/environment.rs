//! What a function reads from its environment, once, at its start. A Lambda has one source of settings.

use std::collections::HashMap;

use chatlane_aws::Tables;
use chatlane_chat::log::entry::DedupeKey;
use chatlane_chat::ports::Clock;
use chatlane_chat::settings::{AdmissionLimit, AnchorBound, Settings};
use chatlane_protocol::UnixMillis;
use chatlane_protocol::limits::{ANCHOR_BYTES_MAX, ANCHOR_ENTRIES_MAX};

/// Everything that is wrong with the environment, in one error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the function's environment is not complete: {}", .0.join("; "))]
pub struct BadEnvironment(Vec<String>);

/// Reads variables and collects what is wrong, so that one start names all of it.
#[derive(Debug)]
pub struct Environment {
    variables: HashMap<String, String>,
    wrong: Vec<String>,
}

impl Environment {
    /// Of this process.
    pub fn of_process() -> Self {
        Self::new(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))))
    }

    /// Of these variables.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { variables: variables.into_iter().collect(), wrong: vec![] }
    }

    /// A variable that must be there and not be empty.
    pub fn text(&mut self, name: &str) -> String {
        match self.variables.get(name) {
            Some(value) if !value.is_empty() => value.clone(),
            Some(_) | None => {
                self.wrong.push(format!("{name} is missing"));
                String::new()
            }
        }
    }

    /// A variable with a default.
    pub fn text_or(&mut self, name: &str, default: &str) -> String {
        self.variables.get(name).filter(|value| !value.is_empty()).cloned().unwrap_or_else(|| default.to_owned())
    }

    fn number_or(&mut self, name: &str, default: usize) -> usize {
        let text = self.text_or(name, &default.to_string());
        text.parse().unwrap_or_else(|_| {
            self.wrong.push(format!("{name} is not a number"));
            default
        })
    }

    /// The deployment's tables, of which the function is told those that are among its `variables`; a request to another one fails by
    /// its name.
    pub fn tables(&mut self, variables: &[&str]) -> Tables {
        let mut table = |name: &str| {
            if variables.contains(&name) { self.text(name) } else { "not-given-to-this-function".to_owned() }
        };
        Tables {
            log: table("CHATLANE_LOG_TABLE"),
            conversations: table("CHATLANE_CONVERSATIONS_TABLE"),
            inboxes: table("CHATLANE_INBOXES_TABLE"),
            users: table("CHATLANE_USERS_TABLE"),
        }
    }

    /// What the core's rules read, for a function that hashes bodies.
    pub fn settings(&mut self) -> Settings {
        let key = self.text("CHATLANE_DEDUPE_KEY");
        let key = bytes_of_hex(&key).unwrap_or_else(|| {
            self.wrong.push("CHATLANE_DEDUPE_KEY is not 64 hexadecimal digits".to_owned());
            [0; 32]
        });
        Settings { dedupe_key: DedupeKey::new(key), ..self.settings_without_key() }
    }

    /// What the core's rules read, for a function that hashes no body and is not told the key.
    pub fn settings_without_key(&mut self) -> Settings {
        let epoch = self.text("CHATLANE_EPOCH").parse().unwrap_or_else(|_| {
            self.wrong.push("CHATLANE_EPOCH is not a number of 32 bits".to_owned());
            0
        });
        let mut settings = Settings::new(epoch, DedupeKey::new([0; 32]));
        settings.admission = match self.text_or("CHATLANE_ADMISSION", "on").as_str() {
            "off" => AdmissionLimit::Off,
            "on" => AdmissionLimit::PerConversation,
            _ => {
                self.wrong.push("CHATLANE_ADMISSION is neither `on` nor `off`".to_owned());
                AdmissionLimit::PerConversation
            }
        };
        settings.anchor = AnchorBound {
            entries_max: self.number_or("CHATLANE_ANCHOR_ENTRIES_MAX", ANCHOR_ENTRIES_MAX),
            bytes_max: self.number_or("CHATLANE_ANCHOR_BYTES_MAX", ANCHOR_BYTES_MAX),
        };
        settings
    }

    /// Says what is wrong, if anything is.
    pub fn finish(self) -> Result<(), BadEnvironment> {
        if self.wrong.is_empty() { Ok(()) } else { Err(BadEnvironment(self.wrong)) }
    }
}

fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// This machine's clock: the one place where the functions read it.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis::try_from(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)).unwrap_or(UnixMillis::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn one_error_names_everything_that_is_missing_or_wrong() {
        let mut env = environment(&[("CHATLANE_EPOCH", "x"), ("CHATLANE_ADMISSION", "maybe"), ("CHATLANE_ANCHOR_ENTRIES_MAX", "-1")]);
        let _ = (env.settings(), env.text("CHATLANE_FAN_OUT_QUEUE_URL"), env.tables(crate::Role::Send.variables()));
        let error = env.finish().unwrap_err().to_string();
        for name in [
            "CHATLANE_EPOCH is not",
            "CHATLANE_DEDUPE_KEY is missing",
            "CHATLANE_ADMISSION is neither",
            "CHATLANE_ANCHOR_ENTRIES_MAX is not a number",
            "CHATLANE_FAN_OUT_QUEUE_URL is missing",
            "CHATLANE_LOG_TABLE is missing",
            "CHATLANE_CONVERSATIONS_TABLE is missing",
            "CHATLANE_USERS_TABLE is missing",
        ] {
            assert!(error.contains(name), "{name}: {error}");
        }
        assert!(!error.contains("INBOXES_TABLE"), "{error}");
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let key = "0f".repeat(32);
        let mut env = environment(&[("CHATLANE_EPOCH", "3"), ("CHATLANE_DEDUPE_KEY", &key)]);
        let settings = env.settings();
        assert_eq!(env.finish(), Ok(()));
        assert_eq!((settings.epoch, settings.admission), (3, AdmissionLimit::PerConversation));
        assert_eq!((settings.anchor.entries_max, settings.anchor.bytes_max), (200, 128 * 1024));
    }

    #[test]
    fn a_key_of_another_form_is_refused() {
        for key in ["0f", &"g".repeat(64), &"ü".repeat(32)] {
            assert!(bytes_of_hex(key).is_none(), "{key}");
        }
    }
}
