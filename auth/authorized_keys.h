/* The allowlist: `<peer-id> [name=…] [addr=HOST:PORT]… [grant=a,b] # comment`, a peer a line.
 *
 * A parsed file keeps its good entries even when other lines are bad; every bad line is reported
 * with its number and says what was wrong. Editing works on the text, so comments and bad lines
 * survive. Files are handled by auth/authorized_keys_io. */
#ifndef PX_AUTH_AUTHORIZED_KEYS_H
#define PX_AUTH_AUTHORIZED_KEYS_H

#include "auth/peer_id.h"

/* What a peer may use. Bits of px_authorized_key.grants. Nothing is granted by default in a file;
 * `auth add` writes cache,cache-own unless told otherwise. */
enum px_grant {
    PX_GRANT_CACHE = 1 << 0,     /* paths signed by a key of the share list */
    PX_GRANT_CACHE_OWN = 1 << 1, /* also this machine's own builds */
};

#define PX_AUTH_LINE_MAX    1024
#define PX_AUTH_NAME_MAX    63
#define PX_AUTH_ADDRS_MAX   8
#define PX_AUTH_ENTRIES_MAX 16384
#define PX_AUTH_ADDR_MAX    262 /* host of 253, colon, port, NUL */
#define PX_AUTH_COMMENT_MAX 256
#define PX_AUTH_ERRORS_MAX  100 /* bad lines told apart; the last one stands for all that follow */

struct px_authorized_key {
    struct px_peer_id id;
    char name[PX_AUTH_NAME_MAX + 1]; /* "" if none; [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])? */
    uint32_t grants;                 /* enum px_grant bits */
    size_t addr_count;
    char addrs[PX_AUTH_ADDRS_MAX][PX_AUTH_ADDR_MAX]; /* HOST:PORT */
    char comment[PX_AUTH_COMMENT_MAX];
    size_t line; /* 1-based */
};

struct px_auth_error {
    size_t line;
    char message[160]; /* e.g. "unknown option 'nmae'" */
};

struct px_authorized_keys; /* immutable once parsed */

/* Parses a whole file. Returns 0 also when lines are bad (see px_authorized_keys_errors);
 * PX_ENOMEM, PX_ELIMIT (more than PX_AUTH_ENTRIES_MAX lines that hold an entry). A second line for
 * the same peer, or a second use of a name, is a bad line. */
PX_MUST_CHECK int px_authorized_keys_parse(struct px_slice text, struct px_authorized_keys **ret);
void px_authorized_keys_free(struct px_authorized_keys *k);

size_t px_authorized_keys_count(const struct px_authorized_keys *k);
const struct px_authorized_key *px_authorized_keys_at(const struct px_authorized_keys *k, size_t i);
/* NULL when not listed. Views live as long as k. */
const struct px_authorized_key *px_authorized_keys_find(const struct px_authorized_keys *k,
                                                        const struct px_peer_id *id);
const struct px_authorized_key *px_authorized_keys_by_name(const struct px_authorized_keys *k,
                                                           struct px_slice name);
/* At most PX_AUTH_ERRORS_MAX, in the order of the lines. */
size_t px_authorized_keys_error_count(const struct px_authorized_keys *k);
const struct px_auth_error *px_authorized_keys_error_at(const struct px_authorized_keys *k,
                                                        size_t i);

/* Parses one line without its newline. An empty or comment line gives PX_ENOENT; a bad one
 * PX_EPARSE with ret_error filled. */
PX_MUST_CHECK int px_authorized_key_parse_line(struct px_slice line, struct px_authorized_key *ret,
                                               struct px_auth_error *ret_error);
/* Appends the line with its newline; PX_EPARSE if any field could not be read back (newline
 * injection and the like). */
PX_MUST_CHECK int px_authorized_key_format(const struct px_authorized_key *k, struct px_buf *out);

/* Appends to out the text with the entry added, or replaced in place when the peer is listed (any
 * further line of that peer is dropped). PX_EPARSE as px_authorized_key_format, PX_EEXIST when
 * another peer has the name, PX_ELIMIT. On failure out is as long as before. */
PX_MUST_CHECK int px_authorized_keys_text_set(struct px_slice text,
                                              const struct px_authorized_key *k,
                                              struct px_buf *out);
/* The same without any line of the peer; PX_ENOENT when it is not listed. */
PX_MUST_CHECK int px_authorized_keys_text_remove(struct px_slice text, const struct px_peer_id *id,
                                                 struct px_buf *out);

/* True for [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?, the pattern of all names of ours. */
bool px_name_valid(struct px_slice name);

/* "cache,cache-own" to bits; PX_EPARSE on an unknown, empty or repeated word. */
PX_MUST_CHECK int px_grants_parse(struct px_slice text, uint32_t *ret);
/* Appends the words of the bits, none for 0. PX_EINVAL for a bit without a word. */
int px_grants_format(uint32_t grants, struct px_buf *out);

#endif
