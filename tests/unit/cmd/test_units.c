/* Numbers for people. */
#include "cmd/units.h"

#include "tests/test.h"

TEST(sizes_have_few_digits)
{
    static const struct {
        uint64_t n;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {10240, "10 KiB"},
        {1023 * 1024, "1023 KiB"},
        {1024 * 1024 - 1, "1.0 MiB"},
        {UINT64_C(5) << 30, "5.0 GiB"},
        {UINT64_MAX, "16 EiB"},
    };
    char out[PX_UNITS_MAX];
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++)
        CHECK_STR(px_units_bytes(cases[i].n, out), cases[i].text);
}

TEST(times_take_the_unit_that_fits)
{
    char out[PX_UNITS_MAX];
    CHECK_STR(px_units_short(0, out), "0 us");
    CHECK_STR(px_units_short(999 * PX_USEC, out), "999 us");
    CHECK_STR(px_units_short(1250 * PX_USEC, out), "1.25 ms");
    CHECK_STR(px_units_short(12340 * PX_USEC, out), "12.3 ms");
    CHECK_STR(px_units_short(1500 * PX_MSEC, out), "1.50 s");
    CHECK_STR(px_units_long(0, out), "0 s");
    CHECK_STR(px_units_long(59 * PX_SEC, out), "59 s");
    CHECK_STR(px_units_long(125 * PX_SEC, out), "2 min 5 s");
    CHECK_STR(px_units_long(3 * 3600 * PX_SEC + 7 * 60 * PX_SEC, out), "3 h 7 min");
    CHECK_STR(px_units_long(UINT64_C(12) * 86400 * PX_SEC + 3 * 3600 * PX_SEC, out), "12 d 3 h");
}
