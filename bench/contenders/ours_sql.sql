-- snapshot_store by its other way to the table, for tables that are not as the extension made them.

-- session
SET snapshot_store.access_path = sql;

-- like ours
