/* See relay_hint.h. */
#include "node/relay_hint.h"

#include <stdio.h>

const char *px_relay_hint(const struct px_relay_entry *e, int err, char out[PX_RELAY_HINT_MAX])
{
    out[0] = '\0';
    if (err == PX_ETARGET || err == PX_EWRONGPEER)
        snprintf(out, PX_RELAY_HINT_MAX,
                 "another relay answers there, or it has a new key: if that is right, run `peerix "
                 "relay remove %s` and `peerix relay add %s`",
                 px_relay_entry_label(e), e->addrs[0]);
    else if (err == PX_EREFUSED || err == PX_EUNLISTED)
        snprintf(out, PX_RELAY_HINT_MAX,
                 "it does not list this node: its owner runs `peerix-relay auth add` with what "
                 "`peerix whoami` prints here");
    else if (err == PX_EEXIST)
        snprintf(out, PX_RELAY_HINT_MAX,
                 "its ID is that of a peer: run `peerix relay remove %s`, and add it with the ID "
                 "that `peerix-relay whoami` prints on its machine",
                 px_relay_entry_label(e));
    else if (err == PX_ETIMEDOUT || err == PX_EHANDSHAKE_TIMEOUT)
        snprintf(out, PX_RELAY_HINT_MAX,
                 "nothing answers at %s: is it running, and do the firewalls on the way let it in?",
                 e->addrs[0]);
    else if (err == PX_ENETWORK)
        snprintf(out, PX_RELAY_HINT_MAX, "it serves another network; see `network` in config.yaml");
    return out;
}
