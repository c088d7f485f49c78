/* Tables of prefixes and ASNs: what parses answers look-ups. */
#include "relay/sources.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_asn_table *t;
    struct px_asn_error wrong = {0, NULL};
    struct px_addr a = {.family = PX_ADDR_IP4, .ip = {10, 1, 2, 3}};
    int err = px_asn_table_parse(px_slice(data, len), &t, &wrong);
    if (err == PX_EPARSE)
        px_assert(wrong.line > 0 && wrong.message != NULL);
    if (err != 0)
        return 0;
    (void)px_asn_of(t, &a);
    a.family = PX_ADDR_IP6;
    (void)px_asn_of(t, &a);
    px_asn_table_free(t);
    return 0;
}
