/* What nix asks, as text: targets, Host and Range fields. */
#include "node/nix/http_path.h"

#include "tests/test.h"

#define H32 "00000000000000000000000000000000"
#define N52 "0000000000000000000000000000000000000000000000000000"

TEST(targets_are_told_apart)
{
    static const struct {
        const char *raw;
        int err;
        enum px_http_kind kind;
    } rows[] = {
        {"/nix-cache-info", 0, PX_HTTP_CACHE_INFO},
        {"/nix-cache-info?x=1", 0, PX_HTTP_CACHE_INFO},
        {"/nix%2dcache-info", 0, PX_HTTP_CACHE_INFO},
        {"/" H32 ".narinfo", 0, PX_HTTP_NARINFO},
        {"/%30"
         "0000000000000000000000000000000.narinfo",
         0, PX_HTTP_NARINFO},
        {"/e0000000000000000000000000000000.narinfo", 0, PX_HTTP_OTHER}, /* no e in Nix's base32 */
        {"/" H32 "0.narinfo", 0, PX_HTTP_OTHER},
        {"/x/" H32 ".narinfo", 0, PX_HTTP_OTHER},
        {"/nar/" N52 ".nar?hash=" H32, 0, PX_HTTP_NAR},
        {"/nar/" N52 ".nar?a=b&hash=" H32, 0, PX_HTTP_NAR},
        {"/nar/" N52 ".nar", 0, PX_HTTP_OTHER},
        {"/nar/" N52 ".nar?hash=", 0, PX_HTTP_OTHER},
        {"/nar/" N52 ".nar?hash=" H32 "&hash=" H32, PX_EPARSE, 0},
        {"/nar/z000000000000000000000000000000000000000000000000000.nar?hash=" H32, 0,
         PX_HTTP_OTHER},
        {"/nar/" N52 ".nar.xz?hash=" H32, 0, PX_HTTP_OTHER},
        {"/log/" H32 "-x.drv", 0, PX_HTTP_OTHER},
        {"/realisations/sha256:00%21out.doi", 0, PX_HTTP_OTHER},
        {"/build-trace-v2/x", 0, PX_HTTP_OTHER},
        {"/", 0, PX_HTTP_OTHER},
        {"/..//etc/passwd", 0, PX_HTTP_OTHER},
        {"", PX_EPARSE, 0},
        {"*", PX_EPARSE, 0},
        {"http://127.0.0.1/nix-cache-info", PX_EPARSE, 0},
        {"/%", PX_EPARSE, 0},
        {"/%2", PX_EPARSE, 0},
        {"/%zz", PX_EPARSE, 0},
        {"/%00", PX_EPARSE, 0},
        {"/a%0ab", PX_EPARSE, 0},
        {"/\x01", PX_EPARSE, 0},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_http_target t = {0};
        CHECK_ERR(px_http_target_parse(px_slice_cstr(rows[i].raw), &t), rows[i].err);
        if (rows[i].err == 0)
            CHECK_INT(t.kind, rows[i].kind);
    }
}

TEST(a_target_that_is_too_long_is_refused)
{
    char text[PX_HTTP_TARGET_MAX + 1];
    struct px_http_target t;
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    CHECK_OK(px_http_target_parse(px_slice(text, PX_HTTP_TARGET_MAX), &t));
    CHECK_ERR(px_http_target_parse(px_slice(text, PX_HTTP_TARGET_MAX + 1), &t), PX_ELIMIT);
}

TEST(only_local_hosts_are_allowed)
{
    static const struct {
        const char *host;
        bool allowed;
    } rows[] = {
        {"127.0.0.1", true},
        {"127.0.0.1:12304", true},
        {"localhost", true},
        {"LocalHost:1", true},
        {"[::1]", true},
        {"[::1]:65535", true},
        {" 127.0.0.1 ", true},
        {"", false},
        {"127.0.0.1:", false},
        {"127.0.0.1:0", false},
        {"127.0.0.1:65536", false},
        {"127.0.0.1:x", false},
        {"127.0.0.2", false},
        {"localhost.evil", false},
        {"evil.localhost", false},
        {"127.0.0.1.evil:80", false},
        {"::1", false},
        {"[::1", false},
        {"[::2]", false},
        {"0.0.0.0", false},
        {"cache.nixos.org", false},
        {"lOCALHOSt", true},
        {":12304", false},
        {"[::1]x", false},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        if (px_http_host_allowed(px_slice_cstr(rows[i].host)) != rows[i].allowed)
            px_test_fail(__FILE__, __LINE__, "Host: %s", rows[i].host);
}

TEST(ranges_that_reach_the_end_are_served)
{
    static const struct {
        const char *text;
        enum px_http_range want;
        uint64_t first;
    } rows[] = {
        {"bytes=0-", PX_HTTP_RANGE_FROM, 0},
        {"bytes=99-", PX_HTTP_RANGE_FROM, 99},
        {"bytes=10-99", PX_HTTP_RANGE_FROM, 10},
        {"bytes=10-5000", PX_HTTP_RANGE_FROM, 10},
        {"bytes=-10", PX_HTTP_RANGE_FROM, 90},
        {"bytes=-1000", PX_HTTP_RANGE_FROM, 0},
        {"bytes=10-20", PX_HTTP_RANGE_NONE, 0},
        {"bytes=0-1,5-9", PX_HTTP_RANGE_NONE, 0},
        {"items=0-5", PX_HTTP_RANGE_NONE, 0},
        {"bytes=100-", PX_HTTP_RANGE_BAD, 0},
        {"bytes=18446744073709551616-", PX_HTTP_RANGE_BAD, 0},
        {"bytes=20-10", PX_HTTP_RANGE_BAD, 0},
        {"bytes=-", PX_HTTP_RANGE_BAD, 0},
        {"bytes=-0", PX_HTTP_RANGE_BAD, 0},
        {"bytes=", PX_HTTP_RANGE_BAD, 0},
        {"bytes=x-", PX_HTTP_RANGE_BAD, 0},
        {"bytes=5", PX_HTTP_RANGE_BAD, 0},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        uint64_t first = 0;
        enum px_http_range got = px_http_range_parse(px_slice_cstr(rows[i].text), 100, &first);
        if (got != rows[i].want || (got == PX_HTTP_RANGE_FROM && first != rows[i].first))
            px_test_fail(__FILE__, __LINE__, "%s: %d, %" PRIu64, rows[i].text, (int)got, first);
    }
}
