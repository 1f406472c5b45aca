-- The application of scripts/demo: an event store in an ordinary table, and states made from
-- it. A stream's events are what happened to one package, or to the whole machine.

CREATE EXTENSION snapshot_store;

CREATE TABLE events (
	stream_id text,
	sequence_number bigint,
	payload jsonb NOT NULL,
	PRIMARY KEY (stream_id, sequence_number)
);

-- One event applied to a state. Schema version 2 of the state counts the changes as well.
CREATE FUNCTION apply(stream_id text, state jsonb, event jsonb, schema_version bigint)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
	IF stream_id = 'machine' THEN	-- the states of its packages, by name
		RETURN state || jsonb_build_object(event->>'package',
			apply('', coalesce(state->(event->>'package'), '{}'), event, schema_version));
	END IF;
	state := state || jsonb_build_object('status', event->'status', 'version', event->'version');
	IF schema_version >= 2 THEN
		state := state || jsonb_build_object('changes', coalesce((state->>'changes')::bigint, 0) + 1);
	END IF;
	RETURN state;
END
$$;

-- Applies the events after one to the state as of that one: by default all, to nothing.
CREATE FUNCTION replay(stream text, schema_version bigint, last_included bigint DEFAULT 0,
					   INOUT state jsonb DEFAULT '{}', OUT replayed bigint)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	event jsonb;
BEGIN
	replayed := 0;
	FOR event IN
		SELECT payload FROM events
		WHERE stream_id = stream AND sequence_number > last_included
		ORDER BY sequence_number
	LOOP
		state := apply(stream, state, event, schema_version);
		replayed := replayed + 1;
	END LOOP;
END
$$;

-- A stream's state now: its snapshot, if there is one of this schema version, and the events
-- after it.
CREATE FUNCTION load_stream(stream text, schema_version bigint,
							OUT snapshot_at bigint, OUT replayed bigint, OUT state jsonb)
LANGUAGE plpgsql STABLE
AS $$
BEGIN
	SELECT snapshot.sequence_number, snapshot.state INTO snapshot_at, state
	FROM snapshot_load(stream, recognized_schema_versions => ARRAY[schema_version]) AS snapshot;

	SELECT tail.replayed, tail.state INTO replayed, state
	FROM replay(stream, schema_version, coalesce(snapshot_at, 0), coalesce(state, '{}')) AS tail;
END
$$;

-- The package manager's log, oldest first: what is to become events.
CREATE TABLE history (
	line bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	entry text NOT NULL		-- 2026-01-31 12:00:00 status installed package:amd64 1.0-1
);

-- Appends the history to the streams, from where that ended, and takes snapshots on the way.
-- Five lines make a transaction, the first one three: none ends where a snapshot is taken.
CREATE PROCEDURE record_history(snapshot_interval bigint)
LANGUAGE plpgsql
AS $$
DECLARE
	schema_version CONSTANT bigint := 1;
	field text[];
	stream text;
	event_count bigint;
	last_snapshot bigint;
	-- Four seconds in all, so that there is a middle in which to kill the server.
	pause CONSTANT float8 := 4.0 / (SELECT count(*) / 5.0 FROM history);
	recorded CONSTANT bigint := (SELECT count(*) FROM events WHERE stream_id = 'machine');
	next_line bigint;
BEGIN
	FOR next_line, field IN
		SELECT line, string_to_array(entry, ' ') FROM history
		WHERE line > recorded ORDER BY line
	LOOP
		FOREACH stream IN ARRAY ARRAY['machine', field[5]] LOOP
			INSERT INTO events
			SELECT stream, coalesce(max(sequence_number), 0) + 1,
				   jsonb_build_object('at', field[1] || ' ' || field[2], 'package', field[5],
									  'status', field[4], 'version', field[6])
			FROM events WHERE stream_id = stream
			RETURNING sequence_number INTO event_count;

			SELECT sequence_number INTO last_snapshot FROM snapshot_info(stream);
			IF snapshot_should_take(event_count => event_count,
									last_sequence_number => last_snapshot,
									snapshot_interval => record_history.snapshot_interval) THEN
				PERFORM snapshot_save(stream_id => stream,
									  sequence_number => event_count,
									  state_schema_version => schema_version,
									  state => (SELECT state::json FROM load_stream(stream, schema_version)));
			END IF;
		END LOOP;
		IF next_line % 5 = 3 THEN
			COMMIT;
			PERFORM pg_sleep(pause);
		END IF;
	END LOOP;
END
$$;

-- Loads a stream with and without its snapshots.
CREATE FUNCTION compare(stream text, OUT events bigint, OUT snapshot_at bigint,
						OUT replayed bigint, OUT load_ms numeric, OUT replay_ms numeric,
						OUT same_state boolean)
LANGUAGE plpgsql
AS $$
DECLARE
	loaded jsonb;
	made_anew jsonb;
	t0 timestamptz := clock_timestamp();
	t1 timestamptz;
BEGIN
	SELECT l.snapshot_at, l.replayed, l.state INTO snapshot_at, replayed, loaded
	FROM load_stream(stream, schema_version => 1) AS l;
	t1 := clock_timestamp();
	SELECT r.replayed, r.state INTO events, made_anew
	FROM replay(stream, schema_version => 1) AS r;
	load_ms := round(extract(epoch FROM t1 - t0) * 1000, 1);
	replay_ms := round(extract(epoch FROM clock_timestamp() - t1) * 1000, 1);
	same_state := loaded = made_anew;
END
$$;

-- The same for the three longest streams, and for all together, in less than 80 columns.
CREATE FUNCTION compare_all()
RETURNS TABLE (stream text, events numeric, snapshot bigint, replayed numeric,
			   load_ms numeric, replay_ms numeric, same boolean)
BEGIN ATOMIC
	WITH comparison AS MATERIALIZED (
		SELECT left(e.stream_id, 18) AS stream, compared.*
		FROM (SELECT DISTINCT stream_id FROM events) AS e, compare(e.stream_id) AS compared
	)
	(SELECT * FROM comparison AS c ORDER BY c.events DESC, c.stream LIMIT 3)
	UNION ALL
	SELECT format('all %s streams', count(*)), sum(c.events), NULL, sum(c.replayed),
		   sum(c.load_ms), sum(c.replay_ms), bool_and(c.same_state)
	FROM comparison AS c;
END;
