//! What `produce` makes of its input, and what it says when a record can't be written.

use crate::support::{cluster, milena, stored, values};
use milena::broker::ApiKey;
use milena::error::ErrorCode;

fn pairs(parts: &[(&str, &str)]) -> Vec<(String, String)> {
    parts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_delimiters_keys_and_tombstones() {
    let cluster = cluster([]).await;
    for (at, (args, input, written)) in [
        (&[][..], "a\n\nb", &[("-", "a"), ("-", ""), ("-", "b")][..]),
        (&["-Z"], "a\n\n", &[("-", "a"), ("-", "-")]),
        (&["-K:"], "k:v\nnone\n:x\nk:\na:b:c", &[("k", "v"), ("-", "none"), ("", "x"), ("k", ""), ("a", "b:c")]),
        (&["-K:", "-Z"], "k:\n:x\n", &[("k", "-"), ("-", "x")]),
        (&["-K:", "-k", "fixed"], "k:v\nnone\n", &[("k", "v"), ("fixed", "none")]),
        (&["-K::", "-Z", "-k", "fixed"], "::v\n", &[("fixed", "v")]),
        (&["-D", "--\\n", "-K", "\\x3d"], "k=v\nw--\nx--\n", &[("k", "v\nw"), ("-", "x")]),
        (&["-D", "\\0"], "a\0b\nc\0", &[("-", "a"), ("-", "b\nc")]),
        (&["-c", "2"], "1\n2\n3\n", &[("-", "1"), ("-", "2")]),
        (&["-f", "%k %v\\n"], "k v w\n x\n", &[("k", "v w"), ("", "x")]),
        (&["-f", "%K{2}%V{big16}%k%v{hex}"], "\0\x06kk414243", &[("kk", "ABC")]),
        (&["-f", "%K{3}%k%v{base64};"], "abcdg==;defeA==;", &[("abc", "v"), ("def", "x")]),
        (&["-z", "zstd", "--acks", "1"], "a\n", &[("-", "a")]),
        (&["--acks", "-1", "-X", "linger.ms=0"], "a\n", &[("-", "a")]),
    ]
    .into_iter()
    .enumerate()
    {
        let topic = format!("t{at}");
        let done = milena(&cluster, &[&["produce", "-t", &topic], args].concat(), input);
        let count = if written.len() == 1 { "1 record".to_owned() } else { format!("{} records", written.len()) };
        assert_eq!(
            (done.text(), done.stderr.clone()),
            ("", format!("milena: {count} written to {topic}\n")),
            "{args:?}"
        );
        assert_eq!(stored(&cluster, &topic), pairs(written), "{args:?}");
    }
    for (args, why) in [
        (&["-D", ""][..], "-D is empty"),
        (&["-K", "\\"], "ends within an escape"),
        (&["-H", "=x"], "a header is NAME=VALUE"),
        (&["-f", "%k%v"], "side by side"),
        (&["-f", "%v", "-K", ":"], "cannot be used with"),
        (&["-o", "%v"], "%t %p %o %T %i"),
        (&["-p", "-2"], "-1 is any"),
        (&["-z", "brotli"], "compression.type"),
        (&["--transaction-size", "5"], "--transactional-id"),
        (&["nowhere.txt"], "nowhere.txt"),
        (&["-f", "%K{big32}%k"], "record 1: the input ends within a number"),
    ] {
        milena(&cluster, &[&["produce", "-t", "x"], args].concat(), "a\n").fails(1, &[why]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_partitions_and_where_it_was_written() {
    let cluster = cluster([("t", 3)]).await;
    let args = ["produce", "-t", "t", "-p", "2", "-H", "a=1", "-H", "a:2=3", "-H", "b:x", "-H", "n", "-q"];
    let done = milena(&cluster, &[&args[..], &["-o", r"%t[%p]@%o #%i\n"]].concat(), "x\ny\n");
    assert_eq!((done.text(), done.stderr.as_str()), ("t[2]@0 #1\nt[2]@1 #2\n", ""));
    let records = cluster.records("t").unwrap();
    assert_eq!(records.iter().map(|record| record.partition).collect::<Vec<_>>(), [2, 2]);
    let value = |text: &'static str| Some(text.into());
    let headers = [("a", value("1")), ("a", value("2=3")), ("b", value("x")), ("n", None)];
    assert_eq!(records[0].headers, headers.map(|(name, value)| (name.to_owned(), value)));
    // A pattern may say where, and when.
    let done = milena(&cluster, &["produce", "-f", r"%t %p %d %v\n", "-o", "%t %p %o %T;"], "t 1 5 a\nu 0 6 b\n");
    assert_eq!(done.text(), "t 1 0 5;u 0 0 6;");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_records_or_hold_them() {
    let cluster = cluster([("t", 1), ("u", 1)]).await;
    let folder = std::env::temp_dir().join(format!("milena-produce-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let paths = ["a", "b"].map(|name| folder.join(name).to_string_lossy().into_owned());
    std::fs::write(&paths[0], "1\n2").unwrap();
    std::fs::write(&paths[1], "3\n").unwrap();
    milena(&cluster, &["produce", "-t", "t", &paths[0], &paths[1]], "not read\n").text();
    assert_eq!(values(&cluster, "t"), ["1\n2", "3\n"]);
    milena(&cluster, &["produce", "-t", "u", "-l", &paths[0], &paths[1]], "").text();
    assert_eq!(values(&cluster, "u"), ["1", "2", "3"]);
    std::fs::write(&paths[1], "{\"payload\":\"4\"}\n\n{\"payload\":null}x").unwrap();
    std::fs::write(&paths[0], "{\"payload\":null}\n").unwrap();
    let done = milena(&cluster, &["produce", "-t", "u", "--json", &paths[0], &paths[1]], "");
    done.fails(1, &["2 records written", &format!("{}, line 3: not an envelope", paths[1])]);
    milena(&cluster, &["produce", "-t", "u", &folder.to_string_lossy()], "").fails(1, &["is a directory"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_can_not_be_written_is_told_with_its_line_and_the_others_are_written() {
    let cluster = cluster([("t", 1)]).await;
    let long = "x".repeat(3_000);
    let small = ["produce", "-t", "t", "-X", "max.request.size=2000"];
    let done = milena(&cluster, &small, format!("1\n{long}\n3\n{long}\n5\n"));
    done.fails(2, &["milena: line 2: ", "milena: line 4: ", "3 records written", "2 records not written"]);
    assert_eq!(values(&cluster, "t"), ["1", "3", "5"]);

    let lines = r#"{"partition":0,"payload":"a"}
{"partition":7,"payload":"b"}
{"partition":0,"payload":"c"}"#;
    let done = milena(&cluster, &["produce", "-t", "t", "--json", "--keep-partition"], lines);
    done.fails(2, &["line 2: t: partition 7", "2 records written", "1 record not written"]);
    assert_eq!(values(&cluster, "t")[3..], ["a", "c"]);

    let many = format!("{long}\n").repeat(30);
    let done = milena(&cluster, &small, many);
    done.fails(2, &["line 10: ", "0 records written", "30 records not written"]);
    assert!(!done.stderr.contains("line 11"), "{}", done.stderr);

    // What a broker refuses for good, too.
    cluster.fault(ApiKey::Produce).once().error(ErrorCode::MessageTooLarge);
    let done = milena(&cluster, &["produce", "-t", "t"], "refused\n");
    done.fails(2, &["line 1: ", "MESSAGE_TOO_LARGE", "1 record not written"]);
    // And what nobody is there to take: it ends, and does not try the rest.
    cluster.fault(ApiKey::Produce).times(1_000).error(ErrorCode::TopicAuthorizationFailed);
    let done = milena(&cluster, &["produce", "-t", "t", "-q"], "refused\n");
    done.fails(2, &["line 1: ", "1 record not written"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_nobody_makes_is_answered_with_the_nearest() {
    let builder = milena::broker::TestCluster::builder().listen("127.0.0.1:0").topic("clicks", 1);
    let cluster = builder.auto_create_topics(false).start().await.unwrap();
    for more in [&[][..], &["--transactional-id", "x"]] {
        let args = [&["produce", "-t", "clikcs", "-X", "max.block.ms=500"], more].concat();
        let done = milena(&cluster, &args, "a\n");
        done.fails(2, &["0 records written", "topic clikcs does not exist; is it clicks?"]);
    }
}

/// Without a name they went to the pipeline's own topic, and nobody said so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_has_to_be_named_and_is_named_at_the_end() {
    let cluster = cluster([("t", 1)]).await;
    milena(&cluster, &["produce"], "x\n").fails(1, &["--topic"]);
    milena(&cluster, &["perf", "produce", "--records", "1"], "").fails(1, &["--topic"]);
    assert_eq!(cluster.topics(), ["t"]);
    assert_eq!(milena(&cluster, &["produce", "-t", "t"], "x\n").stderr, "milena: 1 record written to t\n");
    // An envelope may name its own.
    let args = ["produce", "-t", "t", "--json", "--keep-topic"];
    let done = milena(&cluster, &args, "{\"topic\":\"u\",\"payload\":\"x\"}\n{\"payload\":\"x\"}\n");
    assert_eq!(done.stderr, "milena: 2 records written to t and topics of their own\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_may_begin_with_a_minus() {
    let cluster = cluster([("t", 1)]).await;
    let produce =
        ["produce", "-t", "t", "-k", "-1", "-H", "-h=-2", "-f", "-%v\\n", "-o", "-%o\\n", "--transactional-id", "-x"];
    assert_eq!(milena(&cluster, &produce, "-a\n").text(), "-0\n");
    let consume = ["consume", "t", "-e", "-f", "-%k %h %s\\n", "--key", "-1", "--header", "-h=-2"];
    assert_eq!(milena(&cluster, &consume, "").text(), "--1 -h=-2 a\n");
    assert_eq!(milena(&cluster, &["produce", "--topic", "-t"], "x\n").stderr, "milena: 1 record written to -t\n");
    assert_eq!(milena(&cluster, &["consume", "-t", "-t", "-e"], "").text(), "x\n");
}
