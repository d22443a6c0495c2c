// franz-go as the other side of a check: JSON lines in and out, bytes in base64, like ../../../java/Peer.java.
//
//	peer produce  BOOTSTRAP TOPIC CODEC            records on stdin
//	peer consume  BOOTSTRAP TOPIC COUNT            prints COUNT records from the beginning of the topic
//	peer member   BOOTSTRAP TOPIC GROUP ASSIGNOR   prints what it is assigned and reads, until stdin ends
//	peer transact BOOTSTRAP TOPIC SOURCE GROUP     one transaction aborted, one committed; with offsets of SOURCE; prints the one committed
//	peer admin    BOOTSTRAP NAME                   makes, grows, alters, describes and deletes a topic and a group
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A record on the line; JSON writes bytes in base64.
type line struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   [][2]any `json:"headers"`
}

var output sync.Mutex

func print(value any) {
	output.Lock()
	defer output.Unlock()
	must(json.NewEncoder(os.Stdout).Encode(value))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func want(ok bool, what string, got ...any) {
	if !ok {
		log.Fatal(what, ": ", fmt.Sprint(got...))
	}
}

func main() {
	log.SetFlags(log.Lshortfile)
	verb, bootstrap, topic, rest := os.Args[1], strings.Split(os.Args[2], ","), os.Args[3], os.Args[4:]
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	open := func(options ...kgo.Opt) *kgo.Client {
		client, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap...))...)
		must(err)
		return client
	}
	switch verb {
	case "produce":
		produce(ctx, open(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), codec(rest[0]), kgo.ProducerLinger(50*time.Millisecond)))
	case "consume":
		count, err := strconv.Atoi(rest[0])
		must(err)
		consume(ctx, open(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), count)
	case "member":
		member(ctx, open, topic, rest[0], rest[1])
	case "transact":
		transact(ctx, topic, rest[0], rest[1], bootstrap)
	case "admin":
		admin(ctx, open(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner())), topic)
	default:
		log.Fatal("no such verb: ", verb)
	}
}

func codec(name string) kgo.Opt {
	return kgo.ProducerBatchCompression(map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[name])
}

func produce(ctx context.Context, client *kgo.Client) {
	defer client.Close()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var one line
		must(json.Unmarshal(in.Bytes(), &one))
		record := &kgo.Record{Partition: one.Partition, Key: one.Key, Value: one.Value, Timestamp: time.UnixMilli(one.Timestamp)}
		for _, header := range one.Headers {
			value, err := json.Marshal(header[1])
			must(err)
			var bytes []byte
			must(json.Unmarshal(value, &bytes))
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: header[0].(string), Value: bytes})
		}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) { must(err) })
	}
	must(client.Flush(ctx))
}

func tell(record *kgo.Record) {
	headers := [][2]any{}
	for _, header := range record.Headers {
		headers = append(headers, [2]any{header.Key, header.Value})
	}
	print(line{record.Partition, record.Offset, record.Timestamp.UnixMilli(), record.Key, record.Value, headers})
}

func consume(ctx context.Context, client *kgo.Client, count int) {
	defer client.Close()
	for seen := 0; seen < count; {
		fetches := client.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			tell(record)
			seen++
		})
	}
}

func member(ctx context.Context, open func(...kgo.Opt) *kgo.Client, topic, group, assignor string) {
	balancers := map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}
	held := map[int32]bool{}
	changed := func(has bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			for _, partition := range partitions[topic] {
				held[partition] = has
			}
			all := []int32{}
			for partition, has := range held {
				if has {
					all = append(all, partition)
				}
			}
			slices.Sort(all)
			print(map[string]any{"assigned": all})
		}
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(changed(true)), kgo.OnPartitionsRevoked(changed(false)), kgo.OnPartitionsLost(changed(false)),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
	}
	if assignor == "consumer" {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	} else {
		options = append(options, kgo.Balancers(balancers[assignor]))
	}
	client := open(options...)
	defer client.Close()
	ctx, stop := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(tell)
	}
	must(client.CommitUncommittedOffsets(context.Background()))
}

func transact(ctx context.Context, topic, source, group string, bootstrap []string) {
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(bootstrap...), kgo.TransactionalID("franz-"+topic), kgo.DefaultProduceTopic(topic), kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(source), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets(),
	)
	must(err)
	defer session.Close()
	for _, end := range []string{"abort", "commit"} {
		var next int64
		for next == 0 { // an abort brings the reader back to where it was
			fetches := session.PollFetches(ctx)
			must(fetches.Err())
			fetches.EachRecord(func(record *kgo.Record) { next = record.Offset + 1 })
		}
		must(session.Begin())
		for i := range 3 {
			must(session.ProduceSync(ctx, kgo.StringRecord(fmt.Sprintf("%s-%d", end, i))).FirstErr())
		}
		committed, err := session.End(ctx, kgo.TransactionEndTry(end == "commit"))
		must(err)
		if want(committed == (end == "commit"), end); committed {
			print(map[string]any{"committed": next})
		}
	}
}

func admin(ctx context.Context, client *kgo.Client, name string) {
	defer client.Close()
	admin, of := kadm.NewClient(client), "12345"
	created, err := admin.CreateTopic(ctx, 2, -1, map[string]*string{"retention.ms": &of}, name)
	must(err)
	want(created.NumPartitions == 2 && created.Configs["retention.ms"].Value != nil, "created", created)
	_, err = admin.CreateTopic(ctx, 2, -1, nil, name)
	want(err == kerr.TopicAlreadyExists, "it is there", err)
	grown, err := admin.UpdatePartitions(ctx, 4, name)
	must(err)
	must(grown.Error())
	for {
		topics, err := admin.ListTopics(ctx, name)
		must(err)
		if len(topics[name].Partitions) == 4 && topics.Error() == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, name)
	must(err)
	for _, config := range configs[0].Configs {
		want(config.Key != "retention.ms" || config.MaybeValue() == "12345", "retention", config)
	}
	more := "54321"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "segment.ms", Value: &more}}, name)
	must(err)
	must(altered[0].Err)
	for at := range 3 {
		must(client.ProduceSync(ctx, &kgo.Record{Partition: 0, Value: []byte("x"), Timestamp: time.UnixMilli(int64(at+1) * 1000)}).FirstErr())
	}
	ends, err := admin.ListEndOffsets(ctx, name)
	must(err)
	end, _ := ends.Lookup(name, 0)
	times, err := admin.ListOffsetsAfterMilli(ctx, 1500, name)
	must(err)
	at, _ := times.Lookup(name, 0)
	want(end.Offset == 3 && at.Offset == 1, "offsets", end, at)
	before := kadm.Offsets{}
	before.AddOffset(name, 0, 2, -1)
	deleted, err := admin.DeleteRecords(ctx, before)
	must(err)
	must(deleted.Error())
	starts, err := admin.ListStartOffsets(ctx, name)
	must(err)
	start, _ := starts.Lookup(name, 0)
	want(start.Offset == 2, "start", start)
	group := "group-" + name
	must(admin.CommitAllOffsets(ctx, group, before))
	fetched, err := admin.FetchOffsets(ctx, group)
	must(err)
	committed, _ := fetched.Lookup(name, 0)
	want(committed.At == 2, "committed", committed)
	described, err := admin.DescribeGroups(ctx, group)
	must(err)
	want(described[group].State == "Empty", "group", described)
	lags, err := admin.Lag(ctx, group)
	must(err)
	lag, _ := lags[group].Lag.Lookup(name, 0)
	want(lag.Lag == 1, "lag", lag)
	gone, err := admin.DeleteGroup(ctx, group)
	must(err)
	must(gone.Err)
	cluster, err := admin.BrokerMetadata(ctx)
	must(err)
	want(cluster.Cluster != "" && slices.Contains(cluster.Brokers.NodeIDs(), cluster.Controller), "cluster", cluster)
	removed, err := admin.DeleteTopic(ctx, name)
	must(err)
	must(removed.Err)
}
