//! `consume --json | produce --json` is a copy that nothing is lost in.

use crate::support::{cluster, command, milena};
use milena::client::Client;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::record::Header;
use std::process::Stdio;

const RECORDS: usize = 20_000;

fn bytes(draw: u64) -> Option<Vec<u8>> {
    match draw % 7 {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some((0..draw % 90).map(|at| (draw >> (at % 50)) as u8 ^ at as u8).collect()),
        3 => Some(format!("\"\\\n\r\t\u{0}\u{1f}\u{7f} \u{e9}\u{20ac}\u{1f600}\u{2028} {draw}").into_bytes()),
        4 => Some(vec![0xff, 0xfe, b'"', b'\n', 0xc3]),
        5 => Some(format!(r#"{{"json":"in json","number":{draw}}}"#).into_bytes()),
        _ => Some(format!("plain {draw}").into_bytes()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_through_a_pipe_has_the_same_bytes_in_the_same_order() {
    let cluster = cluster([("from", 3), ("to", 3), ("one", 1)]).await;
    let client = Client::connect(cluster.client_config()).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let mut draw = 7u64;
    let mut next = || {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        draw >> 20
    };
    for at in 0..RECORDS {
        let (key, value) = (bytes(next()), bytes(next()));
        let headers: Vec<_> = (0..next() % 4).map(|_| (next() % 2, bytes(next()))).collect();
        let mut record = ProducerRecord::new("from").partition((next() % 3) as i32);
        // None, the epoch, and one that is no time but is kept.
        record = record.timestamp(match next() % 5 {
            0 => -1,
            1 => 0,
            _ => 1_700_000_000_000 + at as i64,
        });
        if let Some(key) = &key {
            record = record.key(key);
        }
        if let Some(value) = &value {
            record = record.value(value);
        }
        for (name, value) in &headers {
            let name: &[u8] = if *name == 0 { b"same" } else { "\u{e9}".as_bytes() };
            record = record.raw_header(Header { name, value: value.as_deref() });
        }
        drop(producer.send(record).await.unwrap());
    }
    producer.close(std::time::Duration::from_secs(30)).await.unwrap();

    for (to, how) in [("to", &["--keep-partition"][..]), ("one", &[])] {
        let mut reading = command(&cluster, &["consume", "-t", "from", "-e", "--json"]).spawn().unwrap();
        let mut writing = command(&cluster, &[&["produce", "-t", to, "--json", "-z", "lz4"], how].concat());
        let piped = Stdio::from(reading.stdout.take().unwrap());
        let written = writing.stdin(piped).output().unwrap();
        assert!(reading.wait().unwrap().success());
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        assert_eq!(String::from_utf8_lossy(&written.stderr), format!("milena: {RECORDS} records written to {to}\n"));
    }
    let from = cluster.records("from").unwrap();
    assert_eq!(from.len(), RECORDS);
    assert!(from == cluster.records("to").unwrap(), "partitions and offsets too");

    // Without partitions: what was printed is what was written, in its order.
    let printed = |topic| milena(&cluster, &["consume", topic, "-e", "--json"], "");
    let contents = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_once(r#""tstype""#).unwrap().1.to_owned()).collect()
    };
    let mut both = [contents(printed("from").text()), contents(printed("one").text())];
    both.iter_mut().for_each(|lines| lines.sort());
    assert!(both[0] == both[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_may_name_its_topic_and_must_be_one() {
    let cluster = cluster([("a", 1), ("b", 2)]).await;
    let lines = [
        r#"{"topic":"b","partition":1,"key":"k","payload":"1"}"#,
        r#"{"key":"k","payload":"2"}"#,
        "",
        r#"{"topic":"b","partition":1,"payload":null,"unknown":[1,{"x":2}]}"#,
    ];
    let done =
        milena(&cluster, &["produce", "-t", "a", "--json", "--keep-topic", "--keep-partition", "-q"], lines.join("\n"));
    assert_eq!((done.text(), done.stderr.as_str()), ("", ""));
    let placed =
        |topic| cluster.records(topic).unwrap().iter().map(|r| (r.partition, r.value.clone())).collect::<Vec<_>>();
    assert_eq!(placed("a"), [(0, Some("2".into()))]);
    assert_eq!(placed("b"), [(1, Some("1".into())), (1, None)]);

    let bad = format!("{}\n{}\n{{\"ts\":\"now\"}}\n{}\n", lines[1], lines[1], lines[1]);
    let done = milena(&cluster, &["produce", "-t", "a", "--json"], bad);
    done.fails(1, &["milena: 2 records written to a\n", "line 3: ts must be milliseconds"]);
    assert_eq!(
        cluster.records("a").unwrap().len(),
        3,
        "what stands before a bad line is written, what is behind it is not"
    );
    milena(&cluster, &["produce", "-t", "a", "--keep-topic"], "").fails(1, &["--json"]);
}

/// Other tools' JSON has other names: what has no payload was written as a tombstone, and the exit code was 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_without_a_payload_is_an_error_and_no_tombstone() {
    let cluster = cluster([("t", 1)]).await;
    let produce =
        |line: &str| milena(&cluster, &["produce", "-t", "t", "--json"], format!("{{\"payload\":null}}\n{line}\n"));
    produce(r#"{"topic":"t","key":"k","value":"v","timestamp":1}"#).fails(
        1,
        &["1 record written", "line 2: it has no payload: `value` is rpk's name for it, jq -c '{key, payload: .value"],
    );
    produce("{}").fails(1, &["line 2: it has no payload, nor payload_base64: null is written \"payload\":null"]);
    produce(r#"{"key":"k","payload":{"a":1}}"#).fails(1, &["line 2: ", "text or null as payload", "--decode"]);
    let done = produce(r#"{"key":[1],"payload":""}"#);
    done.fails(1, &["line 2: ", "text or null as key"]);
    assert!(!done.stderr.contains("at line"), "one line's number, and not JSON's own: {}", done.stderr);
    let done = produce(r#"{"key":"k" "payload":""}"#);
    done.fails(1, &["line 2: not an envelope", "at column 12"]);
    assert!(!done.stderr.contains("line 1"), "{}", done.stderr);
    assert_eq!(cluster.records("t").unwrap().len(), 5, "one null for each that was asked for");
    // kcat's has a payload always, and fields that nobody here knows.
    let kcat = r#"{"topic":"t","partition":0,"offset":0,"tstype":"create","ts":5,"broker":1,"key":null,"payload":"x"}"#;
    assert_eq!(produce(kcat).text(), "");
}
