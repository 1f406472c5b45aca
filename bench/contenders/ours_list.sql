-- snapshot_load in the select list: one column with a row in it, which the client takes apart. It
-- spares the server a function scan.

-- like ours

-- load json
SELECT snapshot_load(:stream_id, :recognized);

-- load bytea
SELECT snapshot_load_bytea(:stream_id, :recognized);
