/* What nix may ask of the substituter, as text: the request target, the Range and the Host field.
 * Pure parsers of bytes from a local client (docs/substituter.md). */
#ifndef PX_NODE_NIX_HTTP_PATH_H
#define PX_NODE_NIX_HTTP_PATH_H

#include "proto/path_info.h"

#define PX_HTTP_TARGET_MAX 1024 /* bytes of a request target; longer is nonsense */

enum px_http_kind {
    PX_HTTP_OTHER, /* well-formed, but nothing we have: 404 */
    PX_HTTP_CACHE_INFO,
    PX_HTTP_NARINFO,
    PX_HTTP_NAR,
};

struct px_http_target {
    enum px_http_kind kind;
    uint8_t store_hash[PX_STORE_HASH_LEN]; /* PX_HTTP_NARINFO, PX_HTTP_NAR */
    uint8_t nar_hash[32];                  /* PX_HTTP_NAR */
};

/* Decodes percent escapes, then matches `/nix-cache-info`, `/<hash>.narinfo` and
 * `/nar/<narhash>.nar?hash=<hash>`. PX_EPARSE for what is no origin-form target: no slash in front,
 * a bad escape, a control byte; PX_ELIMIT when too long. */
PX_MUST_CHECK int px_http_target_parse(struct px_slice raw, struct px_http_target *ret);

/* True for 127.0.0.1, localhost and [::1], each with or without a port. Anything else may be a
 * page in a browser whose name was bound to this machine (DNS rebinding). */
bool px_http_host_allowed(struct px_slice host);

enum px_http_range {
    PX_HTTP_RANGE_NONE, /* send the whole: another unit, several ranges, or one that stops early */
    PX_HTTP_RANGE_FROM, /* from *ret_first to the end */
    PX_HTTP_RANGE_BAD,  /* 416 */
};
/* Reads a Range field for a body of `size` bytes. A range that stops before the end is served
 * whole, as RFC 9110 §14.2 allows: what ends early could not be verified before it is sent. */
enum px_http_range px_http_range_parse(struct px_slice text, uint64_t size, uint64_t *ret_first);

#endif
