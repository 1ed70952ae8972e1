//! The list of functions.

use chatlane_protocol::Action;
use lambda_runtime::Error;

use crate::environment::Environment;
use crate::handshake::{authorize, connect, disconnect};
use crate::http;
use crate::routes::{ack, fallback, hello, history, look, manage, open, ping, probe, read, refresh, send, sync};
use crate::workers::{fan_out, sweep};

/// Makes the enum from one line for each function: its documentation, its variant, and the name that is its handler and its module.
macro_rules! functions {
    ($(#[doc = $about:literal] $Function:ident = $module:ident,)*) => {
        /// A Lambda function of the deployment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Function {
            $(#[doc = $about] $Function,)*
        }

        impl Function {
            /// All of them, in the order of a message's way.
            pub const ALL: &[Self] = &[$(Self::$Function,)*];

            /// Its name: the function's handler, its folder, its process.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Function => stringify!($module),)*
                }
            }

            /// Asks `env` for all that the function needs, and starts nothing: for tests and tools that want to know what that is.
            pub fn ask(self, env: &mut Environment) {
                match self {
                    $(Self::$Function => drop($module::asks(env)),)*
                }
            }

            /// Runs the function's loop until its process is ended. Clients are built once, here. Returns only an error of the start.
            pub async fn run(self, env: Environment) -> Result<(), Error> {
                match self {
                    $(Self::$Function => $module::run(env).await,)*
                }
            }
        }
    };
}

functions! {
    /// The `$connect` authorizer.
    Authorize = authorize,
    /// Route `$connect`.
    Connect = connect,
    /// Route `$disconnect`.
    Disconnect = disconnect,
    /// Route `hello`.
    Hello = hello,
    /// Route `open`.
    Open = open,
    /// Routes `create`, `add`, `remove`, `leave`, `role`, `settings`, `close` and `prefs`.
    Manage = manage,
    /// Routes `info` and `members`.
    Look = look,
    /// Route `send`.
    Send = send,
    /// Route `sync`.
    Sync = sync,
    /// Route `history`.
    History = history,
    /// Route `probe`.
    Probe = probe,
    /// Route `ack`.
    Ack = ack,
    /// Route `read`.
    Read = read,
    /// Route `refresh`.
    Refresh = refresh,
    /// Route `ping`.
    Ping = ping,
    /// Route `$default`.
    Fallback = fallback,
    /// The HTTP API, all routes.
    Http = http,
    /// The queue's worker.
    FanOut = fan_out,
    /// The worker of the log's stream.
    Sweep = sweep,
}

impl Function {
    /// The function that answers this action.
    pub const fn answering(action: Action) -> Self {
        match action {
            Action::Hello => Self::Hello,
            Action::Open => Self::Open,
            Action::Send | Action::Edit | Action::Delete | Action::React => Self::Send,
            Action::Sync => Self::Sync,
            Action::History => Self::History,
            Action::Probe => Self::Probe,
            Action::Ack => Self::Ack,
            Action::Read => Self::Read,
            Action::Create
            | Action::Add
            | Action::Remove
            | Action::Leave
            | Action::Role
            | Action::Settings
            | Action::Close
            | Action::Prefs => Self::Manage,
            Action::Info | Action::Members => Self::Look,
            Action::Refresh => Self::Refresh,
            Action::Ping => Self::Ping,
            Action::Ticket => Self::Http,
        }
    }

    /// The function of a `_HANDLER`.
    pub fn from_handler(handler: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|function| function.name() == handler)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names between a function's `Handler:` in the template and the next one's.
    fn given_by_the_template(function: Function) -> BTreeSet<String> {
        const TEMPLATE: &str = include_str!("../infra/template.yaml");
        let handler = format!("      Handler: {}\n", function.name());
        let (_, rest) = TEMPLATE.split_once(&handler).expect("the template has every function");
        let function = rest.split_once("AWS::Serverless::Function").map_or(rest, |(function, _)| function);
        let names = function.lines().filter_map(|line| line.trim().split_once(':').map(|(name, _)| name));
        names.filter(|name| name.starts_with("CHATLANE_")).map(ToOwned::to_owned).collect()
    }

    #[test]
    fn each_function_is_given_the_variables_that_it_asks_for_and_no_others() {
        for function in Function::ALL {
            let mut env = Environment::new([]);
            function.ask(&mut env);
            assert_eq!(given_by_the_template(*function), env.asked().clone(), "{}", function.name());
        }
    }

    #[test]
    fn a_function_is_found_by_its_handler() {
        for function in Function::ALL {
            assert_eq!(Function::from_handler(function.name()), Some(*function));
        }
        assert_eq!(Function::from_handler("dance"), None);
    }
}
