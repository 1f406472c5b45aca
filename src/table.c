/*
 * table.c
 *		Rows of the table, as both ways to it see them.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/toast_internals.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "table.h"

/* A snapshot as the values of a row. */
void
table_form_row(const StreamSnapshot *snapshot, Datum *values, bool *isnull)
{
	const SnapshotHeader *header = &snapshot->header;
	Datum		state = snapshot->packed != (Datum) 0 ? snapshot->packed : snapshot->state;
	bool		is_bytea = snapshot->kind == STATE_BYTEA;

	memset(isnull, false, Natts_snapshot_store * sizeof(bool));
	values[Anum_stream_id - 1] = PointerGetDatum(snapshot->stream_id);
	values[Anum_slot - 1] = Int16GetDatum(header->slot);
	values[Anum_state_schema_version - 1] = Int64GetDatum(header->state_schema_version);
	values[Anum_sequence_number - 1] = Int64GetDatum(header->sequence_number);
	values[Anum_created_at - 1] = TimestampTzGetDatum(header->created_at);
	values[Anum_state - 1] = is_bytea ? (Datum) 0 : state;
	isnull[Anum_state - 1] = is_bytea;
	values[Anum_state_bytea - 1] = is_bytea ? state : (Datum) 0;
	isnull[Anum_state_bytea - 1] = !is_bytea;
	values[Anum_metadata - 1] = snapshot->metadata;
	isnull[Anum_metadata - 1] = !snapshot->has_metadata;
}

void
table_refuse_null(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("a snapshot in table \"%s\" has a null in a column that must not have one",
					TABLE_NAME),
			 errhint("Delete the row, or complete it.")));
}

/*
 * The first values of a row as a header, but for the stream, which is known.
 * They are checked like arguments: the owner can drop our constraints, or put
 * something else in the table's place.
 */
void
table_read_header(const Datum *values, const bool *isnull, SnapshotHeader *header)
{
	if (isnull[Anum_slot - 1] || isnull[Anum_state_schema_version - 1] ||
		isnull[Anum_sequence_number - 1] || isnull[Anum_created_at - 1])
		table_refuse_null();
	header->slot = DatumGetInt16(values[Anum_slot - 1]);
	header->state_schema_version = DatumGetInt64(values[Anum_state_schema_version - 1]);
	header->sequence_number = DatumGetInt64(values[Anum_sequence_number - 1]);
	header->created_at = DatumGetTimestampTz(values[Anum_created_at - 1]);
	if (header->slot < 0 || header->sequence_number < 0 ||
		header->state_schema_version < 0 ||
		header->state_schema_version > STATE_SCHEMA_VERSION_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a snapshot in table \"%s\" has a number out of range", TABLE_NAME),
				 errdetail("It has slot %d, state_schema_version %lld and sequence_number %lld.",
						   header->slot, (long long) header->state_schema_version,
						   (long long) header->sequence_number),
				 errhint("Delete the row, or correct it.")));
}

/* The values of a whole row as a snapshot. */
void
table_read_row(const Datum *values, const bool *isnull, StreamSnapshot *snapshot)
{
	table_read_header(values, isnull, &snapshot->header);
	if (!isnull[Anum_state - 1])
	{
		snapshot->kind = STATE_JSON;
		snapshot->state = values[Anum_state - 1];
	}
	else if (!isnull[Anum_state_bytea - 1])
	{
		snapshot->kind = STATE_BYTEA;
		snapshot->state = values[Anum_state_bytea - 1];
	}
	else
		snapshot->kind = STATE_MISSING;
	snapshot->has_metadata = !isnull[Anum_metadata - 1];
	snapshot->metadata = values[Anum_metadata - 1];
}

/*
 * Compress a state that the server would compress with the default
 * toast_tuple_target.  A higher one keeps larger states in line, but also
 * keeps those below it from being compressed.
 */
Datum
table_compress_state(Relation relation, AttrNumber column, Datum state)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), column - 1);
	struct varlena *value = (struct varlena *) DatumGetPointer(state);
	Datum		compressed;

	if (VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value) ||
		VARSIZE_ANY(value) <= TOAST_TUPLE_TARGET ||
		VARSIZE_ANY(value) > RelationGetToastTupleTarget(relation, TOAST_TUPLE_TARGET) ||
		attribute->attstorage != TYPSTORAGE_EXTENDED)
		return state;
	compressed = toast_compress_datum(state, attribute->attcompression);
	return DatumGetPointer(compressed) != NULL ? compressed : state;
}
