# make, make install, make installcheck: as for every PGXS extension.
# make help lists the rest. PG_CONFIG=/path/to/pg_config chooses the server.

EXTENSION  = snapshot_store
MODULE_big = snapshot_store
OBJS       = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA       = $(wildcard $(EXTENSION)--*.sql)
PGFILEDESC = "snapshot_store - snapshots of event-sourced streams"

# Only what SQL calls leaves the library (from 16 on this is the default).
PG_CFLAGS  = -fvisibility=hidden

# Dictionaries of states are libzstd's. pkg-config knows it where it is in no usual place.
PG_CPPFLAGS := $(shell pkg-config --cflags libzstd 2>/dev/null)
SHLIB_LINK  := $(shell pkg-config --libs libzstd 2>/dev/null || echo -lzstd)

# Each file stands alone: it leaves nothing behind that the next would trip over.
REGRESS        = $(patsubst sql/%.sql,%,$(wildcard sql/*.sql))
ISOLATION      = $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec))
ISOLATION_OPTS = --inputdir=test --load-extension=$(EXTENSION)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

# The client's packages bring PGXS, and only the server's development files the headers.
ifneq ($(and $(wildcard $(PGXS)),$(wildcard $(shell $(PG_CONFIG) --includedir-server)/postgres.h)),)
# A server with a JIT has clang compile extensions for that, too. They work without.
CLANG := $(shell sed -n 's/^CLANG *= *//p' $(dir $(PGXS))../Makefile.global)
ifeq ($(shell command -v $(firstword $(CLANG) none) 2>/dev/null),)
override with_llvm = no
endif
include $(PGXS)
# A session may begin at any moment: a new library takes the old one's place whole, by its name.
INSTALL_SHLIB := sh -c "$(INSTALL_SHLIB) \"\$$0\" \"\$$1.new\" && mv -f \"\$$1.new\" \"\$$1\""

# What is built already can be installed, tested and removed without libzstd's headers.
ifneq ($(shell $(CC) $(CFLAGS) $(CPPFLAGS) -E -x c -include zstd.h -include zdict.h /dev/null 2>&1 >/dev/null | \
	grep -E 'z(std|dict)\.h'),)
.NOTPARALLEL:
$(OBJS): %.o: %.c
	@echo "$@: libzstd's development files are missing ($(CC) finds no zstd.h or zdict.h)." >&2
	@echo "On Debian and Ubuntu: apt-get install libzstd-dev" >&2
	@exit 1
endif
else
# Nothing can be built yet, but demo, test and help work: the first two install what they need.
.PHONY: all install uninstall installcheck clean
all install uninstall installcheck clean:
	@echo "$@: the server's development files are missing ($(PG_CONFIG) finds no PGXS or postgres.h)." >&2
	@echo "On Debian and Ubuntu: apt-get install postgresql-server-dev-all" >&2
	@exit 1
endif

# PostgreSQL may be configured without dependency tracking, so every object
# (and its bitcode) is made anew when any header changes.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h)

.PHONY: demo test torture torture-long torture-sanitizers torture-valgrind coverage machines test-matrix \
	test-clients test-citus test-mako packages mistakes bench format lint dist help

demo test:
	@scripts/$@

# All that takes longer than scripts/test: the long forms, and the servers watched.
torture: torture-long torture-sanitizers torture-valgrind

torture-long:
	scripts/test --long torture

torture-sanitizers:
	scripts/test --long --under sanitizers torture hostile_input hostile_owner
	scripts/test --under sanitizers

torture-valgrind:
	scripts/test --under valgrind

coverage:
	@scripts/test --under coverage

machines:
	@scripts/test --machines

test-matrix:
	@scripts/test --matrix

test-clients:
	@scripts/test --clients

packages:
	@scripts/test --packages

test-citus:
	@scripts/test --citus

test-mako:
	@test/mako

mistakes:
	@test/mistakes

bench:
	@scripts/bench --report doc $(BENCH)

format lint:
	@scripts/lint $@

# The archive for PGXN, of what is committed.
RELEASE = $(EXTENSION)-$(shell sed -nE 's/^   "version": "(.*)",$$/\1/p' META.json)
dist:
	git archive --prefix=$(RELEASE)/ --output=$(RELEASE).zip HEAD

help:
	@echo "make               build the extension"
	@echo "make install       install it into the server that $(PG_CONFIG) belongs to"
	@echo "make installcheck  test the installed extension on a running server"
	@echo "make demo          show it at work on a throw-away server (scripts/demo)"
	@echo "make test          build it and run every test on a throw-away server (scripts/test)"
	@echo "make torture       the long forms: crashes, crowds, hostile input; then the tests under"
	@echo "                   sanitizers and valgrind; -j2 takes two at a time"
	@echo "make coverage      run every test and tell which lines and branches of src/ ran"
	@echo "make machines      run the README's commands on fresh machines, as root: bare, in use, ..."
	@echo "make test-matrix   run every test on PostgreSQL 15 to 19, on servers with assertions, and the"
	@echo "                   build with every compiler, in fresh installations, as root"
	@echo "make test-clients  run the programs in examples/, in every language that is there, on a throw-away"
	@echo "                   server and through PgBouncer"
	@echo "make test-citus    test what is installed on a running cluster of Citus, if there is one"
	@echo "make packages      build what is released, and install it on fresh machines, as root"
	@echo "make test-mako     test examples/rust-mako, mako-engine's SnapshotStore, where cargo is"
	@echo "make mistakes      plant mistakes in a copy of src/ and tell which tests notice"
	@echo "make bench         measure it beside what users write by hand, into doc/benchmarks.md; with"
	@echo "                   BENCH='--short' or BENCH='--states DIR' (scripts/bench --help says more)"
	@echo "make lint          check the sources: layout, cppcheck, shellcheck, META.json"
	@echo "make format        lay out the C sources with pgindent"
	@echo "make dist          make the archive for PGXN, of what is committed"
	@echo "make clean         remove what make built"
