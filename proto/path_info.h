/* What is known of one store path, and its text form, the narinfo (Nix binary cache protocol).
 *
 * The same struct serves the local store reader, the peer cache and the substituter. All strings
 * are owned by the object, in one arena. */
#ifndef PX_PROTO_PATH_INFO_H
#define PX_PROTO_PATH_INFO_H

#include "proto/base/buf.h"

#define PX_STORE_HASH_LEN   32 /* characters of a store path's hash part, Nix base32 */
#define PX_STORE_NAME_MAX   211
#define PX_NARINFO_MAX      (1u << 20) /* bytes of text */
#define PX_NARINFO_REFS_MAX 20000
#define PX_NARINFO_SIGS_MAX 64

struct px_path_info {
    struct px_slice store_path; /* full path, e.g. /nix/store/<hash>-<name> */
    uint8_t nar_hash[32];       /* SHA-256 */
    uint64_t nar_size;          /* bytes; never 0 */
    struct px_slice *refs;      /* base names (hash-name), sorted bytewise, no duplicates */
    size_t ref_count;
    struct px_slice deriver; /* base name or empty */
    struct px_slice *sigs;   /* "name:base64" */
    size_t sig_count;
    struct px_slice ca; /* content address or empty */
    bool ultimate;      /* a local store's info: built on this machine, not copied to it */
    /* narinfo only; empty or 0 in a local store's info */
    struct px_slice url, compression;
};

/* An empty heap object, NULL without memory; strings are set by the calls below, which copy. Freed
 * in one go. Views into it stay valid until then. */
struct px_path_info *px_path_info_new(void);
void px_path_info_free(struct px_path_info *p);
/* field is one of p's own; its old value stays in the arena. PX_ELIMIT past PX_NARINFO_MAX. */
PX_MUST_CHECK int px_path_info_set_str(struct px_path_info *p, struct px_slice *field,
                                       struct px_slice value);
/* PX_EPARSE for what is no base name, or no signature by its looks ("name:…", printable, no blank);
 * PX_ELIMIT past PX_NARINFO_*_MAX. */
PX_MUST_CHECK int px_path_info_add_ref(struct px_path_info *p, struct px_slice base_name);
PX_MUST_CHECK int px_path_info_add_sig(struct px_path_info *p, struct px_slice sig);
/* Drops all sigs (they stay in the arena). */
void px_path_info_clear_sigs(struct px_path_info *p);
/* Sorts refs, drops duplicates. Called by the parser; needed after add_ref. */
void px_path_info_sort_refs(struct px_path_info *p);

/* The 32 characters of the hash part; p->store_path is valid by then. */
struct px_slice px_path_info_hash_part(const struct px_path_info *p);
/* The directory of the store path, e.g. /nix/store. */
struct px_slice px_path_info_store_dir(const struct px_path_info *p);

/* True for "<32 nix32 chars>-<1..211 of [0-9a-zA-Z+-._?=]>" whose name is not "." or "..", nor
 * starts with ".-" or "..-" (as newer Nix refuses them). */
bool px_store_base_name_valid(struct px_slice base_name);
/* Splits "<dir>/<base name>"; PX_EPARSE unless dir is absolute, without empty, "." and ".."
 * components, blanks and control bytes, and the base name valid. */
PX_MUST_CHECK int px_store_path_split(struct px_slice path, struct px_slice *ret_dir,
                                      struct px_slice *ret_base_name);

/* Parses "sha256:<nix32>", "sha256:<hex>" (as Nix's database has it) or SRI "sha256-<base64>". */
PX_MUST_CHECK int px_nix_sha256_parse(struct px_slice text, uint8_t ret[32]);

/* Parses narinfo text. Lines without a colon and unknown keys are skipped; CRLF, a last line
 * without LF, a missing StorePath, NarHash or NarSize, any known key but Sig twice, a bad value, or
 * more than the limits are PX_EPARSE / PX_ELIMIT. References are base names of valid paths. CA is
 * one word of unknown worth: see px_path_info_ca_valid. */
PX_MUST_CHECK int px_narinfo_parse(struct px_slice text, struct px_path_info **ret);
/* Appends narinfo text, lines in Nix's order, LF, no empty line. url and compression are written
 * when not empty; no FileHash or FileSize (they say the same as NarHash and NarSize for
 * Compression: none). */
int px_narinfo_format(const struct px_path_info *p, struct px_buf *out);
/* Appends `1;<path>;sha256:<nix32>;<size>;<full refs, comma>`, what a Sig signs. */
int px_path_info_fingerprint(const struct px_path_info *p, struct px_buf *out);

/* Whether the content address agrees with the store path, so that the path needs no signature:
 * "text:sha256:…" and "fixed:[r:]sha256:…" (others: false). For "fixed:r:sha256" the hash must be
 * the NarHash; a path that refers to itself is refused. For the other two nothing here ties NarHash
 * to the content address: only who has the contents can (Nix does on import). `sha256` is injected
 * so that this file stays below the crypto layer. */
bool px_path_info_ca_valid(const struct px_path_info *p,
                           void (*sha256)(struct px_slice in, uint8_t ret[32]));

#endif
