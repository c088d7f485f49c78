/* Sources and ASNs: who shares a count, which prefix an address belongs to. */
#include <stdlib.h>

#include "relay/sources.h"
#include "tests/test.h"

static struct px_addr addr(const char *text)
{
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return a;
}

static struct px_asn_table *table(const char *text)
{
    struct px_asn_table *t;
    struct px_asn_error wrong;
    CHECK_OK(px_asn_table_parse(px_slice_cstr(text), &t, &wrong));
    return t;
}

TEST(the_longest_prefix_wins)
{
    static const struct {
        const char *addr;
        uint32_t asn;
    } rows[] = {{"10.1.2.3:1", 64501},        {"10.2.2.3:1", 64500},
                {"10.1.2.128:1", 64502},      {"11.0.0.1:1", 0},
                {"[2001:db8:1::1]:1", 64510}, {"[2001:db8:1:80::1]:1", 64511},
                {"[2001:db9::1]:1", 64512},   {"255.255.255.255:1", 64520}};
    struct px_asn_table *t = table("# a remark\n"
                                   "10.0.0.0/8 AS64500\n"
                                   "10.1.0.0/16\t64501 # of the other\n"
                                   "\n"
                                   "10.1.2.128/32 64502\n"
                                   "255.255.255.255/32 64520\n"
                                   "2001:db8::/32 64510\n"
                                   "2001:db8:1:80::/57 64511\n"
                                   "::/0 64512\n");
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_addr a = addr(rows[i].addr);
        CHECK_INT(px_asn_of(t, &a), rows[i].asn);
    }
    px_asn_table_free(t);
    struct px_addr a = addr("10.0.0.1:1");
    CHECK_INT(px_asn_of(NULL, &a), 0);
}

TEST(a_bad_line_is_told_with_its_number)
{
    static const struct {
        const char *text, *message;
    } rows[] = {{"10.0.0.0/8 1\n10.0.0.0 1\n", "not PREFIX/LENGTH"},
                {"\n10.0.0.0/33 1", "prefix too long"},
                {"\n10.0.0/8 1", "not an IP address"},
                {"\n::/129 1", "prefix too long"},
                {"\n10.0.0.0/8", "not an ASN"},
                {"\n10.0.0.0/8 0", "not an ASN"},
                {"\n10.0.0.0/8 ASx", "not an ASN"},
                {"\n10.0.0.0/8 4294967296", "not an ASN"}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_asn_table *t;
        struct px_asn_error wrong;
        CHECK_ERR(px_asn_table_parse(px_slice_cstr(rows[i].text), &t, &wrong), PX_EPARSE);
        CHECK_INT(wrong.line, 2);
        CHECK_STR(wrong.message, rows[i].message);
    }
}

/* All of one prefix, so that sorting them is no work. */
TEST(a_table_has_so_many_prefixes)
{
    static const char line[] = "1.0.0.0/8 1\n";
    const size_t len = sizeof(line) - 1;
    char *text = malloc((PX_ASN_PREFIXES_MAX + 1) * len);
    CHECK(text != NULL);
    for (size_t i = 0; i <= PX_ASN_PREFIXES_MAX; i++)
        memcpy(text + i * len, line, len);
    for (size_t over = 0; over < 2; over++) {
        struct px_asn_table *t;
        struct px_asn_error wrong;
        CHECK_ERR(
            px_asn_table_parse(px_slice(text, (PX_ASN_PREFIXES_MAX + over) * len), &t, &wrong),
            over ? PX_ELIMIT : 0);
        if (!over)
            px_asn_table_free(t);
    }
    free(text);
}

TEST(an_ipv4_address_and_an_ipv6_56_are_a_source)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {{"1.2.3.4:5", "1.2.3.4:6", true},
                {"1.2.3.4:5", "1.2.3.5:5", false},
                {"[2001:db8:0:ff00::1]:1", "[2001:db8:0:ffff:1::]:2", true},
                {"[2001:db8:0:ff00::1]:1", "[2001:db8:0:fe00::1]:1", false},
                {"1.2.3.4:5", "[102:304::]:5", false}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_addr a = addr(rows[i].a), b = addr(rows[i].b);
        struct px_source x, y;
        px_source_of(NULL, &a, &x);
        px_source_of(NULL, &b, &y);
        CHECK_INT(memcmp(&x, &y, sizeof(x)) == 0, rows[i].same);
    }
}

TEST(counts_have_limits_and_nothing_is_left_behind)
{
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 3);
    struct px_asn_table *t = table("10.0.0.0/8 7\n");
    struct px_sources *s;
    struct px_source x, y;
    struct px_addr a = addr("10.0.0.1:1"), b = addr("10.0.0.2:1");
    CHECK_OK(px_sources_new(&rng, &s));
    px_source_of(t, &a, &x);
    px_source_of(t, &b, &y);
    CHECK_OK(px_sources_add(s, &x, 2, 3));
    CHECK_OK(px_sources_add(s, &x, 2, 3));
    CHECK_ERR(px_sources_add(s, &x, 2, 3), PX_ELIMIT);
    CHECK_OK(px_sources_add(s, &y, 2, 3));
    CHECK_ERR(px_sources_add(s, &y, 2, 3), PX_EBUSY); /* the ASN is full */
    px_sources_remove(s, &x);
    CHECK_OK(px_sources_add(s, &y, 2, 3));
    px_sources_remove(s, &x);
    px_sources_remove(s, &y);
    px_sources_remove(s, &y);
    CHECK_INT(px_sources_count(s), 0);
    px_sources_free(s);
    px_asn_table_free(t);
}
