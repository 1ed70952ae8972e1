//! How a port is declared, so that one declaration serves production and tests.

/// Declares a port: a trait of async methods. Each method is marked with what it does (`reads`, `writes` or `posts`) and takes borrowed
/// arguments before the semicolon and owned ones after it.
///
/// With the feature `testing`, every [`Wrapper`](crate::testing::wrapper::Wrapper) of a backend has the port too: its calls all pass
/// through one method. So a new port method is written here, in `aws` and in memory, and nowhere else.
macro_rules! port {
    (
        $(#[$about:meta])*
        pub trait $Port:ident {
            $(
                $(#[$does:meta])*
                $effect:ident fn $name:ident($($lent:ident: &$Lent:ty),*; $($owned:ident: $Owned:ty),*) -> $Answer:ty;
            )*
        }
    ) => {
        $(#[$about])*
        pub trait $Port: Sync {
            $(
                $(#[$does])*
                fn $name(&self, $($lent: &$Lent,)* $($owned: $Owned),*) -> impl Future<Output = $Answer> + Send;
            )*
        }

        #[cfg(feature = "testing")]
        pub(super) const METHODS: &[&str] = &[$(stringify!($name)),*];

        #[cfg(feature = "testing")]
        impl<W: $crate::testing::wrapper::Wrapper<Inner: $Port>> $Port for W {
            $(
                async fn $name(&self, $($lent: &$Lent,)* $($owned: $Owned),*) -> $Answer {
                    $(let $lent = $lent.to_owned();)*
                    let arguments: &[&dyn $crate::testing::wrapper::Argument] = &[$(&$lent.clone(),)* $(&$owned.clone(),)*];
                    let call = $crate::testing::wrapper::Call {
                        method: stringify!($name),
                        effect: $crate::testing::wrapper::Effect::$effect,
                        arguments,
                    };
                    self.call(call, move |inner| {
                        $(let $lent = $lent.clone();)*
                        $(let $owned = $owned.clone();)*
                        Box::pin(async move { inner.$name($(&$lent,)* $($owned),*).await })
                    })
                    .await
                }
            )*
        }
    };
}

pub(super) use port;
