-- Apache Pekko Persistence R2DBC: one row a stream, which the last writer overwrites. What an
-- application recognizes is its own affair, after decoding. Left out: the bounds of a load, and
-- parameters for the slice, the type, the serializer and the time, which are constants here.

-- table
CREATE TABLE pekko_r2dbc (
    slice int NOT NULL,
    entity_type varchar(255) NOT NULL,
    persistence_id varchar(255) NOT NULL,
    seq_nr bigint NOT NULL,
    write_timestamp bigint NOT NULL,
    ser_id int NOT NULL,
    ser_manifest varchar(255) NOT NULL,
    snapshot bytea NOT NULL,
    meta_ser_id int,
    meta_ser_manifest varchar(255),
    meta_payload bytea,
    PRIMARY KEY (persistence_id)
);

-- save bytea
INSERT INTO pekko_r2dbc (slice, entity_type, persistence_id, seq_nr, write_timestamp, snapshot,
    ser_id, ser_manifest, meta_payload, meta_ser_id, meta_ser_manifest)
VALUES (427, 'order', :stream_id, :sequence_number, 1700000000000, :state,
    33, 'order.State', NULL, NULL, NULL)
ON CONFLICT (persistence_id) DO UPDATE SET
    seq_nr = excluded.seq_nr,
    write_timestamp = excluded.write_timestamp,
    snapshot = excluded.snapshot,
    ser_id = excluded.ser_id,
    ser_manifest = excluded.ser_manifest,
    meta_payload = excluded.meta_payload,
    meta_ser_id = excluded.meta_ser_id,
    meta_ser_manifest = excluded.meta_ser_manifest;

-- load bytea
SELECT persistence_id, seq_nr, write_timestamp, snapshot, ser_id, ser_manifest,
    meta_payload, meta_ser_id, meta_ser_manifest
FROM pekko_r2dbc
WHERE persistence_id = :stream_id
LIMIT 1;
