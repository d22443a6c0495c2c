import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java client as the other side of a test: JSON lines in and out, bytes in base64. `peer.py` is librdkafka's twin.
 *
 * <pre>
 * java -cp "$jars/*" Peer.java produce BOOTSTRAP TOPIC CODEC        records on stdin; prints partition and offset of each
 * java -cp "$jars/*" Peer.java consume BOOTSTRAP TOPIC COUNT        prints COUNT records from the beginning of the topic
 * java -cp "$jars/*" Peer.java settled BOOTSTRAP TOPIC GROUP        waits until no transaction is open in the topic, prints all
 *                                      that read_committed sees of it, and then what the group has committed there
 * java -cp "$jars/*" Peer.java member  BOOTSTRAP TOPIC GROUP ASSIGNOR
 *                                      joins the group until stdin ends: prints what it is assigned and reads, commits,
 *                                      leaves; ASSIGNOR is range, roundrobin, sticky, cooperative-sticky, default, or consumer
 *                                      for the protocol of that name
 * java -cp "$jars/*" Peer.java move    BOOTSTRAP TOPIC PARTITION    moves the leader to the next replica, prints it
 * </pre>
 */
public class Peer {
  static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "produce" -> produce(args[1], args[2], args[3]);
      case "consume" -> consume(args[1], args[2], Integer.parseInt(args[3]));
      case "settled" -> settled(args[1], args[2], args[3]);
      case "member" -> member(args[1], args[2], args[3], args[4]);
      case "move" -> move(args[1], new TopicPartition(args[2], Integer.parseInt(args[3])));
      default -> throw new IllegalArgumentException("produce, consume, settled, member or move, not " + args[0]);
    }
  }

  /** How to get there: what the file KAFKA_JAVA_PROPERTIES says of security, if there is one. */
  static Properties config(String bootstrap) {
    Properties config = new Properties();
    String file = System.getenv("KAFKA_JAVA_PROPERTIES");
    if (file != null) {
      try (var in = Files.newInputStream(Path.of(file))) {
        config.load(in);
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
    config.put("bootstrap.servers", bootstrap);
    return config;
  }

  static void produce(String bootstrap, String topic, String codec) throws Exception {
    Properties config = config(bootstrap);
    config.put("compression.type", codec);
    config.put("linger.ms", "100"); // several records in a batch
    try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        var in = new BufferedReader(new InputStreamReader(System.in))) {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        JsonNode json = JSON.readTree(line);
        List<Header> headers = new ArrayList<>();
        for (JsonNode header : json.get("headers")) {
          headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
        }
        sent.add(producer.send(new ProducerRecord<>(topic, json.get("partition").asInt(),
            json.get("timestamp").asLong(), bytes(json.get("key")), bytes(json.get("value")), headers)));
      }
      producer.flush();
      for (Future<RecordMetadata> each : sent) {
        RecordMetadata written = each.get();
        System.out.println(JSON.createObjectNode().put("partition", written.partition()).put("offset", written.offset()));
      }
    }
  }

  static void consume(String bootstrap, String topic, int count) {
    Properties config = config(bootstrap);
    config.put("enable.auto.commit", "false");
    try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> all = new ArrayList<>();
      consumer.partitionsFor(topic).forEach(info -> all.add(new TopicPartition(topic, info.partition())));
      consumer.assign(all);
      consumer.seekToBeginning(all);
      long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
      for (int seen = 0; seen < count; ) {
        if (System.nanoTime() > deadline) throw new IllegalStateException("only " + seen + " records in 30 s");
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
          System.out.println(json(record));
          seen++;
        }
      }
    }
  }

  static void settled(String bootstrap, String topic, String group) throws Exception {
    Properties config = config(bootstrap);
    config.put("enable.auto.commit", "false");
    config.put("group.id", group);
    config.put("isolation.level", "read_committed");
    Properties uncommitted = new Properties();
    uncommitted.putAll(config);
    uncommitted.put("isolation.level", "read_uncommitted");
    try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var other = new KafkaConsumer<>(uncommitted, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> all = new ArrayList<>();
      consumer.partitionsFor(topic).forEach(info -> all.add(new TopicPartition(topic, info.partition())));
      long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
      Map<TopicPartition, Long> stable = consumer.endOffsets(all), end = other.endOffsets(all);
      for (; !stable.equals(end); stable = consumer.endOffsets(all), end = other.endOffsets(all)) {
        if (System.nanoTime() > deadline) throw new IllegalStateException("open for 60 s: up to " + stable + " of " + end);
        Thread.sleep(50);
      }
      consumer.assign(all);
      consumer.seekToBeginning(all);
      for (TopicPartition partition : all) {
        while (consumer.position(partition) < end.get(partition)) {
          if (System.nanoTime() > deadline) throw new IllegalStateException("60 s, and not at " + end);
          consumer.poll(Duration.ofMillis(500)).forEach(record -> System.out.println(json(record)));
        }
      }
      ObjectNode offsets = JSON.createObjectNode(); // a transaction that is open holds this up, as of KIP-447
      consumer.committed(Set.copyOf(all)).forEach((partition, committed) -> {
        if (committed != null) offsets.put(Integer.toString(partition.partition()), committed.offset());
      });
      System.out.println(JSON.createObjectNode().set("committed", offsets));
    }
  }

  static void member(String bootstrap, String topic, String group, String strategy) throws Exception {
    Properties config = config(bootstrap);
    config.put("group.id", group);
    config.put("auto.offset.reset", "earliest");
    if (strategy.equals("consumer")) {
      config.put("group.protocol", strategy); // the coordinator assigns
    } else {
      config.put("session.timeout.ms", "6000");
      config.put("heartbeat.interval.ms", "500");
      String classes = "org.apache.kafka.clients.consumer.";
      config.put("partition.assignment.strategy", switch (strategy) {
        case "range" -> classes + "RangeAssignor";
        case "roundrobin" -> classes + "RoundRobinAssignor";
        case "sticky" -> classes + "StickyAssignor";
        case "cooperative-sticky" -> classes + "CooperativeStickyAssignor";
        default -> classes + "RangeAssignor," + classes + "CooperativeStickyAssignor"; // Java's own
      });
    }
    try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
          consumer.commitSync(); // all that was polled is printed
        }

        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
          ArrayNode numbers = JSON.createArrayNode();
          consumer.assignment().stream().map(TopicPartition::partition).sorted().forEach(numbers::add);
          System.out.println(JSON.createObjectNode().set("assigned", numbers));
        }
      });
      while (System.in.available() == 0) { // the test says a word to end it
        consumer.poll(Duration.ofMillis(100)).forEach(record -> System.out.println(json(record)));
      }
      for (boolean committed = false; !committed; ) {
        try {
          consumer.commitSync();
          committed = true;
        } catch (RebalanceInProgressException error) { // it wants a poll first
          consumer.poll(Duration.ofMillis(100)).forEach(record -> System.out.println(json(record)));
        }
      }
    }
  }

  static void move(String bootstrap, TopicPartition partition) throws Exception {
    try (Admin admin = Admin.create(config(bootstrap))) {
      List<Integer> replicas = new ArrayList<>();
      for (Node node : describe(bootstrap, partition).replicas()) replicas.add(node.id());
      Collections.rotate(replicas, -1);
      admin.alterPartitionReassignments(Map.of(partition, Optional.of(new NewPartitionReassignment(replicas)))).all().get();
      admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).partitions().get();
      int leader = describe(bootstrap, partition).leader().id();
      for (int tries = 0; leader != replicas.get(0); tries++) {
        if (tries == 100) throw new IllegalStateException("the leader is still " + leader);
        Thread.sleep(100);
        leader = describe(bootstrap, partition).leader().id();
      }
      System.out.println(JSON.createObjectNode().put("leader", leader));
    }
  }

  /** By a new consumer each time: nothing is remembered, and unlike the admin's answer it has had one name in all versions. */
  static PartitionInfo describe(String bootstrap, TopicPartition partition) {
    Properties config = config(bootstrap);
    try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<PartitionInfo> all = consumer.partitionsFor(partition.topic());
      return all.stream().filter(info -> info.partition() == partition.partition()).findFirst().orElseThrow();
    }
  }

  static ObjectNode json(ConsumerRecord<byte[], byte[]> record) {
    ArrayNode headers = JSON.createArrayNode();
    for (Header header : record.headers()) {
      headers.add(JSON.createArrayNode().add(header.key()).add(text(header.value())));
    }
    ObjectNode json = JSON.createObjectNode();
    json.put("partition", record.partition()).put("offset", record.offset()).put("timestamp", record.timestamp());
    json.put("key", text(record.key())).put("value", text(record.value()));
    json.set("headers", headers);
    return json;
  }

  static byte[] bytes(JsonNode base64) {
    return base64 == null || base64.isNull() ? null : Base64.getDecoder().decode(base64.asText());
  }

  static String text(byte[] bytes) {
    return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
  }
}
