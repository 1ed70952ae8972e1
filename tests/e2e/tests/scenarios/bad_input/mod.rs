//! What the gateway itself does not take, and what looks bad and is not, against the running stack. What closes a socket stores and queues
//! nothing, a request of another device that is in flight at that moment is answered as ever, and no process fails (R1). Requests that are
//! refused by a frame are the parser's (`crates/protocol/tests`), and the second judge's on the whole stack.

mod closing;
mod odd_but_good;
mod scene;
