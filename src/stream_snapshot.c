/*
 * stream_snapshot.c
 *		What a snapshot may hold, and which of several is the most recent.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "settings.h"
#include "stream_snapshot.h"

/* stream_id: not empty, and short enough for the key. */
void
validate_stream_id(const text *stream_id)
{
	int			length = VARSIZE_ANY_EXHDR(stream_id);

	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("stream_id must not be empty")));
	if (length > STREAM_ID_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("stream_id is too long"),
				 errdetail("It has %d bytes; the limit is %d bytes.",
						   length, STREAM_ID_MAX_BYTES)));
}

/* A state_schema_version is an unsigned 32-bit number. */
void
validate_state_schema_version(const char *parameter, int64 version)
{
	if (version < 0 || version > STATE_SCHEMA_VERSION_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s is out of range", parameter),
				 errdetail("A schema version lies between 0 and %lld; this one is %lld.",
						   (long long) STATE_SCHEMA_VERSION_MAX,
						   (long long) version)));
}

/* Sequence numbers, counts of events and intervals. */
void
validate_not_negative(const char *parameter, int64 value)
{
	if (value < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s must not be negative", parameter),
				 errdetail("It is %lld.", (long long) value)));
}

/* Fetch what is stored out of line; what is compressed stays so. */
void
fetch_external(StreamSnapshot *snapshot)
{
	snapshot->state = PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(snapshot->state)));
	if (snapshot->has_metadata)
		snapshot->metadata = PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(snapshot->metadata)));
}

/* created_at, against the server's clock. */
void
validate_created_at(TimestampTz created_at, TimestampTz now)
{
	if (TIMESTAMP_NOT_FINITE(created_at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("created_at must be finite")));
	if (is_too_far_ahead(created_at, now))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("created_at is more than a day ahead of the server's clock"),
				 errdetail("It is %s; the clock says %s.",
						   pstrdup(timestamptz_to_str(created_at)),
						   pstrdup(timestamptz_to_str(now))),
				 errhint("Check the caller's clock, and the unit in which it passes times.")));
}

/* How many bytes a string takes as JSON; see core's escape_json. */
static Size
json_string_size(const char *string, int length)
{
	Size		size = 2;

	for (int i = 0; i < length; i++)
	{
		unsigned char c = string[i];

		if (c == '"' || c == '\\' || (c >= '\b' && c <= '\r' && c != '\v'))
			size += 2;
		else
			size += c < ' ' ? 6 : 1;
	}
	return size;
}

static Size
json_scalar_size(const JsonbValue *value)
{
	char	   *number;
	Size		size;

	switch (value->type)
	{
		case jbvString:
			return json_string_size(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			number = DatumGetCString(DirectFunctionCall1(numeric_out,
														 NumericGetDatum(value->val.numeric)));
			size = strlen(number);
			pfree(number);
			return size;
		case jbvBool:
			return value->val.boolean ? strlen("true") : strlen("false");
		default:
			return strlen("null");
	}
}

/*
 * How many bytes metadata take as text (see core's JsonbToCString), or more
 * than METADATA_MAX_TEXT_BYTES: then the rest is not looked at.  A number of a
 * few bytes can have 147,000 digits, so the binary size says nothing.
 */
static int64
metadata_text_size(Jsonb *metadata)
{
	JsonbIterator *iterator = JsonbIteratorInit(&metadata->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		first = true;	/* no comma comes before what follows */

	/* A scalar is wrapped in an array, whose brackets are not shown. */
	int64		size = JB_ROOT_IS_SCALAR(metadata) ? -2 : 0;

	while (size <= METADATA_MAX_TEXT_BYTES &&
		   (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		bool		ends = token == WJB_END_ARRAY || token == WJB_END_OBJECT;
		bool		begins = token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT;

		if (!first && !ends)
			size += strlen(", ");
		size += begins || ends ? strlen("{") : json_scalar_size(&value);
		if (token == WJB_KEY)
			size += strlen(": ");
		first = begins || token == WJB_KEY;
	}
	return size;
}

/* State and metadata against what can be dumped, and the setting. */
void
validate_sizes(const StreamSnapshot *snapshot)
{
	Size		size = toast_raw_datum_size(snapshot->state) - VARHDRSZ;

	if (size > STATE_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("state is too large"),
				 errdetail("It has %zu bytes; the limit is %d bytes.",
						   size, STATE_MAX_BYTES)));
	if (snapshot->has_metadata)
	{
		Jsonb	   *metadata = DatumGetJsonbP(snapshot->metadata);

		if (metadata_text_size(metadata) > METADATA_MAX_TEXT_BYTES)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("metadata is too large"),
					 errdetail("As text it has more than %d bytes.",
							   METADATA_MAX_TEXT_BYTES)));
		size += VARSIZE(metadata) - VARHDRSZ;
	}

	/* What was refused may have hidden a limit that nobody knows now. */
	if (snapshot_store_refused_max_state_size != NULL && snapshot_store_enabled)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("this session cannot save, since it was refused a value of snapshot_store.max_state_size"),
				 errdetail("The value \"%s\" was given before the library was loaded, invalid or by one who may not set it. It has replaced the one that holds otherwise.",
						   snapshot_store_refused_max_state_size),
				 errhint("Connect again without it: look at the connection's options, and at ALTER ROLE and ALTER DATABASE.")));
	if (snapshot_store_max_state_size > 0 &&
		size > (Size) snapshot_store_max_state_size)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("state is too large"),
				 snapshot->has_metadata ?
				 errdetail("With its metadata it has %zu bytes; the limit is %d bytes.",
						   size, snapshot_store_max_state_size) :
				 errdetail("It has %zu bytes; the limit is %d bytes.",
						   size, snapshot_store_max_state_size),
				 errhint("A superuser can change the limit, snapshot_store.max_state_size.")));
}

/*
 * Warn of a state that is a JSON string which looks like JSON itself.  A string
 * is a state like any other, but this one is most likely a text of JSON that a
 * driver has encoded once more: nobody would notice before a load gives an
 * application a string.  Once in a session, since it also goes to the server's
 * log.  What comes compressed comes from a table, not from a driver.
 */
void
warn_if_encoded_twice(const StreamSnapshot *snapshot)
{
	struct varlena *state = (struct varlena *) DatumGetPointer(snapshot->state);
	static bool warned = false;
	const char *json;
	int			length;

	if (warned || snapshot->kind != STATE_JSON || VARATT_IS_EXTERNAL(state) ||
		VARATT_IS_COMPRESSED(state))
		return;
	json = VARDATA_ANY(state);
	length = VARSIZE_ANY_EXHDR(state);
	if (length < 4 || json[0] != '"' || json[length - 1] != '"' ||
		!((json[1] == '{' && json[length - 2] == '}') ||
		  (json[1] == '[' && json[length - 2] == ']')))
		return;

	warned = true;
	ereport(WARNING,
			(errmsg("state of stream \"%s\" is a JSON string that looks like JSON encoded twice",
					text_to_cstring(snapshot->stream_id)),
			 errhint("Give a driver that encodes by itself the value, not its JSON text. state #>> '{}' is the text inside of the string.")));
}

text *
copy_stream_id(const text *stream_id)
{
	return (text *) DatumGetPointer(datumCopy(PointerGetDatum(stream_id), false, -1));
}

/* In the order of the key: by bytes. */
int
compare_stream_ids(const text *a, const text *b)
{
	int			a_length = VARSIZE_ANY_EXHDR(a);
	int			b_length = VARSIZE_ANY_EXHDR(b);
	int			result = memcmp(VARDATA_ANY(a), VARDATA_ANY(b),
								Min(a_length, b_length));

	return result != 0 ? result : a_length - b_length;
}

/* Does a stream's name begin with the prefix, to the letter? */
bool
has_prefix(const text *stream_id, const text *prefix)
{
	int			length = VARSIZE_ANY_EXHDR(prefix);

	return VARSIZE_ANY_EXHDR(stream_id) >= length &&
		memcmp(VARDATA_ANY(stream_id), VARDATA_ANY(prefix), length) == 0;
}

bool
is_recognized(const RecognizedVersions *recognized, int64 version)
{
	for (int i = 0; i < recognized->count; i++)
	{
		if (recognized->versions[i] == version)
			return true;
	}
	return false;
}

/* Is it not above what a load may return?  Minima are for deletions, in SQL. */
bool
is_within_bounds(const SnapshotHeader *header, const SnapshotBounds *bounds)
{
	if (bounds->has_max_sequence_number &&
		header->sequence_number > bounds->max_sequence_number)
		return false;
	if (bounds->has_max_created_at &&
		header->created_at > bounds->max_created_at)
		return false;
	return true;
}

/*
 * The order in which a load chooses: the highest sequence number, then the
 * highest schema version.  (Two equal in both can only have been written by
 * hand; then the later save, and the slot, so that the choice is one.)
 */
bool
is_more_recent(const SnapshotHeader *a, const SnapshotHeader *b)
{
	if (a->sequence_number != b->sequence_number)
		return a->sequence_number > b->sequence_number;
	if (a->state_schema_version != b->state_schema_version)
		return a->state_schema_version > b->state_schema_version;
	if (a->created_at != b->created_at)
		return a->created_at > b->created_at;
	return a->slot > b->slot;
}

/*
 * Have at least "interval" events come since the last snapshot?  Never with
 * an interval of 0.  None of the numbers is negative, so nothing overflows.
 */
bool
should_take_snapshot(int64 event_count, int64 last_sequence_number,
					 int64 interval)
{
	return interval > 0 &&
		event_count > last_sequence_number &&
		event_count - last_sequence_number >= interval;
}
