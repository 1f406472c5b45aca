/*
 * packed_state.h
 *		A JSON state, packed by a zstd dictionary of its kind.
 *
 * Nothing here knows where dictionaries come from.
 */
#ifndef SNAPSHOT_STORE_PACKED_STATE_H
#define SNAPSHOT_STORE_PACKED_STATE_H

/*
 * States that are larger than this stay as they are: a dictionary is of no use
 * to them.
 */
#define PACKED_STATE_MAX_BYTES	(256 * 1024)

/* How large a dictionary may be. */
#define DICTIONARY_MAX_BYTES	(128 * 1024)

/* The levels of compression that do for dictionaries. */
#define DICTIONARY_MAX_LEVEL	19

/* A dictionary, made ready for use. */
typedef struct Packer Packer;

extern uint64 dictionary_number(const char *content, size_t size);

extern Packer *packer_create(uint64 number, const char *content,
							 size_t size, int level);
extern void packer_keep(Packer *packer);
extern void packer_free(Packer *packer);
extern uint64 packer_number(const Packer *packer);
extern Size packer_bytes(const Packer *packer);

/* As many bytes of a value tell whether it is packed, and by what. */
#define PACKED_HEAD_BYTES	10

/* Of a value that is neither compressed nor out of line. */
extern bool is_packed(const struct varlena *value);
extern uint64 packed_by(const struct varlena *value);

extern struct varlena *pack_state(Packer *packer, const struct varlena *plain);
extern struct varlena *unpack_state(Packer *packer, const struct varlena *packed);

#endif							/* SNAPSHOT_STORE_PACKED_STATE_H */
