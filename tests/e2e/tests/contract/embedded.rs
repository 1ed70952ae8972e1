//! Embedded endpoints without a stack around them.

use std::net::Ipv4Addr;

use axum::Router;
use chatlane_aws::{Store, sdk_config, sdk_config_at, without_time_limits};
use chatlane_local::embedded::{Dynamo, Endpoints, Service};
use chatlane_local::stack::tables;
use chatlane_tests_e2e::store_on;
use tokio::net::TcpListener;

/// Who the calls of these tests come from.
pub const CALLER: &str = "contract-1";

/// Serves a router behind the layer until the test's runtime ends; answers its URL.
pub async fn serve(endpoints: &Endpoints, service: Service, router: Router) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let endpoints = endpoints.clone();
    tokio::spawn(async move { endpoints.serve(service, listener, router, std::future::pending()).await });
    url
}

/// A store, and what it stands on.
pub struct Backend {
    pub store: Store,
    /// Where its requests can be held. Sees none of a store on real tables.
    pub endpoints: Endpoints,
    /// Where it answers. Empty for a store on real tables.
    pub url: String,
    _dynamo: Option<Dynamo>,
}

impl Backend {
    /// On an empty database in memory with the tables of the stack, with the SDK as the functions have it.
    pub async fn embedded() -> Self {
        let (dynamo, endpoints, url) = database().await;
        let store = store_on(&sdk_config_at(&url, CALLER).await, NAMES);
        Self { store, endpoints, url, _dynamo: Some(dynamo) }
    }

    /// On the tables that `CHATLANE_CONTRACT_TABLES` names, embedded where it names none; however long an answer takes.
    pub async fn chosen() -> Self {
        if let Ok(real) = std::env::var("CHATLANE_CONTRACT_TABLES") {
            let real: Vec<&str> = real.split(',').collect();
            let real = real.try_into().expect("CHATLANE_CONTRACT_TABLES names four tables: log, conversations, inboxes, users");
            let store = store_on(&without_time_limits(&sdk_config().await), real);
            return Self { store, endpoints: Endpoints::new(), url: String::new(), _dynamo: None };
        }
        let (dynamo, endpoints, url) = database().await;
        let config = without_time_limits(&sdk_config_at(&url, CALLER).await);
        let store = store_on(&config, NAMES);
        Self { store, endpoints, url, _dynamo: Some(dynamo) }
    }
}

/// A served database in memory, and its URL.
async fn database() -> (Dynamo, Endpoints, String) {
    let dynamo = Dynamo::open(None).await.expect("a database in memory");
    for (definition, ttl) in tables() {
        dynamo.create_table(&definition, ttl).expect("the definitions of the stack are good");
    }
    let endpoints = Endpoints::new();
    let url = serve(&endpoints, Service::DynamoDb, dynamo.router()).await;
    (dynamo, endpoints, url)
}

/// As the stack names them.
const NAMES: [&str; 4] = ["log", "conversations", "inboxes", "users"];
