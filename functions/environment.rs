//! What a function reads from its environment, once, at its start. A Lambda has one source of settings.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Instant;

use chatlane_aws::{Clocks, Parts, Resource, sdk_config};
use chatlane_chat::deployment::Secret;
use chatlane_chat::limit::Budget;
use chatlane_chat::ports::Clock;
use chatlane_chat::settings::{AdmissionLimit, AnchorBound, Deployed, Limits};
use chatlane_protocol::UnixMillis;
use chatlane_protocol::limits::{ANCHOR_BYTES_MAX, ANCHOR_ENTRIES_MAX};

use crate::handshake::authorize::token::TokenPolicy;
use crate::limit::UserLimit;

/// What each user may spend for long; 0: as much as they like, and they open as many conversations as they like.
const BUDGET_RATE: &str = "CHATLANE_BUDGET_UNITS_PER_S";

/// Everything that is wrong with the environment, in one error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the function's environment is not complete: {}", .0.join("; "))]
pub struct BadEnvironment(Vec<String>);

/// Reads variables, notes which were asked for, and collects what is wrong, so that one start names all of it.
#[derive(Debug)]
pub struct Environment {
    variables: HashMap<String, String>,
    asked: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Environment {
    /// Of this process.
    pub fn of_process() -> Self {
        Self::new(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))))
    }

    /// Of these variables.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { variables: variables.into_iter().collect(), asked: BTreeSet::new(), wrong: vec![] }
    }

    /// A variable that must be there and not be empty.
    pub fn text(&mut self, name: &str) -> String {
        self.asked.insert(name.to_owned());
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
        self.asked.insert(name.to_owned());
        self.unasked(name, default)
    }

    /// A setting that tests change and no deployment does: it does not count as asked for.
    fn unasked(&self, name: &str, default: &str) -> String {
        self.variables.get(name).filter(|value| !value.is_empty()).cloned().unwrap_or_else(|| default.to_owned())
    }

    /// A number with a default.
    fn asked_number_or(&mut self, name: &str, default: u64) -> u64 {
        self.asked.insert(name.to_owned());
        self.number_or(name, default)
    }

    fn number_or<T: FromStr + Copy + Display>(&mut self, name: &str, default: T) -> T {
        let text = self.unasked(name, &default.to_string());
        text.parse().unwrap_or_else(|_| {
            self.wrong.push(format!("{name} is not a number"));
            default
        })
    }

    /// The parts of the deployment that the ports of type `Ports` stand on.
    pub fn ports<Ports: Parts>(&mut self) -> PortsToBe<Ports> {
        let names = Ports::RESOURCES.iter().flatten().map(|resource| (*resource, self.text(variable(*resource)))).collect();
        PortsToBe { names, ports: PhantomData }
    }

    /// Whose tokens are accepted: the source of the issuer's keys (a JWK set or its address), and the rules.
    pub fn issuer(&mut self) -> (String, TokenPolicy) {
        let keys = self.text_or("CHATLANE_JWKS", "");
        let source = self.text_or("CHATLANE_JWKS_URL", &keys);
        if source.is_empty() {
            self.wrong.push("CHATLANE_JWKS and CHATLANE_JWKS_URL are missing".to_owned());
        }
        let policy = TokenPolicy {
            issuer: self.text("CHATLANE_JWT_ISSUER"),
            audience: self.text("CHATLANE_JWT_AUDIENCE"),
            types: TokenPolicy::types(&self.text_or("CHATLANE_JWT_TYPES", TokenPolicy::DEFAULT_TYPES)),
            user_claim: self.text_or("CHATLANE_JWT_USER_CLAIM", TokenPolicy::DEFAULT_USER_CLAIM),
            life_max_s: self.asked_number_or("CHATLANE_MAX_TOKEN_LIFE_S", TokenPolicy::DEFAULT_LIFE_MAX_S),
        };
        (if keys.is_empty() { source } else { keys }, policy)
    }

    /// What users may spend.
    pub fn limit(&mut self) -> UserLimit {
        let units_per_s = self.asked_number_or(BUDGET_RATE, Budget::DEFAULT.units_per_s);
        let burst = self.asked_number_or("CHATLANE_BUDGET_BURST_UNITS", Budget::DEFAULT.burst);
        let charged_min = self.number_or("CHATLANE_CHARGED_MIN_UNITS", Budget::DEFAULT.charged_min);
        UserLimit::new((units_per_s > 0).then_some(Budget { units_per_s, burst, charged_min: charged_min.max(1) }))
    }

    /// What the function knows of its deployment.
    pub fn deployed(&mut self) -> Deployed {
        Deployed::new(self.request_limits())
    }

    /// The same for a function that makes the deployment's item where there is none, with a secret that is drawn now.
    pub fn founding(&mut self) -> Deployed {
        let mut secret = [0; Secret::BYTES];
        if getrandom::fill(&mut secret).is_err() {
            self.wrong.push("the system has no random numbers".to_owned());
        }
        Deployed::founding(self.request_limits(), Secret(secret))
    }

    /// Tests change them; no deployment does.
    fn request_limits(&mut self) -> Limits {
        let admission = match self.unasked("CHATLANE_ADMISSION", "on").as_str() {
            "off" => AdmissionLimit::Off,
            "on" => AdmissionLimit::PerConversation,
            _ => {
                self.wrong.push("CHATLANE_ADMISSION is neither `on` nor `off`".to_owned());
                AdmissionLimit::PerConversation
            }
        };
        let anchor = AnchorBound {
            entries_max: self.number_or("CHATLANE_ANCHOR_ENTRIES_MAX", ANCHOR_ENTRIES_MAX),
            bytes_max: self.number_or("CHATLANE_ANCHOR_BYTES_MAX", ANCHOR_BYTES_MAX),
        };
        let is_limited = self.number_or(BUDGET_RATE, Budget::DEFAULT.units_per_s) > 0;
        let limits = Limits { admission, anchor, ..Limits::DEFAULT };
        if is_limited { limits } else { Limits { opened_a_day_max: u64::MAX, added_a_day_max: u64::MAX, ..limits } }
    }

    /// All variables that were asked for so far.
    pub const fn asked(&self) -> &BTreeSet<String> {
        &self.asked
    }

    /// What `asks` asks for, or all that is wrong with it.
    pub fn give<T>(mut self, asks: impl FnOnce(&mut Self) -> T) -> Result<T, BadEnvironment> {
        let given = asks(&mut self);
        self.finish().map(|()| given)
    }

    /// Says what is wrong, if anything is.
    fn finish(self) -> Result<(), BadEnvironment> {
        if self.wrong.is_empty() { Ok(()) } else { Err(BadEnvironment(self.wrong)) }
    }
}

/// The variable that names a part of the deployment.
const fn variable(resource: Resource) -> &'static str {
    match resource {
        Resource::Log => "CHATLANE_LOG_TABLE",
        Resource::Conversations => "CHATLANE_CONVERSATIONS_TABLE",
        Resource::Inboxes => "CHATLANE_INBOXES_TABLE",
        Resource::Users => "CHATLANE_USERS_TABLE",
        Resource::Queue => "CHATLANE_FAN_OUT_QUEUE_URL",
        Resource::Gateway => "CHATLANE_CONNECTIONS_ENDPOINT",
    }
}

/// The names of a function's parts of the deployment, from which its ports are made.
#[derive(Debug)]
pub struct PortsToBe<Ports> {
    names: HashMap<Resource, String>,
    ports: PhantomData<Ports>,
}

impl<Ports: Parts> PortsToBe<Ports> {
    /// The ports, with clients of the SDK that are set up from the environment. Calls nobody.
    pub async fn make(&self) -> Ports {
        Ports::new(&sdk_config().await, &self.names, Clocks { now: system_clock, steady_ms })
    }
}

/// This machine's clock, for the function that has no ports.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        system_clock()
    }

    fn steady_ms(&self) -> u64 {
        steady_ms()
    }
}

/// Milliseconds since this process first asked.
fn steady_ms() -> u64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(FIRST.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// This machine's clock: the one place where the functions read it.
pub fn system_clock() -> UnixMillis {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis::try_from(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)).unwrap_or(UnixMillis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn one_error_names_everything_that_is_missing_or_wrong() {
        let env = environment(&[("CHATLANE_ADMISSION", "maybe"), ("CHATLANE_ANCHOR_ENTRIES_MAX", "-1")]);
        let error = env.give(|env| crate::Function::Send.ask(env)).unwrap_err().to_string();
        for name in [
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
        let mut env = environment(&[]);
        let limits = env.request_limits();
        assert_eq!(env.finish(), Ok(()));
        assert_eq!(limits.admission, AdmissionLimit::PerConversation);
        assert_eq!((limits.anchor.entries_max, limits.anchor.bytes_max), (200, 128 * 1024));
    }
}
