//! The checker, judged: two good stories are good, and every way of spoiling them is found.

mod allowed;
mod malformed;
mod program;
mod spoiled;
mod story;
