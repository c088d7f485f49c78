/* The names of where addresses come from. */
#include "node/discovery.h"

const char *px_source_name(enum px_source s)
{
    static const char *const names[] = {
#define X(name, text) [name] = text,
        PX_SOURCE_TABLE(X)
#undef X
    };
    return (size_t)s < PX_ARRAY_LEN(names) ? names[s] : "?";
}
