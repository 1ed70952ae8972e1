//! The ports as they are deployed, through the real SDK over HTTP: the core's own contract suite on embedded `DynamoDB`, what becomes of
//! AWS's refusals there and of writes in between, what calls cost, delivery tasks through the queue, posts through `@connections`.
//!
//! The suite alone also runs on real tables: `CHATLANE_CONTRACT_TABLES=LOG,CONVERSATIONS,INBOXES,USERS` and AWS credentials in the
//! environment of `cargo nextest run -p chatlane-tests-e2e --test contract suite`.

mod between;
mod embedded;
mod epoch;
mod fixtures;
mod outbound;
mod queue;
mod refusals;
mod requests;
mod suite;
