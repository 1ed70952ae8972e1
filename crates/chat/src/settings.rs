//! What the core's rules read: what the deployment's item says, and how much `send` and `open` take.

use std::sync::{Mutex, PoisonError};

use chatlane_protocol::UnixMillis;
use chatlane_protocol::limits::{ADDED_A_DAY_MAX, ANCHOR_BYTES_MAX, ANCHOR_ENTRIES_MAX, ENTRY_BYTES_MAX, OPENED_A_DAY_MAX};

use crate::deployment::{Deployment, EPOCH_FIRST, Keys, Secret};
use crate::log::recheck::Recheck;
use crate::ports::{Clock, Deployments, Failure};

/// How long a function believes what it has read. So long after the epoch is raised *in place*, a warm function may still write the old
/// one; tables that were restored under new names are given to functions that start anew.
pub const READ_EVERY_MS: u64 = 60_000;

/// The settings by which one request is served. A function has them from [`Deployed`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The epoch that new entries carry.
    pub epoch: u32,
    /// The deployment's keys.
    pub keys: Keys,
    /// What `send` and `open` take.
    pub limits: Limits,
}

/// What `send` and `open` take. The same for all functions of one deployment.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Whether conversations limit how many messages they take.
    pub admission: AdmissionLimit,
    /// How far behind the tail an anchor may be.
    pub anchor: AnchorBound,
    /// Bytes of one entry's live frame, as encoded.
    pub entry_bytes_max: usize,
    /// When the sender's row is read again.
    pub recheck: Recheck,
    /// New conversations of one user and day.
    pub opened_a_day_max: u64,
    /// Users whom one user adds to groups on one day.
    pub added_a_day_max: u64,
}

/// Whether conversations limit how many messages they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionLimit {
    /// As the facts of the tail say.
    PerConversation,
    /// Everything is admitted; the bucket in the facts stays as it is.
    Off,
}

/// How far behind the tail an anchor may be: a send pays for reading what lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchorBound {
    /// Entries after the anchor.
    pub entries_max: usize,
    /// Bytes of these entries, as [`crate::Entry::stored_bytes`] counts them.
    pub bytes_max: usize,
}

impl Limits {
    /// The documented ones.
    pub const DEFAULT: Self = Self {
        admission: AdmissionLimit::PerConversation,
        anchor: AnchorBound { entries_max: ANCHOR_ENTRIES_MAX, bytes_max: ANCHOR_BYTES_MAX },
        entry_bytes_max: ENTRY_BYTES_MAX,
        recheck: Recheck::DEFAULT,
        opened_a_day_max: OPENED_A_DAY_MAX,
        added_a_day_max: ADDED_A_DAY_MAX,
    };
}

/// What a function knows of its deployment: read at its start and, by the first request after that, once a minute.
#[derive(Debug)]
pub struct Deployed {
    limits: Limits,
    founds: Option<Secret>,
    known: Mutex<Option<Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    settings: Settings,
    read: UnixMillis,
}

impl Deployed {
    /// Of a function that can do nothing before the deployment's item is there.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, founds: None, known: Mutex::new(None) }
    }

    /// Of a function that makes the item if there is none yet, with this secret: freshly drawn, and never used if somebody was faster.
    pub const fn founding(limits: Limits, secret: Secret) -> Self {
        Self { limits, founds: Some(secret), known: Mutex::new(None) }
    }

    /// The settings by which a request is served now. An error: they could not be read, and nothing may be served without them.
    pub async fn settings<P: Deployments + Clock>(&self, ports: &P) -> Result<Settings, Failure> {
        let now = ports.now();
        if let Some(known) = self.known()
            && known.read <= now
            && now.since_ms(known.read) < READ_EVERY_MS
        {
            return Ok(known.settings);
        }
        let deployment = match (ports.deployment().await?, &self.founds) {
            (Some(deployment), _) => deployment,
            (None, Some(secret)) => ports.found(&Deployment { secret: secret.clone(), epoch: EPOCH_FIRST }).await?,
            (None, None) => return Err(Failure::unavailable("read the deployment's item", "nobody has said hello or opened anything yet")),
        };
        let settings = Settings { epoch: deployment.epoch, keys: Keys::of(&deployment.secret), limits: self.limits };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { settings: settings.clone(), read: now });
        Ok(settings)
    }

    fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
