-- Retention: a stream keeps the newest "keep" snapshots of each of its "keep_versions" most recently
-- saved schema versions.
--
-- First a table of cases, each run with json and with bytea: rows written by hand, one save, and the
-- whole stream afterwards. Then stories, told by saves alone.
--
-- A snapshot is written "slot:version/sequence@minute". In a result the saved one ends in a star, and
-- ">" stands for the slot of one that had to move: the rule says that it moves below
-- keep x keep_versions, not where to.
BEGIN;
SELECT plan(260);

-- The time of a minute in the notation above.
CREATE FUNCTION pg_temp.minute(minute bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE
AS $$ SELECT timestamptz '2026-01-02 10:00:00+00' + minute * interval '1 minute' $$;

CREATE FUNCTION pg_temp.minute_of(created_at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE
AS $$ SELECT (extract(epoch FROM created_at - pg_temp.minute(0)) / 60)::bigint $$;

-- Writes the rows of a stream by hand. The state says what the row was at that time.
CREATE FUNCTION pg_temp.write_rows(kind text, stream text, kept text) RETURNS void LANGUAGE sql
AS $$
	INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at,
								state, state_bytea, metadata)
	SELECT stream, m[2]::smallint, m[3]::bigint, m[4]::bigint, pg_temp.minute(m[5]::bigint),
		   CASE kind WHEN 'json' THEN to_json(m[1]) END,
		   CASE kind WHEN 'bytea' THEN convert_to(m[1], 'UTF8') END,
		   jsonb_build_object('was', m[1])
	FROM regexp_matches(kept, '((\d+):(\d+)/(\d+)@(\d+))', 'g') AS m
$$;

-- Saves one snapshot, written "version/sequence@minute", with "saved" as its state.
CREATE FUNCTION pg_temp.save(kind text, stream text, saved text) RETURNS boolean LANGUAGE plpgsql
AS $$
DECLARE
	m text[] := regexp_match(saved, '^(\d+)/(\d+)@(\d+)$');
BEGIN
	IF kind = 'json' THEN
		RETURN snapshot_save(stream, sequence_number => m[2]::bigint, state_schema_version => m[1]::bigint,
							 state => '"saved"', metadata => '{"was": "saved"}',
							 created_at => pg_temp.minute(m[3]::bigint));
	END IF;
	RETURN snapshot_save_bytea(stream, sequence_number => m[2]::bigint, state_schema_version => m[1]::bigint,
							   state => 'saved', metadata => '{"was": "saved"}',
							   created_at => pg_temp.minute(m[3]::bigint));
END
$$;

-- A stream as it is: what stays where it was and what was saved, by slot; then what moved. Tells when a
-- row lost its state or its metadata.
CREATE FUNCTION pg_temp.content(stream text) RETURNS text LANGUAGE sql
AS $$
	SELECT coalesce(string_agg(
			CASE WHEN moved THEN '>' ELSE slot::text END || ':' || version_sequence_minute
			|| CASE WHEN was = 'saved' THEN '*' ELSE '' END
			|| CASE WHEN was = 'saved' OR was LIKE '%:' || version_sequence_minute
					THEN '' ELSE ' (the state of ' || was || ')' END
			|| CASE WHEN metadata = jsonb_build_object('was', was) THEN '' ELSE ' (other metadata)' END,
			' ' ORDER BY moved, CASE WHEN NOT moved THEN slot END,
						 state_schema_version, sequence_number, created_at), '')
	FROM snapshot_store AS s,
		 LATERAL (SELECT coalesce(s.state #>> '{}', convert_from(s.state_bytea, 'UTF8')) AS was,
						 s.state_schema_version || '/' || s.sequence_number || '@' || pg_temp.minute_of(s.created_at)
						 AS version_sequence_minute) AS t,
		 LATERAL (SELECT was <> 'saved' AND was NOT LIKE s.slot || ':%' AS moved) AS u
	WHERE s.stream_id = stream
$$;

-- One case: what a save to such a stream returns and leaves behind. Says so too where the outcome is
-- nowhere allowed: a slot beyond the capacity or nothing in slot 0 after a save that stored, or a row
-- that was written to by one that did not.
CREATE FUNCTION pg_temp.after_save(kind text, stream text, keep int, keep_versions int, kept text, saved text)
RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	rows_before tid[];
	rows_after tid[];
	slots smallint[];
	stored boolean;
BEGIN
	PERFORM set_config('snapshot_store.keep', keep::text, true),
			set_config('snapshot_store.keep_versions', keep_versions::text, true);
	PERFORM pg_temp.write_rows(kind, stream, kept);
	rows_before := (SELECT array_agg(ctid ORDER BY slot) FROM snapshot_store WHERE stream_id = stream);
	stored := pg_temp.save(kind, stream, saved);
	SELECT array_agg(ctid ORDER BY slot), array_agg(slot ORDER BY slot) INTO rows_after, slots
	FROM snapshot_store WHERE stream_id = stream;
	RETURN CASE WHEN stored THEN '' ELSE 'refused: ' END
		|| pg_temp.content(stream)
		|| CASE WHEN stored AND slots[cardinality(slots)] >= keep * keep_versions
				THEN ' (beyond the capacity)' ELSE '' END
		|| CASE WHEN stored AND slots[1] <> 0 THEN ' (nothing in slot 0)' ELSE '' END
		|| CASE WHEN NOT stored AND rows_after IS DISTINCT FROM rows_before THEN ' (written to)' ELSE '' END;
END
$$;

-- What an application that knows these schema versions loads: "version/sequence", or nothing.
CREATE FUNCTION pg_temp.found(stream text, recognized_schema_versions bigint[],
							  max_sequence_number bigint DEFAULT NULL, max_created_at timestamptz DEFAULT NULL)
RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT l.state_schema_version || '/' || l.sequence_number
	FROM snapshot_load(stream, recognized_schema_versions, max_sequence_number, max_created_at) AS l
$$;

-- The slots in use.
CREATE FUNCTION pg_temp.slots(stream text) RETURNS smallint[] LANGUAGE sql
AS $$ SELECT array_agg(slot ORDER BY slot) FROM snapshot_store WHERE stream_id = stream $$;

-- The snapshots kept, as "version/sequence", newest first.
CREATE FUNCTION pg_temp.kept(stream text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT string_agg(i.state_schema_version || '/' || i.sequence_number, ' ')
	FROM snapshot_info(stream) AS i
$$;

-- Cases. Without an expected content the save is refused and nothing changes.

SELECT is(pg_temp.after_save(kind, kind || ', ' || description, keep, keep_versions, kept, saved),
		  coalesce(expected, 'refused: ' || kept),
		  kind || ', ' || description)
FROM (VALUES
	-- One snapshot a stream, the default
	('an empty stream stores in slot 0', 1, 1,
	 '', '1/10@1', '0:1/10@1*'),
	('a higher sequence replaces', 1, 1,
	 '0:1/10@1', '1/20@2', '0:1/20@2*'),
	('the same sequence replaces', 1, 1,
	 '0:1/10@1', '1/10@2', '0:1/10@2*'),
	('the same sequence replaces, whatever the clocks say', 1, 1,
	 '0:1/10@5', '1/10@2', '0:1/10@2*'),
	('a lower sequence is refused', 1, 1,
	 '0:1/20@1', '1/10@2', NULL),
	('a higher sequence replaces, whatever the clocks say', 1, 1,
	 '0:1/10@5', '1/20@2', '0:1/20@2*'),
	('another version replaces', 1, 1,
	 '0:1/10@1', '2/20@2', '0:2/20@2*'),
	('another version replaces, at a lower sequence too', 1, 1,
	 '0:1/20@1', '2/10@2', '0:2/10@2*'),
	('a lower version replaces a higher one', 1, 1,
	 '0:2/20@1', '1/10@2', '0:1/10@2*'),
	('another version replaces, whatever the clocks say', 1, 1,
	 '0:1/10@5', '2/10@1', '0:2/10@1*'),
	('sequence 0 is refused after the highest there is', 1, 1,
	 '0:1/9223372036854775807@1', '1/0@2', NULL),
	('the highest sequence there is replaces sequence 0', 1, 1,
	 '0:1/0@1', '1/9223372036854775807@2', '0:1/9223372036854775807@2*'),
	('version 0 replaces the highest there is', 1, 1,
	 '0:4294967295/0@1', '0/0@2', '0:0/0@2*'),

	-- History: several snapshots of one version
	('history: a higher sequence is added where there is room', 3, 1,
	 '0:1/10@1', '1/20@2', '0:1/10@1 1:1/20@2*'),
	('history: a lower sequence is added too', 3, 1,
	 '0:1/20@1', '1/10@2', '0:1/20@1 1:1/10@2*'),
	('history: the last place is taken', 5, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3 3:1/40@4', '1/50@5', '0:1/10@1 1:1/20@2 2:1/30@3 3:1/40@4 4:1/50@5*'),
	('history, full: the lowest sequence makes room', 3, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/40@4', '0:1/40@4* 1:1/20@2 2:1/30@3'),
	('history, full: the lowest sequence makes room, wherever it lies', 3, 1,
	 '0:1/20@2 1:1/10@1 2:1/30@3', '1/40@4', '0:1/20@2 1:1/40@4* 2:1/30@3'),
	('history, full: the lowest sequence goes, not the one saved first', 3, 1,
	 '0:1/20@1 1:1/30@2 2:1/10@3', '1/40@4', '0:1/20@1 1:1/30@2 2:1/40@4*'),
	('history, full: one in between is stored', 3, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/15@4', '0:1/15@4* 1:1/20@2 2:1/30@3'),
	('history, full: the lowest of all is refused', 3, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/9@4', NULL),
	('history, full: the lowest of five is refused', 5, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3 3:1/40@4 4:1/50@5', '1/5@6', NULL),
	('history, full: the same sequence as the lowest replaces it', 3, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/10@4', '0:1/10@4* 1:1/20@2 2:1/30@3'),
	('history, full: the same sequence as the highest replaces it', 3, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/30@4', '0:1/10@1 1:1/20@2 2:1/30@4*'),
	('history: a gap between the slots is filled', 3, 1,
	 '0:1/10@1 2:1/30@3', '1/20@4', '0:1/10@1 1:1/20@4* 2:1/30@3'),
	('history: a replacement moves down to the lowest free slot', 3, 1,
	 '0:1/10@1 2:1/30@3', '1/30@4', '0:1/10@1 1:1/30@4*'),
	('history: another version takes the place of all', 3, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '2/5@4', '0:2/5@4*'),

	-- Versions side by side
	('versions: a second one is added', 1, 2,
	 '0:1/10@1', '2/5@2', '0:1/10@1 1:2/5@2*'),
	('versions: the first one replaces its own', 1, 2,
	 '0:1/10@1 1:2/5@2', '1/20@3', '0:1/20@3* 1:2/5@2'),
	('versions: the second one replaces its own', 1, 2,
	 '0:1/10@1 1:2/5@2', '2/6@3', '0:1/10@1 1:2/6@3*'),
	('versions: each refuses what is older than its own', 1, 2,
	 '0:1/10@1 1:2/5@2', '2/4@3', NULL),
	('versions: and only than its own', 1, 2,
	 '0:1/100@1 1:2/5@2', '2/6@3', '0:1/100@1 1:2/6@3*'),
	('versions: for a third, the one saved longest ago goes', 1, 2,
	 '0:1/10@1 1:2/5@2', '3/1@3', '0:3/1@3* 1:2/5@2'),
	('versions: the one saved longest ago, whatever its number, sequence and slot', 1, 2,
	 '0:1/10@5 1:2/50@2', '3/1@6', '0:1/10@5 1:3/1@6*'),
	('versions: never the one being saved, though its clock is behind', 1, 2,
	 '0:1/10@5 1:2/50@6', '3/1@1', '0:3/1@1* 1:2/50@6'),
	('versions: nor when it was kept before', 1, 2,
	 '0:1/10@1 1:2/50@2 2:3/5@3', '1/20@0', '0:1/20@0* >:3/5@3'),
	('versions: of those saved at the same time the lower slot goes', 1, 2,
	 '0:2/5@1 1:1/10@1', '3/1@2', '0:3/1@2* 1:1/10@1'),
	('versions: the lower slot, not the lower version', 1, 2,
	 '0:1/10@1 1:2/5@1', '3/1@2', '0:3/1@2* 1:2/5@1'),
	('versions: a third one among three', 1, 3,
	 '0:1/10@1 1:2/5@2', '3/1@3', '0:1/10@1 1:2/5@2 2:3/1@3*'),
	('versions: a sixth one among five', 1, 5,
	 '0:1/1@5 1:2/1@4 2:3/1@3 3:4/1@1 4:5/1@2', '6/1@6', '0:1/1@5 1:2/1@4 2:3/1@3 3:6/1@6* 4:5/1@2'),

	-- Both
	('both: two versions with two snapshots each', 2, 2,
	 '0:1/10@1 1:1/20@2 2:2/5@3 3:2/6@4', '2/7@5', '0:1/10@1 1:1/20@2 2:2/7@5* 3:2/6@4'),
	('both: for a third version, another one goes whole', 2, 2,
	 '0:1/10@1 1:1/20@2 2:2/5@3 3:2/6@4', '3/1@5', '0:3/1@5* 2:2/5@3 3:2/6@4'),
	('both: and the place that it left is taken next', 2, 2,
	 '0:3/1@5 2:2/5@3 3:2/6@4', '3/2@6', '0:3/1@5 1:3/2@6* 2:2/5@3 3:2/6@4'),
	('both: a version''s last save counts, not its first', 2, 2,
	 '0:1/10@1 1:1/20@9 2:2/5@5', '3/1@10', '0:1/10@1 1:1/20@9 2:3/1@10*'),
	('both: a version''s last save counts, not its highest sequence', 2, 2,
	 '0:1/10@9 1:1/20@1 2:2/5@5', '3/1@10', '0:1/10@9 1:1/20@1 2:3/1@10*'),
	('both: saved last at the same time, the lower slot of the last saves goes', 2, 2,
	 '0:1/10@5 1:2/5@5 2:2/6@5 3:1/20@5', '3/1@6', '0:1/10@5 1:3/1@6* 3:1/20@5'),
	('both: a refusal leaves a version too many alone', 1, 2,
	 '0:1/10@1 1:2/20@2 2:3/30@3', '2/15@4', NULL),
	('both: three versions with five snapshots each', 5, 3,
	 '0:1/10@1 1:2/10@2 2:3/10@3 4:1/20@4', '2/20@5', '0:1/10@1 1:2/10@2 2:3/10@3 3:2/20@5* 4:1/20@4'),

	-- keep lowered
	('lowered to 1: a higher sequence takes the place of all', 1, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/40@4', '0:1/40@4*'),
	('lowered to 1: the highest again takes the place of all', 1, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/30@4', '0:1/30@4*'),
	('lowered to 1: a kept sequence that is no longer among the newest is refused', 1, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/20@4', NULL),
	('lowered to 2: such a sequence is refused', 2, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/10@4', NULL),
	('lowered to 2: one in between stays, with the highest', 2, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/25@4', '0:1/25@4* >:1/30@3'),
	('lowered to 2: a kept one stays, with the highest', 2, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/20@4', '0:1/20@4* >:1/30@3'),
	('lowered to 2: one too low is refused', 2, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3', '1/15@4', NULL),
	('lowered to 3: survivors move below, and the new one takes the lowest slot', 3, 1,
	 '0:1/10@1 1:1/20@2 2:1/30@3 3:1/40@4 4:1/50@5', '1/60@6', '0:1/60@6* >:1/40@4 >:1/50@5'),
	('lowered to 2: survivors already below stay where they are', 2, 1,
	 '0:1/30@3 1:1/10@1 2:1/20@2', '1/40@4', '0:1/30@3 1:1/40@4*'),
	('lowered to 1: the other version is trimmed too', 1, 2,
	 '0:1/10@1 1:1/20@2 2:2/5@3', '2/6@4', '0:2/6@4* 1:1/20@2'),
	('lowered to 1: every version is trimmed to its newest', 1, 3,
	 '0:1/10@1 1:1/20@2 2:2/5@3 3:2/6@4', '3/1@5', '0:3/1@5* 1:1/20@2 >:2/6@4'),
	('lowered to 1: what was trimmed no longer counts as a version''s last save', 1, 2,
	 '0:1/10@9 1:1/20@1 2:2/5@5', '3/1@10', '0:3/1@10* >:2/5@5'),

	-- keep_versions lowered
	('versions lowered to 1: all others go', 1, 1,
	 '0:1/10@1 1:2/20@2 2:3/30@3', '2/25@4', '0:2/25@4*'),
	('versions lowered to 2: the one saved longest ago goes', 1, 2,
	 '0:1/10@1 1:2/20@2 2:3/30@3', '2/25@4', '0:2/25@4* >:3/30@3'),
	('versions lowered to 2: with a new one, two go', 1, 2,
	 '0:1/10@1 1:2/20@2 2:3/30@3', '4/1@4', '0:4/1@4* >:3/30@3'),
	('versions lowered to 1: a refusal changes nothing', 1, 1,
	 '0:1/10@1 1:2/20@2 2:3/30@3', '2/15@4', NULL),
	('both lowered to 1', 1, 1,
	 '0:1/10@1 1:1/20@2 2:2/5@3 3:2/6@4', '1/30@5', '0:1/30@5*'),
	('both lowered to 2', 2, 2,
	 '0:1/10@1 1:1/20@2 2:1/30@3 3:2/10@4 4:2/20@5 5:2/30@6 6:3/10@7 7:3/20@8', '3/30@9',
	 '0:3/30@9* >:2/20@5 >:2/30@6 >:3/20@8'),

	-- Raised
	('versions raised to 2: another version no longer replaces', 1, 2,
	 '0:1/20@1', '2/10@2', '0:1/20@1 1:2/10@2*'),
	('both raised, with a row far above', 3, 5,
	 '0:1/20@1 14:2/10@2', '1/10@3', '0:1/20@1 1:1/10@3* 14:2/10@2'),

	-- Slots beyond the capacity, and duplicates: only a hand writes those
	('by hand: the highest slot there is moves below', 2, 1,
	 '0:1/10@1 32767:1/20@2', '1/30@3', '0:1/30@3* >:1/20@2'),
	('by hand: the first slot beyond the capacity moves below', 2, 2,
	 '0:1/10@1 4:1/20@2', '2/5@3', '0:1/10@1 1:2/5@3* >:1/20@2'),
	('by hand: a slot beyond the capacity is overwritten where it is superseded', 2, 1,
	 '0:1/20@2 9:1/10@1', '1/30@3', '0:1/20@2 1:1/30@3*'),
	('by hand: the same sequence beyond the capacity is replaced below', 2, 1,
	 '0:1/20@2 9:1/10@1', '1/10@3', '0:1/20@2 1:1/10@3*'),
	('by hand: duplicates of the new one are all replaced by it', 5, 1,
	 '0:1/10@1 1:1/10@2 2:1/20@3 3:1/10@4', '1/10@5', '0:1/10@5* 2:1/20@3'),
	('by hand: duplicates of the new one, one snapshot kept', 1, 1,
	 '0:1/10@1 1:1/10@2', '1/10@3', '0:1/10@3*'),
	('by hand: duplicates that are too old are refused', 1, 1,
	 '0:1/20@1 1:1/10@1 2:1/10@2', '1/10@5', NULL),
	('by hand: duplicates of another sequence each count', 2, 1,
	 '0:1/10@1 1:1/10@2', '1/5@3', NULL),
	('by hand: of duplicates the one saved first is dropped', 2, 1,
	 '0:1/10@2 1:1/10@1', '1/20@3', '0:1/10@2 1:1/20@3*'),
	('by hand: of duplicates saved at the same time the lower slot is dropped', 2, 1,
	 '0:1/10@1 1:1/10@1', '1/20@3', '0:1/20@3* 1:1/10@1'),
	('by hand: too many rows of everything', 2, 2,
	 '0:1/1@1 1:1/1@1 2:1/2@2 3:2/1@3 4:2/2@4 5:2/3@5 6:3/1@6 7:3/1@7 8:4/1@0', '1/3@9',
	 '0:1/3@9* 2:1/2@2 >:3/1@6 >:3/1@7'),

	-- Nothing in slot 0, as after a deletion: the new one goes there
	('slot 0 empty: superseded, the new one takes it', 1, 1,
	 '3:1/10@1', '1/20@2', '0:1/20@2*'),
	('slot 0 empty: another version takes it', 1, 1,
	 '1:1/10@1 2:1/20@2', '2/5@3', '0:2/5@3*'),
	('slot 0 empty: a refusal leaves it so', 1, 1,
	 '3:1/20@1', '1/10@2', NULL),
	('slot 0 empty: a refusal by a full history leaves it so', 2, 1,
	 '1:1/20@1 2:1/30@2', '1/10@3', NULL),
	('slot 0 empty: the new one takes it, the one too high moves', 2, 1,
	 '7:1/10@1', '1/20@2', '0:1/20@2* >:1/10@1'),
	('slot 0 empty: the new one takes it, the others stay', 3, 1,
	 '1:1/20@1 2:1/10@2', '1/30@3', '0:1/30@3* 1:1/20@1 2:1/10@2'),
	('slot 0 empty: whatever the order', 3, 1,
	 '1:1/10@1 2:1/20@2', '1/30@3', '0:1/30@3* 1:1/10@1 2:1/20@2'),
	('slot 0 empty: a replacement of the lowest takes it', 3, 1,
	 '1:1/10@1 2:1/20@2', '1/10@3', '0:1/10@3* 2:1/20@2'),
	('slot 0 empty: two versions side by side', 1, 2,
	 '1:2/5@2', '1/10@3', '0:1/10@3* 1:2/5@2')
) AS t (description, keep, keep_versions, kept, saved, expected),
LATERAL (VALUES ('json'), ('bytea')) AS kinds (kind);

-- A story: history. With keep = 5, states as of earlier events can be loaded.

SET LOCAL snapshot_store.keep = 5;
SET LOCAL snapshot_store.keep_versions = 1;

SELECT is((SELECT array_agg(pg_temp.save('json', 'history', format('1/%s@%s', n, n)) ORDER BY n)
		   FROM generate_series(100, 1000, 100) AS n),
		  '{t,t,t,t,t,t,t,t,t,t}', 'history: ten snapshots are saved one after the other');
SELECT is(pg_temp.kept('history'), '1/1000 1/900 1/800 1/700 1/600', 'history: the newest five are kept');
SELECT is(pg_temp.slots('history'), '{0,1,2,3,4}', 'history: in five slots');
SELECT is(pg_temp.found('history', '{1}'), '1/1000', 'history: the newest one is loaded');
SELECT is(pg_temp.found('history', '{1}', 999), '1/900', 'history: as of event 999, the one at 900');
SELECT is(pg_temp.found('history', '{1}', 600), '1/600', 'history: as of event 600, the one at 600');
SELECT is(pg_temp.found('history', '{1}', 599), NULL, 'history: as of event 599 there is none any more');
SELECT is(pg_temp.found('history', '{1}', NULL, pg_temp.minute(750)), '1/700',
		  'history: as of minute 750, the one saved at 700');
SELECT is(pg_temp.found('history', '{1}', 900, pg_temp.minute(750)), '1/700', 'history: both bounds hold');
SELECT is(pg_temp.save('json', 'history', '1/550@2000'), false,
		  'history: an older one than the five is refused');
SELECT is(pg_temp.save('json', 'history', '1/650@2000'), true, 'history: one between them is stored');
SELECT is(pg_temp.kept('history'), '1/1000 1/900 1/800 1/700 1/650', 'history: and the lowest one made room');
SELECT is(pg_temp.found('history', '{1}', 699), '1/650', 'history: as of event 699, the late one at 650');
SELECT is(pg_temp.found('history', '{1}', 699, pg_temp.minute(1000)), NULL,
		  'history: which had not been saved by minute 1000');

-- A story: a rolling deployment. Two versions of an application save side by side; a third takes over.

SET LOCAL snapshot_store.keep = 1;
SET LOCAL snapshot_store.keep_versions = 2;

SELECT ok(pg_temp.save('json', 'deployment', '1/100@1') AND pg_temp.save('json', 'deployment', '2/90@2')
		  AND pg_temp.save('json', 'deployment', '1/110@3') AND pg_temp.save('json', 'deployment', '2/120@4'),
		  'deployment: two versions take turns');
SELECT is(pg_temp.found('deployment', '{1}'), '1/110', 'deployment: the old application loads its own');
SELECT is(pg_temp.found('deployment', '{2}'), '2/120', 'deployment: the new application loads its own');
SELECT is(pg_temp.found('deployment', '{1,2}'), '2/120',
		  'deployment: one that recognizes both loads the newer');
SELECT is(pg_temp.save('json', 'deployment', '2/115@5'), false,
		  'deployment: a late writer does not replace a newer one of its version');
SELECT ok(pg_temp.save('json', 'deployment', '1/130@6'), 'deployment: the old application saves once more');
SELECT is(pg_temp.kept('deployment'), '1/130 2/120', 'deployment: neither erased the other''s');
SELECT ok(pg_temp.save('json', 'deployment', '3/125@7'), 'deployment: a third version starts');
SELECT is(pg_temp.kept('deployment'), '1/130 3/125', 'deployment: version 2, saved longest ago, is gone');
SELECT ok(pg_temp.save('json', 'deployment', '2/140@8'),
		  'deployment: an application at version 2 was still running');
SELECT is(pg_temp.kept('deployment'), '2/140 3/125', 'deployment: now version 1 was saved longest ago');
SELECT is(pg_temp.found('deployment', '{1}'), NULL, 'deployment: which loads nothing any more');

-- A story: settings that change between saves.

SET LOCAL snapshot_store.keep = 3;
SET LOCAL snapshot_store.keep_versions = 2;
SELECT ok((SELECT bool_and(pg_temp.save('json', 'settings', s))
		   FROM unnest(array['1/10@1', '1/20@2', '1/30@3', '2/10@4', '2/20@5', '2/30@6']) AS s),
		  'settings: three snapshots of each of two versions');
SELECT is(pg_temp.kept('settings'), '2/30 1/30 2/20 1/20 2/10 1/10', 'settings: all are kept');

SET LOCAL snapshot_store.keep = 2;
SELECT is(pg_temp.kept('settings'), '2/30 1/30 2/20 1/20 2/10 1/10',
		  'settings: keep lowered to 2 changes nothing by itself');
SELECT is(pg_temp.save('json', 'settings', '2/15@7'), false, 'settings: nor with a save that is refused');
SELECT is(pg_temp.kept('settings'), '2/30 1/30 2/20 1/20 2/10 1/10', 'settings: which leaves all six');
SELECT ok(pg_temp.save('json', 'settings', '2/40@8'), 'settings: the next save');
SELECT is(pg_temp.kept('settings'), '2/40 2/30 1/30 1/20', 'settings: leaves two of each version');
SELECT is(pg_temp.slots('settings'), '{0,1,2,3}', 'settings: in the lowest slots');

SET LOCAL snapshot_store.keep_versions = 3;
SELECT ok(pg_temp.save('json', 'settings', '3/5@9'), 'settings: keep_versions raised to 3');
SELECT is(pg_temp.kept('settings'), '2/40 2/30 1/30 1/20 3/5', 'settings: a third version has room');

SET LOCAL snapshot_store.keep = 5;
SELECT ok(pg_temp.save('json', 'settings', '1/10@10') AND pg_temp.save('json', 'settings', '1/15@11'),
		  'settings: keep raised to 5: lower sequences have room');
SELECT is(pg_temp.kept('settings'), '2/40 2/30 1/30 1/20 1/15 1/10 3/5', 'settings: they are kept');

SET LOCAL snapshot_store.keep = 1;
SET LOCAL snapshot_store.keep_versions = 1;
SELECT ok(pg_temp.save('json', 'settings', '3/6@12'), 'settings: both lowered to 1');
SELECT is(pg_temp.content('settings'), '0:3/6@12*', 'settings: one snapshot is left, in slot 0');

-- A story: created_at given by the caller, in odd order, as an import of old snapshots does.

SET LOCAL snapshot_store.keep = 3;
SET LOCAL snapshot_store.keep_versions = 2;
SELECT ok((SELECT bool_and(pg_temp.save('json', 'times', s))
		   FROM unnest(array['1/10@300', '1/20@100', '1/30@200', '2/5@250']) AS s),
		  'times: saved with clocks that go back and forth');
SELECT is(pg_temp.found('times', '{1}'), '1/30',
		  'times: the highest sequence is the most recent, not the latest time');
SELECT is(pg_temp.found('times', '{1}', NULL, pg_temp.minute(150)), '1/20',
		  'times: as of minute 150, what bears an earlier time');
SELECT is(pg_temp.found('times', '{1}', 19), '1/10',
		  'times: as of event 19, though it bears the latest time');
SELECT is(pg_temp.found('times', '{1}', 19, pg_temp.minute(250)), NULL, 'times: both bounds hold');
SELECT ok(pg_temp.save('json', 'times', '3/1@50'), 'times: a third version, with the earliest time of all');
SELECT is(pg_temp.kept('times'), '1/30 1/20 1/10 3/1',
		  'times: it stays; version 2 goes, whose last save at 250 is before 300');
SELECT ok(pg_temp.save('json', 'times', '2/6@400'), 'times: version 2 again');
SELECT is(pg_temp.kept('times'), '1/30 1/20 1/10 2/6',
		  'times: now version 3 goes, whose last save bears the earliest time');
SELECT ok(pg_temp.save('json', 'times', '1/40@10'),
		  'times: the full version saves, and its sequence 10, saved at 300, makes room');
SELECT ok(pg_temp.save('json', 'times', '3/2@20'), 'times: version 3 again');
SELECT is(pg_temp.kept('times'), '2/6 3/2', 'times: version 1 goes, which now last bears 200');

-- A story: times that nobody gave.

SET LOCAL snapshot_store.keep = 2;
SET LOCAL snapshot_store.keep_versions = 1;
SELECT ok(snapshot_save('clock', 1, 1, '1') AND snapshot_save('clock', 2, 1, '2', created_at => NULL),
		  'clock: two saves in one transaction, without a time');
SELECT ok((SELECT min(created_at) >= transaction_timestamp() AND max(created_at) <= clock_timestamp()
		   FROM snapshot_info('clock')),
		  'clock: they bear the time of the clock');
SELECT ok((SELECT count(DISTINCT created_at) = 2 FROM snapshot_info('clock')),
		  'clock: each its own, not the transaction''s start');
SELECT ok((SELECT array_agg(sequence_number ORDER BY created_at) = '{1,2}' FROM snapshot_info('clock')),
		  'clock: in the order of the saves');

-- A story: a save takes the whole place of what it replaces.

SET LOCAL snapshot_store.keep = 1;
SELECT ok(snapshot_save('whole', 1, 1, '{"kind": "json"}', '{"by": "first"}'),
		  'whole: a snapshot with metadata');
SELECT ok(snapshot_save_bytea('whole', 2, 1, '\x00ff'), 'whole: replaced by one of bytes without metadata');
SELECT results_eq($$ SELECT slot, sequence_number, state::text, state_bytea, metadata
					 FROM snapshot_store WHERE stream_id = 'whole' $$,
				  $$ VALUES (0::smallint, 2::bigint, NULL, '\x00ff'::bytea, NULL::jsonb) $$,
				  'whole: nothing of the first one is left');
SELECT ok(snapshot_save('whole', 3, 1, 'null', '{"by": "third"}'),
		  'whole: replaced by the JSON value null with metadata');
SELECT results_eq($$ SELECT slot, sequence_number, state::text, state_bytea, metadata
					 FROM snapshot_store WHERE stream_id = 'whole' $$,
				  $$ VALUES (0::smallint, 3::bigint, 'null', NULL::bytea, '{"by": "third"}'::jsonb) $$,
				  'whole: nothing of the second one is left');

-- A story: deletions make room, and the slots are used again.

SET LOCAL snapshot_store.keep = 3;
SELECT ok((SELECT bool_and(pg_temp.save('json', 'deletions', s))
		   FROM unnest(array['1/10@1', '1/20@2', '1/30@3']) AS s),
		  'deletions: three snapshots');
SELECT is(snapshot_delete('deletions', max_sequence_number => 10), 1::bigint,
		  'deletions: the oldest is deleted');
SELECT is(pg_temp.found('deletions', '{1}'), '1/30', 'deletions: the newest is loaded as before');
SELECT ok(pg_temp.save('json', 'deletions', '1/15@4'),
		  'deletions: a lower sequence than the two has room again');
SELECT is(pg_temp.kept('deletions') || ' in ' || pg_temp.slots('deletions')::text,
		  '1/30 1/20 1/15 in {0,1,2}',
		  'deletions: three are kept, in the same slots');
SELECT is(snapshot_delete('deletions', min_sequence_number => 20), 2::bigint,
		  'deletions: the stream is reset to event 19');
SELECT is(pg_temp.found('deletions', '{1}'), '1/15', 'deletions: and what lies ahead of it is gone');
SELECT is(snapshot_delete('deletions'), 1::bigint, 'deletions: all are deleted');
SELECT ok(pg_temp.save('json', 'deletions', '1/1@5'), 'deletions: the lowest sequence ever is stored now');
SELECT is(pg_temp.content('deletions'), '0:1/1@5*', 'deletions: in slot 0');

-- A story: what moves, moves whole, whatever its kind and size.

SET LOCAL snapshot_store.keep = 2;
SELECT pg_temp.write_rows('json', 'mixed', '0:1/10@1 1:1/20@2'), pg_temp.write_rows('bytea', 'mixed',
		  '2:1/30@3');
SELECT ok(pg_temp.save('json', 'mixed', '1/40@4'), 'moves: a JSON state is saved where bytes have to move');
SELECT is(pg_temp.content('mixed'), '0:1/40@4* >:1/30@3', 'moves: the bytes are still bytes');

SET LOCAL snapshot_store.keep = 3;
SELECT ok(snapshot_save('large', 1, 1, '1') AND snapshot_save('large', 2, 1, '2')
		  AND snapshot_save('large', 3, 1, (SELECT json_agg(md5(n::text)) FROM generate_series(1, 5000) AS n),
							metadata => '{"size": "large"}'),
		  'moves: a state too large for its row, in slot 2');
SET LOCAL snapshot_store.keep = 2;
SELECT ok(snapshot_save('large', 4, 1, '4'), 'moves: keep lowered to 2, it has to move');
SELECT is(pg_temp.slots('large'), '{0,1}', 'moves: two slots are in use');
SELECT results_eq($$ SELECT state::text, metadata
					 FROM snapshot_load('large', '{1}', max_sequence_number => 3) $$,
				  $$ SELECT json_agg(md5(n::text))::text, '{"size": "large"}'::jsonb
					 FROM generate_series(1, 5000) AS n $$,
				  'moves: the large state is what it was');

-- A story: somebody's trigger lets no row be updated. A save may then store nothing, but it may not
-- leave too much.

SET LOCAL snapshot_store.keep = 2;
SELECT pg_temp.write_rows('json', 'vetoed', '0:1/20@2 9:1/10@1'),
	   pg_temp.write_rows('json', 'vetoed in slot 0', '0:1/10@1');
CREATE FUNCTION pg_temp.veto() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER veto BEFORE UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION pg_temp.veto();
SELECT pg_temp.save('json', 'vetoed', '1/30@3');
SELECT cmp_ok((SELECT count(*) FROM snapshot_info('vetoed')), '<=', 2::bigint,
			  'veto: a save leaves no more than two, though the one that it supersedes could not be overwritten');
SET LOCAL snapshot_store.keep = 1;
SELECT is(pg_temp.save('json', 'vetoed in slot 0', '1/20@2'), false,
		  'veto: a save that can neither overwrite nor insert stores nothing');
SELECT is(pg_temp.content('vetoed in slot 0'), '0:1/10@1', 'veto: and what was there is still there');
DROP TRIGGER veto ON snapshot_store;

-- Other streams are never touched, whatever their names begin with.

SET LOCAL snapshot_store.keep = 1;
SELECT ok(pg_temp.save('json', 'neighbour', '1/10@1') AND pg_temp.save('json', 'neighbour-2', '1/20@1')
		  AND pg_temp.save('json', 'Neighbour', '1/30@1') AND pg_temp.save('json', 'neighbour', '2/1@2'),
		  'neighbours: saves of streams with similar names');
SELECT is(array[pg_temp.kept('neighbour'), pg_temp.kept('neighbour-2'), pg_temp.kept('Neighbour')],
		  array['2/1', '1/20', '1/30'], 'neighbours: each has its own');

-- A version that a clock was ahead for goes first, though it seems to have been saved last.

SET LOCAL snapshot_store.keep_versions = 2;
INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
VALUES ('ahead', 0, 9, 1, clock_timestamp() + interval '30 days', '9');
SELECT ok(snapshot_save('ahead', 1, 1, '1') AND snapshot_save('ahead', 1, 2, '2') AND snapshot_save('ahead', 2, 1, '1'),
		  'ahead: saves of two versions');
SELECT is(array_agg(state_schema_version ORDER BY 1), '{1,2}', 'ahead: they do not erase each other for a third')
FROM snapshot_store WHERE stream_id = 'ahead';

SELECT * FROM finish();
ROLLBACK;
