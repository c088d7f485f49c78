/* Names for peers: `NAME PEER-ID # comment`, a name a line, beside those of authorized_keys; and
 * what a word that stands for a peer means.
 *
 * A parsed file keeps its good entries even when other lines are bad; every bad line is reported
 * with its number. Editing works on the text, so comments and bad lines survive. Files are handled
 * by auth/names_io. */
#ifndef PX_AUTH_NAMES_H
#define PX_AUTH_NAMES_H

#include "auth/authorized_keys.h"

#define PX_NAMES_MAX 1024
/* The least of a peer ID that may stand for it: all of ours begin with the same 8 characters. */
#define PX_PEER_PREFIX_MIN 12

struct px_name {
    char name[PX_AUTH_NAME_MAX + 1];
    struct px_peer_id id;
    char comment[PX_AUTH_COMMENT_MAX];
    size_t line; /* 1-based */
};

struct px_names; /* immutable once parsed */

/* Parses a whole file. Returns 0 also when lines are bad; PX_ENOMEM, PX_ELIMIT (more than
 * PX_NAMES_MAX entries). A second use of a name is a bad line, a second name of a peer is not. */
PX_MUST_CHECK int px_names_parse(struct px_slice text, struct px_names **ret);
void px_names_free(struct px_names *n);

size_t px_names_count(const struct px_names *n);
const struct px_name *px_names_at(const struct px_names *n, size_t i);
/* NULL when there is none. Views live as long as n. */
const struct px_name *px_names_find(const struct px_names *n, struct px_slice name);
/* At most PX_AUTH_ERRORS_MAX, in the order of the lines. */
size_t px_names_error_count(const struct px_names *n);
const struct px_auth_error *px_names_error_at(const struct px_names *n, size_t i);

/* Parses one line without its newline. An empty or comment line gives PX_ENOENT; a bad one
 * PX_EPARSE with ret_error filled. */
PX_MUST_CHECK int px_name_parse_line(struct px_slice line, struct px_name *ret,
                                     struct px_auth_error *ret_error);
/* Appends the line with its newline; PX_EPARSE if any field could not be read back. */
PX_MUST_CHECK int px_name_format(const struct px_name *n, struct px_buf *out);

/* Appends to out the text with the name added, or replaced in place. PX_EPARSE as px_name_format,
 * PX_ELIMIT. On failure out is as long as before. */
PX_MUST_CHECK int px_names_text_set(struct px_slice text, const struct px_name *n,
                                    struct px_buf *out);
/* The same without any line of the name; PX_ENOENT when there is none. */
PX_MUST_CHECK int px_names_text_remove(struct px_slice text, struct px_slice name,
                                       struct px_buf *out);

/* What a word stands for, first match first (names of the network, `host.network`, come after all
 * of these and are not looked at here): a peer ID always means that peer, then names of
 * authorized_keys, then names of the names file, then the beginning of a listed or named peer's ID,
 * of at least PX_PEER_PREFIX_MIN characters. */
enum px_resolved {
    PX_RESOLVED_ID,
    PX_RESOLVED_AUTHORIZED,
    PX_RESOLVED_NAME,
    PX_RESOLVED_PREFIX,
    PX_RESOLVED_NETWORK, /* a relay says so now */
    PX_RESOLVED_COPY,    /* a relay said so once */
};
/* "id", "authorized_keys", "names", "prefix", "relay", "copy" */
const char *px_resolved_name(enum px_resolved r);
/* keys and names may be NULL. PX_ENOENT, PX_EEXIST (a beginning that fits several peers). */
PX_MUST_CHECK int px_peer_resolve(const struct px_authorized_keys *keys,
                                  const struct px_names *names, struct px_slice word,
                                  struct px_peer_id *ret, enum px_resolved *ret_by);

#endif
