//! Bad input, row by row (`docs/PROTOCOL.md` §12), against the running stack. Each row has one documented outcome; beside it, for every
//! row: nothing is stored or queued, a request of another device that is in flight at that moment is answered as ever, and no process
//! fails (R1).

mod closing;
mod frames;
mod handshakes;
mod odd_but_good;
mod scene;
