/*
 * dictionary.c
 *		The dictionaries by which states are packed, and which is whose.
 *
 * The tables are read as catalogs are: with the catalog snapshot, by heap and
 * key alone, without privileges, plans or anything else that another could have
 * put there.  So whoever may read a state can read it packed, also while a
 * transaction's changes are decoded for a subscriber.
 *
 * What was learned of the active dictionaries is kept until an invalidation
 * message says that there are others.  It also comes where a transaction or
 * subtransaction that trained is rolled back, or prepared: then the server lets
 * it execute its own messages once more, or else a save could be packed by what
 * nobody will ever have.  A dictionary that is ready for use is kept for as
 * long as others are not used more: a number has one content, so nothing can
 * make it wrong.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "dictionary.h"
#include "packed_state.h"
#include "stream_snapshot.h"

/* The tables' columns. */
#define Anum_number					1
#define Anum_stream_id_prefix		2
#define Anum_state_schema_version	3
#define Anum_level					4
#define Anum_active					5
#define Anum_trained_at				6
#define Anum_samples				7
#define Anum_ratio					8
#define Anum_size					9
#define Natts_dictionary			9

#define Anum_part_number			1
#define Anum_part_part				2
#define Anum_part_content			3
#define Natts_part					3

/* One of the tables, as the script creates it. */
typedef struct DictionaryTable
{
	const char *name;
	int			ncolumns;
	Oid			types[Natts_dictionary];
} DictionaryTable;

static const DictionaryTable dictionaries = {
	DICTIONARY_TABLE_NAME, Natts_dictionary,
	{INT8OID, TEXTOID, INT8OID, INT4OID, BOOLOID, TIMESTAMPTZOID, INT4OID, FLOAT8OID, INT4OID}
};

static const DictionaryTable parts = {
	DICTIONARY_TABLE_NAME "_part", Natts_part, {INT8OID, INT4OID, BYTEAOID}
};

/* As many bytes of a content as fit into a row that stays in its page. */
#define PART_BYTES		(BLCKSZ / 8 * 7)

/* How many dictionaries a session keeps ready for use, and in how many bytes. */
#define MAX_PACKERS			32
#define MAX_PACKERS_BYTES	(16 * 1024 * 1024)

/* The active dictionaries, in the order in which they are chosen. */
static struct
{
	bool		valid;
	bool		changed;		/* since one began to learn them */
	Oid			schema;
	Oid			relation;
	MemoryContext context;
	List	   *dictionaries;
}			active;

static struct
{
	Packer	   *packer;
	uint64		last_use;
}			packers[MAX_PACKERS];

static uint64 uses = 0;

/*
 * Is this our type?  Only a superuser can make another base type of its name;
 * other types are not stored as it is.
 */
bool
is_state_type(Oid type, Oid schema)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Form_pg_type form;
	bool		ours;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_type) GETSTRUCT(tuple);
	ours = form->typtype == TYPTYPE_BASE && form->typlen == -1 &&
		form->typnamespace == schema &&
		strcmp(NameStr(form->typname), STATE_TYPE_NAME) == 0;
	ReleaseSysCache(tuple);
	return ours;
}

/* ---- the tables ---- */

/* A table, or NULL if it is not there, or not as the script creates it. */
static Relation
open_table(const DictionaryTable *table, Oid schema, LOCKMODE lockmode)
{
	Oid			oid = get_relname_relid(table->name, schema);
	Relation	relation = OidIsValid(oid) ? try_table_open(oid, lockmode) : NULL;
	TupleDesc	desc;
	bool		ours;

	if (relation == NULL)
		return NULL;
	desc = RelationGetDescr(relation);
	ours = relation->rd_rel->relkind == RELKIND_RELATION &&
		relation->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT &&
		relation->rd_rel->relam == HEAP_TABLE_AM_OID &&
		desc->natts == table->ncolumns;
	for (int i = 0; ours && i < table->ncolumns; i++)
		ours = !TupleDescAttr(desc, i)->attisdropped &&
			TupleDescAttr(desc, i)->atttypid == table->types[i];
	if (ours)
		return relation;
	table_close(relation, lockmode);
	return NULL;
}

static Relation
open_table_to_write(const DictionaryTable *table, Oid schema)
{
	Relation	relation = open_table(table, schema, ShareRowExclusiveLock);

	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is not as the extension created it", table->name)));
	return relation;
}

/*
 * Refuse to put what is taken from states into a table that others may read:
 * the default privileges of whoever installed the extension may have seen to it.
 */
static void
check_not_granted(Relation relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(RelationGetRelid(relation)));
	bool		isnull = true;
	Datum		acl = HeapTupleIsValid(tuple) ?
		SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull) : (Datum) 0;

	if (!isnull)
	{
		const Acl  *granted = DatumGetAclP(acl);

		for (int i = 0; i < ACL_NUM(granted); i++)
		{
			const AclItem *item = &ACL_DAT(granted)[i];

			if (item->ai_grantee != relation->rd_rel->relowner &&
				(ACLITEM_GET_PRIVS(*item) & ACL_SELECT) != 0)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("table \"%s\" is granted to others", RelationGetRelationName(relation)),
						 errdetail("Whoever may read it can read what is taken from states."),
						 errhint("Its owner can REVOKE that; look at \\dp, and at \\ddp for why it is so.")));
		}
	}
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
}

/*
 * Scan for a number.  A decoder of the past does not find an index that was
 * rewritten since.
 */
static SysScanDesc
begin_scan_for(Relation relation, uint64 number)
{
	Oid			key = InvalidOid;
	ScanKeyData scan_key;

	if (!HistoricSnapshotActive())
	{
		list_free(RelationGetIndexList(relation));	/* finds the key */
		key = relation->rd_pkindex;
	}
	ScanKeyInit(&scan_key, Anum_number, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) number));
	return systable_beginscan(relation, key, OidIsValid(key), NULL, 1, &scan_key);
}

/* A row's values, of which only one may be null. */
static void
read_row(const DictionaryTable *table, Relation relation, HeapTuple tuple,
		 Datum *values, bool *isnull)
{
	heap_deform_tuple(tuple, RelationGetDescr(relation), values, isnull);
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (isnull[i] && !(table == &dictionaries && i == Anum_state_schema_version - 1))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a row of table \"%s\" has a null in a column that must not have one",
							table->name)));
	}
}

/* A dictionary, in the current memory context. */
static void
read_dictionary(Relation relation, HeapTuple tuple, Dictionary *dictionary)
{
	Datum		values[Natts_dictionary];
	bool		isnull[Natts_dictionary];

	read_row(&dictionaries, relation, tuple, values, isnull);
	dictionary->number = (uint64) DatumGetInt64(values[Anum_number - 1]);
	dictionary->stream_id_prefix = copy_stream_id(DatumGetTextPP(values[Anum_stream_id_prefix - 1]));
	dictionary->of_one_version = !isnull[Anum_state_schema_version - 1];
	dictionary->state_schema_version = dictionary->of_one_version ?
		DatumGetInt64(values[Anum_state_schema_version - 1]) : 0;
	dictionary->level = DatumGetInt32(values[Anum_level - 1]);
	dictionary->active = DatumGetBool(values[Anum_active - 1]);
	dictionary->trained_at = DatumGetTimestampTz(values[Anum_trained_at - 1]);
	dictionary->samples = DatumGetInt32(values[Anum_samples - 1]);
	dictionary->ratio = DatumGetFloat8(values[Anum_ratio - 1]);
	dictionary->size = DatumGetInt32(values[Anum_size - 1]);
}

/* Put a dictionary's content together; NULL if it is not all there. */
static char *
read_content(Oid schema, const Dictionary *dictionary)
{
	Relation	relation;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *content;
	int			read = 0;

	if (dictionary->size <= 0 || dictionary->size > DICTIONARY_MAX_BYTES)
		return NULL;
	relation = open_table(&parts, schema, AccessShareLock);
	if (relation == NULL)
		return NULL;
	content = palloc(dictionary->size);
	scan = begin_scan_for(relation, dictionary->number);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[Natts_part];
		bool		isnull[Natts_part];
		bytea	   *part;
		int64		offset;

		read_row(&parts, relation, tuple, values, isnull);
		part = DatumGetByteaPP(values[Anum_part_content - 1]);
		offset = (int64) DatumGetInt32(values[Anum_part_part - 1]) * PART_BYTES;
		if (offset < 0 || offset + VARSIZE_ANY_EXHDR(part) > dictionary->size)
			continue;			/* the number will tell */
		memcpy(content + offset, VARDATA_ANY(part), VARSIZE_ANY_EXHDR(part));
		read += VARSIZE_ANY_EXHDR(part);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return read >= dictionary->size ? content : NULL;
}

/* ---- which are active ---- */

static void
relation_changed(Datum arg, Oid relation)
{
	if (relation == InvalidOid || relation == active.relation)
	{
		active.valid = false;
		active.changed = true;
	}
}

/*
 * In the order in which they are chosen: the longest prefix, then that of one
 * version before that of any, then the newest.
 */
static int
compare_active(const ListCell *a, const ListCell *b)
{
	const Dictionary *x = lfirst(a);
	const Dictionary *y = lfirst(b);
	int			longer = VARSIZE_ANY_EXHDR(y->stream_id_prefix) -
		VARSIZE_ANY_EXHDR(x->stream_id_prefix);

	if (longer != 0)
		return longer;
	if (x->of_one_version != y->of_one_version)
		return x->of_one_version ? -1 : 1;
	if (x->trained_at != y->trained_at)
		return x->trained_at > y->trained_at ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

/* Remember a dictionary, if it is active. */
static void
remember_active(const Dictionary *dictionary, void *arg)
{
	MemoryContext caller = MemoryContextSwitchTo(active.context);
	Dictionary *copy;

	if (dictionary->active)
	{
		copy = palloc(sizeof(Dictionary));
		*copy = *dictionary;
		copy->stream_id_prefix = copy_stream_id(dictionary->stream_id_prefix);
		active.dictionaries = lappend(active.dictionaries, copy);
	}
	MemoryContextSwitchTo(caller);
}

/* Learn which dictionaries are active. */
static void
learn_active(Oid schema)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		active.context = AllocSetContextCreate(CacheMemoryContext,
											   "snapshot_store dictionaries",
											   ALLOCSET_SMALL_SIZES);
		registered = true;
	}
	active.valid = false;
	active.changed = false;
	active.dictionaries = NIL;
	MemoryContextReset(active.context);

	active.schema = schema;
	active.relation = get_relname_relid(DICTIONARY_TABLE_NAME, schema);
	dictionary_read(schema, remember_active, NULL);
	list_sort(active.dictionaries, compare_active);

	/* They hold for this call even if a message came in meanwhile. */
	active.valid = OidIsValid(active.relation) && !active.changed;
}

/*
 * dictionary_choose
 *		Which dictionary packs a state of this stream and schema version?  None
 *		does in a table that takes plain states only.
 */
DictionaryChoice
dictionary_choose(const StoreTable *table, const text *stream_id,
				  int64 state_schema_version)
{
	Oid			schema = RelationGetNamespace(table->relation);
	DictionaryChoice choice = {false, 0};
	ListCell   *cell;

	if (!table_packs(table))
		return choice;
	if (!active.valid || active.schema != schema)
		learn_active(schema);
	foreach(cell, active.dictionaries)
	{
		const Dictionary *dictionary = lfirst(cell);

		if (has_prefix(stream_id, dictionary->stream_id_prefix) &&
			(!dictionary->of_one_version ||
			 dictionary->state_schema_version == state_schema_version))
		{
			choice.any = true;
			choice.number = dictionary->number;
			break;
		}
	}
	return choice;
}

/* ---- packing and unpacking ---- */

/* Find a dictionary; false if there is none of that number. */
static bool
find_dictionary(Oid schema, uint64 number, Dictionary *dictionary)
{
	Relation	relation = open_table(&dictionaries, schema, AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	if (relation == NULL)
		return false;
	scan = begin_scan_for(relation, number);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		read_dictionary(relation, tuple, dictionary);
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return found;
}

/* Make a dictionary ready for use; NULL if there is none of that number. */
static Packer *
load_packer(Oid schema, uint64 number)
{
	Dictionary	dictionary;
	char	   *content;
	Packer	   *packer;

	if (!find_dictionary(schema, number, &dictionary))
		return NULL;
	content = read_content(schema, &dictionary);
	if (content == NULL)
		return NULL;
	if (dictionary_number(content, dictionary.size) != number)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("dictionary %lld has another content than when it was trained",
						(long long) number)));
	packer = packer_create(number, content, dictionary.size, dictionary.level);
	pfree(content);
	pfree(dictionary.stream_id_prefix);
	return packer;
}

/* Make room for another one: those go that were not used for the longest time. */
static int
make_room(void)
{
	for (;;)
	{
		int			empty = -1;
		int			oldest = -1;
		Size		bytes = 0;

		for (int i = 0; i < MAX_PACKERS; i++)
		{
			if (packers[i].packer == NULL)
			{
				empty = i;
				continue;
			}
			bytes += packer_bytes(packers[i].packer);
			if (oldest < 0 || packers[i].last_use < packers[oldest].last_use)
				oldest = i;
		}
		if (empty >= 0 && bytes < MAX_PACKERS_BYTES)
			return empty;
		packer_free(packers[oldest].packer);
		packers[oldest].packer = NULL;
	}
}

/* The dictionary of that number, ready for use; NULL if there is none. */
static Packer *
get_packer(Oid schema, uint64 number)
{
	Packer	   *packer;

	for (int i = 0; i < MAX_PACKERS; i++)
	{
		if (packers[i].packer != NULL && packer_number(packers[i].packer) == number)
		{
			packers[i].last_use = ++uses;
			return packers[i].packer;
		}
	}
	packer = load_packer(schema, number);
	if (packer != NULL)
	{
		int			place = make_room();

		packer_keep(packer);
		packers[place].packer = packer;
		packers[place].last_use = ++uses;
	}
	return packer;
}

/*
 * dictionary_pack
 *		The state, packed by the chosen dictionary, if that is worth it, or else
 *		plain.
 */
Datum
dictionary_pack(Oid schema, const DictionaryChoice *choice, Datum state)
{
	Packer	   *packer;
	struct varlena *packed;

	if (!choice->any ||
		toast_raw_datum_size(state) - VARHDRSZ > PACKED_STATE_MAX_BYTES)
		return state;
	packer = get_packer(schema, choice->number);
	if (packer == NULL)
		return state;
	packed = pack_state(packer, PG_DETOAST_DATUM_PACKED(state));
	return packed != NULL ? PointerGetDatum(packed) : state;
}

/*
 * dictionary_unpack
 *		A stored state, plain; it may still be toasted.
 *
 * If its dictionary does not exist, *missing receives its number, and the
 * result is 0.
 */
Datum
dictionary_unpack(Oid schema, Datum state, uint64 *missing)
{
	struct varlena *stored;
	Packer	   *packer;

	if (toast_raw_datum_size(state) - VARHDRSZ > PACKED_STATE_MAX_BYTES)
		return state;
	stored = PG_DETOAST_DATUM_PACKED(state);
	if (!is_packed(stored))
		return PointerGetDatum(stored);
	packer = get_packer(schema, packed_by(stored));
	if (packer == NULL)
	{
		*missing = packed_by(stored);
		return (Datum) 0;
	}
	return PointerGetDatum(unpack_state(packer, stored));
}

/* ---- training and retiring: for callers that may ---- */

/*
 * dictionary_read
 *		Call the receiver with each dictionary.
 */
void
dictionary_read(Oid schema, DictionaryReceiver receive, void *arg)
{
	Relation	relation = open_table(&dictionaries, schema, AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;

	if (relation == NULL)
		return;
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Dictionary	dictionary;

		read_dictionary(relation, tuple, &dictionary);
		receive(&dictionary, arg);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

static void
set_active(Relation relation, HeapTuple tuple, bool is_active)
{
	Datum		value = BoolGetDatum(is_active);
	bool		isnull = false;
	int			column = Anum_active;
	HeapTuple	changed = heap_modify_tuple_by_cols(tuple, RelationGetDescr(relation), 1,
													&column, &value, &isnull);

	CatalogTupleUpdate(relation, &changed->t_self, changed);
}

/* Let all sessions learn anew, this one from its next command on. */
static void
publish(Relation relation)
{
	CacheInvalidateRelcache(relation);
	CommandCounterIncrement();
}

static bool
same_kind(const Dictionary *a, const Dictionary *b)
{
	return compare_stream_ids(a->stream_id_prefix, b->stream_id_prefix) == 0 &&
		a->of_one_version == b->of_one_version &&
		a->state_schema_version == b->state_schema_version;
}

/*
 * Two kinds may come to the same content, which would have one number, and so
 * may one at two levels.  So make it differ where zstd has an identifier that we
 * have no use for: see "Dictionary Format" in its
 * doc/zstd_compression_format.md.
 */
static void
mark_with_kind(const Dictionary *dictionary, char *content)
{
	uint32		hash = hash_bytes((unsigned char *) VARDATA_ANY(dictionary->stream_id_prefix),
								  VARSIZE_ANY_EXHDR(dictionary->stream_id_prefix));

	hash = hash_combine(hash, murmurhash32(dictionary->level));
	if (dictionary->of_one_version)
		hash = hash_combine(hash, hash_bytes((const unsigned char *) &dictionary->state_schema_version,
											 sizeof(int64)));
	memcpy(content + 4, &hash, sizeof(hash));
}

static void
insert_dictionary(Relation relation, const Dictionary *dictionary)
{
	Datum		values[Natts_dictionary];
	bool		isnull[Natts_dictionary] = {false};

	values[Anum_number - 1] = Int64GetDatum((int64) dictionary->number);
	values[Anum_stream_id_prefix - 1] = PointerGetDatum(dictionary->stream_id_prefix);
	values[Anum_state_schema_version - 1] = Int64GetDatum(dictionary->state_schema_version);
	isnull[Anum_state_schema_version - 1] = !dictionary->of_one_version;
	values[Anum_level - 1] = Int32GetDatum(dictionary->level);
	values[Anum_active - 1] = BoolGetDatum(dictionary->active);
	values[Anum_trained_at - 1] = TimestampTzGetDatum(dictionary->trained_at);
	values[Anum_samples - 1] = Int32GetDatum(dictionary->samples);
	values[Anum_ratio - 1] = Float8GetDatum(dictionary->ratio);
	values[Anum_size - 1] = Int32GetDatum(dictionary->size);
	CatalogTupleInsert(relation, heap_form_tuple(RelationGetDescr(relation), values, isnull));
}

static void
insert_content(Relation relation, const Dictionary *dictionary, const char *content)
{
	for (int part = 0; part * PART_BYTES < dictionary->size; part++)
	{
		int			offset = part * PART_BYTES;
		Datum		values[Natts_part];
		bool		isnull[Natts_part] = {false};

		values[Anum_part_number - 1] = Int64GetDatum((int64) dictionary->number);
		values[Anum_part_part - 1] = Int32GetDatum(part);
		values[Anum_part_content - 1] =
			PointerGetDatum(cstring_to_text_with_len(content + offset,
													 Min(PART_BYTES, dictionary->size - offset)));
		CatalogTupleInsert(relation, heap_form_tuple(RelationGetDescr(relation), values, isnull));
	}
}

/* The same number, so the same content, or something is wrong. */
static void
check_same_content(Oid schema, const Dictionary *dictionary, const char *content)
{
	char	   *kept = read_content(schema, dictionary);

	if (kept == NULL || memcmp(kept, content, dictionary->size) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("dictionary %lld exists with another content",
						(long long) dictionary->number)));
}

/*
 * dictionary_add
 *		Add a dictionary, or make the one active again that is the same, and
 *		retire the others of its kind.  Sets its number and time.
 */
void
dictionary_add(Oid schema, Dictionary *dictionary, char *content)
{
	Relation	relation = open_table_to_write(&dictionaries, schema);
	Relation	part_relation = open_table_to_write(&parts, schema);
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		is_there = false;

	check_not_granted(part_relation);
	mark_with_kind(dictionary, content);
	dictionary->number = dictionary_number(content, dictionary->size);
	dictionary->trained_at = GetCurrentTimestamp();
	dictionary->active = true;

	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Dictionary	other;

		read_dictionary(relation, tuple, &other);
		if (other.number == dictionary->number)
		{
			check_same_content(schema, dictionary, content);
			is_there = true;
			if (!other.active)
				set_active(relation, tuple, true);
		}
		else if (other.active && same_kind(&other, dictionary))
			set_active(relation, tuple, false);
	}
	systable_endscan(scan);

	if (!is_there)
	{
		insert_dictionary(relation, dictionary);
		insert_content(part_relation, dictionary, content);
	}
	publish(relation);
	table_close(part_relation, NoLock);
	table_close(relation, NoLock);
}

/*
 * dictionary_retire
 *		Pack nothing by that dictionary any more; returns whether it was active.
 */
bool
dictionary_retire(Oid schema, uint64 number)
{
	Relation	relation = open_table_to_write(&dictionaries, schema);
	SysScanDesc scan = begin_scan_for(relation, number);
	HeapTuple	tuple = systable_getnext(scan);
	Dictionary	dictionary;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("dictionary %lld does not exist", (long long) number)));
	read_dictionary(relation, tuple, &dictionary);
	if (dictionary.active)
		set_active(relation, tuple, false);
	systable_endscan(scan);
	if (dictionary.active)
		publish(relation);
	table_close(relation, NoLock);
	return dictionary.active;
}
