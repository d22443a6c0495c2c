//! A transactional sender and its coordinator: what becomes of a transaction with its batches.

use super::*;
use crate::machine::sender::TransactionCommand;
use crate::machine::transaction::tests::{offsets, response};
use crate::machine::transaction::{TransactionRequest, TransactionVersion};
use crate::record::compression::Compression;

const VERSION: TransactionVersion = TransactionVersion::Two;

/// Everything that a coordinator without a complaint is asked, and what the application is told, until it is quiet.
fn serve(rig: &mut Rig, epoch: &mut i16) -> (Vec<TransactionRequest>, Vec<(Operation, Result<()>)>) {
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        rig.clock.advance(10);
        let now = rig.clock.now();
        rig.sender.handle_ready(now, Waker::noop());
        rig.sender.handle_timeout(now);
        while let Some((id, request)) = rig.sender.poll_request() {
            let answer = match request {
                SenderRequest::Connect(_) => SenderResponse::Connected,
                SenderRequest::Transaction(call) => {
                    let answer = response(&call.request, 0, (VERSION, VERSION), epoch);
                    asked.push(call.request);
                    SenderResponse::Transaction(answer)
                }
                other => panic!("{other:?}"),
            };
            rig.sender.handle_response(now, id, Ok(answer));
        }
        while let Some(event) = rig.sender.poll_event() {
            match event {
                SenderEvent::Done(operation, outcome) => told.push((operation, outcome)),
                other => panic!("{other:?}"),
            }
        }
    }
    (asked, told)
}

/// The records failed and nobody told the transaction: its offsets were committed, or nothing at all, and the commit was
/// a success.
#[test]
fn a_transaction_with_a_batch_that_can_not_be_compressed_is_not_committed() {
    for with_offsets in [false, true] {
        let transaction = TransactionConfig {
            transactional_id: "tx".into(),
            timeout: Duration::from_secs(60),
            backoff: (Duration::from_millis(100), Duration::from_secs(1)),
            seed: 7,
        };
        let sender = SenderConfig { transaction: Some(transaction), ..sender_config() };
        let config = AccumulatorConfig { compression: Compression::Gzip, level: Some(10), ..config() };
        let (mut rig, mut epoch) = (Rig::with(&[1], sender, config), -1);
        let [init, begin, send_offsets, commit] = [0, 1, 2, 3].map(Operation);
        rig.sender.command(rig.clock.now(), TransactionCommand::Init(init));
        serve(&mut rig, &mut epoch);
        rig.sender.command(rig.clock.now(), TransactionCommand::Begin(begin));
        let ticket = rig.append(0);
        if with_offsets {
            rig.sender.command(rig.clock.now(), TransactionCommand::SendOffsets(send_offsets, offsets()));
        }
        rig.sender.command(rig.clock.now(), TransactionCommand::Commit(commit));
        let (asked, told) = serve(&mut rig, &mut epoch);
        assert_eq!(certainty(&ticket), (ErrorKind::Config, Certainty::NotSent));
        let commits =
            |request: &TransactionRequest| matches!(request, TransactionRequest::EndTxn(end) if end.committed);
        assert!(!asked.iter().any(commits), "{asked:?}");
        let outcome = told.iter().find(|(told, _)| *told == commit).expect("it is told");
        let error = outcome.1.as_ref().expect_err("nothing was written");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.is_abortable(), "{error:?}");
        // The next one is another.
        rig.sender.command(rig.clock.now(), TransactionCommand::Begin(begin));
        rig.sender.command(rig.clock.now(), TransactionCommand::Commit(commit));
        let (_, told) = serve(&mut rig, &mut epoch);
        assert!(told.iter().all(|(_, outcome)| outcome.is_ok()), "{told:?}");
    }
}
