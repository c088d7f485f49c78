/* Implements the TXT form of docs/spec/lan.md §4.2: strings "0=…", "1=…" with a part of the bytes
 * each. */
#include "node/mdns_txt.h"

#include "node/mdns_worker.h"

#define CHUNKS ((PX_LAN_PACKET_MAX + PX_MDNS_CHUNK - 1) / PX_MDNS_CHUNK)
_Static_assert(CHUNKS <= 10, "one digit counts them");

AvahiStringList *px_mdns_txt_write(struct px_slice packet)
{
    AvahiStringList *list = NULL;
    /* Avahi's lists grow at their head and travel from there. */
    for (size_t i = (packet.len + PX_MDNS_CHUNK - 1) / PX_MDNS_CHUNK; i-- > 0;) {
        char key[2] = {(char)('0' + i), '\0'};
        struct px_slice part =
            px_slice_take(px_slice_skip(packet, i * PX_MDNS_CHUNK), PX_MDNS_CHUNK);
        AvahiStringList *longer =
            avahi_string_list_add_pair_arbitrary(list, key, part.data, part.len);
        if (longer == NULL) {
            avahi_string_list_free(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

int px_mdns_txt_read(AvahiStringList *txt, uint8_t ret[PX_LAN_PACKET_MAX], size_t *ret_len)
{
    struct px_slice parts[CHUNKS] = {0};
    size_t count = 0, len = 0;
    for (; txt != NULL; txt = avahi_string_list_get_next(txt), count++) {
        struct px_slice s =
            px_slice(avahi_string_list_get_text(txt), avahi_string_list_get_size(txt));
        if (s.len < 3 || s.len > 2 + PX_MDNS_CHUNK || s.data[1] != '=' || s.data[0] < '0')
            return PX_EPARSE;
        size_t i = (size_t)(s.data[0] - '0');
        if (i >= CHUNKS || parts[i].data != NULL)
            return PX_EPARSE;
        parts[i] = px_slice_skip(s, 2);
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].data == NULL || parts[i].len > PX_LAN_PACKET_MAX - len)
            return PX_EPARSE;
        memcpy(ret + len, parts[i].data, parts[i].len);
        len += parts[i].len;
    }
    *ret_len = len;
    return 0;
}
