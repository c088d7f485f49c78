/* Addresses: what is parsed is written in one form, which parses to the same address; every address
 * with a port is also a host and a port. */
#include "proto/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_address(struct px_slice in)
{
    struct px_addr a, again;
    struct px_slice host;
    char text[PX_ADDR_TEXT_MAX], twice[PX_ADDR_TEXT_MAX];
    uint16_t port;
    if (px_addr_parse(in, &a) != 0)
        return;
    px_addr_format(&a, text);
    px_assert(px_addr_parse(px_slice_cstr(text), &again) == 0);
    px_assert(px_addr_eq(&a, &again));
    px_assert(strcmp(px_addr_format(&again, twice), text) == 0);
    if (a.port != 0) {
        px_assert(px_hostport_split(in, &host, &port) == 0);
        px_assert(port == a.port);
    }
}

static void check_host(struct px_slice in)
{
    struct px_slice host;
    uint16_t port = 0;
    if (px_hostport_split(in, &host, &port) != 0)
        return;
    px_assert(port != 0 && host.len > 0 && host.len <= 253);
    px_assert(host.data >= in.data && host.data + host.len < in.data + in.len);
    for (size_t i = 0; i < host.len; i++)
        px_assert(host.data[i] > ' ' && host.data[i] < 0x7f && host.data[i] != '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    check_address(px_slice(data, len));
    check_host(px_slice(data, len));
    return 0;
}
