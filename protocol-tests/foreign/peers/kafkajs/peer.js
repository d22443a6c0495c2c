// kafkajs as the other side of a check: JSON lines in and out, bytes in base64, like ../../../java/Peer.java.
//
//   node peer.js produce  BOOTSTRAP TOPIC CODEC            records on stdin
//   node peer.js consume  BOOTSTRAP TOPIC COUNT            prints COUNT records from the beginning of the topic
//   node peer.js member   BOOTSTRAP TOPIC GROUP ASSIGNOR   prints what it is assigned and reads, until stdin ends
//   node peer.js transact BOOTSTRAP TOPIC SOURCE GROUP     one transaction aborted, one committed; with offsets of SOURCE; prints the one committed
//   node peer.js admin    BOOTSTRAP NAME                   makes, grows, alters, describes and deletes a topic and a group

import { init as initZstd, compress as zstd, decompress as unzstd } from "@bokuweb/zstd-wasm";
import kafkajs from "kafkajs";
import snappy from "kafkajs-snappy";
import lz4 from "lz4-napi";
import assert from "node:assert/strict";
import { createInterface } from "node:readline";

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs;
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(unzstd(buffer)),
});

const [verb, bootstrap, topic, ...rest] = process.argv.slice(2);
const kafka = new Kafka({ brokers: bootstrap.split(","), clientId: "kafkajs", logLevel: logLevel.NOTHING });
const print = (json) => console.log(JSON.stringify(json));
const bytes = (text) => (text === null ? null : Buffer.from(text, "base64"));
const text = (buffer) => (buffer === null || buffer === undefined ? null : Buffer.from(buffer).toString("base64"));

async function lines() {
  const all = [];
  for await (const line of createInterface({ input: process.stdin })) all.push(JSON.parse(line));
  return all;
}

async function produce(codec) {
  const producer = kafka.producer({ allowAutoTopicCreation: false, idempotent: codec !== "none" });
  await producer.connect();
  const messages = (await lines()).map(({ partition, key, value, headers, timestamp }) => {
    const grouped = {}; // a header that comes twice is a list
    for (const [name, of] of headers) (grouped[name] ??= []).push(bytes(of));
    return { partition, key: bytes(key), value: bytes(value), headers: grouped, timestamp: String(timestamp) };
  });
  const compression = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }[codec];
  await producer.send({ topic, messages, acks: -1, compression });
  await producer.disconnect();
}

function record({ partition, message }) {
  const headers = Object.entries(message.headers).flatMap(([name, of]) => [of].flat().map((one) => [name, text(one)]));
  const { offset, timestamp, key, value } = message;
  return { partition, offset: Number(offset), timestamp: Number(timestamp), key: text(key), value: text(value), headers };
}

async function consume(count) {
  const consumer = kafka.consumer({ groupId: `kafkajs-${topic}`, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let seen = 0;
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`only ${seen} records in 30 s`)), 30_000).unref();
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    const eachMessage = async (message) => {
      if (seen < count) print(record(message));
      if (++seen === count) resolve();
    };
    consumer.run({ autoCommit: false, eachMessage }).catch(reject);
  });
  await consumer.disconnect();
}

async function member(group) {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 100 });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => print({ assigned: payload.memberAssignment[topic] ?? [] }));
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ eachMessage: async (message) => print(record(message)) });
  await lines();
  await consumer.disconnect();
}

async function transact(source, group) {
  const producer = kafka.producer({ transactionalId: `kafkajs-${topic}`, maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  for (const end of ["abort", "commit"]) {
    const transaction = await producer.transaction();
    for (let i = 0; i < 3; i++) await transaction.send({ topic, messages: [{ partition: 0, value: `${end}-${i}` }] });
    const topics = [{ topic: source, partitions: [{ partition: 0, offset: end === "commit" ? "5" : "9" }] }];
    await transaction.sendOffsets({ consumerGroupId: group, topics });
    await transaction[end]();
  }
  print({ committed: 5 });
  await producer.disconnect();
}

async function admin(name) {
  const admin = kafka.admin();
  await admin.connect();
  const configEntries = [{ name: "retention.ms", value: "12345" }];
  const create = { topics: [{ topic: name, numPartitions: 2, configEntries }], waitForLeaders: false };
  assert.equal(await admin.createTopics(create), true);
  assert.equal(await admin.createTopics(create), false, "it is there");
  const has = async (count) => {
    // A broker may not have heard of the topic yet, or of its growth.
    for (let tries = 0; ; tries++) {
      const found = await admin.fetchTopicMetadata({ topics: [name] }).catch((error) => ({ topics: [{ partitions: [] }], error }));
      if (found.topics[0].partitions.length === count) return;
      if (tries === 100) throw found.error ?? new Error(`not ${count} partitions`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  await has(2);
  assert.ok((await admin.listTopics()).includes(name));
  await admin.createPartitions({ topicPartitions: [{ topic: name, count: 4 }] });
  await has(4);
  const described = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name, configNames: ["retention.ms"] }] });
  assert.equal(described.resources[0].configEntries[0].configValue, "12345");
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: name, messages: [1, 2, 3].map((at) => ({ partition: 0, value: `${at}`, timestamp: `${at * 1000}` })) });
  await producer.disconnect();
  const offsets = async () => (await admin.fetchTopicOffsets(name)).find(({ partition }) => partition === 0);
  assert.deepEqual({ ...(await offsets()) }, { partition: 0, offset: "3", high: "3", low: "0" });
  const byTime = (await admin.fetchTopicOffsetsByTimestamp(name, 1500)).find(({ partition }) => partition === 0);
  assert.equal(byTime.offset, "1");
  await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: "2" }] });
  assert.equal((await offsets()).low, "2");
  const groupId = `group-${name}`;
  await admin.setOffsets({ groupId, topic: name, partitions: [{ partition: 0, offset: "2" }] });
  const [fetched] = await admin.fetchOffsets({ groupId, topics: [name] });
  assert.equal(fetched.partitions.find(({ partition }) => partition === 0).offset, "2");
  assert.ok((await admin.listGroups()).groups.some((group) => group.groupId === groupId));
  const [group] = (await admin.describeGroups([groupId])).groups;
  assert.deepEqual([group.state, group.members], ["Empty", []]);
  await admin.deleteGroups([groupId]);
  const { brokers, controller, clusterId } = await admin.describeCluster();
  assert.ok(clusterId && brokers.some(({ nodeId }) => nodeId === controller));
  await admin.deleteTopics({ topics: [name] });
  await admin.disconnect();
}

await initZstd();
await { produce, consume: (count) => consume(Number(count)), member, transact, admin: () => admin(topic) }[verb](...rest);
