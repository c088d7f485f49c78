/* Whose records a node believes (docs/spec/rotation.md §2, §3): where listed peers said they will
 * move, and which keys they have left behind. Pure: the shell stores what this decides. */
#ifndef PX_AUTH_ROTATION_BOOK_H
#define PX_AUTH_ROTATION_BOOK_H

#include "auth/authorized_keys.h"
#include "auth/rotation.h"

#define PX_ROTATIONS_MAX        256  /* records that wait for their new key */
#define PX_ROTATION_RETIRED_MAX 1024 /* keys left behind; the oldest is forgotten first */

struct px_rotation_move {
    struct px_peer_id old_id, new_id;
    int64_t at; /* wall seconds: when it was done; 0 while it waits */
};

struct px_rotation_book {
    size_t count, retired_count;
    struct px_rotation_move moves[PX_ROTATIONS_MAX];
    struct px_rotation_move retired[PX_ROTATION_RETIRED_MAX]; /* oldest first */
};

/* Under which circumstances a record came. */
struct px_rotation_scene {
    const struct px_peer_id *self, *sender; /* sender: the identity its link has proved */
    const char *network;
    const struct px_authorized_keys *keys;
};

/* May this record, whose signatures stand, be taken? Changes nothing. 0 with what taking it means,
 * or why not: PX_EWRONGPEER, PX_ENETWORK, PX_EUNLISTED, PX_EEXIST (the new key is listed, ours, or
 * another's goal), PX_EREVOKED (a retired key), PX_EBUSY. */
enum px_rotation_news { PX_ROTATION_NEW, PX_ROTATION_KNOWN, PX_ROTATION_REPLACES };
PX_MUST_CHECK int px_rotation_book_judge(const struct px_rotation_book *b,
                                         const struct px_rotation_scene *scene,
                                         const struct px_rotation *r, enum px_rotation_news *ret);
/* Takes a record in, in place of another of its old key. False when there is no room. */
bool px_rotation_book_set(struct px_rotation_book *b, const struct px_peer_id *old_id,
                          const struct px_peer_id *new_id);
/* Forgets it; false when there is none. */
bool px_rotation_book_drop(struct px_rotation_book *b, const struct px_peer_id *old_id);
/* Views live until the next change; NULL when there is none. */
const struct px_rotation_move *px_rotation_book_by_old(const struct px_rotation_book *b,
                                                       const struct px_peer_id *old_id);
const struct px_rotation_move *px_rotation_book_by_new(const struct px_rotation_book *b,
                                                       const struct px_peer_id *new_id);
/* Forgets the record, remembers its old key as retired. */
void px_rotation_book_retire(struct px_rotation_book *b, const struct px_rotation_move *m,
                             int64_t at);
bool px_rotation_book_is_retired(const struct px_rotation_book *b, const struct px_peer_id *id);

/* What the list says of a record by now. */
enum px_rotation_fate {
    PX_ROTATION_WAITS,
    PX_ROTATION_MOVED, /* the entry has the new ID: what is left is to be cleared up */
    PX_ROTATION_VOID,  /* people took the old ID off, or put the new one on */
};
enum px_rotation_fate px_rotation_fate(const struct px_rotation_move *m,
                                       const struct px_authorized_keys *keys);

/* ---- what moving changes in files ---- */

/* The grants an entry keeps under a key that people have not seen: all others wait until they are
 * given again. */
uint32_t px_rotation_grants(uint32_t grants);
/* Appends authorized_keys with the old ID's line made the new ID's: name, addresses, comment and
 * px_rotation_grants stay, and so does every other line. PX_ENOENT when the old one is not there,
 * PX_EEXIST when the new one is; PX_ELIMIT, PX_ENOMEM. On failure out is as long as before. */
PX_MUST_CHECK int px_rotation_move_entry(struct px_slice text, const struct px_rotation_move *m,
                                         struct px_buf *out);
/* Appends a names file with every name of the old ID made one of the new. PX_ENOENT when there is
 * none; as above. */
PX_MUST_CHECK int px_rotation_move_names(struct px_slice text, const struct px_rotation_move *m,
                                         struct px_buf *out);

#endif
