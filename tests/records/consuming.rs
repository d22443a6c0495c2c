//! What `consume` prints, and where it begins and ends.

use crate::support::{cluster, command, milena};
use milena::broker::TestCluster;
use milena::client::Client;
use milena::consumer::IsolationLevel;
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::io::Read;
use std::time::Duration;

/// Records 0 to 9 in each partition, with the times 2022-02-14T00:00:00Z and each minute behind it.
async fn ten(cluster: &TestCluster, topic: &str, partitions: i32) {
    let client = Client::connect(cluster.client_config()).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    for at in 0..10 {
        for partition in 0..partitions {
            let value = format!("{partition}{at}");
            let record = ProducerRecord::new(topic).partition(partition).value(&value);
            drop(producer.send(record.timestamp(1_644_796_800_000 + at * 60_000)).await.unwrap());
        }
    }
    producer.close(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_say_where_prints_what_it_says() {
    let cluster = cluster([("t", 1), ("empty", 1)]).await;
    ten(&cluster, "t", 1).await;
    for (how, printed) in [
        ("-e", "00 01 02 03 04 05 06 07 08 09"),
        ("-e -o start", "00 01 02 03 04 05 06 07 08 09"),
        ("-e -o end", ""),
        ("-o :end", "00 01 02 03 04 05 06 07 08 09"),
        ("-e -o 7", "07 08 09"),
        ("-e -o 7:", "07 08 09"),
        ("-e -o +8", "08 09"),
        ("-e -o -2", "08 09"),
        ("-e -o -200", "00 01 02 03 04 05 06 07 08 09"),
        ("-o -3:-1", "07 08"),
        ("-o :2", "00 01"),
        ("-o 3:5", "03 04"),
        ("-o 3-5", "03 04"),
        ("-o 8:500", "08 09"),
        ("-o 20:30", ""),
        ("-e -o 20", ""),
        ("-o 8:end", "08 09"),
        ("-e -o @2022-02-14T00:07:30Z", "08 09"),
        ("-o @2022-02-14:3m", "00 01 02"),
        ("-o @2022-02-14T00:01:00Z:2022-02-14T00:03:00Z", "01 02"),
        ("-o @1644797220:end", "07 08 09"),
        ("-o @:1644796860000", "00"),
        ("-o @1644797220000000000:end", "07 08 09"),
        ("-o @-1h:end", ""),
        ("-o @:-1h", "00 01 02 03 04 05 06 07 08 09"),
        ("-e -o s@1644797220000", "07 08 09"),
        ("-o s@1644796860000 -o e@1644796980000", "01 02"),
        ("-o e@1644796860000", "00"),
        ("-e -o e@9999999999999", "00 01 02 03 04 05 06 07 08 09"),
        ("-o start -c 3", "00 01 02"),
        ("-o 5 -n 2", "05 06"),
        ("--from-beginning --max-messages 1", "00"),
        ("-p 0 -e -o 9", "09"),
        ("-e -X auto.offset.reset=latest", ""),
    ] {
        let args: Vec<_> = ["consume", "t"].into_iter().chain(how.split(' ')).collect();
        assert_eq!(milena(&cluster, &args, "").words(), printed, "{how}");
    }
    assert_eq!(milena(&cluster, &["consume", "empty", "-e"], "").text(), "");
    milena(&cluster, &["consume", "t", "-o", "middle"], "").fails(1, &["-o middle: a start is start, end"]);
    milena(&cluster, &["consume", "t", "-o", "stored"], "").fails(1, &["-g"]);
    milena(&cluster, &["consume", "t", "-p", "1"], "").fails(2, &["t has only partition 0: there is no partition 1"]);
    milena(&cluster, &["consume", "nowhere", "-e"], "").fails(2, &["topic nowhere does not exist"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_has_not_come_is_waited_for_and_a_start_behind_the_end_too() {
    let cluster = cluster([("t", 1)]).await;
    ten(&cluster, "t", 1).await;
    let waits = [
        &["consume", "t", "-o", "s@1644797340000", "-o", "e@1644800000000", "-u"][..],
        &["consume", "t", "-o", "12", "-c", "1"],
    ];
    let mut waiting = waits.map(|args| command(&cluster, args).spawn().unwrap());
    let mut first = [0; 3];
    waiting[0].stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"09\n");
    for ts in [1_644_799_999_999i64, 1_644_800_000_000, 1_644_800_000_001, 0] {
        let line = format!(r#"{{"ts":{ts},"payload":"{ts}"}}"#);
        assert_eq!(milena(&cluster, &["produce", "-t", "t", "--json", "-q"], line).text(), "");
    }
    let [times, offsets] = waiting.map(|child| child.wait_with_output().unwrap().stdout);
    assert_eq!(String::from_utf8(times).unwrap(), "1644799999999\n");
    assert_eq!(String::from_utf8(offsets).unwrap(), "1644800000001\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_topics_partitions_and_expressions() {
    let cluster = cluster([("clicks-1", 3), ("clicks-2", 1), ("click", 1)]).await;
    for (topic, partitions) in [("clicks-1", 3), ("clicks-2", 1), ("click", 1)] {
        ten(&cluster, topic, partitions).await;
    }
    let sorted = |args: &[&str]| {
        let done = milena(&cluster, &[&["consume", "-f", r"%t[%p] ", "-o", "9:end"], args].concat(), "");
        let mut places: Vec<_> = done.text().split_whitespace().map(str::to_owned).collect();
        places.sort();
        places.join(" ")
    };
    assert_eq!(sorted(&["clicks-1"]), "clicks-1[0] clicks-1[1] clicks-1[2]");
    assert_eq!(sorted(&["clicks-1", "-p", "0,2"]), "clicks-1[0] clicks-1[2]");
    assert_eq!(sorted(&["-t", "click", "clicks-2"]), "click[0] clicks-2[0]");
    assert_eq!(sorted(&["-r", "clicks-.*", "-p", "0"]), "clicks-1[0] clicks-2[0]");
    assert_eq!(sorted(&["^click(s-2)?"]), "click[0] clicks-2[0]");
    let none = milena(&cluster, &["consume", "-r", "click.", "-e"], "");
    none.fails(2, &["no topic matches click.", "the whole name"]);
    milena(&cluster, &["consume", "-r", "(", "-e"], "").fails(1, &["the topics (:"]);
    // Each partition to its own end, and not one record of the fuller one too many.
    milena(&cluster, &["produce", "-t", "clicks-1", "-p", "1", "-q"], "more\nand more\n").text();
    assert_eq!(milena(&cluster, &["consume", "clicks-1", "-o", "-1:end"], "").text().lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn formats_delimiters_and_filters() {
    let cluster = cluster([("t", 1)]).await;
    let lines = [
        r#"{"ts":1644800523004,"key":"k1","payload":"a","headers":["h","1","h",null]}"#,
        r#"{"ts":0,"key":null,"payload":null}"#,
        r#"{"ts":1,"key_base64":"/w==","payload":"","headers":["x","1"]}"#,
    ];
    milena(&cluster, &["produce", "-t", "t", "--json", "-q"], lines.join("\n")).text();
    let run = |args: &[&str]| milena(&cluster, &[&["consume", "t", "-e"], args].concat(), "").stdout;
    let printed = |args: &[&str]| String::from_utf8(run(args)).unwrap();
    assert_eq!(printed(&[]), "a\n\n\n");
    assert_eq!(printed(&["-Z"]), "a\nNULL\n\n");
    assert_eq!(run(&["-K", r"\t"]), b"k1\ta\n\t\n\xff\t\n");
    assert_eq!(run(&["-K:", "-D", r"\0", "-O"]), b"0:k1:a\x001::\x002:\xff:\0");
    assert_eq!(printed(&["-O"]), "0\ta\n1\t\n2\t\n");
    assert_eq!(
        printed(&["-f", r"%t/%p/%o %K %S [%h] %T;"]),
        "t/0/0 2 1 [h=1,h=NULL] 1644800523004;t/0/1 -1 -1 [] 0;t/0/2 1 0 [x=1] 1;"
    );
    assert_eq!(
        printed(&["-f", "%k{hex}.%k{base64} %i %H %h{%k:%V }%d{rfc3339}\\n", "-c1"]),
        "6b31.azE= 1 2 h:1 h:-1 2022-02-14T01:02:03.004Z\n"
    );
    assert_eq!(printed(&["--key", "k1"]), "a\n");
    assert_eq!(printed(&["--key", r"\xff", "-f", "%o"]), "2");
    assert_eq!(printed(&["--header", "h=1", "--header", "h", "-f", "%o"]), "0");
    assert_eq!(printed(&["--header", "x", "-f", "%o", "-c", "1"]), "2", "what is filtered does not count");
    assert_eq!(printed(&["--header", "x=2"]), "");
    let json = printed(&["--json"]);
    assert_eq!((&json, &json), (&printed(&["-J"]), &printed(&["-f", "json"])));
    let first = r#"{"topic":"t","partition":0,"offset":0,"tstype":"create","ts":1644800523004,"headers":["h","1","h",null],"key":"k1","payload":"a"}"#;
    assert_eq!(json.lines().next(), Some(first));
    assert!(printed(&["--json", "-D", ";"]).contains("};{"));
    milena(&cluster, &["consume", "t", "-f", "%q"], "").fails(1, &["%q is no token"]);
    milena(&cluster, &["consume", "t", "-D", r"\q"], "").fails(1, &[r"\q is none of"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_behind_markers_and_compacted_records_is_reached() {
    let cluster = TestCluster::builder().listen("127.0.0.1:0").topic("t", 1);
    let cluster = cluster.topic_with("compacted", 1, [("cleanup.policy", "compact")]).start().await.unwrap();
    let transact = |input: &str, args: &[&str]| {
        milena(&cluster, &[&["produce", "-t", "t", "--transactional-id", "x"], args].concat(), input)
    };
    transact("a\nb\n", &[]).text(); // offsets 0, 1, and a marker
    transact("{\"payload\":\"c\"}\nbad\n", &["--json"]).fails(1, &["0 records written", "line 2"]); // offset 3 and an abort
    transact("d\n", &[]).text(); // offset 5, and a marker at the end
    assert_eq!(cluster.offsets("t", 0), Some((0, 7)));
    let run = |args: &[&str]| milena(&cluster, &[&["consume", "t"], args].concat(), "").words();
    assert_eq!(run(&["-e"]), "a b c d", "read_uncommitted by default");
    assert_eq!(run(&["-e", "--read-committed"]), "a b d");
    assert_eq!(run(&["-e", "-X", "isolation.level=read_committed"]), "a b d");
    assert_eq!(run(&["-o", "1:3"]), "b", "the end is behind a marker");
    assert_eq!(run(&["-o", "2:3"]), "", "there is a marker and nothing else");
    assert_eq!(run(&["-o", "6:end"]), "");
    assert_eq!(run(&["-o", "3:5", "--read-committed"]), "");
    assert_eq!(run(&["-o", "-2:end"]), "d");
    let shown = run(&["-e", "--print-control-records", "--json", "--read-committed"]);
    let said: Vec<_> = shown.split("\"control\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(said, ["commit", "abort", "commit"]);
    assert_eq!(run(&["-e", "--control", "-f", "%o,"]), "0,1,2,3,4,5,6,");
    let refused = milena(&cluster, &["produce", "-t", "u", "--json"], shown.replace("} {", "}\n{"));
    refused.fails(1, &["2 records written", "line 3: a control record"]);

    let keyed: String = (0..20).map(|at| format!("k{}:{at}\n", at % 2)).collect();
    milena(&cluster, &["produce", "-t", "compacted", "-K:", "-q"], keyed).text();
    cluster.compact("compacted").unwrap();
    let run = |args: &[&str]| milena(&cluster, &[&["consume", "compacted"], args].concat(), "").words();
    assert_eq!(run(&["-e"]), "18 19");
    assert_eq!(run(&["-o", ":10"]), "", "the end is within what is gone");
    assert_eq!(run(&["-o", "5:19"]), "18");
    // Of an open transaction nothing is read, and its beginning is the end.
    let client = Client::connect(cluster.client_config()).await.unwrap();
    let mut producer = client.transactional_producer("open", ProducerConfig::default()).await.unwrap();
    let open = producer.begin().await.unwrap();
    open.send(ProducerRecord::new("t").value("open")).await.unwrap().await.unwrap();
    let run = |args: &[&str]| milena(&cluster, &[&["consume", "t", "-e"], args].concat(), "").words();
    assert_eq!((run(&["--read-committed"]), run(&[])), ("a b d".to_owned(), "a b c d open".to_owned()));
    assert_eq!(IsolationLevel::default(), IsolationLevel::ReadUncommitted);
    open.abort().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_no_more_ends_it_quietly() {
    let cluster = cluster([("t", 1)]).await;
    let lines: String =
        (0..50_000).map(|at| format!("a line that is long enough to fill a pipe, number {at}\n")).collect();
    milena(&cluster, &["produce", "-t", "t", "-q"], lines).text();
    for how in [&["-e"][..], &["-e", "--json"], &["--from-beginning", "-u"]] {
        let mut child = command(&cluster, &[&["consume", "t"], how].concat()).spawn().unwrap();
        let mut first = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""), "{how:?}");
    }
}

/// A start that the log does not have was passed over in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_outside_of_the_log_is_told() {
    let cluster = cluster([("t", 1), ("u", 1)]).await;
    ten(&cluster, "t", 1).await;
    let admin = cluster.client().await.unwrap().admin();
    admin.delete_records([(TopicPartition::new("t", 0), 5)]).await.unwrap();
    for (at, printed, says) in [
        ("2", "05 06 07 08 09", "milena: t[0]: offset 2 is before the log, which begins at 5\n"),
        ("9999", "", "milena: t[0]: offset 9999 is behind the log, which ends at 10\n"),
        (
            "1644796800",
            "",
            "milena: t[0]: offset 1644796800 is behind the log, which ends at 10; a time is @1644796800\n",
        ),
        ("5", "05 06 07 08 09", ""),
        ("10", "", ""),
        ("-100", "05 06 07 08 09", ""),
    ] {
        let done = milena(&cluster, &["consume", "t", "-e", "-o", at], "");
        assert_eq!((done.words().as_str(), done.stderr.as_str()), (printed, says), "{at}");
    }
    milena(&cluster, &["consume", "t", "-p", "9", "-e"], "").fails(2, &["there is no partition 9"]);
}
