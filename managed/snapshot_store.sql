-- snapshot_store for servers that do not admit the extension, as hosted ones mostly do not: the same table, and
-- functions of the same names, parameters, results and errors (doc/reference.md) as it has with its default
-- settings, in plain SQL and PL/pgSQL. An application that was written for one runs on the other.
-- doc/managed.md tells what is not here, what it costs, and how to_extension.sql moves from here to there.
--
-- It needs PostgreSQL 15 or later, and a role that may CREATE in the first schema of its search_path. It is one
-- statement, so any client can run it, and in one transaction. What it makes works whatever the search_path of
-- the caller is, as long as the schema keeps its name. Let nobody CREATE in the schema whom you do not trust.
-- Applications need the same as of the extension: GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app.
--
-- snapshot_store_version() tells what is there. A newer file replaces the functions and leaves snapshots and
-- privileges as they are; the same file does nothing. Where the extension is, or something newer, or anything
-- of another role that passes for a part of this, it is an error, and nothing is changed.

DO $install$
DECLARE
	this CONSTANT text := '1.0';
	there text;
	path CONSTANT text := pg_catalog.current_setting('search_path');
	schema CONSTANT text := pg_catalog.current_schema();
	here CONSTANT oid := pg_catalog.quote_ident(schema)::pg_catalog.regnamespace;
	planted text;
	kind record;
	upsert CONSTANT text := $$ON CONFLICT (stream_id, slot) DO UPDATE SET
			state_schema_version = excluded.state_schema_version, sequence_number = excluded.sequence_number,
			created_at = excluded.created_at, state = excluded.state, state_bytea = excluded.state_bytea,
			metadata = excluded.metadata
		WHERE kept.state_schema_version <> excluded.state_schema_version
			OR kept.sequence_number < excluded.sequence_number
			OR kept.sequence_number = excluded.sequence_number AND $7$$;
BEGIN
	-- Until it is known whose all is that is there, none of it is called.
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	IF EXISTS (SELECT FROM pg_extension WHERE extname = 'snapshot_store') THEN
		RAISE EXCEPTION 'this database has the extension snapshot_store' USING ERRCODE = '42710',
			DETAIL = 'It has the same functions, and more. Nothing was changed.';
	ELSIF schema IS NULL THEN
		RAISE EXCEPTION 'no schema of the search_path exists' USING ERRCODE = '3F000';
	ELSIF schema ~ '["$'']' OR strpos(schema, chr(92)) > 0 THEN -- a backslash
		RAISE EXCEPTION 'the extension could not be in schema %, whose name has a quote, $ or backslash', schema
			USING ERRCODE = '0A000';
	END IF;
	SELECT format('%s of role %s', object, quote_ident(pg_get_userbyid(owner))) INTO planted FROM (
		SELECT oid::regprocedure::text, proowner FROM pg_proc AS p
		WHERE pronamespace = here AND (proname ~ '^snapshot_' OR EXISTS (
			SELECT FROM pg_proc AS c, pg_roles AS r WHERE c.pronamespace = 'pg_catalog'::regnamespace
				AND c.proname = p.proname AND r.oid = p.proowner AND NOT rolsuper))
		UNION ALL SELECT oid::regtype::text, typowner FROM pg_type WHERE typnamespace = here
			AND typname IN ('snapshot_store', 'loaded_snapshot', 'loaded_snapshot_bytea')
	) AS those (object, owner) WHERE pg_get_userbyid(owner) <> current_user LIMIT 1;
	IF planted IS NOT NULL THEN
		RAISE EXCEPTION 'in the way is %', planted USING ERRCODE = '42723', DETAIL = 'Nothing was changed.',
			HINT = 'If you trust that role, SET ROLE to it first; if not, take a schema in which it may not CREATE.';
	END IF;
	SELECT substring(pg_get_function_sqlbody(oid) FROM '''(.*)''') INTO there FROM pg_proc
	WHERE pronamespace = here AND proname = 'snapshot_store_version' AND pronargs = 0;
	IF there = this THEN
		RAISE NOTICE 'snapshot_store % is in schema "%" already: nothing was changed', there, schema;
		PERFORM set_config('search_path', path, true);
		RETURN;
	ELSIF string_to_array(there, '.')::int[] > string_to_array(this, '.')::int[] THEN
		RAISE EXCEPTION 'schema "%" has snapshot_store %, which is newer than %', schema, there, this
			USING ERRCODE = '42710', DETAIL = 'Nothing was changed.';
	END IF;

	-- Here everything is made, and by FROM CURRENT the functions look for it here.
	PERFORM set_config('search_path', quote_ident(schema) || ', pg_temp', true);
	IF there IS NULL THEN
		CREATE TABLE snapshot_store (
			stream_id text COLLATE "C" NOT NULL CHECK (octet_length(stream_id) BETWEEN 1 AND 2000),
			slot smallint NOT NULL CHECK (slot = 0),
			state_schema_version bigint NOT NULL CHECK (state_schema_version BETWEEN 0 AND 4294967295),
			sequence_number bigint NOT NULL CHECK (sequence_number >= 0),
			created_at timestamptz NOT NULL,
			state json,
			state_bytea bytea,
			metadata jsonb,
			CONSTRAINT snapshot_store_one_state_check CHECK ((state IS NULL) <> (state_bytea IS NULL)),
			PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version)
		) WITH (fillfactor = 65, toast_tuple_target = 4064, toast.autovacuum_vacuum_cost_delay = 0);
		ALTER TABLE snapshot_store ALTER stream_id SET STORAGE PLAIN;
		IF (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
			ALTER TABLE snapshot_store ALTER state SET COMPRESSION lz4, ALTER state_bytea SET COMPRESSION lz4;
		END IF;
		COMMENT ON TABLE snapshot_store IS 'the snapshots of event-sourced streams';
	END IF;

	-- Each of these raises what is wrong; the planner puts their expressions in the place of the calls.
	CREATE OR REPLACE FUNCTION snapshot_store_error(code text, message text, detail text DEFAULT NULL,
		hint text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
	BEGIN
		IF detail IS NULL AND hint IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
		ELSIF hint IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail;
		ELSIF detail IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
		END IF;
		RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail, HINT = hint;
	END $$;
	CREATE OR REPLACE FUNCTION snapshot_store_check_given(parameter text, given boolean,
		what text DEFAULT 'be null') RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
	RETURN given OR snapshot_store_error('22004', format('%s must not %s', parameter, what));
	CREATE OR REPLACE FUNCTION snapshot_store_check_stream(id text) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE WHEN octet_length(id) BETWEEN 1 AND 2000 THEN true
		WHEN snapshot_store_check_given('stream_id', id IS NOT NULL) AND id = ''
		THEN snapshot_store_error('22023', 'stream_id must not be empty')
		ELSE snapshot_store_error('54000', 'stream_id is too long',
			format('It has %s bytes; the limit is 2000 bytes.', octet_length(id))) END;
	CREATE OR REPLACE FUNCTION snapshot_store_check_count(parameter text, value bigint) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE WHEN value >= 0 THEN true WHEN snapshot_store_check_given(parameter, value IS NOT NULL)
		THEN snapshot_store_error('22003', parameter || ' must not be negative', format('It is %s.', value)) END;
	CREATE OR REPLACE FUNCTION snapshot_store_check_version(parameter text, value bigint) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE WHEN value BETWEEN 0 AND 4294967295 THEN true
		WHEN snapshot_store_check_given(parameter, value IS NOT NULL)
		THEN snapshot_store_error('22003', parameter || ' is out of range',
			format('A schema version lies between 0 and 4294967295; this one is %s.', value)) END;
	CREATE OR REPLACE FUNCTION snapshot_store_check_array(parameter text, value anyarray, length integer)
	RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
		SELECT CASE WHEN coalesce(array_ndims(value), 1) = 1 AND cardinality(value) = length THEN true
			WHEN snapshot_store_check_given(parameter, value IS NOT NULL) AND array_ndims(value) > 1
			THEN snapshot_store_error('2202E', parameter || ' must be a one-dimensional array')
			ELSE snapshot_store_error('2202E', parameter || ' must have as many elements as stream_ids',
				format('It has %s, and stream_ids has %s.', cardinality(value), length)) END $$;
	CREATE OR REPLACE FUNCTION snapshot_store_check_recognized(value bigint[]) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE AS $$
		SELECT CASE WHEN coalesce(array_ndims(value), 1) = 1 AND 0 <= ALL (value) AND 4294967295 >= ALL (value)
			THEN true WHEN snapshot_store_check_array('recognized_schema_versions', value, cardinality(value))
				AND snapshot_store_check_given('recognized_schema_versions', array_position(value, NULL) IS NULL,
					'contain nulls')
			THEN snapshot_store_error('22003', 'recognized_schema_versions is out of range',
				'A schema version lies between 0 and 4294967295.') END $$;
	CREATE OR REPLACE FUNCTION snapshot_store_check_values(size integer, metadata json, created_at timestamptz,
		now timestamptz) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE WHEN size > 209715200 THEN snapshot_store_error('54000', 'state is too large',
			format('It has %s bytes; the limit is 209715200 bytes.', size))
		WHEN octet_length(metadata::jsonb::text) > 1048576
		THEN snapshot_store_error('54000', 'metadata is too large', 'As text it has more than 1048576 bytes.')
		WHEN NOT isfinite(created_at) THEN snapshot_store_error('22008', 'created_at must be finite')
		WHEN created_at > now + interval '1 day' THEN
			snapshot_store_error('22008', 'created_at is more than a day ahead of the server''s clock',
				format('It is %s; the clock says %s.', created_at, now),
				'Check the caller''s clock, and the unit in which it passes times.') ELSE true END;
	-- The extension asks for all privileges in any case, so one that lacks shall be missed before the move to it.
	CREATE OR REPLACE FUNCTION snapshot_store_check_write(function text, replace boolean) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE WHEN current_setting('transaction_read_only') = 'on' THEN
			snapshot_store_error('25006', format('cannot execute %s() in a read-only transaction', function), NULL,
				'On a standby every transaction is read-only: a connection pooler that sends SELECT to standbys'
				|| format(' must send %s() to the primary.', function))
		WHEN NOT has_table_privilege('snapshot_store', 'DELETE')
		THEN snapshot_store_error('42501', 'permission denied for table snapshot_store')
		ELSE snapshot_store_check_given('replace', replace IS NOT NULL) END;

	FOR kind IN SELECT * FROM (VALUES ('', 'json', 'state', '::text', 'bytea', '_bytea'),
		('_bytea', 'bytea', 'state_bytea', '', 'json', '')) AS v (suffix, type, state, as_text, other, other_suffix)
	LOOP
		IF there IS NULL THEN
			EXECUTE format('CREATE TYPE loaded_snapshot%s AS (sequence_number bigint, state_schema_version bigint,
				state %s, metadata jsonb, created_at timestamptz)', kind.suffix, kind.type);
		END IF;
		EXECUTE format($kind$
	CREATE OR REPLACE FUNCTION snapshot_save%1$s(stream_id text, sequence_number bigint,
		state_schema_version bigint, state %2$s, metadata json DEFAULT NULL,
		created_at timestamptz DEFAULT NULL, replace boolean DEFAULT true)
	RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
	#variable_conflict use_column
	DECLARE
		now CONSTANT timestamptz := clock_timestamp();
		valid boolean := octet_length($1) BETWEEN 1 AND 2000 AND $2 >= 0 AND $3 BETWEEN 0 AND 4294967295
			AND octet_length($4%4$s) <= 209715200 AND $5 IS NULL AND $6 IS NULL AND $7
			AND current_setting('transaction_read_only') = 'off' AND has_table_privilege('snapshot_store', 'DELETE');
	BEGIN
		IF valid IS NOT TRUE THEN -- or there is more to look at
			valid := snapshot_store_check_stream($1) AND snapshot_store_check_count('sequence_number', $2)
				AND snapshot_store_check_version('state_schema_version', $3)
				AND snapshot_store_check_given('state', $4 IS NOT NULL)
				AND snapshot_store_check_values(octet_length($4%4$s), $5, $6, now)
				AND snapshot_store_check_write('snapshot_save%1$s', $7);
		END IF;
		-- Above READ COMMITTED, ON CONFLICT would not notice that what the transaction has seen was deleted since.
		IF current_setting('transaction_isolation') <> 'read committed' THEN
			PERFORM FROM snapshot_store WHERE stream_id = $1 AND slot = 0 FOR NO KEY UPDATE;
		END IF;
		INSERT INTO snapshot_store AS kept
			(stream_id, slot, state_schema_version, sequence_number, created_at, %3$s, metadata)
		VALUES ($1, 0, $3, $2, coalesce($6, now), $4, $5)
		%7$s;
		RETURN FOUND;
	END $$;
	COMMENT ON FUNCTION snapshot_save%1$s IS 'saves a stream''s state as of an event; false if a newer one is kept';
	CREATE OR REPLACE FUNCTION snapshot_save_many%1$s(stream_ids text[], sequence_numbers bigint[],
		state_schema_versions bigint[], states %2$s[], metadata json[] DEFAULT NULL,
		created_at timestamptz[] DEFAULT NULL, replace boolean DEFAULT true)
	RETURNS TABLE (stream_id text, stored boolean) LANGUAGE plpgsql ROWS 100 SET search_path FROM CURRENT AS $$
	#variable_conflict use_column
	DECLARE
		now CONSTANT timestamptz := clock_timestamp();
		valid boolean := snapshot_store_check_array('stream_ids', $1, cardinality($1))
			AND snapshot_store_check_array('sequence_numbers', $2, cardinality($1))
			AND snapshot_store_check_array('state_schema_versions', $3, cardinality($1))
			AND snapshot_store_check_array('states', $4, cardinality($1))
			AND ($5 IS NULL OR snapshot_store_check_array('metadata', $5, cardinality($1)))
			AND ($6 IS NULL OR snapshot_store_check_array('created_at', $6, cardinality($1)))
			AND snapshot_store_check_write('snapshot_save_many%1$s', $7);
	BEGIN
		SELECT bool_and(snapshot_store_check_given('stream_ids', id IS NOT NULL, 'contain nulls')
			AND snapshot_store_check_given('sequence_numbers', number IS NOT NULL, 'contain nulls')
			AND snapshot_store_check_given('state_schema_versions', version IS NOT NULL, 'contain nulls')
			AND snapshot_store_check_given('states', state IS NOT NULL, 'contain nulls')
			AND snapshot_store_check_stream(id) AND snapshot_store_check_count('sequence_numbers', number)
			AND snapshot_store_check_version('state_schema_versions', version)
			AND snapshot_store_check_values(octet_length(state%4$s), meta, at, now))
		INTO valid FROM unnest($1, $2, $3, $4, $5, $6) AS g (id, number, version, state, meta, at);
		SELECT snapshot_store_error('21000', format('stream "%%s" occurs more than once in a batch',
				min(id COLLATE "C")), NULL, 'Save only the last snapshot of each stream.')
		INTO valid FROM (SELECT id FROM unnest($1) AS id GROUP BY id HAVING count(*) > 1) AS twice HAVING count(*) > 0;
		IF current_setting('transaction_isolation') <> 'read committed' THEN
			PERFORM FROM snapshot_store WHERE stream_id = ANY ($1) AND slot = 0 ORDER BY stream_id FOR NO KEY UPDATE;
		END IF;
		RETURN QUERY WITH given AS MATERIALIZED (
			SELECT * FROM unnest($1, $2, $3, $4, $5, $6) WITH ORDINALITY
				AS g (id, number, version, state, meta, at, place)
		), saved AS (
			INSERT INTO snapshot_store AS kept
				(stream_id, slot, state_schema_version, sequence_number, created_at, %3$s, metadata)
			SELECT id, 0, version, number, coalesce(at, now), state, meta::jsonb
			FROM given ORDER BY id COLLATE "C" -- the order in which all batches lock
			%7$s
			RETURNING stream_id
		)
		SELECT id, stream_id IS NOT NULL FROM given LEFT JOIN saved ON stream_id = id ORDER BY place;
	END $$;
	COMMENT ON FUNCTION snapshot_save_many%1$s IS 'saves snapshots of many streams, like snapshot_save for each';
	CREATE OR REPLACE FUNCTION snapshot_load%1$s(stream_id text, recognized_schema_versions bigint[],
		max_sequence_number bigint DEFAULT NULL, max_created_at timestamptz DEFAULT NULL)
	RETURNS SETOF loaded_snapshot%1$s
	LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 SET search_path FROM CURRENT AS $$
	#variable_conflict use_column
	DECLARE
		valid boolean := octet_length($1) BETWEEN 1 AND 2000 AND array_ndims($2) = 1 AND 0 <= ALL ($2)
			AND 4294967295 >= ALL ($2) AND $3 IS NULL;
	BEGIN
		IF valid IS NOT TRUE THEN -- or there is more to look at
			valid := snapshot_store_check_stream($1) AND snapshot_store_check_recognized($2)
				AND snapshot_store_check_count('max_sequence_number', coalesce($3, 0));
		END IF;
		RETURN QUERY SELECT sequence_number, state_schema_version, %3$s, metadata, created_at
		FROM snapshot_store WHERE stream_id = $1 AND slot = 0 AND CASE WHEN state_schema_version = ANY ($2)
			AND coalesce(sequence_number <= $3, true) AND coalesce(created_at <= $4, true)
			THEN %3$s IS NOT NULL OR snapshot_store_error('42804', format(
				'the snapshot of stream "%%s" holds its state as %5$s', stream_id), NULL,
				'Load it with snapshot_load%6$s().') END;
	END $$;
	COMMENT ON FUNCTION snapshot_load%1$s IS 'returns the snapshot of a stream, if its schema version is recognized';
	CREATE OR REPLACE FUNCTION snapshot_load_many%1$s(stream_ids text[], recognized_schema_versions bigint[],
		max_sequence_numbers bigint[] DEFAULT NULL)
	RETURNS TABLE (stream_id text, sequence_number bigint, state_schema_version bigint, state %2$s, metadata jsonb,
		created_at timestamptz) LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100 SET search_path FROM CURRENT AS $$
	#variable_conflict use_column
	DECLARE
		valid boolean := snapshot_store_check_array('stream_ids', $1, cardinality($1))
			AND snapshot_store_check_recognized($2)
			AND ($3 IS NULL OR snapshot_store_check_array('max_sequence_numbers', $3, cardinality($1)));
	BEGIN
		SELECT bool_and(snapshot_store_check_given('stream_ids', id IS NOT NULL, 'contain nulls')
			AND snapshot_store_check_stream(id)
			AND snapshot_store_check_count('max_sequence_numbers', coalesce(highest, 0)))
		INTO valid FROM unnest($1, $3) AS g (id, highest);
		RETURN QUERY SELECT s.stream_id, s.sequence_number, s.state_schema_version, s.%3$s, s.metadata, s.created_at
		FROM (SELECT DISTINCT ON (id) * FROM unnest($1, $3) WITH ORDINALITY AS u (id, highest, place)
			  ORDER BY id, place) AS g JOIN snapshot_store AS s ON s.stream_id = id AND s.slot = 0
		WHERE CASE WHEN s.state_schema_version = ANY ($2) AND coalesce(s.sequence_number <= highest, true)
			THEN s.%3$s IS NOT NULL OR snapshot_store_error('42804', format(
				'the snapshot of stream "%%s" holds its state as %5$s', id), NULL,
				'Load it with snapshot_load_many%6$s().') END ORDER BY place;
	END $$;
	COMMENT ON FUNCTION snapshot_load_many%1$s IS 'returns the recognized snapshots of many streams'$kind$,
			kind.suffix, kind.type, kind.state, kind.as_text, kind.other, kind.other_suffix, upsert);
	END LOOP;

	CREATE OR REPLACE FUNCTION snapshot_info(stream_id text)
	RETURNS TABLE (sequence_number bigint, state_schema_version bigint, state_size bigint, created_at timestamptz)
	LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 SET search_path FROM CURRENT AS $$
	#variable_conflict use_column
	DECLARE
		valid CONSTANT boolean := snapshot_store_check_stream($1);
	BEGIN
		RETURN QUERY SELECT sequence_number, state_schema_version,
			coalesce(pg_column_size(state), pg_column_size(state_bytea))::bigint, created_at
		FROM snapshot_store WHERE stream_id = $1 AND slot = 0;
	END $$;
	COMMENT ON FUNCTION snapshot_info IS 'tells what is kept for a stream, without its state';

	CREATE OR REPLACE FUNCTION snapshot_should_take(event_count bigint, last_sequence_number bigint,
		snapshot_interval bigint) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN snapshot_store_check_count('event_count', $1)
		AND snapshot_store_check_count('last_sequence_number', coalesce($2, 0))
		AND snapshot_store_check_count('snapshot_interval', $3)
		AND $3 > 0 AND $1 > coalesce($2, 0) AND $1 - coalesce($2, 0) >= $3;
	COMMENT ON FUNCTION snapshot_should_take IS 'tells whether so many events came since the last snapshot';

	CREATE OR REPLACE FUNCTION snapshot_due(stream_id text, recognized_schema_versions bigint[], event_count bigint,
		snapshot_interval bigint) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
		SELECT snapshot_store_check_stream($1) AND snapshot_store_check_recognized($2) AND snapshot_should_take($3,
			(SELECT sequence_number FROM snapshot_store AS s
			 WHERE s.stream_id = $1 AND slot = 0 AND state_schema_version = ANY ($2)), $4) $$;
	COMMENT ON FUNCTION snapshot_due IS 'tells whether so many events came since the stored, recognized snapshot';

	CREATE OR REPLACE FUNCTION snapshot_delete(stream_id text, max_sequence_number bigint DEFAULT NULL,
		max_created_at timestamptz DEFAULT NULL, min_sequence_number bigint DEFAULT NULL,
		min_created_at timestamptz DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
	#variable_conflict use_column
	DECLARE
		valid CONSTANT boolean := snapshot_store_check_stream($1)
			AND snapshot_store_check_count('max_sequence_number', coalesce($2, 0))
			AND snapshot_store_check_count('min_sequence_number', coalesce($4, 0))
			AND snapshot_store_check_write('snapshot_delete', true);
	BEGIN
		DELETE FROM snapshot_store WHERE stream_id = $1 AND slot = 0
			AND coalesce(sequence_number <= $2, true) AND coalesce(created_at <= $3, true)
			AND coalesce(sequence_number >= $4, true) AND coalesce(created_at >= $5, true);
		RETURN FOUND::integer;
	END $$;
	COMMENT ON FUNCTION snapshot_delete IS 'deletes the snapshot of a stream, if it lies within the bounds';

	EXECUTE format('CREATE OR REPLACE FUNCTION snapshot_store_version() RETURNS text LANGUAGE sql IMMUTABLE
		PARALLEL SAFE RETURN %L', this);
	COMMENT ON FUNCTION snapshot_store_version IS 'tells the version of this store, which is no extension';
	PERFORM set_config('search_path', path, true);
END
$install$;
