/* A store in memory behind node/nix/store.h, for tests of the cache service: included by a test,
 * whose px_store_* and px_nar_* symbols then win over the library's. Answers come in
 * fake_store_run, never from inside a call. */
#ifndef PX_TESTS_FAKE_STORE_H
#define PX_TESTS_FAKE_STORE_H

#include "node/nix/store.h"
#include "proto/base/list.h"

/* What px_store_query makes its info from. */
struct fake_path {
    char store_path[256];
    char refs[4][256]; /* base names */
    char sigs[4][256];
    char ca[128];
    uint64_t nar_size;
    bool ultimate;
};

struct px_store {
    struct fake_path *paths;
    size_t path_count;
    struct px_list queries, nars; /* under way */
    size_t queries_asked, queries_canceled, nars_opened;
    int query_err, open_err; /* to be returned */
    int answer_err;          /* to be told to `done` */
    bool nars_pause;         /* every other px_nar_next has nothing */
    uint64_t nar_fails_at;   /* 0: never */
    size_t chunk;
};

void fake_store_init(struct px_store *s, struct fake_path *paths, size_t count);
/* Tells what is due; false when nothing was. */
bool fake_store_run(struct px_store *s);
/* Byte `offset` of any NAR. */
uint8_t fake_nar_byte(uint64_t offset);

#endif
