/* Addresses peers were reached at, kept in the state database: the node finds its peers again after
 * a restart, even before anything announces them. All of it may be lost without harm.
 *
 * Bounded: PX_ADDRS_BOOK_MAX addresses a peer, none older than PX_BOOK_AGE_MAX, and only peers that
 * are listed. A write that fails (disk full, no permission) is logged once and the node goes on. */
#ifndef PX_NODE_ADDRESS_BOOK_H
#define PX_NODE_ADDRESS_BOOK_H

#include "auth/peer_id.h"
#include "node/sqlite_db.h"
#include "proto/addr.h"
#include "proto/base/log.h"

#define PX_BOOK_AGE_MAX ((uint64_t)90 * 24 * 3600) /* seconds */

struct px_address_book;

/* Wall-clock time comes in, in seconds since 1970, so that ages survive a restart; it is used for
 * ages alone. */
PX_MUST_CHECK int px_address_book_new(struct px_sqlite *db, const struct px_log *log,
                                      struct px_address_book **ret);
/* The database is the caller's to close, afterwards. */
void px_address_book_free(struct px_address_book *b);
/* Calls `each` for every address that is good enough, with the seconds since it was good. What
 * `each` does not keep (false) is deleted, and so is what cannot be read. PX_EPROTO and other
 * errors of the database. */
PX_MUST_CHECK int px_address_book_load(struct px_address_book *b, uint64_t wall_now,
                                       bool (*each)(void *ctx, const struct px_peer_id *id,
                                                    const struct px_addr *addr, uint64_t ago),
                                       void *ctx);
void px_address_book_good(struct px_address_book *b, const struct px_peer_id *id,
                          const struct px_addr *addr, uint64_t wall_now);
void px_address_book_forget(struct px_address_book *b, const struct px_peer_id *id);

#endif
