-- Moves what snapshot_store.sql has made, with every snapshot, to the extension snapshot_store: the same
-- schema, table, functions, owner and privileges. One statement, and so one transaction: either all of it is
-- done, or nothing. Whoever runs it owns the table (or is a member of its owner), and may CREATE EXTENSION.
--
-- It copies the rows and holds the table meanwhile. A save that waited for it is stored; a load fails once,
-- since its table is gone, and succeeds when it is repeated. What depends on the table or the functions, such as a view or a
-- foreign key, stops it, and so does what was added to the table and would be lost, such as row security or an
-- index. Remove it before and make it again after, in the same transaction.

DO $move$
DECLARE
	schema CONSTANT text := quote_ident(current_schema());
	path CONSTANT text := current_setting('search_path');
	owner oid;
	grants aclitem[];
	item record;
	rows bigint;
BEGIN
	PERFORM set_config('search_path', schema || ', pg_temp', true);
	IF to_regprocedure('snapshot_store_version()') IS NULL THEN
		RAISE EXCEPTION 'schema % has nothing of managed/snapshot_store.sql', schema USING ERRCODE = '55000',
			HINT = 'The schema is the first of the search_path.';
	ELSIF snapshot_store_version() <> '1.0' THEN
		RAISE EXCEPTION 'this file moves version 1.0, and version % is here', snapshot_store_version()
			USING ERRCODE = '55000', HINT = 'Run the snapshot_store.sql that lies beside it first.';
	END IF;
	LOCK TABLE snapshot_store IN ACCESS EXCLUSIVE MODE;
	SELECT relowner, relacl INTO owner, grants FROM pg_class AS c
	WHERE oid = 'snapshot_store'::regclass AND NOT relrowsecurity AND NOT relhasrules
		AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
		AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND NOT indisprimary)
		AND NOT EXISTS (SELECT FROM pg_publication_rel WHERE prrelid = c.oid)
		AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND (attacl IS NOT NULL OR attnum > 8))
		AND 5 = (SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid AND contype NOT IN ('p', 'n'));
	IF NOT FOUND THEN
		RAISE EXCEPTION 'table snapshot_store has what the move would lose' USING ERRCODE = '55000',
			DETAIL = 'Row security, a rule, trigger, index, constraint, column, column grant or publication.',
			HINT = 'Remove it before, and make it again after, in the same transaction.';
	END IF;

	DROP FUNCTION snapshot_save, snapshot_save_bytea, snapshot_save_many, snapshot_save_many_bytea, snapshot_load,
		snapshot_load_bytea, snapshot_load_many, snapshot_load_many_bytea, snapshot_info, snapshot_should_take,
		snapshot_due, snapshot_delete, snapshot_store_version, snapshot_store_error, snapshot_store_check_given,
		snapshot_store_check_stream, snapshot_store_check_count, snapshot_store_check_version,
		snapshot_store_check_array, snapshot_store_check_recognized, snapshot_store_check_values,
		snapshot_store_check_write;
	DROP TYPE loaded_snapshot, loaded_snapshot_bytea;
	ALTER TABLE snapshot_store RENAME TO snapshot_store_managed;
	ALTER INDEX snapshot_store_pkey RENAME TO snapshot_store_managed_pkey;
	EXECUTE 'CREATE EXTENSION snapshot_store SCHEMA ' || schema;

	INSERT INTO snapshot_store
		(stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata)
	SELECT stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata
	FROM snapshot_store_managed;
	GET DIAGNOSTICS rows = ROW_COUNT;
	FOR item IN SELECT * FROM aclexplode(grants) LOOP
		EXECUTE format('GRANT %s ON snapshot_store TO %s %s', item.privilege_type,
			CASE item.grantee WHEN 0 THEN 'PUBLIC' ELSE item.grantee::regrole::text END,
			CASE WHEN item.is_grantable THEN 'WITH GRANT OPTION' END);
	END LOOP;
	IF owner <> (SELECT relowner FROM pg_class WHERE oid = 'snapshot_store'::regclass) THEN
		EXECUTE format('ALTER TABLE snapshot_store OWNER TO %s', owner::regrole);
	END IF;
	DROP TABLE snapshot_store_managed;
	PERFORM set_config('search_path', path, true);
	RAISE NOTICE 'the extension snapshot_store is in schema %, with % snapshots', schema, rows;
END
$move$;
