-- snapshot_store with five snapshots kept of each stream.

-- session
SET snapshot_store.keep = 5;

-- like ours
