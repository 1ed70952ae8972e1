//! Why a call of a port came to nothing.

/// Why a call of a port came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The outcome is unknown; the same request with the same ids is safe to repeat.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// What is stored or queued is not as any version writes it; a repetition reads the same.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// The outcome is unknown; the same request with the same ids is safe to repeat.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}: {cause}")]
pub struct Unavailable {
    /// What was attempted, in words of this crate.
    pub attempted: &'static str,
    /// What the backend said. For logs: never holds bodies, tokens or user ids.
    pub cause: String,
}

/// An item or a queue message that is corrupt: somebody has to look at it.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}: {part}")]
pub struct Unreadable {
    /// What was read, in words of this crate.
    pub attempted: &'static str,
    /// What is wrong with it. For logs: names, never values.
    pub part: String,
}

impl Failure {
    /// `attempted` failed with `cause`; whether it took effect is unknown.
    pub fn unavailable(attempted: &'static str, cause: impl Into<String>) -> Self {
        Self::Unavailable(Unavailable { attempted, cause: cause.into() })
    }

    /// `attempted` found something that is not as it was written: `part` says what.
    pub fn unreadable(attempted: &'static str, part: impl Into<String>) -> Self {
        Self::Unreadable(Unreadable { attempted, part: part.into() })
    }

    /// Logs this failure as what it is: a warning for an outage, which passes; an error for a corrupt item, which does not.
    pub fn log(&self, doing: &str) {
        match self {
            Self::Unavailable(unavailable) => tracing::warn!("{doing}: {unavailable}"),
            Self::Unreadable(unreadable) => tracing::error!("{doing}: {unreadable}"),
        }
    }
}
