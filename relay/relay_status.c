/* Tables of relay_status.h. */
#include "relay/relay_status.h"

const char *px_relay_status_name(uint64_t status)
{
#define X(name, value, err)                                                                        \
    if (status == (value))                                                                         \
        return &#name[9]; /* without PX_RELAY_ */
    PX_RELAY_STATUS_TABLE(X)
#undef X
    return "UNKNOWN";
}

int px_relay_status_error(uint64_t status)
{
#define X(name, value, err)                                                                        \
    if (status == (value))                                                                         \
        return err;
    PX_RELAY_STATUS_TABLE(X)
#undef X
    return PX_EPROTO;
}

const char *px_relay_class_name(enum px_relay_class c)
{
    switch (c) {
    case PX_RELAY_UNKNOWN:
        return "unknown";
    case PX_RELAY_MEMBER:
        return "member";
    case PX_RELAY_VOUCHED:
        return "vouched";
    case PX_RELAY_JOINER:
        return "joiner";
    case PX_RELAY_STRANGER:
        return "stranger";
    }
    return "unknown";
}
