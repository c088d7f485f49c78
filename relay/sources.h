/* Where reservations come from: how many each source (an IPv4 address, an IPv6 /56) and each ASN
 * has, and the table of prefixes and ASNs (docs/spec/relay.md §7). */
#ifndef PX_RELAY_SOURCES_H
#define PX_RELAY_SOURCES_H

#include "proto/addr.h"

/* ---- prefixes and their ASNs ---- */

struct px_asn_table;

#define PX_ASN_PREFIXES_MAX 2000000

struct px_asn_error {
    size_t line;
    const char *message;
};

/* Lines of "PREFIX/LEN ASN" (blanks between, `#` begins a remark, "AS" before the number is
 * allowed). PX_EPARSE with *ret_error, PX_ELIMIT, PX_ENOMEM. */
PX_MUST_CHECK int px_asn_table_parse(struct px_slice text, struct px_asn_table **ret,
                                     struct px_asn_error *ret_error);
void px_asn_table_free(struct px_asn_table *t);
/* The ASN of the longest prefix that holds the address; 0 if none. NULL is an empty table. */
uint32_t px_asn_of(const struct px_asn_table *t, const struct px_addr *a);

/* ---- counting ---- */

struct px_sources;

/* What a counted thing was counted under; kept by whoever counts, to take it back. */
struct px_source {
    uint8_t prefix[9]; /* family, then the address or its first 56 bits */
    uint32_t asn;      /* 0: unknown */
};

PX_MUST_CHECK int px_sources_new(const struct px_rng *rng, struct px_sources **ret);
void px_sources_free(struct px_sources *s);
void px_source_of(const struct px_asn_table *t, const struct px_addr *a, struct px_source *ret);
/* PX_ELIMIT when the source has per_source already, PX_EBUSY when its ASN has per_asn; nothing is
 * counted then. PX_ENOMEM. */
PX_MUST_CHECK int px_sources_add(struct px_sources *s, const struct px_source *source,
                                 size_t per_source, size_t per_asn);
void px_sources_remove(struct px_sources *s, const struct px_source *source);
size_t px_sources_count(const struct px_sources *s); /* sources and ASNs with any */

#endif
