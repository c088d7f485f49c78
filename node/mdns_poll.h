/* What libavahi-client asks of an event loop, on libuv. */
#ifndef PX_NODE_MDNS_POLL_H
#define PX_NODE_MDNS_POLL_H

#include <avahi-common/watch.h>
#include <uv.h>

/* `loop` is borrowed and must run until everything Avahi made here is freed and closed. */
void px_mdns_poll_init(AvahiPoll *ret, uv_loop_t *loop);

#endif
