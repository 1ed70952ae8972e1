//! Why a call of a port came to nothing.

/// Why a call of a port came to nothing. `attempted` is what was attempted, in words of this crate; the rest is for logs and never holds
/// bodies, tokens or user ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The outcome is unknown; the same request with the same ids is safe to repeat.
    #[error("{attempted}: {cause}")]
    Unavailable {
        /// What was attempted.
        attempted: &'static str,
        /// What the backend said.
        cause: String,
    },
    /// An item or a queue message that is not as any version writes it. A repetition reads the same: somebody has to look at it.
    #[error("{attempted}: {part}")]
    Unreadable {
        /// What was read.
        attempted: &'static str,
        /// What is wrong with it: names, never values.
        part: String,
    },
}

impl Failure {
    /// `attempted` failed with `cause`; whether it took effect is unknown.
    pub fn unavailable(attempted: &'static str, cause: impl Into<String>) -> Self {
        Self::Unavailable { attempted, cause: cause.into() }
    }

    /// `attempted` found something that is not as it was written: `part` says what.
    pub fn unreadable(attempted: &'static str, part: impl Into<String>) -> Self {
        Self::Unreadable { attempted, part: part.into() }
    }

    /// Logs this failure as what it is: a warning for an outage, which passes; an error for a corrupt item, which does not.
    pub fn log(&self, doing: &str) {
        match self {
            Self::Unavailable { .. } => tracing::warn!("{doing}: {self}"),
            Self::Unreadable { .. } => tracing::error!("{doing}: {self}"),
        }
    }
}
