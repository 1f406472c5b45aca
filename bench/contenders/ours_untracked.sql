-- snapshot_store that counts nothing (snapshot_store.track).

-- session
SET snapshot_store.track = off;

-- like ours
