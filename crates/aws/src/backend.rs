//! What a function is given of the deployment, as a type: a port exists where the tables that it needs are given.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use chatlane_chat::ports::Clock;
use chatlane_protocol::UnixMillis;

use crate::meter::Meter;
use crate::store::table::Table;

/// All ports that stand on these parts of a deployment; `()` stands for a part that is not given. Each port is implemented for the parts
/// that it needs, whatever the others are, so a function that was not given a table cannot be written to use it.
#[derive(Clone, Debug)]
pub struct Backend<L = (), C = (), I = (), U = (), Q = (), G = ()> {
    pub(crate) log: L,
    pub(crate) conversations: C,
    pub(crate) inboxes: I,
    pub(crate) users: U,
    /// The queue of delivery tasks.
    pub queue: Q,
    /// The gateway's management endpoint.
    pub gateway: G,
    clocks: Clocks,
}

/// Where the time comes from, as [`Clock`] has it.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// [`Clock::now`].
    pub now: fn() -> UnixMillis,
    /// [`Clock::steady_ms`].
    pub steady_ms: fn() -> u64,
}

/// All tables of a deployment, for tools and tests.
pub type Store = Backend<Log, Conversations, Inboxes, Users>;

/// A part of a deployment whose name a function is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The table of entries.
    Log,
    /// The table of conversations: `meta`, `head` and members of each; and the deployment's item.
    Conversations,
    /// The table of each user's conversations.
    Inboxes,
    /// The table of each user's sessions.
    Users,
    /// The queue, by its URL.
    Queue,
    /// The gateway's management endpoint, by its URL.
    Gateway,
}

/// What parts are made with. The tables share one client, and so its connections: the first one that is opened serves them all.
#[derive(Debug)]
pub struct Clients<'a> {
    /// How the SDK is set up.
    pub config: &'a SdkConfig,
    /// Of the tables.
    pub tables: Client,
}

/// One part: a table, the queue, the gateway, or `()`.
pub trait Part: Send + Sync + Sized {
    /// What it is; `None` for `()`.
    const RESOURCE: Option<Resource>;

    /// The part of this name. Calls nobody.
    fn new(clients: &Clients<'_>, name: &str) -> Self;
}

impl Part for () {
    const RESOURCE: Option<Resource> = None;

    fn new(_clients: &Clients<'_>, _name: &str) -> Self {}
}

macro_rules! table {
    ($(#[doc = $about:literal])* $Table:ident) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        pub struct $Table(pub(crate) Table);

        impl Part for $Table {
            const RESOURCE: Option<Resource> = Some(Resource::$Table);

            fn new(clients: &Clients<'_>, name: &str) -> Self {
                Self(Table::new(clients.tables.clone(), name.to_owned()))
            }
        }
    };
}

table!(
    /// The table of entries.
    Log
);
table!(
    /// The table of conversations.
    Conversations
);
table!(
    /// The table of inboxes.
    Inboxes
);
table!(
    /// The table of users.
    Users
);

/// The parts of a [`Backend`], as a list.
pub trait Parts: Sized {
    /// In the order of the backend's parameters.
    const RESOURCES: [Option<Resource>; 6];

    /// On the parts of these names. Calls nobody.
    ///
    /// # Panics
    /// If one of [`Parts::RESOURCES`] has no name.
    fn new(config: &SdkConfig, names: &HashMap<Resource, String>, clocks: Clocks) -> Self;
}

impl<L: Part, C: Part, I: Part, U: Part, Q: Part, G: Part> Parts for Backend<L, C, I, U, Q, G> {
    const RESOURCES: [Option<Resource>; 6] = [L::RESOURCE, C::RESOURCE, I::RESOURCE, U::RESOURCE, Q::RESOURCE, G::RESOURCE];

    fn new(config: &SdkConfig, names: &HashMap<Resource, String>, clocks: Clocks) -> Self {
        fn part<P: Part>(clients: &Clients<'_>, names: &HashMap<Resource, String>) -> P {
            P::new(clients, P::RESOURCE.map_or("", |resource| names.get(&resource).expect("every part has a name")))
        }
        let tables = Client::from_conf(aws_sdk_dynamodb::config::Builder::from(config).interceptor(Meter).build());
        let clients = &Clients { config, tables };
        Self {
            log: part(clients, names),
            conversations: part(clients, names),
            inboxes: part(clients, names),
            users: part(clients, names),
            queue: part(clients, names),
            gateway: part(clients, names),
            clocks,
        }
    }
}

impl<L: Part, C: Part, I: Part, U: Part, Q: Part, G: Part> Clock for Backend<L, C, I, U, Q, G> {
    fn now(&self) -> UnixMillis {
        (self.clocks.now)()
    }

    fn steady_ms(&self) -> u64 {
        (self.clocks.steady_ms)()
    }
}
