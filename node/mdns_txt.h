/* An announcement inside a TXT record (docs/spec/lan.md §4.2). */
#ifndef PX_NODE_MDNS_TXT_H
#define PX_NODE_MDNS_TXT_H

#include <avahi-common/strlst.h>

#include "node/lan_packet.h"

/* Owned by the caller (avahi_string_list_free); NULL without memory. */
AvahiStringList *px_mdns_txt_write(struct px_slice packet);
/* Puts it together again. PX_EPARSE for a string that is missing, twice there, too long or none of
 * ours. */
PX_MUST_CHECK int px_mdns_txt_read(AvahiStringList *txt, uint8_t ret[PX_LAN_PACKET_MAX],
                                   size_t *ret_len);

#endif
