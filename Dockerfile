# The official image of PostgreSQL with the extension in it, and nothing of what built that:
#
#	docker build -t postgres-snapshot-store .
#
# --build-arg PG_MAJOR=17 takes another version.

ARG PG_MAJOR=18

FROM postgres:$PG_MAJOR-trixie AS build
RUN apt-get update && \
	apt-get install -y --no-install-recommends gcc libc6-dev libzstd-dev make postgresql-server-dev-$PG_MAJOR
COPY Makefile snapshot_store.control snapshot_store--*.sql /build/
COPY src /build/src
RUN make -C /build clean install DESTDIR=/installed

FROM postgres:$PG_MAJOR-trixie
COPY --from=build /installed /
