/* Numbers as people read them: few digits and a unit. */
#ifndef PX_CMD_UNITS_H
#define PX_CMD_UNITS_H

#include "proto/base/base.h"

#define PX_UNITS_MAX 32

/* "0 B", "1023 B", "1.5 KiB", "12 MiB". Returns out. */
const char *px_units_bytes(uint64_t n, char out[PX_UNITS_MAX]);
/* A short time: "850 us", "1.25 ms", "12.3 ms", "1.50 s". Returns out. */
const char *px_units_short(px_nsec t, char out[PX_UNITS_MAX]);
/* A long time, two units at most: "0 s", "59 s", "2 min 5 s", "3 h 7 min", "12 d 3 h". Returns out.
 */
const char *px_units_long(px_nsec t, char out[PX_UNITS_MAX]);

#endif
