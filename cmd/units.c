/* Binary prefixes for sizes; times by the unit that leaves one to four digits. */
#include "cmd/units.h"

#include <inttypes.h>
#include <stdio.h>

const char *px_units_bytes(uint64_t n, char out[PX_UNITS_MAX])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)n;
    size_t unit = 0;
    /* 1023.95 KiB would read as "1024.0 KiB" */
    while (value >= (unit == 0 ? 1024.0 : 1023.5) && unit + 1 < PX_ARRAY_LEN(names)) {
        value /= 1024;
        unit++;
    }
    snprintf(out, PX_UNITS_MAX, "%.*f %s", unit > 0 && value < 9.95 ? 1 : 0, value, names[unit]);
    return out;
}

const char *px_units_short(px_nsec t, char out[PX_UNITS_MAX])
{
    if (t < PX_MSEC)
        snprintf(out, PX_UNITS_MAX, "%" PRIu64 " us", t / PX_USEC);
    else if (t < PX_SEC)
        snprintf(out, PX_UNITS_MAX, "%.*f ms", t < 10 * PX_MSEC ? 2 : 1,
                 (double)t / (double)PX_MSEC);
    else
        snprintf(out, PX_UNITS_MAX, "%.2f s", (double)t / (double)PX_SEC);
    return out;
}

const char *px_units_long(px_nsec t, char out[PX_UNITS_MAX])
{
    uint64_t s = t / PX_SEC;
    if (s < 60)
        snprintf(out, PX_UNITS_MAX, "%" PRIu64 " s", s);
    else if (s < 3600)
        snprintf(out, PX_UNITS_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, PX_UNITS_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s % 3600 / 60);
    else
        snprintf(out, PX_UNITS_MAX, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s % 86400 / 3600);
    return out;
}
