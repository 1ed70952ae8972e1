//! What the tests of the items share.

pub mod any;
pub mod form;
