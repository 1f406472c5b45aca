-- What the account of every client needs, in a database of its own.
CREATE EXTENSION IF NOT EXISTS snapshot_store;

-- The events of a stream count from 1. Who appends one that is already there was not the first.
CREATE TABLE IF NOT EXISTS account_event (
	stream_id text COLLATE "C",
	sequence_number bigint,
	data json NOT NULL,
	PRIMARY KEY (stream_id, sequence_number)
);
