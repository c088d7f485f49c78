/* The addresses known of one peer: where each came from, when it was found or good, and in which
 * order they are worth a dial. A core: times come in, nothing is looked up here. */
#ifndef PX_NODE_PEER_ADDRS_H
#define PX_NODE_PEER_ADDRS_H

#include "node/peers.h"

/* Entries of one source; further ones replace the oldest of that source. With those of the
 * allowlist they sum up to PX_PEER_ADDRS_MAX. */
#define PX_ADDRS_GIVEN_MAX  8 /* by px_peers_connect and px_peers_dial_guest */
#define PX_ADDRS_FOUND_MAX  4 /* of each way of discovery */
#define PX_ADDRS_BOOK_MAX   6
#define PX_ADDRS_SEEN_MAX   2
#define PX_ADDRS_RECORD_MAX 6
#define PX_ADDRS_RELAYS_MAX 4
/* What discovery or an incoming connection told is believed for so long. */
#define PX_ADDRS_FOUND_AGE (10 * 60 * PX_SEC)

struct px_known_addr {
    struct px_addr addr; /* no address: a host name, see `name` */
    char *name;          /* HOST:PORT or PX_RELAY_ROUTE…, owned; NULL for a numeric address */
    unsigned sources;    /* 1 << enum px_source each */
    bool given;          /* tried first, until the round is over */
    bool was_good;
    int64_t good_at;  /* with was_good: boot clock, negative when before the boot */
    px_nsec found_at; /* with a source that ages */
    int last_err;     /* of the latest dial; 0: none, or good */
};

struct px_peer_addrs {
    struct px_known_addr *all;
    size_t count, cap;
};

/* An all-zero struct px_peer_addrs is empty. */
void px_peer_addrs_deinit(struct px_peer_addrs *a);
/* Replaces those of the allowlist; malformed ones are left out. *ret_changed: not the same as
 * before. PX_ENOMEM: some may be missing. */
PX_MUST_CHECK int px_peer_addrs_set_manual(struct px_peer_addrs *a,
                                           const char (*texts)[PX_AUTH_ADDR_MAX], size_t count,
                                           bool *ret_changed);
/* Replaces the ways through relays: PX_RELAY_ROUTE and the relay's name, at most
 * PX_ADDRS_RELAYS_MAX. No address of any other source reads so. As px_peer_addrs_set_manual. */
#define PX_RELAY_ROUTE "relay/"
PX_MUST_CHECK int px_peer_addrs_set_relays(struct px_peer_addrs *a,
                                           const char (*names)[PX_AUTH_ADDR_MAX], size_t count,
                                           bool *ret_changed);
bool px_peer_addr_is_relay(const char *name);
/* Adds one to be tried first, HOST:PORT or a way through a relay. PX_EADDR (none of both, or
 * nothing one could send to), PX_ELIMIT, PX_ENOMEM. */
PX_MUST_CHECK int px_peer_addrs_give(struct px_peer_addrs *a, const char *text);
/* Takes back what was given, once it was tried or is not wanted any more. */
void px_peer_addrs_take_back(struct px_peer_addrs *a);
/* Found by discovery, or (PX_SOURCE_SEEN) the peer came from there. *ret_new: not known from there
 * before.
 * PX_EADDR when nobody could be there, PX_ENOMEM. */
PX_MUST_CHECK int px_peer_addrs_found(struct px_peer_addrs *a, const struct px_addr *addr,
                                      enum px_source source, px_nsec now, bool *ret_new);
/* A dial of the address was good at that time (boot clock; may be negative). PX_ENOMEM. */
PX_MUST_CHECK int px_peer_addrs_good(struct px_peer_addrs *a, const struct px_addr *addr,
                                     int64_t at);
/* How the latest dial of a known address (or of what a name led to) ended. */
void px_peer_addrs_outcome(struct px_peer_addrs *a, const struct px_addr *addr, const char *name,
                           int err);
/* The network changed: what failed before may work now. */
void px_peer_addrs_forget_failures(struct px_peer_addrs *a);
/* Drops the hints where the peer came from. */
void px_peer_addrs_unsee(struct px_peer_addrs *a);
/* Drops what was found too long ago. */
void px_peer_addrs_expire(struct px_peer_addrs *a, px_nsec now);
/* Sorts them: given ones, found ones, good ones, untried ones, failed ones, relays. Within such a
 * tier by source, then the last good one first; families are not told apart. */
void px_peer_addrs_sort(struct px_peer_addrs *a);
unsigned px_peer_addr_tier(const struct px_known_addr *k);
/* The source shown: the first of enum px_source. */
enum px_source px_peer_addr_source(const struct px_known_addr *k);
const char *px_peer_addr_text(const struct px_known_addr *k, char out[PX_AUTH_ADDR_MAX]);

/* Could a host be there: has a port, is neither unspecified nor multicast nor broadcast? */
bool px_addr_dialable(const struct px_addr *a);

#endif
