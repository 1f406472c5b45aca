-- managed/snapshot_store.sql: the same contract without the library.

-- table
\i managed/snapshot_store.sql

-- like ours
