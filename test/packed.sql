-- Makes the states of a database packed where that is worth it, by one dictionary for all streams.
ALTER TABLE snapshot_store ALTER state TYPE snapshot_state;
INSERT INTO snapshot_store SELECT 'sample-' || n, 0, 1, n, now(), json_build_object('sequence_number', n, 'name', md5(n::text),
	'lines', (SELECT json_agg(json_build_object('sku', n * l % 1000, 'quantity', l)) FROM generate_series(1, 9) AS l))
FROM generate_series(1, 300) AS n;
DO $$
BEGIN
	ASSERT (SELECT number IS NOT NULL FROM snapshot_dictionary_train(''));
END
$$;
TRUNCATE snapshot_store;
