use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use archipelago_testkit::history::{
    History, HistoryError, KvOp, KvResult::Written, Outcome, Recorder, check_linearizable,
};

fn counting() -> Recorder {
    let ticks = AtomicU64::new(0);
    Recorder::with_clock(move || ticks.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn what_is_neither_answered_nor_failed_is_unknown() {
    let recorder = counting();
    let (answered, failed) =
        (recorder.begin(1, KvOp::upsert("x", "a")), recorder.begin(2, KvOp::upsert("x", "b")));
    drop(recorder.begin(3, KvOp::upsert("x", "c")));
    let _still_waits = recorder.begin(4, KvOp::upsert("x", "d"));
    failed.failed();
    answered.ok(Written(1));
    let outcomes: Vec<_> =
        recorder.history().operations().iter().map(|operation| operation.outcome.clone()).collect();
    let expected = [
        Outcome::Ok { result: Written(1), completed_ns: 5 },
        Outcome::Failed { completed_ns: 4 },
        Outcome::Unknown,
        Outcome::Unknown,
    ];
    assert_eq!(outcomes, expected);
}

#[test]
fn threads_record_one_history_and_the_system_clock_keeps_their_order() {
    let (recorder, register) = (Recorder::new(), Arc::new(Mutex::new(0)));
    std::thread::scope(|scope| {
        for process in 0..4 {
            let (recorder, register) = (recorder.clone(), Arc::clone(&register));
            scope.spawn(move || {
                for n in 0..200 {
                    let write = recorder.begin(process, KvOp::upsert("x", format!("{process}/{n}")));
                    let mut last = register.lock().unwrap();
                    *last += 1;
                    let version = *last;
                    drop(last);
                    write.ok(Written(version));
                }
            });
        }
    });
    let history = recorder.history();
    assert_eq!(check_linearizable(&history).unwrap().operations, 800);
    let is_forward = |pair: &[u64]| pair[0] <= pair[1];
    let mut ends: Vec<_> = history.operations().iter().filter(|operation| operation.process == 2).collect();
    ends.sort_by_key(|operation| operation.id);
    let instants: Vec<u64> = ends.iter().flat_map(|op| [op.invoked_ns, op.completed_ns().unwrap()]).collect();
    assert!(instants.windows(2).all(is_forward));
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let history = History::new()
        .ok(1, 0..=1, KvOp::upsert("x", "line\nbreak").expecting(3), Written(4))
        .failed(2, 0..=1, KvOp::delete("x"))
        .unknown(3, 0, KvOp::create("x", ""))
        .ok(1, 2..=3, KvOp::read("x"), crate::value("line\nbreak", 4));
    let mut lines = Vec::new();
    history.write_to(&mut lines).unwrap();
    assert_eq!(History::read_from(&lines[..]).unwrap(), history);
}

#[test]
fn the_format_of_a_line_stays() {
    let line = r#"{"process":7,"id":0,"op":{"read":{"key":"x","consistency":{"bounded_staleness":{"bound_ns":5}}}},"invoked_ns":1,"outcome":{"ok":{"result":{"value":["a",3]},"completed_ns":2}}}"#;
    let history: History = History::read_from(format!("{line}\n").as_bytes()).unwrap();
    let mut written = Vec::new();
    history.write_to(&mut written).unwrap();
    assert_eq!(String::from_utf8(written).unwrap().trim_end(), line);
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_journal_has_what_a_killed_process_had_begun() {
    let file = Shared::default();
    let recorder = counting().with_journal(file.clone());
    recorder.begin(1, KvOp::upsert("x", "a")).ok(Written(1));
    let _killed = recorder.begin(1, KvOp::upsert("x", "b"));
    let whole = file.0.lock().unwrap().clone();
    assert_eq!(History::read_from(&whole[..]).unwrap(), recorder.history());

    // Killed while it wrote that the second one begins.
    let torn: History = History::read_from(&whole[..whole.len() - 5]).unwrap();
    assert_eq!(torn.operations(), &recorder.history().operations()[..1]);
}

#[test]
fn histories_of_several_processes_are_merged_unless_two_clients_share_a_number() {
    let one = History::new().ok(1, 0..=1, KvOp::upsert("x", "a"), Written(1));
    let other = History::new().ok(2, 2..=3, KvOp::read("x"), crate::value("a", 1));
    assert_eq!(one.clone().merged(other).unwrap().operations().len(), 2);
    let error = one.clone().merged(one).unwrap_err();
    assert!(matches!(error, HistoryError::Ambiguous { process: 1 }), "{error}");
}

#[test]
fn files_that_no_recorder_wrote_are_refused() {
    let line = |process: u64, key: &str, ends: u64| {
        let history = History::new().ok(process, 5..=9, KvOp::upsert(key, "a"), Written(1));
        let mut line = Vec::new();
        history.write_to(&mut line).unwrap();
        String::from_utf8(line).unwrap().replace("9}", &format!("{ends}}}"))
    };
    let read = |text: String| {
        History::<KvOp>::read_from(text.as_bytes()).map(|history: History| history.operations().len())
    };
    assert_eq!(read(line(1, "x", 9) + &line(2, "x", 9)).unwrap(), 2);
    assert!(matches!(read(line(1, "x", 9) + &line(1, "y", 9)), Err(HistoryError::Ambiguous { process: 1 })));
    assert!(matches!(read(line(1, "x", 9) + "{}\n"), Err(HistoryError::Malformed { line: 2, .. })));
    assert!(matches!(read(line(1, "x", 4)), Err(HistoryError::Backwards { process: 1, id: 0 })));
}
