# With sanitizers, which also tell what has not been freed.
adapter: CFLAGS += -g -fsanitize=address,undefined -fno-sanitize-recover=undefined
adapter: adapter.c snapshot_store.c account.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ adapter.c snapshot_store.c $(LDLIBS) -ljansson
