use std::time::Duration;

use mpyc_party_core::addr::Refusal;
use mpyc_party_core::path::Kind;
use mpyc_party_transport::Protocol;

use super::*;
use crate::dial::{BoxFuture, DialContext, DialError, Route};
use crate::discovery::Search;

/// A row that does nothing.
#[derive(Clone, Copy, Debug)]
struct Row(&'static str, u8);

impl PathKind for Row {
    fn kind(&self) -> Kind {
        let Self(name, preference) = *self;
        Kind { preference, name, head_start: Duration::ZERO, opens_nats: false, relayed: false }
    }
    fn label(&self) -> &'static str {
        self.0
    }
    fn check(&self, _: &Address, _: Vantage) -> Result<(), Refusal> {
        Err(Refusal::Policy("a row of a test leads nowhere"))
    }
    fn own(&self, _: &LocalEnd) -> Vec<Address> {
        Vec::new()
    }
    fn route(
        &self,
        _: Address,
        _: DialContext,
        _: Protocol,
    ) -> BoxFuture<'static, Result<Arc<dyn Route>, DialError>> {
        Box::pin(async { Err(DialError::Unreadable) })
    }
}

impl Discovery for Row {
    fn name(&self) -> &'static str {
        self.0
    }
    fn start(&self, _: Search) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

fn names(stack: &Stack) -> Vec<&'static str> {
    stack.kinds().map(|kind| kind.kind().name).collect()
}

#[test]
fn kinds_are_in_the_order_of_preference_whatever_that_of_the_tables() {
    let stack = Stack::default().checked().expect("the rows that come with mpyc-party");
    assert_eq!(names(&stack), ["tcp", "quic", "relay"]);
    let rows =
        [Row("c", 3), Row("a", 1), Row("b", 2)].map(|row| Arc::new(row) as Arc<dyn PathKind>);
    let stack = Stack::new(rows.to_vec(), Vec::new());
    assert_eq!(names(&stack), ["a", "b", "c"]);
    assert_eq!(stack.best().map(|kind| kind.name), Some("a"));
    let stack = stack.with_kind(Row("z", 0)).expect("another kind");
    assert_eq!(names(&stack), ["z", "a", "b", "c"]);
}

#[test]
fn a_row_that_another_one_could_be_taken_for_is_refused() {
    let kind = |name, preference| Stack::default().with_kind(Row(name, preference)).map(drop);
    assert_eq!(kind("quic", 5), Err(StackError::SameKind("quic")));
    assert_eq!(kind("new", 20), Err(StackError::SamePreference("new", "quic", 20)));
    assert_eq!(kind("New", 5), Err(StackError::KindName("New")));
    assert_eq!(kind("new", 5), Ok(()));
    let discovery = |name| Stack::default().with_discovery(Row(name, 0)).map(drop);
    assert_eq!(discovery("hub"), Err(StackError::SameDiscovery("hub")));
    assert_eq!(discovery("notes"), Ok(()));
}
