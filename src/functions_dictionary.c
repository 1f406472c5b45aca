/*
 * functions_dictionary.c
 *		The SQL-callable functions for dictionaries: all for the table's owner.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/toast_compression.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "citus.h"
#include "dictionary.h"
#include "durability.h"
#include "packed_state.h"
#include "relation.h"
#include "repack.h"
#include "samples.h"
#include "stream_walk.h"
#include "training.h"

SQL_FUNCTION(snapshot_dictionary_estimate);
SQL_FUNCTION(snapshot_dictionary_train);
SQL_FUNCTION(snapshot_dictionary_retire);
SQL_FUNCTION(snapshot_dictionaries);
SQL_FUNCTION(snapshot_dictionary_guard);
SQL_FUNCTION(snapshot_repack);

/* How many times smaller a dictionary must make states to be kept. */
#define RATIO_WORTH_KEEPING		1.2

/* On fewer samples than this nothing can be trained or tested. */
#define FEWEST_SAMPLES			20

#define MIN_DICTIONARY_BYTES	1024
#define MAX_SAMPLES				100000

#define NUM_ESTIMATE_COLUMNS	8
#define NUM_DICTIONARY_COLUMNS	9

/* A dictionary that was trained, and what it does. */
typedef struct Training
{
	Dictionary	dictionary;
	char	   *content;
	int64		snapshots;
	int64		state_size;		/* means of the states that it was tested on */
	int64		stored_size;
	int64		packed_size;
} Training;

static void
require_owner(FunctionCallInfo fcinfo)
{
	if (!owns_store_table(fcinfo->flinfo->fn_oid))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, TABLE_NAME);
}

/* Open the table for its owner. */
static void
open_as_owner(FunctionCallInfo fcinfo, AclMode privileges, StoreTable *table)
{
	require_owner(fcinfo);
	store_table_open(fcinfo->flinfo->fn_oid, privileges, table);
}

/* Train by the arguments, which are the same for estimate and train. */
static void
train(FunctionCallInfo fcinfo, const StoreTable *table, Training *training)
{
	Dictionary *dictionary = &training->dictionary;
	TrainingOptions options;
	TrainedDictionary trained;
	Samples		samples;
	int			max_samples;
	int			needed;
	int64		stored_bytes = 0;

	dictionary->stream_id_prefix = get_stream_id_prefix(fcinfo, 0);
	dictionary->of_one_version = !PG_ARGISNULL(1);
	dictionary->state_schema_version = dictionary->of_one_version ? PG_GETARG_INT64(1) : 0;
	validate_state_schema_version("state_schema_version", dictionary->state_schema_version);
	max_samples = get_number(fcinfo, 2, "max_samples", 1, MAX_SAMPLES);
	options.max_size = get_number(fcinfo, 3, "max_size", MIN_DICTIONARY_BYTES, DICTIONARY_MAX_BYTES);
	options.level = get_number(fcinfo, 4, "level", 1, DICTIONARY_MAX_LEVEL);
	options.min_samples = get_number(fcinfo, 5, "min_samples", 1, MAX_SAMPLES);

	collect_samples(table, dictionary->stream_id_prefix, dictionary->of_one_version,
					dictionary->state_schema_version, max_samples, &samples);
	needed = Max(FEWEST_SAMPLES, 2 * options.min_samples);
	if (samples.count < needed)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("too few streams to train a dictionary on"),
				 errdetail("With a JSON state of up to %d bytes there are %d; with these arguments it takes %d.",
						   PACKED_STATE_MAX_BYTES, samples.count, needed)));
	train_dictionary(samples.states, samples.count, &options, &trained);
	for (int i = 0; i < samples.count; i++)
	{
		if (is_held_out(i))
			stored_bytes += samples.stored_sizes[i];
	}

	dictionary->level = options.level;
	dictionary->samples = samples.count;
	dictionary->size = trained.size;
	dictionary->ratio = trained.content == NULL ? 0 :
		(double) stored_bytes / trained.packed_bytes;
	training->content = trained.content;
	training->snapshots = samples.snapshots;
	training->state_size = trained.plain_bytes / trained.tested;
	training->stored_size = stored_bytes / trained.tested;
	training->packed_size = trained.content == NULL ? 0 :
		trained.packed_bytes / trained.tested;
}

/* The columns of snapshot_dictionary_estimate. */
static void
form_estimate(const Training *training, Datum *values, bool *isnull)
{
	bool		any = training->content != NULL;

	values[0] = Int64GetDatum(training->snapshots);
	values[1] = Int32GetDatum(training->dictionary.samples);
	values[2] = Int64GetDatum(training->state_size);
	values[3] = Int64GetDatum(training->stored_size);
	values[4] = Int64GetDatum(training->packed_size);
	isnull[4] = !any;
	values[5] = Float8GetDatum(training->dictionary.ratio);
	isnull[5] = !any;
	values[6] = Int64GetDatum(training->snapshots *
							  (training->stored_size - training->packed_size));
	isnull[6] = !any;
	values[7] = Int32GetDatum(training->dictionary.size);
	isnull[7] = !any;
}

static Datum
return_row(FunctionCallInfo fcinfo, Datum *values, bool *isnull)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "an estimate must be a row");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull));
}

/*
 * snapshot_dictionary_estimate(stream_id_prefix text,
 *								state_schema_version bigint DEFAULT NULL,
 *								max_samples integer DEFAULT 1000,
 *								max_size integer DEFAULT 65536,
 *								level integer DEFAULT 3,
 *								min_samples integer DEFAULT 10)
 * RETURNS (snapshots bigint, samples integer, state_size bigint,
 *			stored_size bigint, packed_size bigint, ratio double precision,
 *			savings bigint, dictionary_size integer)
 *
 * What a dictionary for the states of streams with that prefix, and of one
 * schema version unless it is NULL, would save.  It is trained on some of up to
 * max_samples states and tested on the others: sizes are means of these,
 * in bytes, plain, as the server stores them without a dictionary, and packed.
 * The last four are NULL if no dictionary makes anything smaller.
 *
 * Errors: 22004 for a NULL but in the second, 22003 for a schema version out of
 * range, 22023 for other numbers, 42501 for who does not own the table, 55000
 * for less than 20 streams or twice min_samples, or for a table whose streams
 * are not in the order of their bytes.
 */
Datum
snapshot_dictionary_estimate(PG_FUNCTION_ARGS)
{
	StoreTable	table;
	Training	training;
	Datum		values[NUM_ESTIMATE_COLUMNS];
	bool		isnull[NUM_ESTIMATE_COLUMNS] = {false};

	open_as_owner(fcinfo, LOAD_PRIVILEGES, &table);
	train(fcinfo, &table, &training);
	store_table_close(&table);
	form_estimate(&training, values, isnull);
	return return_row(fcinfo, values, isnull);
}

/* Refuse to train for a table that could not make use of it. */
static void
require_state_type(const StoreTable *table)
{
	char	   *schema;
	AttrNumber	column;
	bool		is_lz4;

	if (table_packs(table))
		return;
	if (runs_citus())
		citus_refuse_dictionaries();

	/* With its type, a column loses its method of compression. */
	column = get_attnum(RelationGetRelid(table->relation), "state");
	is_lz4 = column != InvalidAttrNumber &&
		TupleDescAttr(RelationGetDescr(table->relation), column - 1)->attcompression == TOAST_LZ4_COMPRESSION;
	schema = get_namespace_name(RelationGetNamespace(table->relation));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"state\" of table \"%s\" cannot hold packed states", TABLE_NAME),
			 errhint("ALTER TABLE %s ALTER state TYPE %s%s makes it able to.",
					 quote_qualified_identifier(schema, TABLE_NAME),
					 quote_qualified_identifier(schema, STATE_TYPE_NAME),
					 is_lz4 ? ", ALTER state SET COMPRESSION lz4" : "")));
}

/*
 * snapshot_dictionary_train(as snapshot_dictionary_estimate)
 * RETURNS (number bigint, and the columns of snapshot_dictionary_estimate)
 *
 * Trains a dictionary, keeps it if it makes states at least 1.2 times smaller
 * than the server does, and retires the one before it of the same prefix and
 * version.  Saves are packed by it, those of others once the transaction has
 * committed; what is stored already, by snapshot_repack.  The number is NULL if
 * it was not kept.
 *
 * Errors: those of snapshot_dictionary_estimate, 25006 in a read-only
 * transaction, 55000 if the column "state" is not of type snapshot_state or the
 * tables of dictionaries are granted to others, 0A000 on a server that runs
 * Citus.
 */
Datum
snapshot_dictionary_train(PG_FUNCTION_ARGS)
{
	StoreTable	table;
	Training	training = {0};
	Datum		values[1 + NUM_ESTIMATE_COLUMNS];
	bool		isnull[1 + NUM_ESTIMATE_COLUMNS] = {false};
	bool		keep;

	open_as_owner(fcinfo, SAVE_PRIVILEGES, &table);
	require_state_type(&table);
	train(fcinfo, &table, &training);
	keep = training.content != NULL &&
		training.dictionary.ratio >= RATIO_WORTH_KEEPING;
	if (keep)
	{
		dictionary_add(RelationGetNamespace(table.relation), &training.dictionary,
					   training.content);
		ensure_durable_commit();
	}
	else
		ereport(NOTICE,
				(errmsg("the dictionary was not kept: it would not make states %.1f times smaller",
						RATIO_WORTH_KEEPING)));
	store_table_close(&table);
	values[0] = Int64GetDatum((int64) training.dictionary.number);
	isnull[0] = !keep;
	form_estimate(&training, &values[1], &isnull[1]);
	return return_row(fcinfo, values, isnull);
}

/*
 * snapshot_dictionary_retire(number bigint) RETURNS boolean
 *
 * Lets a dictionary pack nothing any more; what it has packed can still be read.
 * Returns whether it was active.
 *
 * Errors: 22004 for a NULL, 42704 if there is no such dictionary, 25006 in a
 * read-only transaction, 42501 for who does not own the table.
 */
Datum
snapshot_dictionary_retire(PG_FUNCTION_ARGS)
{
	StoreTable	table;
	bool		retired;

	refuse_null(fcinfo, 0, "number");
	open_as_owner(fcinfo, SAVE_PRIVILEGES, &table);
	retired = dictionary_retire(RelationGetNamespace(table.relation),
								(uint64) PG_GETARG_INT64(0));
	store_table_close(&table);
	PG_RETURN_BOOL(retired);
}

static void
return_dictionary(const Dictionary *dictionary, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	Datum		values[NUM_DICTIONARY_COLUMNS];
	bool		isnull[NUM_DICTIONARY_COLUMNS] = {false};

	values[0] = Int64GetDatum((int64) dictionary->number);
	values[1] = PointerGetDatum(dictionary->stream_id_prefix);
	values[2] = Int64GetDatum(dictionary->state_schema_version);
	isnull[2] = !dictionary->of_one_version;
	values[3] = Int32GetDatum(dictionary->level);
	values[4] = BoolGetDatum(dictionary->active);
	values[5] = TimestampTzGetDatum(dictionary->trained_at);
	values[6] = Int32GetDatum(dictionary->samples);
	values[7] = Float8GetDatum(dictionary->ratio);
	values[8] = Int32GetDatum(dictionary->size);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
}

/*
 * snapshot_dictionaries()
 * RETURNS SETOF (number bigint, stream_id_prefix text,
 *				  state_schema_version bigint, level integer, active boolean,
 *				  trained_at timestamptz, samples integer,
 *				  ratio double precision, size integer)
 *
 * The dictionaries, but for their content.
 *
 * Errors: 42501 for who does not own the table.
 */
Datum
snapshot_dictionaries(PG_FUNCTION_ARGS)
{
	StoreTable	table;

	open_as_owner(fcinfo, LOAD_PRIVILEGES, &table);
	InitMaterializedSRF(fcinfo, 0);
	dictionary_read(RelationGetNamespace(table.relation), return_dictionary,
					fcinfo->resultinfo);
	store_table_close(&table);
	PG_RETURN_NULL();
}

/*
 * snapshot_dictionary_guard() RETURNS trigger
 *
 * Refuses what is done to the tables of dictionaries by hand, and passes over
 * the rows that logical replication brings.
 */
Datum
snapshot_dictionary_guard(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "snapshot_dictionary_guard() is for triggers");
	if (TRIGGER_FIRED_FOR_ROW(((TriggerData *) fcinfo->context)->tg_event))
		return (Datum) 0;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("dictionaries cannot be changed by hand"),
			 errdetail("What one of them has packed could not be read any more."),
			 errhint("Use snapshot_dictionary_train() and snapshot_dictionary_retire().")));
	return (Datum) 0;
}

/*
 * snapshot_repack(stream_id_prefix text, batch_size integer DEFAULT 100,
 *				   INOUT repacked bigint DEFAULT NULL)
 *
 * A procedure: packs stored states by the dictionaries that are active now, or
 * unpacks those that have none any more, in transactions that each examine
 * batch_size rows.  Returns a row with how many were written anew; notices tell
 * that, too, and the progress every ten seconds.
 *
 * Errors: as snapshot_purge, and 42501 for who does not own the table.
 */
Datum
snapshot_repack(PG_FUNCTION_ARGS)
{
	text	   *prefix = get_stream_id_prefix(fcinfo, 0);
	int			batch_size = get_number(fcinfo, 1, "batch_size", 1, MAX_BATCH_SIZE);
	TupleDesc	result = begin_procedure(fcinfo);
	bool		isnull = false;
	Datum		repacked;

	require_owner(fcinfo);
	repacked = Int64GetDatum(repack_states(fcinfo->flinfo->fn_oid, prefix, batch_size));
	return HeapTupleGetDatum(heap_form_tuple(result, &repacked, &isnull));
}
