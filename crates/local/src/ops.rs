//! What an operator does to a deployment: the stack of this machine, or one on AWS.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use chatlane_aws::{Backend, Clocks, Gateway, Parts as _, Resource, Users, sdk_config_at, sdk_config_of};
use chatlane_chat::limit;
use chatlane_chat::ports::Clock as _;
use chatlane_functions::environment::{SystemClock, system_clock};
use chatlane_protocol::UserId;
use clap::{Args, Subcommand};

use crate::data_folder::{DATA, Places};

/// Acts on users.
#[derive(Debug, Subcommand)]
pub enum Ops {
    /// Shut a user out: close all their connections, and refuse further ones for a time.
    Kick(Kick),
}

/// Whom, for how long, and where.
#[derive(Debug, Args)]
pub struct Kick {
    /// The user.
    user: String,
    /// For so many seconds; 0 closes the connections only, and lets a user in, within a minute, who was shut out.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 86_400)]
    seconds: u64,
    #[command(flatten)]
    deployment: Deployment,
}

/// Which deployment.
#[derive(Debug, Args)]
struct Deployment {
    /// Folder of the stack that runs on this machine.
    #[arg(long, default_value = DATA)]
    data: PathBuf,
    /// On AWS: the stack's output `UsersTableName`.
    #[arg(long, value_name = "NAME", requires = "connections")]
    users_table: Option<String>,
    /// On AWS: the stack's output `ConnectionsUrl`.
    #[arg(long, value_name = "URL", requires = "users_table")]
    connections: Option<String>,
    /// On AWS: the profile of the AWS tools whose region and credentials are used.
    #[arg(long, value_name = "NAME", requires = "users_table")]
    profile: Option<String>,
}

impl Ops {
    /// Does it, and says what was done.
    ///
    /// # Errors
    /// The deployment cannot be reached, or not all of it could be done.
    pub async fn execute(self) -> anyhow::Result<()> {
        let Self::Kick(Kick { user, seconds, deployment }) = self;
        let user = UserId::new(user)?;
        let ports = deployment.ports().await?;
        let until = ports.now().plus_ms(seconds.saturating_mul(1000));
        let pause = || tokio::time::sleep(Duration::from_secs(1));
        let closed =
            limit::kick(&ports, &user, until, async || pause().await).await.context("it may be that not all is done: do it again")?;
        let gate = if seconds == 0 { "may connect".to_owned() } else { format!("is shut out for {seconds} s") };
        println!("{user} {gate}; {closed} connections were closed");
        Ok(())
    }
}

impl Deployment {
    /// What is needed of it.
    async fn ports(self) -> anyhow::Result<Backend<(), (), (), Users, (), Gateway>> {
        let (config, users, connections) = if let Some((users, connections)) = self.users_table.zip(self.connections) {
            (sdk_config_of(self.profile.as_deref()).await, users, connections)
        } else {
            let Places { dynamodb, connections } = Places::read(&self.data)?;
            (sdk_config_at(&dynamodb, "ops").await, "users".to_owned(), connections)
        };
        let names = HashMap::from([(Resource::Users, users), (Resource::Gateway, connections)]);
        let steady_ms = || SystemClock.steady_ms();
        Ok(Backend::new(&config, &names, Clocks { now: system_clock, steady_ms }))
    }
}
