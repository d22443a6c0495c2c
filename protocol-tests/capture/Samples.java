// Usage: java -cp "JARS/*" Samples.java BOOTSTRAP: topics record-java-…; the records are those of samples.py.
//        java -cp "JARS/*" Samples.java BOOTSTRAP read: compares the topics record-ours-… with them, byte by byte.
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.AppInfoParser;

public class Samples {
    static final long T = 1_700_000_000_000L;

    record Sample(byte[] key, byte[] value, List<Header> headers) {}

    static byte[] b(String s) { return s.getBytes(StandardCharsets.UTF_8); }

    static byte[] noise(int n) {
        long x = 12345;
        byte[] out = new byte[n];
        for (int i = 0; i < n; i++) { x = (x * 1103515245L + 12345) & 0x7fffffffL; out[i] = (byte) (x >> 16); }
        return out;
    }

    static List<Sample> odd() {
        List<Header> none = List.of();
        return List.of(
            new Sample(b("key-0"), b("value-0"), none),
            new Sample(null, b("no key"), none),
            new Sample(b(""), b(""), none),
            new Sample(b("tombstone"), null, none),
            new Sample(b("headers"), b("h"), List.of(new RecordHeader("dup", b("1")), new RecordHeader("dup", b("2")),
                new RecordHeader("null", (byte[]) null), new RecordHeader("empty", b("")),
                new RecordHeader("\u00fcn\u00efcode \u2713", new byte[] {-1, 0}))),
            new Sample(b("long"), b("abcdefghij".repeat(300)), none),
            new Sample(b("noise"), noise(200), none));
    }

    static List<Sample> many() {
        List<Sample> out = new ArrayList<>();
        for (int i = 0; i < 2000; i++)
            out.add(new Sample(b("visitor-" + i % 7),
                b("{\"page\":\"/p/" + i % 13 + "\",\"n\":" + i + ",\"agent\":\"Mozilla/5.0 (X11; Linux x86_64)\"}"), List.of()));
        return out;
    }

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 1000, "batch.size", 1_000_000));
        config.putAll(more);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static void send(KafkaProducer<byte[], byte[]> producer, String topic, List<Sample> samples) throws Exception {
        send(producer, topic, T, samples);
    }

    static void send(KafkaProducer<byte[], byte[]> producer, String topic, long from, List<Sample> samples) throws Exception {
        List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < samples.size(); i++) {
            Sample s = samples.get(i);
            sent.add(producer.send(new ProducerRecord<>(topic, 0, from + 10L * i, s.key, s.value, s.headers)));
        }
        producer.flush();
        for (var f : sent) f.get();
    }

    static void same(String topic, List<Sample> samples, KafkaConsumer<byte[], byte[]> consumer) {
        var partition = new org.apache.kafka.common.TopicPartition(topic, 0);
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        int n = 0;
        for (int polls = 0; polls < 50 && n < samples.size(); polls++)
            for (var r : consumer.poll(java.time.Duration.ofMillis(500))) {
                Sample s = samples.get(n);
                if (r.offset() != n || r.timestamp() != T + 10L * n || !Arrays.equals(r.key(), s.key) || !Arrays.equals(r.value(), s.value)
                    || !s.headers.equals(Arrays.asList(r.headers().toArray())))
                    throw new IllegalStateException(topic + " differs at " + n + ": " + r);
                n++;
            }
        if (n != samples.size()) throw new IllegalStateException(topic + ": " + n + " records");
        System.out.println(topic + ": " + n + " records, the same in Java kafka-clients " + AppInfoParser.getVersion());
    }

    static void read(String bootstrap) {
        try (var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", (Object) bootstrap), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                same("record-ours-odd-" + codec, odd(), consumer);
                same("record-ours-many-" + codec, many(), consumer);
            }
        }
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        if (args.length > 1) { read(bootstrap); return; }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(
                new NewTopic("record-java-append-time", 1, (short) 1).configs(Map.of("message.timestamp.type", "LogAppendTime", "retention.ms", "-1")),
                new NewTopic("record-java-compacted", 1, (short) 1).configs(Map.of("cleanup.policy", "compact", "segment.ms", "1000",
                    "min.cleanable.dirty.ratio", "0.01", "delete.retention.ms", "600000", "retention.ms", "-1")))).all().get();
        }
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (var producer = producer(bootstrap, Map.of("compression.type", codec))) {
                send(producer, "record-java-odd-" + codec, odd());
                if (!codec.equals("none")) send(producer, "record-java-many-" + codec, many());
            }
        }
        try (var producer = producer(bootstrap, Map.of("compression.type", "lz4"))) { send(producer, "record-java-append-time", odd()); }

        // Committed, aborted, committed; and records of nobody's transaction between them.
        String topic = "record-java-transactions";
        try (var producer = producer(bootstrap, Map.of("transactional.id", "record-vectors")); var plain = producer(bootstrap, Map.of())) {
            producer.initTransactions();
            for (String state : List.of("committed-1", "aborted", "committed-2")) {
                producer.beginTransaction();
                send(producer, topic, List.of(new Sample(b(state), b("a"), List.of()), new Sample(b(state), b("b"), List.of())));
                send(plain, topic, List.of(new Sample(b("plain"), b(state), List.of())));
                if (state.equals("aborted")) producer.abortTransaction(); else producer.commitTransaction();
            }
        }

        // A batch that compaction thins out, its last record included; one that it empties but keeps, as the last one of its
        // producer; and one that it removes. A segment is closed by the records' own time, one second here.
        topic = "record-java-compacted";
        try (var producer = producer(bootstrap, Map.of("compression.type", "lz4"))) {
            send(producer, topic, List.of(new Sample(b("stays"), b("1"), List.of()), new Sample(b("goes"), b("1"), List.of()),
                new Sample(b("goes"), b("2"), List.of())));
            send(producer, topic, T + 10_000, List.of(new Sample(b("goes"), b("3"), List.of())));
        }
        try (var producer = producer(bootstrap, Map.of("enable.idempotence", false))) {
            send(producer, topic, T + 20_000, List.of(new Sample(b("goes"), b("4"), List.of())));
            send(producer, topic, T + 30_000, List.of(new Sample(b("goes"), b("5"), List.of())));
            send(producer, topic, T + 40_000, List.of(new Sample(b("open"), b(""), List.of())));
        }
        try (var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", (Object) bootstrap), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var partition = new org.apache.kafka.common.TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            for (int tries = 0; ; tries++) {
                consumer.seekToBeginning(List.of(partition));
                int seen = 0;
                for (int polls = 0; polls < 10 && consumer.position(partition) < 7; polls++) seen += consumer.poll(java.time.Duration.ofMillis(200)).count();
                if (seen == 3) break;
                if (tries > 30) throw new IllegalStateException("the log cleaner left " + seen + " records");
                Thread.sleep(2000);
            }
        }
        System.out.println("Java kafka-clients " + AppInfoParser.getVersion());
    }
}
