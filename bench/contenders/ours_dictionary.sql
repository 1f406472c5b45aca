-- snapshot_store with a dictionary, trained on states of the same kind that nothing is measured with.

-- training
SELECT snapshot_save('order-training-' || ctid, 1, 1, state::json) FROM training;
SELECT snapshot_dictionary_train('order-');
TRUNCATE snapshot_store;

-- like ours_state
