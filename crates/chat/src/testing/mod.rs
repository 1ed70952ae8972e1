//! For tests of this workspace: a backend in memory ([`memory`]), the suite that every backend passes ([`contract`]), and two engines that
//! decide the order of the calls, [`interleave`] and [`stepping`]. Both schedule calls at the [`desk`], which a [`wrapper`] hands them.

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
