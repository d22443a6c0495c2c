import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What Peer.java does not do for the foreign checks.
 *
 * <pre>
 * java Work transact BOOTSTRAP TOPIC SOURCE GROUP   one transaction aborted, one committed; with offsets of SOURCE; prints the one
 *                                                   committed
 * java Work admin    BOOTSTRAP NAME                 makes, grows, alters, describes and deletes a topic and a group
 * </pre>
 */
public class Work {
  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "transact" -> transact(args[1], args[2], args[3], args[4]);
      case "admin" -> admin(args[1], args[2]);
      default -> throw new IllegalArgumentException("transact or admin, not " + args[0]);
    }
  }

  static void transact(String bootstrap, String topic, String source, String group) {
    Properties config = new Properties();
    config.put("bootstrap.servers", bootstrap);
    config.put("transactional.id", "java-" + topic);
    config.put("group.id", group);
    config.put("enable.auto.commit", "false");
    config.put("auto.offset.reset", "earliest");
    config.put("max.poll.records", "5");
    try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
      producer.initTransactions();
      consumer.subscribe(List.of(source));
      for (String end : List.of("abort", "commit")) {
        while (consumer.poll(Duration.ofMillis(200)).isEmpty()) {}
        TopicPartition partition = new TopicPartition(source, 0);
        long next = consumer.position(partition);
        producer.beginTransaction();
        for (int i = 0; i < 3; i++) producer.send(new ProducerRecord<>(topic, 0, null, end + "-" + i));
        producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(next)), consumer.groupMetadata());
        if (end.equals("commit")) {
          producer.commitTransaction();
          System.out.println("{\"committed\": " + next + "}");
        } else {
          producer.abortTransaction();
          consumer.seek(partition, 0);
        }
      }
    }
  }

  static void admin(String bootstrap, String name) throws Exception {
    TopicPartition first = new TopicPartition(name, 0);
    Properties config = new Properties();
    config.put("bootstrap.servers", bootstrap);
    try (Admin admin = Admin.create(config);
        var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
      NewTopic topic = new NewTopic(name, Optional.of(2), Optional.empty()).configs(Map.of("retention.ms", "12345"));
      var created = admin.createTopics(Set.of(topic));
      equal(created.numPartitions(name).get(), 2);
      equal(created.config(name).get().get("retention.ms").value(), "12345");
      try {
        admin.createTopics(Set.of(topic)).all().get();
        throw new AssertionError("made twice");
      } catch (ExecutionException there) {
        equal(there.getCause().getClass(), TopicExistsException.class);
      }
      admin.createPartitions(Map.of(name, NewPartitions.increaseTo(4))).all().get();
      for (int tries = 0; partitions(admin, name) < 4; tries++) {
        if (tries == 100) throw new AssertionError("it does not grow");
        Thread.sleep(50);
      }
      ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
      Collection<AlterConfigOp> change = List.of(new AlterConfigOp(new ConfigEntry("segment.ms", "54321"), AlterConfigOp.OpType.SET));
      admin.incrementalAlterConfigs(Map.of(resource, change)).all().get();
      for (int tries = 0; !config(admin, resource, "segment.ms").equals("54321"); tries++) {
        if (tries == 100) throw new AssertionError("it is not altered");
        Thread.sleep(50);
      }
      for (long at = 1; at <= 3; at++) producer.send(new ProducerRecord<>(name, 0, at * 1000, null, "x")).get();
      equal(offset(admin, first, OffsetSpec.latest()), 3L);
      equal(offset(admin, first, OffsetSpec.maxTimestamp()), 2L);
      equal(offset(admin, first, OffsetSpec.forTimestamp(1500)), 1L);
      equal(offset(admin, first, OffsetSpec.earliestLocal()), 0L);
      admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(2))).all().get();
      equal(offset(admin, first, OffsetSpec.earliest()), 2L);
      String group = "group-" + name;
      admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(2, "two"))).all().get();
      var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
      equal(offsets, Map.of(first, new OffsetAndMetadata(2, "two")));
      equal(admin.listGroups().all().get().stream().anyMatch(listing -> listing.groupId().equals(group)), true);
      equal(admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState().toString(), "Empty");
      admin.deleteConsumerGroupOffsets(group, Set.of(first)).all().get();
      equal(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(), Map.of());
      admin.deleteConsumerGroups(List.of(group)).all().get();
      var cluster = admin.describeCluster();
      equal(cluster.nodes().get().contains(cluster.controller().get()), true);
      int level = admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("transaction.version").maxVersionLevel();
      equal(level, 2);
      admin.deleteTopics(Set.of(name)).all().get();
    }
  }

  static int partitions(Admin admin, String name) throws Exception {
    return admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size();
  }

  static String config(Admin admin, ConfigResource resource, String name) throws Exception {
    return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name).value();
  }

  static long offset(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
    return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
  }

  static void equal(Object got, Object want) {
    if (!got.equals(want)) throw new AssertionError("got " + got + ", want " + want);
  }
}
