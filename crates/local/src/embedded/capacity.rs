//! What `DynamoDB` would charge.
//!
//! dynoxide reports consumed capacity if a request asks for it, with the rounding that AWS documents (the tests here check that). It
//! reports none for a refused conditional write; AWS reports none either, but charges for it. So every request is made to ask for consumed
//! capacity and for the item that refused it. What its caller had not asked for is taken out of the answer.
//!
//! Not counted: `PartiQL` statements, tables' control operations, storage, backups and streams.

use dynoxide::types::{Item, TRANSACTIONAL_CAPACITY_FACTOR, item_size, write_capacity_units};
use serde_json::Value;

/// Capacity units of one request. A write unit is 1 KB of an item, a read unit 4 KB read strongly; an eventually consistent read takes
/// half, a transaction twice as many. Source: *`DynamoDB` read and write operations*, developer guide.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Write capacity units.
    pub write: f64,
    /// Read capacity units.
    pub read: f64,
}

const CAPACITY: &str = "ReturnConsumedCapacity";
const REFUSED_ITEM: &str = "ReturnValuesOnConditionCheckFailure";

/// A request of a metered operation and what was added to it.
pub(super) struct Metered {
    writes: bool,
    /// The request as it goes out.
    pub(super) request: Value,
    added_capacity: bool,
    /// For a single write: one flag; for a transaction: one per action, in order.
    added_item: Vec<bool>,
}

impl Metered {
    /// Makes the request ask for capacity and refusing items. `None` for operations that are not metered: they stay as they are.
    pub(super) fn new(operation: &str, mut request: Value) -> Option<Self> {
        let writes = match operation {
            "GetItem" | "BatchGetItem" | "Query" | "Scan" | "TransactGetItems" => false,
            "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems" => true,
            _ => return None,
        };
        let added_capacity = add(&mut request, CAPACITY, "TOTAL");
        let added_item = match request.get_mut("TransactItems").and_then(Value::as_array_mut) {
            Some(actions) => actions.iter_mut().map(|action| action_of(action).is_some_and(ask_for_item)).collect(),
            None if writes => vec![ask_for_item(&mut request)],
            None => Vec::new(),
        };
        Some(Self { writes, request, added_capacity, added_item })
    }

    /// Takes what the caller had not asked for out of `answer`, and returns what the request cost.
    pub(super) fn settle(self, answer: &mut Value) -> Units {
        let error = answer.get("__type").and_then(Value::as_str).and_then(|name| name.rsplit('#').next());
        match error {
            None => self.settle_success(answer),
            Some("ConditionalCheckFailedException") => Units { write: self.settle_refusal(answer), read: 0.0 },
            Some("TransactionCanceledException") => self.settle_cancellation(answer),
            // Refused before any item was looked at, or throttled: free.
            Some(_) => Units::default(),
        }
    }

    fn settle_success(&self, answer: &mut Value) -> Units {
        let consumed = match answer.get("ConsumedCapacity") {
            Some(Value::Array(tables)) => tables.iter().map(|table| self.units(table)).collect(),
            Some(table) => vec![self.units(table)],
            None => Vec::new(),
        };
        if self.added_capacity
            && let Some(answer) = answer.as_object_mut()
        {
            answer.remove("ConsumedCapacity");
        }
        Units { write: consumed.iter().map(|units| units.write).sum(), read: consumed.iter().map(|units| units.read).sum() }
    }

    /// A transaction that repeats an earlier one by its token is charged as reads; then the answer says which kind its units are.
    fn units(&self, table: &Value) -> Units {
        let number = |name| table.get(name).and_then(Value::as_f64);
        match (number("WriteCapacityUnits"), number("ReadCapacityUnits")) {
            (None, None) => {
                let units = number("CapacityUnits").unwrap_or_default();
                if self.writes { Units { write: units, read: 0.0 } } else { Units { write: 0.0, read: units } }
            }
            (write, read) => Units { write: write.unwrap_or_default(), read: read.unwrap_or_default() },
        }
    }

    /// "If a condition expression evaluates to false, `DynamoDB` still consumes write capacity", by the size of the existing item, or one
    /// unit: *Working with items*, developer guide, "Capacity units consumed by conditional writes".
    fn settle_refusal(&self, answer: &mut Value) -> f64 {
        let units = refused_units(answer.get("Item"));
        if self.added_item.first() == Some(&true)
            && let Some(answer) = answer.as_object_mut()
        {
            answer.remove("Item");
        }
        units
    }

    /// AWS documents the doubling (prepare and commit), not what a cancelled transaction costs. Belief: each action costs twice a refused
    /// write, by the size of the existing item if it is known, else of the item that a `Put` carries.
    fn settle_cancellation(&self, answer: &mut Value) -> Units {
        if !self.writes {
            return Units::default();
        }
        let mut units = 0.0;
        let actions = self.request.get("TransactItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut reasons = answer.get_mut("CancellationReasons").and_then(Value::as_array_mut);
        for (index, action) in actions.iter().enumerate() {
            let mut reason = reasons.as_mut().and_then(|reasons| reasons.get_mut(index)).and_then(Value::as_object_mut);
            let existing = reason.as_ref().and_then(|reason| reason.get("Item"));
            units += TRANSACTIONAL_CAPACITY_FACTOR * refused_units(existing.or_else(|| action.pointer("/Put/Item")));
            if self.added_item.get(index) == Some(&true)
                && let Some(reason) = reason.as_mut()
            {
                reason.remove("Item");
            }
        }
        Units { write: units, read: 0.0 }
    }
}

/// Asks for the existing item where a condition may refuse the write. True if that had to be added.
fn ask_for_item(write: &mut Value) -> bool {
    write.get("ConditionExpression").is_some() && add(write, REFUSED_ITEM, "ALL_OLD")
}

/// The one action of an element of `TransactItems`: `{"Put": {…}}`.
fn action_of(element: &mut Value) -> Option<&mut Value> {
    element.as_object_mut()?.values_mut().next()
}

/// Sets `name` if it is absent or `NONE`; true if it was. An invalid value is left for the endpoint to refuse.
fn add(request: &mut Value, name: &str, value: &str) -> bool {
    let Some(request) = request.as_object_mut() else {
        return false;
    };
    let absent = matches!(request.get(name), None | Some(Value::Null)) || request.get(name).and_then(Value::as_str) == Some("NONE");
    if absent {
        request.insert(name.to_owned(), value.into());
    }
    absent
}

/// Write units by the size of `item`, an item in `DynamoDB`'s JSON; one unit if there is none.
fn refused_units(item: Option<&Value>) -> f64 {
    let item = item.and_then(|item| serde_json::from_value::<Item>(item.clone()).ok());
    write_capacity_units(item.as_ref().map_or(0, item_size))
}

#[cfg(test)]
mod tests;
