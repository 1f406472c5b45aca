-- The application of scripts/demo --metrics: a command loads its stream's snapshot, replays the events
-- after it, appends one and saves the new state. Of the events there are only numbers.

CREATE EXTENSION snapshot_store;

CREATE TABLE streams (stream_id text PRIMARY KEY, events bigint NOT NULL);
INSERT INTO streams SELECT 'order-' || n, 200 FROM generate_series(1, 50) AS n;

CREATE TABLE replays (at timestamptz NOT NULL, events bigint NOT NULL);

CREATE PROCEDURE command(stream text, schema_version bigint)
LANGUAGE plpgsql
AS $$
DECLARE
	event_count bigint;
	last_included bigint;
BEGIN
	UPDATE streams SET events = events + 1 WHERE stream_id = stream RETURNING events INTO event_count;
	SELECT sequence_number INTO last_included FROM snapshot_load(stream, ARRAY[schema_version]);
	INSERT INTO replays VALUES (clock_timestamp(), event_count - 1 - coalesce(last_included, 0));
	PERFORM snapshot_save(stream, event_count, schema_version, json_build_object('events', event_count));
END
$$;

-- What snapshot_stats shows, every quarter of a second.
CREATE TABLE recorded AS SELECT clock_timestamp() AS at, * FROM snapshot_stats WITH NO DATA;

CREATE PROCEDURE record_statistics()
LANGUAGE plpgsql
AS $$
BEGIN
	LOOP
		INSERT INTO recorded SELECT clock_timestamp(), * FROM snapshot_stats WHERE datname = current_database();
		COMMIT;
		PERFORM pg_sleep(0.25);
	END LOOP;
END
$$;

-- The moments of the deployment.
CREATE TABLE moments (
	begins timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
	what text NOT NULL
);

-- What was counted between one record and the next.
CREATE VIEW rates AS
SELECT at, found, found + unrecognized + not_found AS loads, unrecognized,
	   extract(epoch FROM at - since) AS seconds, extract(epoch FROM at - min(since) OVER ()) AS elapsed
FROM (SELECT at, lag(at) OVER (ORDER BY at) AS since,
			 loads_found - lag(loads_found) OVER (ORDER BY at) AS found,
			 loads_unrecognized - lag(loads_unrecognized) OVER (ORDER BY at) AS unrecognized,
			 loads_not_found - lag(loads_not_found) OVER (ORDER BY at) AS not_found
	  FROM recorded) AS differences
WHERE since IS NOT NULL;

CREATE VIEW phases AS
SELECT m.what, r.hit_percent, r.unrecognized, e.replayed
FROM (SELECT begins, lead(begins, 1, 'infinity') OVER (ORDER BY begins) AS ends, what FROM moments) AS m,
	 LATERAL (SELECT round(100 * sum(found) / sum(loads)) AS hit_percent, sum(unrecognized) AS unrecognized
			  FROM rates WHERE at BETWEEN m.begins AND m.ends) AS r,
	 LATERAL (SELECT round(avg(events)) AS replayed FROM replays WHERE at BETWEEN m.begins AND m.ends) AS e
ORDER BY m.begins;
