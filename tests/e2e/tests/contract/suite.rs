//! Every fact of `chatlane_chat::testing::contract` on `chatlane_aws::Store`.

use crate::embedded::Backend;

chatlane_chat::contract_tests!(
    #[tokio::test]
    async |fact| {
        let backend = Backend::chosen().await;
        fact(&backend.store).await;
    }
);
