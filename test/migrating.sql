-- For the examples in doc/migrating.md: the snapshot tables of other stores, each in a schema of its own, by
-- their names, types and keys alone, with rows in the form in which these stores write them. Of the tables
-- around them there is what a statement touches. Checked with the store's own library are those that say so.
\set QUIET on

-- ---- written by hand: 3,000 orders, every second one with an older snapshot -----------------
CREATE SCHEMA hand;
CREATE TABLE hand.order_snapshot (
	order_id uuid NOT NULL,
	version integer NOT NULL,
	schema_version smallint NOT NULL,
	state jsonb NOT NULL,
	taken_at timestamptz NOT NULL,
	PRIMARY KEY (order_id, version)
);
INSERT INTO hand.order_snapshot
SELECT md5(n::text)::uuid, v, 1, jsonb_build_object('lines', v, 'note', 'Zoë ' || n),
	   timestamptz '2026-01-05 09:00+00' + n * interval '1 second'
FROM generate_series(1, 3000) AS n, unnest(ARRAY[n + 10, n]) AS v
WHERE v > n OR n % 2 = 0;

-- ---- pekko-persistence-jdbc 1.1.0: rows by the library, Jackson's CBOR and Java's own ------
CREATE SCHEMA pekko_jdbc;
CREATE TABLE pekko_jdbc.snapshot (
	persistence_id varchar(255) NOT NULL,
	sequence_number bigint NOT NULL,
	created bigint NOT NULL,
	snapshot_ser_id integer NOT NULL,
	snapshot_ser_manifest varchar(255) NOT NULL,
	snapshot_payload bytea NOT NULL,
	meta_ser_id integer,
	meta_ser_manifest varchar(255),
	meta_payload bytea,
	PRIMARY KEY (persistence_id, sequence_number)
);
INSERT INTO pekko_jdbc.snapshot VALUES
('Cart|c1', 4, 1795731641635, 33, 'shop.Cart$State', '\xbf65746f74616c0a646e616d65645a6fc3abff'),
('Cart|c1', 6, 1795731641666, 33, 'shop.Cart$State', '\xbf65746f74616c15646e616d65645a6fc3abff'),
('Cart|c2', 8, 1795731641667, 33, 'shop.Cart$State#2', '\xbf65746f74616c15646e616d65645a6fc3abff'),
('Bill|b1', 6, 1795731641546, 1, '',
 '\xaced000573720009506b244a5374617465e659ee4c186cac7f020001490005746f74616c787000000015');
INSERT INTO pekko_jdbc.snapshot VALUES
('Cart|c3', 2, 1795731641700, 33, 'shop.Cart$State', '\xbfff', 33, 'shop.Meta', '\x00ff');

-- ---- pekko-persistence-r2dbc: by its scripts --------------------------------------------
CREATE SCHEMA pekko_r2dbc;
CREATE TABLE pekko_r2dbc.event_journal (
	slice integer NOT NULL,
	entity_type varchar(255) NOT NULL,
	persistence_id varchar(255) NOT NULL,
	seq_nr bigint NOT NULL,
	PRIMARY KEY (persistence_id, seq_nr)
);
CREATE TABLE pekko_r2dbc.snapshot (
	slice integer NOT NULL,
	entity_type varchar(255) NOT NULL,
	persistence_id varchar(255) NOT NULL,
	seq_nr bigint NOT NULL,
	write_timestamp bigint NOT NULL,
	ser_id integer NOT NULL,
	ser_manifest varchar(255) NOT NULL,
	snapshot bytea NOT NULL,
	meta_ser_id integer,
	meta_ser_manifest varchar(255),
	meta_payload bytea,
	PRIMARY KEY (persistence_id)
);
INSERT INTO pekko_r2dbc.event_journal
SELECT slice, 'Cart', id, n FROM (VALUES (305, 'Cart|d1'), (306, 'Cart|d2')) AS j (slice, id), generate_series(1, 6) AS n;
INSERT INTO pekko_r2dbc.snapshot VALUES
(305, 'Cart', 'Cart|d1', 6, 1795731641666, 33, 'shop.Cart$State', '\xbf65746f74616c15646e616d65645a6fc3abff'),
(306, 'Cart', 'Cart|d2', 4, 1795731641999, 33, 'shop.Cart$State#2', '\xbf65746f74616c0a646e616d65645a6fc3abff');

-- ---- Axon Framework 4.11.2, JDBC: table and rows by the library, with its Jackson serializer --
CREATE SCHEMA axon_jdbc;
CREATE TABLE axon_jdbc.snapshotevententry (
	aggregateidentifier varchar(255) NOT NULL,
	sequencenumber bigint NOT NULL,
	type varchar(255) NOT NULL,
	eventidentifier varchar(255) NOT NULL UNIQUE,
	metadata bytea,
	payload bytea NOT NULL,
	payloadrevision varchar(255),
	payloadtype varchar(255) NOT NULL,
	timestamp varchar(255) NOT NULL,
	PRIMARY KEY (aggregateidentifier, sequencenumber)
);
INSERT INTO axon_jdbc.snapshotevententry
SELECT id, n, type, event, convert_to(meta, 'UTF8'), convert_to(state, 'UTF8'), revision, class, at
FROM (VALUES
	('7', 99, 'Order', '40ccc707-28bc-413a-a9c3-a39efd742872', '{"traceId":"t1"}', '{"id":"7","total":120}', '2',
	 'shop.Order', '2026-11-26T22:19:07.622Z'),
	('8', 0, 'Order', '4ec4dcd6-4e49-4bcd-883e-24ee9c59ea4f', '{}', '{"id":"8","total":1}', '2',
	 'shop.Order', '2026-11-26T22:19:07.700Z'),
	('c1', 3, 'Cart', 'c38fee95-62a1-4fa1-8bab-fc57943b7cc2', '{}', '{"id":"c1","items":["Zoë"]}', NULL,
	 'shop.Cart', '2026-11-26T22:19:07.760Z'))
	AS rows (id, n, type, event, meta, state, revision, class, at);

-- ---- Axon Framework 4.11.2, JPA: table and rows by the library, Hibernate 6.5.2, Spring's names --
CREATE SCHEMA axon_jpa;
CREATE TABLE axon_jpa.snapshot_event_entry (
	aggregate_identifier varchar(255) NOT NULL,
	sequence_number bigint NOT NULL,
	type varchar(255) NOT NULL,
	event_identifier varchar(255) NOT NULL UNIQUE,
	meta_data oid,
	payload oid NOT NULL,
	payload_revision varchar(255),
	payload_type varchar(255) NOT NULL,
	time_stamp varchar(255) NOT NULL,
	PRIMARY KEY (aggregate_identifier, sequence_number, type)
);
INSERT INTO axon_jpa.snapshot_event_entry
SELECT 'j' || aggregateidentifier, sequencenumber, type, eventidentifier, lo_from_bytea(0, metadata),
	   lo_from_bytea(0, payload), payloadrevision, payloadtype, timestamp
FROM axon_jdbc.snapshotevententry;
-- By hand: two kinds with the same identifier, which the key allows.
INSERT INTO axon_jpa.snapshot_event_entry
SELECT 'j7', sequence_number, type, '9d1c7a52-5c0e-4f0e-9d43-0b6c2f3e7a11', lo_from_bytea(0, lo_get(meta_data)),
	   lo_from_bytea(0, '{"id":"7","items":[]}'), payload_revision, payload_type, time_stamp
FROM axon_jpa.snapshot_event_entry WHERE type = 'Cart';

-- ---- EventStore 1.4.8 (Elixir) as Commanded 1.4.10 writes it, with its JSON serializer ------
CREATE SCHEMA event_store;
CREATE TABLE event_store.snapshots (
	source_uuid text PRIMARY KEY NOT NULL,
	source_version bigint NOT NULL,
	source_type text NOT NULL,
	data bytea NOT NULL,
	metadata bytea NULL,
	created_at timestamptz DEFAULT now() NOT NULL
);
INSERT INTO event_store.snapshots
SELECT id, n, type, convert_to(data, 'UTF8'), convert_to(meta, 'UTF8'), '2026-01-05 09:00:00.123456+00'
FROM (VALUES
	('account-1', 10, 'Elixir.Bank.Account', '{"number":"1","owner":"Zoë","balance":1.50}',
	 '{"snapshot_module_version":1}'),
	('account-2', 30, 'Elixir.Bank.Account', '{"number":"2","owner":null,"balance":0}',
	 '{"snapshot_module_version":2}'),
	('"TransferManager"-"t1"', 17, 'Elixir.Bank.TransferManager', '{"status":"open"}', 'null'))
	AS rows (id, n, type, data, meta);

-- ---- Sequent 8.2.0: a snapshot's sequence number is that of the next event -----------------
CREATE SCHEMA sequent;
CREATE TABLE sequent.aggregate_types (
	id smallint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY,
	type text UNIQUE NOT NULL
);
CREATE TABLE sequent.aggregates (
	aggregate_id uuid NOT NULL PRIMARY KEY,
	aggregate_type_id smallint NOT NULL REFERENCES sequent.aggregate_types (id)
);
CREATE TABLE sequent.aggregates_that_need_snapshots (
	aggregate_id uuid NOT NULL REFERENCES sequent.aggregates (aggregate_id) ON UPDATE CASCADE ON DELETE CASCADE,
	snapshot_sequence_number_high_water_mark integer,
	snapshot_outdated_at timestamptz,
	snapshot_scheduled_at timestamptz,
	snapshot_version integer NOT NULL,
	PRIMARY KEY (aggregate_id, snapshot_version)
);
CREATE TABLE sequent.snapshot_records (
	aggregate_id uuid NOT NULL,
	sequence_number integer NOT NULL,
	created_at timestamptz NOT NULL,
	snapshot_type text NOT NULL,
	snapshot_json jsonb NOT NULL,
	snapshot_version integer NOT NULL,
	PRIMARY KEY (aggregate_id, snapshot_version, sequence_number),
	FOREIGN KEY (aggregate_id, snapshot_version)
		REFERENCES sequent.aggregates_that_need_snapshots (aggregate_id, snapshot_version)
		ON UPDATE CASCADE ON DELETE CASCADE
);
INSERT INTO sequent.aggregate_types (type) VALUES ('Invoice'), ('Shop::Cart');
INSERT INTO sequent.aggregates VALUES
('1d5b6c0a-0000-4000-8000-000000000001', 1), ('1d5b6c0a-0000-4000-8000-000000000002', 2);
INSERT INTO sequent.aggregates_that_need_snapshots (aggregate_id, snapshot_version, snapshot_sequence_number_high_water_mark)
SELECT aggregate_id, v, 41 FROM sequent.aggregates, generate_series(1, 2) AS v;
INSERT INTO sequent.snapshot_records (aggregate_id, snapshot_version, sequence_number, created_at, snapshot_type, snapshot_json)
SELECT aggregate_id, v, n, '2026-01-05 09:00+00', 'Sequent::Core::SnapshotEvent',
	   jsonb_build_object('aggregate_id', aggregate_id, 'sequence_number', n, 'created_at', '2026-01-05T09:00:00.000000Z',
						  'snapshot_version', v, 'data', encode(convert_to('state ' || v || '/' || n, 'UTF8'), 'base64'))
FROM sequent.aggregates, (VALUES (1, 21), (1, 31), (2, 41)) AS s (v, n);

-- ---- Marten 9.29: an inline snapshot of a stream ---------------------------------------------
CREATE SCHEMA marten;
CREATE TABLE marten.mt_doc_invoice (
	id uuid NOT NULL PRIMARY KEY,
	data jsonb NOT NULL,
	mt_last_modified timestamptz DEFAULT transaction_timestamp(),
	mt_dotnet_type varchar,
	mt_version integer NOT NULL DEFAULT 0
);
INSERT INTO marten.mt_doc_invoice VALUES
('2d5b6c0a-0000-4000-8000-000000000001', '{"Id": "2d5b6c0a-0000-4000-8000-000000000001", "Total": 1.50, "Version": 3}',
 '2026-01-05 09:00+00', 'Shop.Invoice', 3),
('2d5b6c0a-0000-4000-8000-000000000002', '{"Id": "2d5b6c0a-0000-4000-8000-000000000002", "Total": 0, "Version": 12}',
 '2026-01-05 09:01+00', 'Shop.Invoice', 12);

-- ---- eventsourcing 9.5.6 (Python): table and rows by the library, without compression or cipher --
CREATE SCHEMA pyeventsourcing;
CREATE TABLE pyeventsourcing.bank_snapshots (
	originator_id uuid NOT NULL,
	originator_version bigint NOT NULL,
	topic text,
	state bytea,
	PRIMARY KEY (originator_id, originator_version)
);
INSERT INTO pyeventsourcing.bank_snapshots
SELECT id::uuid, n, 'eventsourcing.domain:Snapshot',
	   convert_to(format('{"timestamp":{"_type_":"datetime_iso","_data_":"2026-11-26T22:15:31.%s+00:00"},"topic":"%s","state":'
						 '{"_created_on":{"_type_":"datetime_iso","_data_":"2026-11-26T22:15:31.162248+00:00"},%s}}',
						 at, topic, state), 'UTF8')
FROM (VALUES
	('012268dc-dea2-48e8-91f4-adfaf0106af7', 2, '185844', 'bank:Cart', '"items":["x"]'),
	('0ad06485-7c79-4807-a8ef-2ec45a8a2280', 2, '178813', 'bank:Account', '"owner":"Zoë","balance":10,"class_version":2'),
	('0ad06485-7c79-4807-a8ef-2ec45a8a2280', 3, '182835', 'bank:Account', '"owner":"Zoë","balance":15,"class_version":2'),
	('cab291a5-7edf-4040-bd58-118dcf07a0da', 3, '174816', 'bank:Account', '"owner":"Ada","balance":15'))
	AS rows (id, n, at, topic, state);

-- ---- postgres-es 0.5.0 (Rust): table and rows by the library --------------------------------
CREATE SCHEMA postgres_es;
CREATE TABLE postgres_es.snapshots (
	aggregate_type text NOT NULL,
	aggregate_id text NOT NULL,
	last_sequence bigint CHECK (last_sequence >= 0) NOT NULL,
	current_snapshot bigint CHECK (current_snapshot >= 0) NOT NULL,
	payload json NOT NULL,
	PRIMARY KEY (aggregate_type, aggregate_id, last_sequence)
);
INSERT INTO postgres_es.snapshots VALUES
('Customer', 'c-1', 4, 2, '{"name": "Zoë \"Z\" 1.50", "email": "b@b", "customer_id": "", "data_populated": true}'),
('Customer', 'c-2', 3, 1, '{"name": "Zoë \"Z\" 1.50", "email": "a@b", "customer_id": "", "data_populated": true}'),
('Order', 'c-1', 7, 1, '{"lines":[]}');

-- ---- what the examples are checked with --------------------------------------------------------

-- moved: all that the view shows is in the store, under the expected names and "version/sequence number", and
-- to copy it once more changes nothing. Then it keeps the old table, for came_back.
CREATE PROCEDURE public.moved(old regclass, save regproc, old_table regclass, expected text) LANGUAGE plpgsql AS $$
DECLARE
	total bigint;
	stored bigint;
	found text;
	result record;
BEGIN
	SELECT string_agg(format('%s %s/%s', stream_id, state_schema_version, sequence_number), ', ' ORDER BY stream_id)
	INTO found FROM snapshot_store;
	ASSERT found = expected, left(found, 1000);
	CALL move_snapshots(old, save, 1, total, stored);
	SELECT * INTO result FROM compare_snapshots(old);
	ASSERT total > 0 AND stored = 0 AND result = (total, total, 0::bigint, 0::bigint, 0::bigint),
		   format('%s copied, %s stored, %s', total, stored, result);
	EXECUTE format('CREATE TABLE public.as_it_was AS TABLE %s', old_table);
END $$;

-- moved_by_hand: the same for the orders, of which a new application is ahead in the first. The last gets a
-- snapshot of another version, and each version keeps its own; then the first is deleted, and comes again; one is
-- spoiled, and stays so. Batches of another size, and a key that is a number.
CREATE VIEW public.numbers AS
SELECT n AS key, 'number-' || n AS stream_id, n AS sequence_number, 1 AS state_schema_version,
	   '{}'::json AS state, NULL::json AS metadata, NULL::timestamptz AS created_at
FROM generate_series(1, 2000) AS n;

CREATE PROCEDURE public.moved_by_hand(old regclass) LANGUAGE plpgsql AS $$
DECLARE
	total bigint;
	stored bigint;
	result record;
BEGIN
	ASSERT snapshot_save((SELECT max(stream_id) FROM old_orders), 6000, 2, '{}'), 'version 2 is saved';
	CALL move_snapshots(old, 'snapshot_save_many', 1000, total, stored);
	ASSERT (total, stored) = (3000, 0), format('%s copied, %s stored', total, stored);
	ASSERT (SELECT array_agg(n ORDER BY n) FROM (SELECT count(*) FROM snapshot_store GROUP BY state_schema_version) AS c (n))
		   = '{1,3000}', 'each version keeps its own';
	PERFORM snapshot_delete((SELECT min(stream_id) FROM old_orders));
	UPDATE snapshot_store SET state = '{ }'
	WHERE stream_id = (SELECT max(stream_id) FROM old_orders) AND state_schema_version = 1;
	result := compare_snapshots(old);
	ASSERT result = (3000::bigint, 2998::bigint, 0::bigint, 1::bigint, 1::bigint), result;
	CALL move_snapshots(old, 'snapshot_save_many', 7, total, stored);
	ASSERT (total, stored) = (3000, 1), format('%s copied, %s stored', total, stored);
	CALL move_snapshots('numbers', 'snapshot_save_many', 1000, total, stored);
	ASSERT (total, stored) = (2000, 2000), format('%s copied, %s stored', total, stored);

	UPDATE snapshot_store AS s SET state = o.state
	FROM old_orders AS o WHERE s.stream_id = o.stream_id AND s.state::text = '{ }';
	DELETE FROM order_snapshot AS o USING old_orders WHERE order_id = key AND version < sequence_number;
	CREATE TABLE public.as_it_was AS TABLE order_snapshot;
	TRUNCATE order_snapshot;
END $$;

-- came_back: the old table has the rows that it had, to the letter. Then it empties the store.
CREATE PROCEDURE public.came_back(old_table regclass) LANGUAGE plpgsql AS $$
DECLARE
	differences text;
BEGIN
	EXECUTE format(
		'SELECT string_agg(what || row, E''\n'')
		 FROM ((SELECT ''lost '', o::text FROM public.as_it_was AS o EXCEPT ALL SELECT ''lost '', n::text FROM %1$s AS n)
			   UNION ALL
			   (SELECT ''new '', n::text FROM %1$s AS n EXCEPT ALL SELECT ''new '', o::text FROM public.as_it_was AS o))
			  AS d (what, row)', old_table) INTO differences;
	ASSERT differences IS NULL, left(differences, 1000);
	DROP TABLE public.as_it_was;
	DELETE FROM snapshot_store;
END $$;
\set QUIET off
