/* HOME/relays: the relays a node uses, in the order of preference, one a line:
 *
 *     peerix-relay://PEER-ID@HOST:PORT[?tcp=PORT] [name=NAME] [tcp=PORT] # comment
 *     PEER-ID addr=HOST:PORT [addr=…] [name=NAME] [tcp=PORT]  # comment
 *
 * A parsed file keeps its good entries even when other lines are bad. Editing works on the text, so
 * comments and bad lines survive. Files are handled by node/relay_list_io. */
#ifndef PX_NODE_RELAY_LIST_H
#define PX_NODE_RELAY_LIST_H

#include "auth/authorized_keys.h"

#define PX_RELAY_LIST_MAX  8 /* entries of a file */
#define PX_RELAY_ADDRS_MAX 4
#define PX_RELAY_URL       "peerix-relay://"
#define PX_RELAY_PORT      12307 /* where none is given */

struct px_relay_entry {
    struct px_peer_id id;
    char name[PX_AUTH_NAME_MAX + 1]; /* "" if none */
    uint16_t tcp;                    /* its port for where UDP does not pass; 0: 443 */
    size_t addr_count;               /* 1 at least */
    char addrs[PX_RELAY_ADDRS_MAX][PX_AUTH_ADDR_MAX]; /* HOST:PORT */
    char comment[PX_AUTH_COMMENT_MAX];
    size_t line; /* 1-based */
};

struct px_relay_list {
    struct px_relay_entry entries[PX_RELAY_LIST_MAX];
    size_t count;
    struct px_auth_error errors[PX_RELAY_LIST_MAX]; /* the first of them */
    size_t error_count;
};

/* Fills ret, also when lines are bad. A second line of the same relay, a second use of a name, and
 * more than PX_RELAY_LIST_MAX entries are bad lines. */
void px_relay_list_parse(struct px_slice text, struct px_relay_list *ret);
/* What people call it: its name, else its first address. */
const char *px_relay_entry_label(const struct px_relay_entry *e);
#define PX_RELAY_URL_TEXT_MAX (sizeof(PX_RELAY_URL) + PX_PEER_ID_TEXT_MAX + PX_AUTH_ADDR_MAX + 12)
/* The URL of a relay, as the relay prints it and `relay add` takes it; tcp 0 stands for 443.
 * Returns out. */
const char *px_relay_url_format(const struct px_peer_id *id, const char *addr, uint16_t tcp,
                                char out[PX_RELAY_URL_TEXT_MAX]);
/* By name, peer ID or address; NULL when there is none. */
const struct px_relay_entry *px_relay_list_find(const struct px_relay_list *l,
                                                struct px_slice word);
/* Parses one line without its newline. An empty or comment line gives PX_ENOENT; a bad one
 * PX_EPARSE with ret_error filled. */
PX_MUST_CHECK int px_relay_entry_parse(struct px_slice line, struct px_relay_entry *ret,
                                       struct px_auth_error *ret_error);
/* Appends the line with its newline; PX_EPARSE if any field could not be read back. */
PX_MUST_CHECK int px_relay_entry_format(const struct px_relay_entry *e, struct px_buf *out);

/* What a person may give to `relay add`: the URL, IP, IP:PORT, [IPv6]:PORT, HOST, HOST:PORT, or a
 * multiaddr (/ip4|ip6|dns|dns4|dns6/…/udp/PORT[/quic-v1][/p2p/ID], or …/tcp/PORT/tls[/p2p/ID] for
 * another TCP port). Fills the one address, the TCP port if the word has one and, when
 * the word tells it (*ret_has_id), the ID. PX_EPARSE. */
PX_MUST_CHECK int px_relay_word_parse(struct px_slice word, struct px_relay_entry *ret,
                                      bool *ret_has_id);

/* Appends the text with the entry added, or in the place of that of the same relay. PX_EPARSE,
 * PX_ELIMIT, PX_EEXIST (another relay has the name). On failure out is as long as before. */
PX_MUST_CHECK int px_relay_text_set(struct px_slice text, const struct px_relay_entry *e,
                                    struct px_buf *out);
/* The same without any line of the relay; PX_ENOENT when there is none. */
PX_MUST_CHECK int px_relay_text_remove(struct px_slice text, const struct px_peer_id *id,
                                       struct px_buf *out);

#endif
