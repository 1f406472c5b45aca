/*
 * training.h
 *		A dictionary for states of one kind, from samples of them.
 */
#ifndef SNAPSHOT_STORE_TRAINING_H
#define SNAPSHOT_STORE_TRAINING_H

typedef struct TrainingOptions
{
	int			max_size;		/* bytes, 1 kB to DICTIONARY_MAX_BYTES */
	int			level;			/* 1 to DICTIONARY_MAX_LEVEL */
	int			min_samples;	/* what fewer samples share is masked */
} TrainingOptions;

typedef struct TrainedDictionary
{
	char	   *content;		/* NULL: nothing better than plain came out */
	int			size;
	int			tested;			/* how many samples were held out */
	int64		plain_bytes;	/* of these, before */
	int64		packed_bytes;	/* of these, stored with it */
} TrainedDictionary;

extern bool is_held_out(int i);
extern void train_dictionary(struct varlena *const *samples, int count,
							 const TrainingOptions *options,
							 TrainedDictionary *result);

#endif							/* SNAPSHOT_STORE_TRAINING_H */
