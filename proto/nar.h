/* The NAR format's framing (nix-archive-1): strings, padding and tokens. Sans-IO: walking the file
 * system is node/nix/nar_source_io. */
#ifndef PX_PROTO_NAR_H
#define PX_PROTO_NAR_H

#include "proto/base/buf.h"

/* As newer Nix refuses. */
#define PX_NAR_DEPTH_MAX  64
#define PX_NAR_NAME_MAX   255
#define PX_NAR_TARGET_MAX 4095

/* Appends a string: u64 little-endian length, bytes, zero padding to 8. */
int px_nar_put_str(struct px_buf *out, struct px_slice s);

/* Tokens of one node, in the order they occur. The caller walks. A target too long is PX_ELIMIT, a
 * name that is not valid PX_EINVAL; the buffer is then as it was and not marked failed. */
int px_nar_put_magic(struct px_buf *out);
/* The contents follow the head, padding and ")" are the tail. */
int px_nar_put_regular_head(struct px_buf *out, bool executable, uint64_t size);
int px_nar_put_regular_tail(struct px_buf *out, uint64_t size);
int px_nar_put_symlink(struct px_buf *out, struct px_slice target);
int px_nar_put_directory_head(struct px_buf *out);
int px_nar_put_entry_head(struct px_buf *out, struct px_slice name); /* node follows */
int px_nar_put_entry_tail(struct px_buf *out);
int px_nar_put_directory_tail(struct px_buf *out);
/* False for empty, ".", "..", a slash or NUL inside, or too long. */
bool px_nar_name_valid(struct px_slice name);

#endif
