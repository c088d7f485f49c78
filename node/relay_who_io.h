/* Asks which relay is at an address (docs/spec/relay.md §5, WHO): for commands, which wait for it.
 */
#ifndef PX_NODE_RELAY_WHO_IO_H
#define PX_NODE_RELAY_WHO_IO_H

#include "node/relay_list.h"
#include "proto/addr.h"

#define PX_RELAY_WHO_ADDRS_MAX 8                /* of a name; further ones are not asked */
#define PX_RELAY_WHO_AGAIN     (300 * PX_MSEC)  /* between two questions to one address */
#define PX_RELAY_WHO_PIPE      (1500 * PX_MSEC) /* without an answer by UDP: through TLS too */
#define PX_RELAY_WHO_OTHERS    (700 * PX_MSEC) /* for the other addresses, after the first answer */
#define PX_RELAY_WHO_UDP       (3 * PX_SEC)    /* for UDP alone, where no pipe can be had */
#define PX_RELAY_WHO_TIME      (6 * PX_SEC)

struct px_relay_who_answer {
    struct px_peer_id id;
    struct px_addr at; /* the address asked */
    bool tcp;          /* it came through a pipe */
};

/* Asks at e->addrs[0], and at every address if that is a name; by TCP port e->tcp where UDP gets no
 * answer. Blocks for at most PX_RELAY_WHO_TIME and the look-up of the name. Fills ret with what
 * answered first. PX_ENOENT: the name means nothing; PX_ETIMEDOUT: nobody answered; PX_EEXIST:
 * different relays answered, ret_other is another one; PX_EIO, PX_ENOMEM & co. */
PX_MUST_CHECK int px_relay_who_ask(const struct px_relay_entry *e, struct px_relay_who_answer *ret,
                                   struct px_relay_who_answer *ret_other);

#endif
