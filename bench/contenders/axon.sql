-- Axon Framework 4, JDBC: a row is inserted, then those before it are deleted; a load reads all
-- rows of the stream, the latest first, and the client passes over those that it does not
-- recognize. The identifier of a snapshot is a UUID of the client's; here it is made of the
-- stream and the number. Left out: parameters for the type and the time, which are constants.
-- As there, a sequence number that is stored already is an error.

-- table
CREATE TABLE axon (
    aggregate_identifier varchar(255) NOT NULL,
    sequence_number bigint NOT NULL,
    type varchar(255) NOT NULL,
    event_identifier varchar(255) NOT NULL,
    meta_data bytea,
    payload bytea NOT NULL,
    payload_revision varchar(255),
    payload_type varchar(255) NOT NULL,
    time_stamp varchar(255) NOT NULL,
    PRIMARY KEY (aggregate_identifier, sequence_number),
    UNIQUE (event_identifier)
);

-- save bytea
INSERT INTO axon (event_identifier, aggregate_identifier, sequence_number, type, time_stamp,
    payload_type, payload_revision, payload, meta_data)
VALUES (CAST(:stream_id AS text) || '-' || CAST(:sequence_number AS bigint), :stream_id,
    :sequence_number, 'Order', '20260101T000000.000Z', 'shop.Order',
    CAST(:state_schema_version AS bigint), :state, NULL);
DELETE FROM axon
WHERE aggregate_identifier = :stream_id AND sequence_number < :sequence_number;

-- load bytea
SELECT event_identifier, aggregate_identifier, sequence_number, type, time_stamp,
    payload_type, payload_revision, payload, meta_data
FROM axon
WHERE aggregate_identifier = :stream_id
ORDER BY sequence_number DESC;
