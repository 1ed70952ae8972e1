//! The contract suite on the memory backend, on which all other tests of this crate stand.

use chatlane_chat::testing::memory::Memory;
use chatlane_chat::testing::ready::block_on;

chatlane_chat::contract_tests!(
    #[test]
    |fact| block_on(fact(&Memory::new()))
);

mod one_store {
    use std::sync::LazyLock;

    use super::{Memory, block_on};

    static STORE: LazyLock<Memory> = LazyLock::new(Memory::new);

    chatlane_chat::contract_tests!(#[test] fn the_facts_do_not_disturb_each_other |fact| {
        block_on(fact(LazyLock::force(&STORE)));
        block_on(fact(LazyLock::force(&STORE))); // on what the first run left
    });
}
