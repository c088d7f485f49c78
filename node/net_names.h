/* Names of the network, `host.network` (docs/spec/relay.md §8): the signed records relays told,
 * kept so that a name still means its peer while no relay is there. A core; the file is
 * node/net_names_io's, who asks relays is node/relay_names.
 *
 * A record proves that its peer calls itself so; that nobody else does is the relay's word. Nothing
 * here lets anybody in, and local names are looked at first, always. */
#ifndef PX_NODE_NET_NAMES_H
#define PX_NODE_NET_NAMES_H

#include "auth/authorized_keys.h"
#include "relay/relay_msg.h"

struct px_net_names;

#define PX_NET_NAMES_MAX       1024
#define PX_NET_NAMES_PER_RELAY 256               /* so that no relay pushes out another's */
#define PX_NET_NAMES_AGE       (30 * 24 * 3600)  /* seconds: as long as a relay holds a name */
#define PX_NET_NAMES_FILE_MAX  ((size_t)4 << 20) /* bytes of the text */
#define PX_NET_NAME_TEXT_MAX   (PX_AUTH_NAME_MAX + 1 + PX_RELAY_NAMESPACE_MAX + 1)

struct px_net_name {
    char text[PX_NET_NAME_TEXT_MAX]; /* name.network */
    struct px_peer_id peer;
    struct px_peer_id relay; /* that told it last */
    int64_t seen;            /* wall seconds */
    bool gone;               /* the relay said that its record is no longer there */
};

PX_MUST_CHECK int px_net_names_new(struct px_net_names **ret);
void px_net_names_free(struct px_net_names *n);

/* Can this word be a name of a network? It has a name, a dot, and more. */
bool px_net_name_valid(struct px_slice word);
/* A signed record that a relay told. 0 when a name came, changed or (the record has none any more)
 * went; PX_EEXIST when it was only seen again, PX_ENOENT for one without a name of a peer without
 * one, PX_ESTATE for one older than what is known; errors of px_record_verify, PX_ENOMEM. */
PX_MUST_CHECK int px_net_names_take(struct px_net_names *n, const struct px_peer_id *relay,
                                    struct px_slice record, int64_t now);
/* The relay no longer has a record of that peer: the copy stays. */
void px_net_names_gone(struct px_net_names *n, const struct px_peer_id *relay,
                       const struct px_peer_id *peer);
/* What a word means. PX_ENOENT; PX_EEXIST when relays told different peers. The view lives until n
 * changes. */
PX_MUST_CHECK int px_net_names_find(const struct px_net_names *n, struct px_slice word, int64_t now,
                                    const struct px_net_name **ret);
/* Those of at most PX_NET_NAMES_AGE. */
size_t px_net_names_count(const struct px_net_names *n);
const struct px_net_name *px_net_names_at(const struct px_net_names *n, size_t i);

/* As text: a line `SEEN RELAY-ID RECORD` each, the record in base64. Reading checks each signature
 * again and leaves out what does not stand or is too old; *ret_bad counts such lines. PX_ENOMEM. */
PX_MUST_CHECK int px_net_names_write(const struct px_net_names *n, int64_t now, struct px_buf *out);
PX_MUST_CHECK int px_net_names_read(struct px_net_names *n, struct px_slice text, int64_t now,
                                    size_t *ret_bad);

#endif
