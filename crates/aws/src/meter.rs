//! What requests cost, in units of $0.125 a million, by AWS's prices in us-east-1 (pages "Amazon `DynamoDB`
//! pricing", "Amazon SQS pricing", "Amazon API Gateway pricing").
//!
//! `DynamoDB` says what a request consumed where it is asked to, as every client with a [`Meter`] does. Of a refused write it says
//! nothing and charges all the same: for the item that is there, of which one unit is counted.

use std::cell::Cell;

use aws_sdk_dynamodb::config::interceptors::{BeforeSerializationInterceptorContextMut, FinalizerInterceptorContextRef};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::batch_get_item::{BatchGetItemInput, BatchGetItemOutput};
use aws_sdk_dynamodb::operation::get_item::{GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemInput, PutItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryInput, QueryOutput};
use aws_sdk_dynamodb::operation::transact_get_items::{TransactGetItemsInput, TransactGetItemsOutput};
use aws_sdk_dynamodb::operation::transact_write_items::{TransactWriteItemsError, TransactWriteItemsInput, TransactWriteItemsOutput};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};

/// A read unit.
const READ: u64 = 1;
/// A write unit.
const WRITE: u64 = 5;
/// A message to the queue: $0.40 a million.
pub const TASK: u64 = 3;
/// A frame that is posted, or a connection that is closed: $1.00 a million.
pub const POST: u64 = chatlane_chat::limit::POST_UNITS;

tokio::task_local! {
    /// What the work that is being metered has cost so far. The SDK asks its interceptors within the future of the request.
    static SPENT: Cell<u64>;
}

/// Does the work and counts what it costs.
pub async fn metered<T>(work: impl Future<Output = T>) -> (T, u64) {
    let counted = async {
        let done = work.await;
        (done, SPENT.with(Cell::get))
    };
    SPENT.scope(Cell::new(0), counted).await
}

/// Counts what is being done, if anybody asks for it: nobody does while a function starts.
pub fn add(units: u64) {
    let _nobody_asks = SPENT.try_with(|spent| spent.set(spent.get() + units));
}

/// Counts what requests to the tables cost.
#[derive(Clone, Copy, Debug)]
pub struct Meter;

/// Makes of each row, a request, its answer and the price of a unit, what asks for the units and what finds them.
macro_rules! metered {
    ($($Input:ty, $Output:ty => $price:ident;)*) => {
        fn ask(context: &mut BeforeSerializationInterceptorContextMut<'_>) {
            $(
                if let Some(input) = context.input_mut().downcast_mut::<$Input>() {
                    input.return_consumed_capacity = Some(ReturnConsumedCapacity::Total);
                }
            )*
        }

        fn cost(context: &FinalizerInterceptorContextRef<'_>) -> u64 {
            match context.output_or_error() {
                Some(Ok(output)) => {
                    $(
                        if let Some(output) = output.downcast_ref::<$Output>() {
                            return $price * units(&output.consumed_capacity);
                        }
                    )*
                    0
                }
                Some(Err(error)) => error.as_operation_error().map_or(0, |error| {
                    let put = error.downcast_ref().is_some_and(PutItemError::is_conditional_check_failed_exception);
                    let update = error.downcast_ref().is_some_and(UpdateItemError::is_conditional_check_failed_exception);
                    match error.downcast_ref() {
                        // Prepared and not committed: twice as much for each of its items.
                        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                            2 * WRITE * cancelled.cancellation_reasons().len() as u64
                        }
                        _ => WRITE * u64::from(put || update),
                    }
                }),
                None => 0,
            }
        }
    };
}

metered! {
    GetItemInput, GetItemOutput => READ;
    BatchGetItemInput, BatchGetItemOutput => READ;
    QueryInput, QueryOutput => READ;
    TransactGetItemsInput, TransactGetItemsOutput => READ;
    PutItemInput, PutItemOutput => WRITE;
    UpdateItemInput, UpdateItemOutput => WRITE;
    TransactWriteItemsInput, TransactWriteItemsOutput => WRITE;
}

/// One table's part of a request, or a list of such parts.
trait Consumed {
    fn parts(&self) -> &[ConsumedCapacity];
}

impl Consumed for Option<ConsumedCapacity> {
    fn parts(&self) -> &[ConsumedCapacity] {
        self.as_slice()
    }
}

impl Consumed for Option<Vec<ConsumedCapacity>> {
    fn parts(&self) -> &[ConsumedCapacity] {
        self.as_deref().unwrap_or_default()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "units of one request are few and not below 0")]
fn units(consumed: &impl Consumed) -> u64 {
    let units: f64 = consumed.parts().iter().filter_map(|part| part.capacity_units).sum();
    units.ceil() as u64
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        ask(context);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        add(cost(context));
        Ok(())
    }
}
