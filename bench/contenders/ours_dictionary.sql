-- snapshot_store with a dictionary, trained on states of the same kind that nothing is measured with, and the
-- fillfactor of operations.md for that.

-- table
CREATE EXTENSION snapshot_store;
ALTER TABLE snapshot_store ALTER state TYPE snapshot_state, ALTER state SET COMPRESSION lz4;
ALTER TABLE snapshot_store SET (fillfactor = 85);

-- training
SELECT snapshot_save('order-training-' || ctid, 1, 1, state::json) FROM training;
SELECT snapshot_dictionary_train('order-');
TRUNCATE snapshot_store;

-- like ours
