//! A connection's beginning and end: who may open one, and what is left when it is closed.

pub mod authorize;
pub mod connect;
pub mod disconnect;
