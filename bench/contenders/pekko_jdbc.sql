-- Apache Pekko Persistence JDBC: a row for each sequence number, the latest is loaded. Its
-- retention, keeping one, deletes the rows before in a transaction of its own; here it has the
-- save's, which spares it a flush. Left out: the bounds of a load, and parameters for the
-- serializer and the time, which are constants here.

-- table
CREATE TABLE pekko_jdbc (
    persistence_id varchar(255) NOT NULL,
    sequence_number bigint NOT NULL,
    created bigint NOT NULL,
    snapshot_ser_id int NOT NULL,
    snapshot_ser_manifest varchar(255) NOT NULL,
    snapshot_payload bytea NOT NULL,
    meta_ser_id int,
    meta_ser_manifest varchar(255),
    meta_payload bytea,
    PRIMARY KEY (persistence_id, sequence_number)
);

-- save bytea
INSERT INTO pekko_jdbc (persistence_id, sequence_number, created, snapshot_ser_id,
    snapshot_ser_manifest, snapshot_payload, meta_ser_id, meta_ser_manifest, meta_payload)
VALUES (:stream_id, :sequence_number, 1700000000000, 33, 'order.State', :state, NULL, NULL, NULL)
ON CONFLICT (persistence_id, sequence_number) DO UPDATE SET
    created = excluded.created,
    snapshot_ser_id = excluded.snapshot_ser_id,
    snapshot_ser_manifest = excluded.snapshot_ser_manifest,
    snapshot_payload = excluded.snapshot_payload,
    meta_ser_id = excluded.meta_ser_id,
    meta_ser_manifest = excluded.meta_ser_manifest,
    meta_payload = excluded.meta_payload;
DELETE FROM pekko_jdbc
WHERE persistence_id = :stream_id AND sequence_number <= CAST(:sequence_number AS bigint) - 1;

-- load bytea
SELECT persistence_id, sequence_number, created, snapshot_ser_id, snapshot_ser_manifest,
    snapshot_payload, meta_ser_id, meta_ser_manifest, meta_payload
FROM pekko_jdbc
WHERE persistence_id = :stream_id
ORDER BY sequence_number DESC
LIMIT 1;
