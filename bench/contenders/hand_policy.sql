-- The strongest statement, on a table with row security: each tenant has its own streams.
-- (Any role will do that is no superuser; owning the table, it may also vacuum it.)

-- table
CREATE TABLE snapshots (
    stream_id text COLLATE "C" PRIMARY KEY,
    state_schema_version bigint NOT NULL,
    sequence_number bigint NOT NULL,
    created_at timestamptz NOT NULL,
    state json COMPRESSION lz4,
    state_bytea bytea COMPRESSION lz4,
    metadata jsonb
);
CREATE POLICY tenant ON snapshots USING (starts_with(stream_id, current_setting('app.tenant')));
ALTER TABLE snapshots ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, OWNER TO pg_monitor;

-- session
SET app.tenant = 'order-';
SET ROLE pg_monitor;

-- like hand
