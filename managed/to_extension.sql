-- Moves what snapshot_store.sql has made, with every snapshot, to the extension snapshot_store: the same
-- schema, table, functions, owner and privileges. One statement, and so one transaction: either all of it is
-- done, or nothing. The table's owner runs it (SET ROLE to it), who needs CREATE on the database, too.
--
-- It copies the rows and holds the table meanwhile. A save that waited for it is stored; a load fails once,
-- since its table is gone, and succeeds when it is repeated. What depends on the table or the functions, such as
-- a view or a foreign key, stops it, and so does what was added to or changed of the table and would be lost,
-- such as a policy or an index. Remove it before and make it again after, in the same transaction.

DO $move$
DECLARE
	schema CONSTANT text := pg_catalog.quote_ident(pg_catalog.current_schema());
	path CONSTANT text := pg_catalog.current_setting('search_path');
	version text;
	others text;
	grants aclitem[];
	item record;
	rows bigint;
BEGIN
	-- Nothing that is in the schema is called, and nothing of another role is touched.
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	SELECT substring(pg_get_function_sqlbody(oid) FROM '''(.*)''') INTO version FROM pg_proc
	WHERE pronamespace = schema::regnamespace AND proname = 'snapshot_store_version' AND pronargs = 0;
	IF version IS NULL THEN
		RAISE EXCEPTION 'schema % has nothing of managed/snapshot_store.sql', schema USING ERRCODE = '55000',
			HINT = 'The schema is the first of the search_path.';
	ELSIF version <> '1.0' THEN
		RAISE EXCEPTION 'this file moves version 1.0, and version % is here', version
			USING ERRCODE = '55000', HINT = 'Run the snapshot_store.sql that lies beside it first.';
	END IF;
	SELECT format('%s belongs to role %s', object, quote_ident(pg_get_userbyid(owner))) INTO others FROM (
		SELECT oid::regprocedure::text, proowner FROM pg_proc
		WHERE pronamespace = schema::regnamespace AND proname ~ '^snapshot_'
		UNION ALL SELECT oid::regtype::text, typowner FROM pg_type
		WHERE typnamespace = schema::regnamespace
			AND typname IN ('snapshot_store', 'loaded_snapshot', 'loaded_snapshot_bytea')
	) AS those (object, owner) WHERE pg_get_userbyid(owner) <> current_user LIMIT 1;
	IF others IS NOT NULL THEN
		RAISE EXCEPTION '%', others USING ERRCODE = '42501', DETAIL = 'Only who owns all of it can move it.',
			HINT = 'If you trust that role, SET ROLE to it first.';
	ELSIF EXISTS (SELECT FROM pg_proc WHERE pronamespace = schema::regnamespace AND proname ~ '^snapshot_'
			AND NOT has_function_privilege('public', oid, 'EXECUTE')) THEN
		RAISE EXCEPTION 'the functions of the extension are everybody''s to execute, and these are not'
			USING ERRCODE = '55000', HINT = 'GRANT EXECUTE to PUBLIC before; a superuser can REVOKE it after.';
	END IF;

	PERFORM set_config('search_path', schema || ', pg_temp', true);
	LOCK TABLE snapshot_store IN ACCESS EXCLUSIVE MODE;
	DROP FUNCTION snapshot_save, snapshot_save_bytea, snapshot_save_many, snapshot_save_many_bytea, snapshot_load,
		snapshot_load_bytea, snapshot_load_many, snapshot_load_many_bytea, snapshot_info, snapshot_should_take,
		snapshot_due, snapshot_delete, snapshot_store_version, snapshot_store_error, snapshot_store_check_given,
		snapshot_store_check_stream, snapshot_store_check_count, snapshot_store_check_version,
		snapshot_store_check_array, snapshot_store_check_recognized, snapshot_store_check_values,
		snapshot_store_check_write;
	DROP TYPE loaded_snapshot, loaded_snapshot_bytea;
	ALTER TABLE snapshot_store RENAME TO snapshot_store_managed;
	ALTER INDEX snapshot_store_pkey RENAME TO snapshot_store_managed_pkey;

	PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
	SELECT relacl INTO grants FROM pg_class AS c
	WHERE oid = (schema || '.snapshot_store_managed')::regclass AND relreplident = 'd'
		AND NOT relrowsecurity AND NOT relforcerowsecurity AND reltablespace = 0
		AND ARRAY(SELECT unnest(reloptions) ORDER BY 1) = '{fillfactor=65,toast_tuple_target=4064}'
		AND '{autovacuum_vacuum_cost_delay=0}' = (SELECT reloptions FROM pg_class WHERE oid = c.reltoastrelid)
		AND NOT EXISTS (SELECT FROM pg_publication_tables
			WHERE quote_ident(schemaname) = schema AND tablename = 'snapshot_store_managed')
		AND 6 = (SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid AND contype <> 'n')
		AND NOT EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_class'::regclass AND refobjid = c.oid
			AND deptype IN ('a', 'n') AND classid <> 'pg_constraint'::regclass)
		AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
		AND 'stream_id text "C", slot smallint -, state_schema_version bigint -, sequence_number bigint -, '
			'created_at timestamp with time zone -, state json -, state_bytea bytea -, metadata jsonb -'
			= (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attcollation::regcollation,
				attacl), ', ' ORDER BY attnum)
			   FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped);
	IF NOT FOUND THEN
		RAISE EXCEPTION 'table snapshot_store has what the move would lose' USING ERRCODE = '55000',
			DETAIL = 'Row security, a policy, rule, trigger, index, constraint, default, statistics, column, type, '
				'parent, column grant, publication, replica identity, tablespace or storage parameter.',
			HINT = 'Remove it before, and make it again after, in the same transaction.';
	END IF;
	EXECUTE 'CREATE EXTENSION snapshot_store SCHEMA ' || schema;
	EXECUTE format('INSERT INTO %s.snapshot_store (stream_id, slot, state_schema_version, sequence_number,
			created_at, state, state_bytea, metadata)
		SELECT stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata
		FROM %1$s.snapshot_store_managed', schema);
	GET DIAGNOSTICS rows = ROW_COUNT;
	-- Default privileges may have granted some already.
	FOR item IN SELECT 'REVOKE' AS verb, a.* FROM pg_class, aclexplode(relacl) AS a
			WHERE pg_class.oid = (schema || '.snapshot_store')::regclass AND grantee <> relowner
		UNION ALL SELECT 'GRANT', a.* FROM aclexplode(grants) AS a ORDER BY verb DESC
	LOOP
		EXECUTE format('%s %s ON %s.snapshot_store %s %s %s', item.verb, item.privilege_type, schema,
			CASE item.verb WHEN 'GRANT' THEN 'TO' ELSE 'FROM' END,
			CASE item.grantee WHEN 0 THEN 'PUBLIC' ELSE item.grantee::regrole::text END,
			CASE WHEN item.verb = 'GRANT' AND item.is_grantable THEN 'WITH GRANT OPTION' END);
	END LOOP;
	EXECUTE format('DROP TABLE %s.snapshot_store_managed', schema);
	PERFORM set_config('search_path', path, true);
	RAISE NOTICE 'the extension snapshot_store is in schema %, with % snapshots', schema, rows;
END
$move$;
