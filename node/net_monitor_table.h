/* What rtnetlink(7) told: links, their addresses, default routes. A core: datagrams of the kernel
 * go in, "what changed" comes out. The socket is net_monitor.c.
 *
 * Also the arithmetic of noticing that the machine slept. */
#ifndef PX_NODE_NET_MONITOR_TABLE_H
#define PX_NODE_NET_MONITOR_TABLE_H

#include "node/net_monitor.h"

#define PX_NET_LINKS_MAX  512 /* further interfaces are as if they were down */
#define PX_NET_ROUTES_MAX 64  /* default routes; changes of further ones go unnoticed */

/* Bits of what one datagram brought. */
#define PX_NET_SAW_ADDRS  (1u << 0) /* px_net_table_addrs is another */
#define PX_NET_SAW_ROUTES (1u << 1) /* a default route came or went */
#define PX_NET_SAW_DONE   (1u << 2) /* the dump asked for with `seq` is over */
#define PX_NET_SAW_AGAIN  (1u << 3) /* it changed under way: ask again */
#define PX_NET_SAW_REFUSE (1u << 4) /* it was refused */
#define PX_NET_SAW_LIMIT  (1u << 5) /* something was left out */

struct px_net_table;

/* PX_ENOMEM. */
PX_MUST_CHECK int px_net_table_new(struct px_net_table **ret);
void px_net_table_free(struct px_net_table *t);

/* From here to px_net_table_dump_end everything that exists is told anew; what is not told by then
 * is gone. The end returns PX_NET_SAW_ bits. */
void px_net_table_dump_begin(struct px_net_table *t);
unsigned px_net_table_dump_end(struct px_net_table *t);

/* One datagram of the kernel, malformed ones are read as far as they go. `seq` is that of the
 * request under way. Returns PX_NET_SAW_ bits. */
unsigned px_net_table_input(struct px_net_table *t, uint32_t seq, struct px_slice datagram);

/* As px_net_monitor_addrs and px_net_monitor_on_link. */
const struct px_net_addr *px_net_table_addrs(const struct px_net_table *t, size_t *ret_count);
bool px_net_table_on_link(const struct px_net_table *t, const struct px_addr *a);

/* The suspended time of this boot, as far as it is known. */
struct px_net_sleep {
    px_nsec slept;
    bool known;
};
/* Both clocks, read one right after the other. True when PX_NET_SLEEP_MIN or more was slept since
 * the last call that said so. */
bool px_net_sleep_check(struct px_net_sleep *s, px_nsec boottime, px_nsec monotonic);

#endif
