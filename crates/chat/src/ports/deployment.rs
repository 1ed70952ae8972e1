//! The item that all functions of a deployment share.

use super::{Failure, port};
use crate::deployment::Deployment;

port! {
    /// The item that all functions of a deployment share.
    pub trait Deployments {
        /// The item; `None`: there is none yet.
        reads fn deployment(;) -> Result<Option<Deployment>, Failure>;

        /// Stores the item if there is none; answers the one that stands, in any case.
        writes fn found(first: &Deployment;) -> Result<Deployment, Failure>;
    }
}
