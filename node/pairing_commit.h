/* Writes what a pairing came to (docs/spec/pairing.md §5): first the nix key, which counts for
 * nothing alone, then the entry of authorized_keys by one rename, which makes it all count. */
#ifndef PX_NODE_PAIRING_COMMIT_H
#define PX_NODE_PAIRING_COMMIT_H

#include "auth/nix_key.h"
#include "auth/pairing.h"
#include "node/home.h"

struct px_pairing_commit {
    const struct px_home *home;
    struct px_peer_id peer;
    const char *name;                   /* wanted by our people; "": what the peer calls itself */
    const struct px_pairing_card *card; /* of the peer */
    const char *seen;                   /* HOST:PORT the link goes to; "" if none worth keeping */
    uint32_t grants;                    /* for the peer */
    const struct px_nix_public_key *own_key; /* NULL: none */
};

struct px_pairing_written {
    char name[PX_AUTH_NAME_MAX + 1];
    bool renamed;        /* another peer had the name */
    bool known;          /* it was listed before: what it had stays */
    uint32_t grants;     /* what it has now */
    bool key_name_taken; /* its nix key has the name of ours, or of another paired peer's: nix takes
                            one key of a name */
};

/* The entry: what is listed already keeps name (unless one is wanted), addresses, grants, and gains
 * the new ones. Pure. PX_ELIMIT when no name is free. */
PX_MUST_CHECK int px_pairing_entry(const struct px_authorized_keys *keys,
                                   const struct px_pairing_commit *c, struct px_authorized_key *ret,
                                   struct px_pairing_written *ret_written);
/* Writes both files. PX_EPERM (also when a file is a symbolic link), PX_EIO, PX_EBUSY,
 * PX_ENOMEM. May block while another program edits the files. */
PX_MUST_CHECK int px_pairing_commit(const struct px_pairing_commit *c,
                                    struct px_pairing_written *ret);

#endif
