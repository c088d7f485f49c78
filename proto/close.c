/* Tables of close.h. */
#include "proto/close.h"

const char *px_close_name(uint64_t code)
{
#define X(name, value, err)                                                                        \
    if (code == (value))                                                                           \
        return &#name[9]; /* without PX_CLOSE_ */
    PX_CLOSE_TABLE(X)
#undef X
    return "UNKNOWN";
}

int px_close_error(uint64_t code)
{
#define X(name, value, err)                                                                        \
    if (code == (value))                                                                           \
        return err;
    PX_CLOSE_TABLE(X)
#undef X
    return PX_ECLOSED;
}
