-- The windows gmv_1m, views_1m, users_30m
-- of user-behavior-events by Apache Flink 2, in the aggregator's formats to the letter: merge, sink and the dashboard go on with them.
-- Printed by `milena aggregate --flink-sql`; deploy/flink/README.md of milena says how it is run, and how to cut over.
-- It needs flink-sql-connector-kafka, and the topic user-behavior-events.windows with one partition.
--
-- What SQL does otherwise than the aggregator:
-- * An event is late if the smallest watermark over all partitions has passed its window, not its own partition's. With
--   disorder within the bound nothing is late for either. What is late is dropped and counted in Flink's metric
--   numLateRecordsDropped; nothing is written to
--   user-behavior-events.late.
-- * Records that are no events are left out; nothing is written to user-behavior-events.dlq.
--   Flink's JSON reader takes some that the aggregator does not: a number as event_id, a price in quotes, a field that
--   comes twice, text behind the object. Prices with an exponent or with more than 16 digits before the point are left out.
-- * A partition without records holds up all windows. --idle-timeout is Flink's: it goes on without a partition that it has
--   read nothing of for so long, also where there is something to read and Flink is behind; those events are then late.
-- * The partitions are written down below: print this anew when the topic gets more.

SET 'pipeline.name' = 'user-behavior-events.aggregate.flink';
SET 'execution.runtime-mode' = 'streaming';
SET 'table.local-time-zone' = 'UTC';
-- Readers see the rows of a checkpoint when it is complete.
SET 'execution.checkpointing.interval' = '5 s';

-- event_time is NULL for what is no event: a field is missing, the timestamp is not RFC 3339 with a zone, the price has
-- more than two decimals, or the event is further ahead of its record than max.future.ms.
CREATE TEMPORARY TABLE input (
  event_id STRING,
  user_id STRING,
  event_type STRING,
  product_id STRING,
  `timestamp` STRING,
  price STRING,
  `partition` INT METADATA VIRTUAL,
  record_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  event_time AS CASE WHEN
      event_id IS NOT NULL AND user_id IS NOT NULL AND product_id IS NOT NULL
      AND event_type IN ('view', 'add_to_cart', 'purchase')
      AND (event_type <> 'purchase' OR price IS NULL OR REGEXP(price, '^-?\d{1,16}(\.\d{1,2})?\z'))
      AND REGEXP(`timestamp`, '^\d{4}-\d{2}-\d{2}[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{0,9})?([Zz]|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)\z')
      AND DAYOFMONTH(TRY_CAST(CONCAT(SUBSTRING(`timestamp`, 1, 10), ' ', REGEXP_EXTRACT(`timestamp`, '\d{2}:\d{2}:\d{2}[.\d]*')) AS TIMESTAMP(6))) = CAST(SUBSTRING(`timestamp`, 9, 2) AS INT)
      AND TIMESTAMPADD(MINUTE, -COALESCE(TRY_CAST(REGEXP_EXTRACT(`timestamp`, '([+-]\d{2})(:?\d{2})?\z', 1) AS INT) * 60 + COALESCE(TRY_CAST(REGEXP_REPLACE(REGEXP_EXTRACT(`timestamp`, '[+-]\d{2}:?\d{2}\z'), '\d{2}:?(?=\d)', '') AS INT), 0), 0), TRY_CAST(CONCAT(SUBSTRING(`timestamp`, 1, 10), ' ', REGEXP_EXTRACT(`timestamp`, '\d{2}:\d{2}:\d{2}[.\d]*')) AS TIMESTAMP(6)))
        <= CAST(record_time AS TIMESTAMP(3)) + INTERVAL '10' MINUTE
    THEN CAST(TIMESTAMPADD(MINUTE, -COALESCE(TRY_CAST(REGEXP_EXTRACT(`timestamp`, '([+-]\d{2})(:?\d{2})?\z', 1) AS INT) * 60 + COALESCE(TRY_CAST(REGEXP_REPLACE(REGEXP_EXTRACT(`timestamp`, '[+-]\d{2}:?\d{2}\z'), '\d{2}:?(?=\d)', '') AS INT), 0), 0), TRY_CAST(CONCAT(SUBSTRING(`timestamp`, 1, 10), ' ', REGEXP_EXTRACT(`timestamp`, '\d{2}:\d{2}:\d{2}[.\d]*')) AS TIMESTAMP(6))) AS TIMESTAMP(3)) END,
  WATERMARK FOR event_time AS event_time - INTERVAL '5.001' SECOND(2, 3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'user-behavior-events',
  'properties.bootstrap.servers' = 'localhost:9092',
  'properties.group.id' = 'user-behavior-events.aggregate.flink',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',
  'scan.watermark.emit.strategy' = 'on-event',
  'value.format' = 'json',
  'value.json.ignore-parse-errors' = 'true'
);

CREATE TEMPORARY TABLE windows (k STRING, v STRING) WITH (
  'connector' = 'kafka',
  'topic' = 'user-behavior-events.windows',
  'properties.bootstrap.servers' = 'localhost:9092',
  'properties.transaction.timeout.ms' = '600000',
  'key.format' = 'raw',
  'key.fields' = 'k',
  'value.format' = 'raw',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.parallelism' = '1',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'user-behavior-events.aggregate.flink'
);

CREATE TEMPORARY VIEW events AS
SELECT `partition`, event_type, user_id, product_id, event_time,
  CASE WHEN event_type = 'purchase' THEN CAST(price AS DECIMAL(18, 2)) END AS price
FROM input
WHERE event_time IS NOT NULL;

CREATE TEMPORARY VIEW closed AS
SELECT window_time AS closed_at, 0 AS place, 'gmv_1m' AS `window`, window_start, window_end,
  CAST(NULL AS STRING) AS `key`, `partition`, COUNT(*) AS `count`, COALESCE(CAST(SUM(price) * 100 AS BIGINT), 0) AS sum_cents
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
WHERE event_type = 'purchase' AND price IS NOT NULL
GROUP BY window_start, window_end, window_time, `partition`
UNION ALL
SELECT window_time AS closed_at, 1 AS place, 'views_1m' AS `window`, window_start, window_end,
  product_id AS `key`, `partition`, COUNT(*) AS `count`, CAST(0 AS BIGINT) AS sum_cents
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
WHERE event_type IN ('view')
GROUP BY window_start, window_end, window_time, `partition`, product_id
UNION ALL
SELECT window_time AS closed_at, 2 AS place, 'users_30m' AS `window`, window_start, window_end,
  user_id AS `key`, `partition`, COUNT(*) AS `count`, CAST(0 AS BIGINT) AS sum_cents
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '30' MINUTE))
GROUP BY window_start, window_end, window_time, `partition`, user_id;

CREATE TEMPORARY VIEW marks AS
SELECT window_time AS closed_at, window_end, ARRAY[0, 1, 2, 3, 4, 5] AS input_partitions
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, window_time
UNION ALL
SELECT window_time AS closed_at, window_end, ARRAY[0, 1, 2, 3, 4, 5] AS input_partitions
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '30' MINUTE))
GROUP BY window_start, window_end, window_time;

-- One task writes in the order of closing, rows before the watermarks that speak for them.
INSERT INTO windows
SELECT k, v FROM (
  SELECT closed_at, place,
    CONCAT(`window`, '|', CAST(EXTRACT(EPOCH FROM window_start) * 1000 + EXTRACT(MILLISECOND FROM window_start) AS STRING), '|', COALESCE(`key`, ''), '|', CAST(`partition` AS STRING)) AS k,
    CONCAT('{"job":"user-behavior-events.aggregate.flink","window":', JSON_STRING(`window`), ',"start_ms":', CAST(EXTRACT(EPOCH FROM window_start) * 1000 + EXTRACT(MILLISECOND FROM window_start) AS STRING), ',"end_ms":', CAST(EXTRACT(EPOCH FROM window_end) * 1000 + EXTRACT(MILLISECOND FROM window_end) AS STRING),
      ',"key":', COALESCE(JSON_STRING(`key`), 'null'), ',"partition":', CAST(`partition` AS STRING),
      ',"count":', CAST(`count` AS STRING), ',"sum_cents":', CAST(sum_cents AS STRING), '}') AS v
  FROM closed
  UNION ALL
  SELECT closed_at, 64 AS place,
    CONCAT('watermark|user-behavior-events.aggregate.flink|', CAST(p AS STRING)) AS k,
    CONCAT('{"job":"user-behavior-events.aggregate.flink","partition":', CAST(p AS STRING), ',"watermark_ms":', CAST(EXTRACT(EPOCH FROM window_end) * 1000 + EXTRACT(MILLISECOND FROM window_end) AS STRING), '}') AS v
  FROM marks CROSS JOIN UNNEST(marks.input_partitions) AS each_of_them (p)
)
ORDER BY closed_at, place, k;
