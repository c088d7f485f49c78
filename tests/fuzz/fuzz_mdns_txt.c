/* TXT records from strangers: what is read fits an announcement and, written again in full strings,
 * reads the same. */
#include "node/mdns_txt.h"

#include "node/mdns_worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t got[PX_LAN_PACKET_MAX], again[PX_LAN_PACKET_MAX];
    size_t got_len = 0, again_len = 0;
    AvahiStringList *txt = NULL;
    if (avahi_string_list_parse(data, len, &txt) < 0)
        return 0;
    if (px_mdns_txt_read(txt, got, &got_len) == 0) {
        px_assert(got_len <= sizeof(got));
        AvahiStringList *copy = px_mdns_txt_write(px_slice(got, got_len));
        px_assert(px_mdns_txt_read(copy, again, &again_len) == 0);
        px_assert(px_slice_eq(px_slice(got, got_len), px_slice(again, again_len)));
        avahi_string_list_free(copy);
    }
    avahi_string_list_free(txt);
    return 0;
}
