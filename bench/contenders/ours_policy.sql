-- snapshot_store with the same row security as hand_policy, whose policy is simple: it decides on the direct way.

-- table
CREATE EXTENSION snapshot_store;
CREATE POLICY tenant ON snapshot_store USING (starts_with(stream_id, current_setting('app.tenant')));
ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, OWNER TO pg_monitor;

-- session
SET app.tenant = 'order-';
SET ROLE pg_monitor;

-- like ours
