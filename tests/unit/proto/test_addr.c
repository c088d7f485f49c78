/* Addresses: what is accepted, how it is written back, and what is refused. */
#include "proto/addr.h"
#include "tests/test.h"

TEST(addresses_are_parsed_and_written_in_one_form)
{
    static const struct {
        const char *text, *formatted;
        uint8_t family, first, last; /* bytes of the address */
        uint16_t port;
        uint32_t scope;
    } rows[] = {
        {"1.2.3.4:567", "1.2.3.4:567", PX_ADDR_IP4, 1, 4, 567, 0},
        {"0.0.0.0:0", "0.0.0.0:0", PX_ADDR_IP4, 0, 0, 0, 0},
        {"255.255.255.254:65535", "255.255.255.254:65535", PX_ADDR_IP4, 255, 254, 65535, 0},
        {"[2001:db8::1]:567", "[2001:db8::1]:567", PX_ADDR_IP6, 0x20, 1, 567, 0},
        {"[2001:0DB8:0:0:0:0:0:1]:567", "[2001:db8::1]:567", PX_ADDR_IP6, 0x20, 1, 567, 0},
        {"[::]:1", "[::]:1", PX_ADDR_IP6, 0, 0, 1, 0},
        {"[fe80::1%3]:567", "[fe80::1%3]:567", PX_ADDR_IP6, 0xfe, 1, 567, 3},
        {"[fe80::1]:567", "[fe80::1]:567", PX_ADDR_IP6, 0xfe, 1, 567, 0},
        {"[febf::2%4294967295]:1", "[febf::2%4294967295]:1", PX_ADDR_IP6, 0xfe, 2, 1, UINT32_MAX},
        {"[::ffff:1.2.3.4]:567", "1.2.3.4:567", PX_ADDR_IP4, 1, 4, 567, 0},
        {"[::ffff:102:304]:567", "1.2.3.4:567", PX_ADDR_IP4, 1, 4, 567, 0},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_addr a, again;
        char text[PX_ADDR_TEXT_MAX];
        memset(&a, 0xff, sizeof(a));
        memset(&again, 0xee, sizeof(again));
        CHECK_OK(px_addr_parse(px_slice_cstr(rows[i].text), &a));
        CHECK_INT(a.family, rows[i].family);
        CHECK_INT(a.port, rows[i].port);
        CHECK_INT(a.scope, rows[i].scope);
        CHECK_INT(a.ip[0], rows[i].first);
        CHECK_INT(a.ip[a.family == PX_ADDR_IP4 ? 3 : 15], rows[i].last);
        CHECK_STR(px_addr_format(&a, text), rows[i].formatted);
        CHECK_OK(px_addr_parse(px_slice_cstr(text), &again));
        CHECK(px_addr_eq(&a, &again));
    }
}

TEST(anything_else_is_no_address)
{
    static const char *const bad[] = {
        "",
        "1.2.3.4",
        "1.2.3.4:",
        ":567",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "1.2.3.4:+1",
        "1.2.3.4:0567",
        "1.2.3.4: 567",
        " 1.2.3.4:567",
        "1.2.3:567",
        "1.2.3.256:567",
        "01.2.3.4:567",
        "0x1.2.3.4:567",
        "16909060:567",
        "[1.2.3.4]:567",
        "2001:db8::1",
        "2001:db8::1:567",
        "[2001:db8::1]",
        "[2001:db8::1]567",
        "[2001:db8::1:567",
        "2001:db8::1]:567",
        "[[::1]]:567",
        "[]:567",
        "[1::2::3]:567",
        "[fe80::1%]:567",
        "[fe80::1%0]:567",
        "[fe80::1%03]:567",
        "[fe80::1%eth0]:567",
        "[fe80::1%4294967296]:567",
        "[2001:db8::1%3]:567",
        "[::ffff:1.2.3.4%3]:567",
        "localhost:567",
        "example.org:567",
        "-",
    };
    struct px_addr a, before;
    memset(&a, 0xaa, sizeof(a));
    before = a;
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        CHECK_ERR(px_addr_parse(px_slice_cstr(bad[i]), &a), PX_EPARSE);
    CHECK_ERR(px_addr_parse(px_slice("1.2.3.4\0:567", 12), &a), PX_EPARSE);
    CHECK_ERR(px_addr_parse(px_slice(NULL, 0), &a), PX_EPARSE);
    CHECK(px_addr_eq(&a, &before));
}

TEST(no_address_is_a_dash_and_the_longest_one_fits)
{
    struct px_addr a;
    char text[PX_ADDR_TEXT_MAX];
    memset(&a, 0, sizeof(a));
    CHECK_STR(px_addr_format(&a, text), "-");
    memset(&a, 0xff, sizeof(a));
    a.family = PX_ADDR_IP6;
    CHECK_STR(px_addr_format(&a, text),
              "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

TEST(loopback_is_all_of_127_and_one)
{
    static const struct {
        const char *text;
        bool loopback;
    } rows[] = {{"127.0.0.1:1", true},  {"127.255.255.255:1", true},
                {"126.0.0.1:1", false}, {"0.0.0.0:1", false},
                {"[::1]:1", true},      {"[::]:1", false},
                {"[::2]:1", false},     {"[::ffff:127.0.0.1]:1", true},
                {"[7f00::1]:1", false}};
    struct px_addr a;
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        CHECK_OK(px_addr_parse(px_slice_cstr(rows[i].text), &a));
        CHECK_INT(px_addr_is_loopback(&a), rows[i].loopback);
    }
    memset(&a, 0, sizeof(a));
    CHECK(!px_addr_is_loopback(&a));
}

/* ::ffff:a.b.c.d as a value that nobody un-mapped. */
static struct px_addr mapped(uint8_t first, uint8_t last)
{
    return (struct px_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = first, [15] = last},
                            .family = PX_ADDR_IP6,
                            .port = 7};
}

TEST(mapped_loopback_is_loopback)
{
    struct px_addr a = mapped(127, 1), other = mapped(126, 1);
    CHECK(px_addr_is_loopback(&a));
    CHECK(!px_addr_is_loopback(&other));
}

TEST(only_mapped_addresses_are_unmapped)
{
    struct px_addr a = mapped(10, 9), want;
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("10.0.0.9:7"), &want));
    for (int i = 0; i < 2; i++) {
        px_addr_unmap(&a);
        CHECK(px_addr_eq(&a, &want));
    }
    struct px_addr others[] = {mapped(10, 9), mapped(10, 9), mapped(10, 9)}, before;
    others[0].ip[9] = 1;
    others[1].ip[11] = 0;
    px_addr_circuit(0xffff, &others[2]);
    for (size_t i = 0; i < PX_ARRAY_LEN(others); i++) {
        before = others[i];
        px_addr_unmap(&others[i]);
        CHECK(px_addr_eq(&others[i], &before));
    }
}

TEST(link_local_is_169_254_and_fe80)
{
    static const struct {
        const char *text;
        bool is;
    } rows[] = {{"169.254.0.1:1", true}, {"169.255.0.1:1", false}, {"[fe80::1]:1", true},
                {"[febf::1%2]:1", true}, {"[fec0::1]:1", false},   {"[a9fe::1]:1", false}};
    struct px_addr a;
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        CHECK_OK(px_addr_parse(px_slice_cstr(rows[i].text), &a));
        CHECK_INT(px_addr_is_link_local(&a), rows[i].is);
    }
}

TEST(what_messages_carry_reads_back_without_its_scope)
{
    static const struct {
        const char *text, *back;
        size_t len;
    } rows[] = {{"192.0.2.1:65535", "192.0.2.1:65535", 6},
                {"[2001:db8::1]:258", "[2001:db8::1]:258", 18},
                {"[fe80::1%3]:0", "[fe80::1]:0", 18}};
    struct px_addr a, back;
    uint8_t wire[PX_ADDR_WIRE_MAX];
    char text[PX_ADDR_TEXT_MAX];
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        CHECK_OK(px_addr_parse(px_slice_cstr(rows[i].text), &a));
        CHECK_INT(px_addr_to_wire(&a, wire), rows[i].len);
        CHECK_OK(px_addr_from_wire(px_slice(wire, rows[i].len), &back));
        CHECK_STR(px_addr_format(&back, text), rows[i].back);
    }
    a = mapped(127, 1);
    CHECK_OK(px_addr_from_wire(px_slice(wire, px_addr_to_wire(&a, wire)), &back));
    CHECK_STR(px_addr_format(&back, text), "127.0.0.1:7");
    for (size_t len = 0; len <= sizeof(wire); len++)
        if (len != 6 && len != 18)
            CHECK_ERR(px_addr_from_wire(px_slice(wire, len), &back), PX_EPARSE);
    px_addr_pipe(1, &a);
    CHECK_INT(px_addr_to_wire(&a, wire), 0);
}

TEST(host_and_port_are_split)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } rows[] = {{"example.org:1", "example.org", 1},
                {"a-b.C9:65535", "a-b.C9", 65535},
                {"1.2.3.4:5", "1.2.3.4", 5},
                {"[::1]:5", "::1", 5},
                {"[fe80::1%3]:5", "fe80::1%3", 5}};
    static const char *const bad[] = {"",           "host",   "host:",    "host:0", "host:65536",
                                      ":1",         "a_b:1",  "a b:1",    "a/b:1",  "::1:5",
                                      "[a]:1",      "[::1]",  "[::1]:0",  "a:1:2",  "[1.2.3.4]:1",
                                      "\xc3\xa4:1", "[::1:1", "user@h:1", "host:1 "};
    struct px_slice host;
    uint16_t port = 7;
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        CHECK_OK(px_hostport_split(px_slice_cstr(rows[i].text), &host, &port));
        CHECK_SLICE(host, px_slice_cstr(rows[i].host));
        CHECK_INT(port, rows[i].port);
    }
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        CHECK_ERR(px_hostport_split(px_slice_cstr(bad[i]), &host, &port), PX_EPARSE);
    CHECK_INT(port, 5);
}

TEST(a_host_name_has_at_most_253_bytes)
{
    char text[300];
    struct px_slice host;
    uint16_t port;
    memset(text, 'a', sizeof(text));
    memcpy(text + 253, ":80", 3);
    CHECK_OK(px_hostport_split(px_slice(text, 256), &host, &port));
    CHECK_INT(host.len, 253);
    memcpy(text + 253, "a:80", 4);
    CHECK_ERR(px_hostport_split(px_slice(text, 257), &host, &port), PX_EPARSE);
}

TEST(circuits_and_pipes_are_numbers_that_nothing_parses)
{
    struct px_addr circuit, pipe, parsed;
    char text[PX_ADDR_TEXT_MAX];
    px_addr_circuit(7, &circuit);
    px_addr_pipe(7, &pipe);
    CHECK(!px_addr_eq(&circuit, &pipe));
    CHECK(px_addr_is_virtual(&circuit) && px_addr_is_virtual(&pipe));
    CHECK(px_addr_is_pipe(&pipe) && !px_addr_is_pipe(&circuit));
    CHECK_INT(px_addr_pipe_number(&pipe), 7);
    CHECK_INT(px_addr_pipe_number(&circuit), 0);
    CHECK_STR(px_addr_format(&circuit, text), "circuit:7");
    CHECK_STR(px_addr_format(&pipe, text), "pipe:7");
    CHECK_ERR(px_addr_parse(px_slice_cstr(text), &parsed), PX_EPARSE);
}
