//! Where records go: keys where librdkafka puts them, everything else where the settings say.

use super::producer::cluster;
use milena::machine::partitioner::Partitioning;
use milena::producer::{Partitioner, ProducerConfig, ProducerRecord, RecordToPlace};
use milena::properties::Properties;

/// Keys of 0 to 40 bytes of all values; protocol-tests/capture/partitioners.py has the same rule.
fn key(i: u32) -> Vec<u8> {
    let mut state = i;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(i as usize % 41).collect()
}

#[test]
fn ten_thousand_keys_go_where_librdkafka_puts_them() {
    let vectors = include_str!("../../vectors/partitioners-librdkafka.txt");
    let mut checked = 0;
    for line in vectors.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, count, null, digest, first @ ..] = &fields[..] else { panic!("{line}") };
        let count: u32 = count.parse().unwrap();
        let place = |partitioning: &Partitioning, key: Option<&[u8]>| {
            partitioning.place("clicks", (key, None), count, || panic!("a hash looks at no leader"))
        };
        let of_all: Partitioning = name.parse().unwrap();
        let of_keys: Partitioning = format!("{name}_random").parse().unwrap();
        assert_eq!(place(&of_all, None), Some(null.parse().unwrap()), "{line}");
        let mut all = 0_u64;
        for i in 0..10_000 {
            let key = key(i);
            let partition = place(&of_all, Some(&key)).unwrap();
            if let Some(first) = first.get(i as usize) {
                assert_eq!(partition, first.parse::<u32>().unwrap(), "key {i} of {line}");
            }
            if !key.is_empty() {
                assert_eq!(place(&of_keys, Some(&key)), Some(partition));
            }
            all = all.wrapping_mul(31).wrapping_add(partition.into());
        }
        assert_eq!(format!("{all:016x}"), *digest, "{line}");
        checked += 1;
    }
    assert_eq!(checked, 18);
}

/// The partitions of `keys`, over the wire.
async fn partitions(config: ProducerConfig, keys: &[Option<&[u8]>]) -> Vec<i32> {
    let (cluster, client) = cluster(1, 100).await;
    let producer = client.producer(config).unwrap();
    let mut partitions = Vec::new();
    for (i, key) in keys.iter().enumerate() {
        let value = i.to_be_bytes();
        let record = ProducerRecord::new("clicks").value(&value);
        let record = match key {
            Some(key) => record.key(*key),
            None => record,
        };
        partitions.push(producer.send(record).await.unwrap().await.unwrap().partition());
    }
    let stored = cluster.records("clicks").unwrap();
    for (i, partition) in partitions.iter().enumerate() {
        let record = stored.iter().find(|record| record.value.as_deref() == Some(&i.to_be_bytes())).unwrap();
        assert_eq!(record.partition, *partition, "a delivery says where the record is");
    }
    partitions
}

#[tokio::test(start_paused = true)]
async fn the_property_partitioner_says_where_keys_go() {
    let keys = [None, Some(&b""[..]), Some(b"a"), Some(b"visitor-7"), Some(b"\xff\x00")];
    for (name, expected) in
        [("consistent", [0, 0, 7, 49, 93]), ("murmur2", [81, 81, 24, 6, 67]), ("fnv1a", [35, 35, 76, 57, 34])]
    {
        let properties = Properties::parse(&format!("partitioner={name}")).unwrap();
        assert_eq!(partitions(properties.producer().unwrap(), &keys).await, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn ignored_keys_go_where_records_without_a_key_go() {
    let keys: Vec<_> = (0..50).map(|_| Some(&b"visitor-7"[..])).collect();
    let spread = partitions(ProducerConfig::default().partitioner_ignore_keys(true).batch_size(1), &keys).await;
    assert!(spread.iter().any(|partition| *partition != spread[0]), "{spread:?}");
    let kept = partitions(ProducerConfig::default().batch_size(1), &keys).await;
    assert!(kept.iter().all(|partition| *partition == 6), "{kept:?}");
}

/// Tasks that share a choice would share a partition's lock for each record.
#[tokio::test(start_paused = true)]
async fn each_clone_of_a_handle_has_a_choice_of_its_own() {
    let (_cluster, client) = cluster(1, 64).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let topic = producer.topic("clicks");
    producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
    let producers: Vec<_> = (0..4).map(|_| producer.clone()).collect();
    let topics: Vec<_> = (0..4).map(|_| topic.clone()).collect();
    let (mut last, mut met) = (vec![None; 64], 0);
    for _ in 0..2000 {
        for handle in 0..8 {
            let record = ProducerRecord::new("clicks").value(&[b'x'; 100]);
            let delivery = match topics.get(handle) {
                Some(topic) => topic.send(record).await.unwrap(),
                None => producers[handle - 4].send(record).await.unwrap(),
            };
            let before = last[delivery.partition() as usize].replace(handle);
            met += usize::from(before.is_some_and(|before| before != handle));
        }
    }
    assert!(met < 16_000 / 5, "{met} records of 16000 went where another handle had just been");
    producer.close(std::time::Duration::from_secs(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_partitioner_of_ones_own_is_asked() {
    #[derive(Debug)]
    struct Last;
    impl Partitioner for Last {
        fn partition(&self, record: &RecordToPlace<'_>) -> Option<u32> {
            record.key.map(|_| record.partitions - 1)
        }
    }
    let config = ProducerConfig::default().partitioner(Last).partitioner_ignore_keys(true);
    assert_eq!(partitions(config, &[Some(b"a"), Some(b"b")]).await, [99, 99]);
}

#[tokio::test(start_paused = true)]
async fn a_key_moves_when_the_topic_grows_and_what_was_written_stays() {
    let (_cluster, client) = cluster(1, 3).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let place = |partitions| {
        Partitioning::default().place("clicks", (Some(b"visitor-7"), None), partitions, || panic!()).unwrap() as i32
    };
    assert_ne!(place(3), place(100));
    let send = async || {
        let record = ProducerRecord::new("clicks").key("visitor-7").value("x");
        producer.send(record).await.unwrap().await.unwrap().partition()
    };
    assert_eq!(send().await, place(3));
    client.admin().create_partitions([("clicks", 100)]).await.unwrap();
    // A partition that nobody has heard of makes the producer look.
    producer.send(ProducerRecord::new("clicks").value("x").partition(99)).await.unwrap().await.unwrap();
    assert_eq!(send().await, place(100));
}
