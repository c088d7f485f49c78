/* Socket addresses as plain values, independent of the system's structs. */
#ifndef PX_PROTO_ADDR_H
#define PX_PROTO_ADDR_H

#include "proto/base/slice.h"

enum px_addr_family {
    PX_ADDR_NONE,
    PX_ADDR_IP4,
    PX_ADDR_IP6,
    PX_ADDR_CIRCUIT, /* no socket address: an open circuit through a relay (docs/spec/paths.md §9),
                        by a number that this process gives once; never parsed, never sent */
    PX_ADDR_PIPE, /* neither: a TLS pipe to or from a relay (docs/spec/relay-tls.md), the same way
                   */
};

/* All-zero is "no address". Always zero it before filling, so that values compare by memcmp. Who
 * fills one from bytes un-maps it: one host has one value, whichever way it is spelt. */
struct px_addr {
    uint8_t ip[16]; /* network order; IPv4 uses the first 4, the rest is zero */
    uint32_t scope; /* IPv6 link-local: interface index; else 0 */
    uint16_t port;  /* host order */
    uint8_t family; /* enum px_addr_family */
    uint8_t zero;   /* always 0 */
};

/* What a datagram travels on, as ngtcp2 knows it: one distinct pair per path. */
struct px_path {
    struct px_addr local, remote;
};

/* "[ffff:…%4294967295]:65535" and a NUL */
#define PX_ADDR_TEXT_MAX 80
#define PX_ADDR_WIRE_MAX 18

static inline bool px_addr_eq(const struct px_addr *a, const struct px_addr *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Whatever port and scope. */
static inline bool px_addr_same_ip(const struct px_addr *a, const struct px_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static inline bool px_path_eq(const struct px_path *a, const struct px_path *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Parses "1.2.3.4:567", "[2001:db8::1]:567", "[fe80::1%3]:567" (numeric scope). No names, no
 * default port. IPv4-mapped IPv6 becomes IPv4. PX_EPARSE otherwise. */
PX_MUST_CHECK int px_addr_parse(struct px_slice text, struct px_addr *ret);
/* Writes the same form, NUL-terminated; "-" for no address, "circuit:3" and "pipe:3", which nothing
 * parses. Returns out. */
const char *px_addr_format(const struct px_addr *a, char out[PX_ADDR_TEXT_MAX]);

/* As messages carry it: IP of 4 or 16 bytes, then the port, big-endian. Returns the length, 0 for
 * what is no IP address; the scope is left out. */
size_t px_addr_to_wire(const struct px_addr *a, uint8_t out[PX_ADDR_WIRE_MAX]);
/* Un-maps. PX_EPARSE for any other length. */
PX_MUST_CHECK int px_addr_from_wire(struct px_slice wire, struct px_addr *ret);

/* An IPv4-mapped IPv6 address (::ffff:a.b.c.d, RFC 4291 §2.5.5.2) becomes the IPv4 one that the
 * system would send to; all others stay. */
void px_addr_unmap(struct px_addr *a);

/* 127.0.0.0/8, ::1, also mapped */
bool px_addr_is_loopback(const struct px_addr *a);
/* 169.254.0.0/16, fe80::/10 */
bool px_addr_is_link_local(const struct px_addr *a);
/* 0.0.0.0 or :: */
bool px_addr_is_wildcard(const struct px_addr *a);

/* The address of a circuit: `number` is of the process, never 0 and never used again. */
void px_addr_circuit(uint64_t number, struct px_addr *ret);
static inline bool px_addr_is_circuit(const struct px_addr *a)
{
    return a->family == PX_ADDR_CIRCUIT;
}

/* The address of a pipe, the same way; and the number of one, 0 of any other address. */
void px_addr_pipe(uint64_t number, struct px_addr *ret);
uint64_t px_addr_pipe_number(const struct px_addr *a);
static inline bool px_addr_is_pipe(const struct px_addr *a)
{
    return a->family == PX_ADDR_PIPE;
}
/* No socket sends there. */
static inline bool px_addr_is_virtual(const struct px_addr *a)
{
    return px_addr_is_circuit(a) || px_addr_is_pipe(a);
}

/* Splits "host:port" where host may be a name, an IPv4 or a bracketed IPv6 address: host without
 * brackets, port 1..65535. A name is letters, digits, dots and dashes, at most 253 bytes. */
PX_MUST_CHECK int px_hostport_split(struct px_slice text, struct px_slice *ret_host,
                                    uint16_t *ret_port);

#endif
