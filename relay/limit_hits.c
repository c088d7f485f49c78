/* See limit_hits.h. */
#include "relay/limit_hits.h"

const char *px_relay_limit_name(enum px_relay_limit limit)
{
    static const char *const names[] = {
#define NAME(name, text) [PX_RELAY_LIMIT_##name] = (text),
        PX_RELAY_LIMITS(NAME)
#undef NAME
    };
    px_assert(limit < PX_RELAY_LIMIT_COUNT);
    return names[limit];
}
