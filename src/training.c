/* stand-in */
#include "postgres.h"
#include <zdict.h>
#include "packed_state.h"
#include "training.h"
bool is_held_out(int i) { return i % 2 == 1; }
void
train_dictionary(struct varlena *const *samples, int count,
							 const TrainingOptions *options,
							 TrainedDictionary *result)
{
	size_t total = 0; size_t *sizes = palloc(count * sizeof(size_t)); int n = 0; char *buf; size_t got; Packer *p = NULL;
	memset(result, 0, sizeof(*result));
	for (int i = 0; i < count; i++) total += VARSIZE_ANY_EXHDR(samples[i]);
	buf = palloc(total); total = 0;
	for (int i = 0; i < count; i++) if (!is_held_out(i)) { sizes[n] = VARSIZE_ANY_EXHDR(samples[i]); memcpy(buf + total, VARDATA_ANY(samples[i]), sizes[n]); total += sizes[n]; n++; }
	result->content = palloc(options->max_size);
	got = ZDICT_trainFromBuffer(result->content, options->max_size, buf, sizes, n);
	if (ZDICT_isError(got)) { result->content = NULL; }
	result->size = got;
	if (result->content) p = packer_create(0, result->content, got, options->level);
	for (int i = 0; i < count; i++) if (is_held_out(i)) {
		struct varlena *x = result->content ? pack_state(p, samples[i]) : NULL;
		result->tested++; result->plain_bytes += VARSIZE_ANY_EXHDR(samples[i]);
		result->packed_bytes += VARSIZE_ANY_EXHDR(x ? x : samples[i]);
	}
	if (result->content) packer_free(p);
}
