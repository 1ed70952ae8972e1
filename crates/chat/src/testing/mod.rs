//! For tests of this workspace: a backend in memory, and the suite that every backend passes.

pub mod builders;
pub mod contract;
pub mod desk;
pub mod faulty;
pub mod interleave;
pub mod memory;
pub mod ready;
pub mod stage;
pub mod stepping;
pub mod wrapper;
