/* Invites and unfinished joins in the state database (tables pairing_invite and pairing_join of
 * node/state_db.c), so that a restart keeps them. */
#ifndef PX_NODE_PAIRING_STORE_H
#define PX_NODE_PAIRING_STORE_H

#include "auth/pairing_invite.h"
#include "node/relay_list.h"
#include "node/sqlite_db.h"

/* A join that was confirmed, or is about to be: what is needed to finish it. Holds a secret. */
struct px_pairing_join {
    struct px_peer_id inviter;
    uint8_t id[PX_INVITE_ID_LEN];
    struct px_pairing_key pair;
    char name[PX_AUTH_NAME_MAX + 1]; /* "": the inviter's own */
    uint32_t grants;
    bool verify;                 /* asked for by us */
    struct px_pairing_card card; /* of its welcome */
    size_t addr_count;           /* where to dial */
    char addrs[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX];
    int64_t expires; /* wall seconds: given up then */
    /* Not stored: a relay of the invite (no address: none), and what admits us there. When the join
     * is stored the relay is in HOME/relays. */
    struct px_relay_entry relay;
    struct px_pairing_key admission;
};

/* `db` may be NULL everywhere: nothing is kept then. Errors of px_sqlite_…. */
PX_MUST_CHECK int px_pairing_store_invite(struct px_sqlite *db, const struct px_pairing_invite *i);
PX_MUST_CHECK int px_pairing_forget_invite(struct px_sqlite *db,
                                           const uint8_t id[PX_INVITE_ID_LEN]);
PX_MUST_CHECK int px_pairing_store_join(struct px_sqlite *db, const struct px_pairing_join *j);
PX_MUST_CHECK int px_pairing_forget_join(struct px_sqlite *db, const struct px_peer_id *inviter);
/* Rows that make no sense are left out. What `each` returns other than 0 ends it. */
PX_MUST_CHECK int px_pairing_each_invite(struct px_sqlite *db,
                                         int (*each)(void *ctx, const struct px_pairing_invite *i),
                                         void *ctx);
PX_MUST_CHECK int px_pairing_each_join(struct px_sqlite *db,
                                       int (*each)(void *ctx, const struct px_pairing_join *j),
                                       void *ctx);

#endif
