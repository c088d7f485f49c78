/* Addresses as text and as bytes, and what kind they are. Numeric only: looking up names is the
 * shell's work. */
#include "proto/addr.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

#include "proto/base/reader.h"

#define HOST_NAME_MAX_LEN 253 /* RFC 1035 §3.1, as text */

/* inet_pton for a slice. */
static bool parse_ip(int family, struct px_slice text, uint8_t *ret)
{
    char host[INET6_ADDRSTRLEN];
    uint8_t ip[16];
    if (text.len == 0 || text.len >= sizeof(host) || memchr(text.data, 0, text.len) != NULL)
        return false;
    memcpy(host, text.data, text.len);
    host[text.len] = '\0';
    if (inet_pton(family, host, ip) != 1)
        return false;
    memcpy(ret, ip, family == AF_INET ? 4 : 16);
    return true;
}

void px_addr_unmap(struct px_addr *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->family != PX_ADDR_IP6 || memcmp(a->ip, mapped, sizeof(mapped)) != 0)
        return;
    memcpy(a->ip, a->ip + 12, 4);
    memset(a->ip + 4, 0, 12);
    a->family = PX_ADDR_IP4;
    a->scope = 0;
}

/* What stands between the brackets: an address and for link-local ones perhaps "%index". */
static int parse_ip6(struct px_slice text, struct px_addr *a)
{
    struct px_slice ip, scope = text;
    uint64_t index = 0;
    if (!px_slice_split(&scope, '%', &ip) || !parse_ip(AF_INET6, ip, a->ip))
        return PX_EPARSE;
    a->family = PX_ADDR_IP6;
    if (scope.data != NULL &&
        (!px_addr_is_link_local(a) || px_slice_parse_u64(scope, &index) != 0 || index == 0 ||
         index > UINT32_MAX))
        return PX_EPARSE;
    a->scope = (uint32_t)index;
    px_addr_unmap(a);
    return 0;
}

/* "host:port" at the last colon, or "[host]:port". */
static int split_port(struct px_slice text, struct px_slice *ret_host, bool *ret_bracketed,
                      uint16_t *ret_port)
{
    const uint8_t *colon = text.len > 0 ? memrchr(text.data, ':', text.len) : NULL;
    uint64_t port;
    if (colon == NULL)
        return PX_EPARSE;
    struct px_slice host = px_slice_take(text, (size_t)(colon - text.data));
    if (px_slice_parse_u64(px_slice_skip(text, host.len + 1), &port) != 0 || port > UINT16_MAX)
        return PX_EPARSE;
    *ret_bracketed = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    *ret_host = *ret_bracketed ? px_slice(host.data + 1, host.len - 2) : host;
    *ret_port = (uint16_t)port;
    return 0;
}

int px_addr_parse(struct px_slice text, struct px_addr *ret)
{
    struct px_addr a;
    struct px_slice host;
    bool bracketed;
    memset(&a, 0, sizeof(a));
    int err = split_port(text, &host, &bracketed, &a.port);
    if (err != 0)
        return err;
    if (bracketed) {
        err = parse_ip6(host, &a);
    } else {
        a.family = PX_ADDR_IP4;
        err = parse_ip(AF_INET, host, a.ip) ? 0 : PX_EPARSE;
    }
    if (err == 0)
        memcpy(ret, &a, sizeof(a));
    return err;
}

static void put_number(enum px_addr_family family, uint64_t number, struct px_addr *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->family = (uint8_t)family;
    memcpy(ret->ip, &number, sizeof(number));
}

static uint64_t number_of(const struct px_addr *a)
{
    uint64_t number;
    memcpy(&number, a->ip, sizeof(number));
    return number;
}

void px_addr_circuit(uint64_t number, struct px_addr *ret)
{
    put_number(PX_ADDR_CIRCUIT, number, ret);
}

void px_addr_pipe(uint64_t number, struct px_addr *ret)
{
    put_number(PX_ADDR_PIPE, number, ret);
}

uint64_t px_addr_pipe_number(const struct px_addr *a)
{
    return px_addr_is_pipe(a) ? number_of(a) : 0;
}

const char *px_addr_format(const struct px_addr *a, char out[PX_ADDR_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN], scope[16] = "";
    switch ((enum px_addr_family)a->family) {
    case PX_ADDR_NONE:
        break;
    case PX_ADDR_IP4:
        px_assert(inet_ntop(AF_INET, a->ip, ip, sizeof(ip)) != NULL);
        snprintf(out, PX_ADDR_TEXT_MAX, "%s:%u", ip, a->port);
        return out;
    case PX_ADDR_IP6:
        px_assert(inet_ntop(AF_INET6, a->ip, ip, sizeof(ip)) != NULL);
        if (a->scope != 0)
            snprintf(scope, sizeof(scope), "%%%" PRIu32, a->scope);
        snprintf(out, PX_ADDR_TEXT_MAX, "[%s%s]:%u", ip, scope, a->port);
        return out;
    case PX_ADDR_CIRCUIT:
        snprintf(out, PX_ADDR_TEXT_MAX, "circuit:%" PRIu64, number_of(a));
        return out;
    case PX_ADDR_PIPE:
        snprintf(out, PX_ADDR_TEXT_MAX, "pipe:%" PRIu64, number_of(a));
        return out;
    }
    memcpy(out, "-", sizeof("-"));
    return out;
}

/* ---- bytes ---- */

size_t px_addr_to_wire(const struct px_addr *a, uint8_t out[PX_ADDR_WIRE_MAX])
{
    if (a->family != PX_ADDR_IP4 && a->family != PX_ADDR_IP6)
        return 0;
    size_t ip = a->family == PX_ADDR_IP4 ? 4 : 16;
    memcpy(out, a->ip, ip);
    out[ip] = (uint8_t)(a->port >> 8);
    out[ip + 1] = (uint8_t)a->port;
    return ip + 2;
}

int px_addr_from_wire(struct px_slice wire, struct px_addr *ret)
{
    struct px_reader r = px_reader(wire);
    struct px_addr a;
    if (wire.len != 6 && wire.len != 18)
        return PX_EPARSE;
    memset(&a, 0, sizeof(a));
    a.family = wire.len == 6 ? PX_ADDR_IP4 : PX_ADDR_IP6;
    int err = px_reader_copy(&r, a.ip, wire.len - 2);
    if (err == 0)
        err = px_reader_be16(&r, &a.port);
    if (err != 0)
        return err;
    px_addr_unmap(&a);
    *ret = a;
    return 0;
}

/* ---- kinds ---- */

bool px_addr_is_loopback(const struct px_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    struct px_addr x = *a;
    px_addr_unmap(&x);
    return (x.family == PX_ADDR_IP4 && x.ip[0] == 127) ||
           (x.family == PX_ADDR_IP6 && memcmp(x.ip, one, sizeof(one)) == 0);
}

bool px_addr_is_link_local(const struct px_addr *a)
{
    return (a->family == PX_ADDR_IP4 && a->ip[0] == 169 && a->ip[1] == 254) ||
           (a->family == PX_ADDR_IP6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80);
}

bool px_addr_is_wildcard(const struct px_addr *a)
{
    static const uint8_t zero[16];
    return a->family != PX_ADDR_NONE && memcmp(a->ip, zero, sizeof(zero)) == 0;
}

/* ---- hosts and ports ---- */

static bool is_name(struct px_slice s)
{
    static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    for (size_t i = 0; i < s.len; i++)
        if (memchr(set, s.data[i], sizeof(set) - 1) == NULL)
            return false;
    return s.len > 0 && s.len <= HOST_NAME_MAX_LEN;
}

int px_hostport_split(struct px_slice text, struct px_slice *ret_host, uint16_t *ret_port)
{
    struct px_slice host;
    struct px_addr scratch;
    uint16_t port;
    bool bracketed;
    int err = split_port(text, &host, &bracketed, &port);
    if (err != 0)
        return err;
    if (port == 0 || !(bracketed ? parse_ip6(host, &scratch) == 0 : is_name(host)))
        return PX_EPARSE;
    *ret_host = host;
    *ret_port = port;
    return 0;
}
