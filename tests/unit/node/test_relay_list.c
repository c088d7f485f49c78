/* HOME/relays: what a line and a word may look like, how many there may be, edits of the text. */
#include "node/relay_list.h"

#include <stdlib.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "node/relay_list_io.h"
#include "tests/test.h"

#define A "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj"

static void put_relay(struct px_buf *out, unsigned n)
{
    const struct px_peer_id id = {.key = {(uint8_t)n, 1}};
    char text[PX_PEER_ID_TEXT_MAX];
    CHECK_OK(px_buf_printf(out, PX_RELAY_URL "%s@10.0.0.%u:1 name=r%u # no %u\n",
                           px_peer_id_format(&id, text), n, n, n));
}

TEST(words_of_people_lead_to_an_address_and_perhaps_an_id)
{
    static const struct {
        const char *word, *addr; /* NULL: refused */
        bool id;
        uint16_t tcp;
    } rows[] = {
        {PX_RELAY_URL A "@relay.example:1", "relay.example:1", true, 0},
        {"192.0.2.1", "192.0.2.1:12307", false, 0},
        {"192.0.2.1:7", "192.0.2.1:7", false, 0},
        {"2001:db8::7", "[2001:db8::7]:12307", false, 0},
        {"[2001:db8::7]:7", "[2001:db8::7]:7", false, 0},
        {"relay.example", "relay.example:12307", false, 0},
        {"/ip4/192.0.2.1/udp/7", "192.0.2.1:7", false, 0},
        {"/ip6/2001:db8::7/udp/7/quic-v1", "[2001:db8::7]:7", false, 0},
        {"/dns4/relay.example/udp/7/quic-v1/p2p/" A, "relay.example:7", true, 0},
        {"/dns/relay.example/udp/7/p2p/" A, "relay.example:7", true, 0},
        {PX_RELAY_URL A "@relay.example:1?tcp=8443", "relay.example:1", true, 8443},
        {PX_RELAY_URL A "@[2001:db8::7]:1?tcp=65535", "[2001:db8::7]:1", true, 65535},
        {"/dns4/relay.example/tcp/8443/tls/p2p/" A, "relay.example:12307", true, 8443},
        {"/ip6/2001:db8::7/tcp/443/tls", "[2001:db8::7]:12307", false, 443},
        {"/ip4/192.0.2.1/udp/7/quic-v1/p2p/" A, "192.0.2.1:7", true, 0},
        {PX_RELAY_URL A "@relay.example:1?tcp=0", NULL, false, 0},
        {PX_RELAY_URL A "@relay.example:1?tcp=65536", NULL, false, 0},
        {PX_RELAY_URL A "@relay.example:1?tcp=", NULL, false, 0},
        {PX_RELAY_URL A "@relay.example:1?", NULL, false, 0},
        {PX_RELAY_URL A "@relay.example:1?udp=7", NULL, false, 0},
        {PX_RELAY_URL A "@relay.example:1?tcp=1?tcp=1", NULL, false, 0},
        {"/dns4/relay.example/tcp/0/tls", NULL, false, 0},
        {"/dns4/relay.example/tcp/8443/tls/more", NULL, false, 0},
        {"/dns4/relay.example/tcp/8443/quic-v1", NULL, false, 0},
        {"/ip4/192.0.2.1/udp/0", NULL, false, 0},
        {"/ip4/192.0.2.1/udp/7/quic-v1/quic-v1", NULL, false, 0},
        {"", NULL, false, 0},
        {"/", NULL, false, 0},
        {"/ip4/192.0.2.1/tcp/7", NULL, false, 0},
        {"/ip4/192.0.2.1/udp/70000", NULL, false, 0},
        {"/unix/relay.example/udp/7", NULL, false, 0},
        {"/ip4/192.0.2.1/udp/7/p2p/" A "/more", NULL, false, 0},
        {PX_RELAY_URL "relay.example:1", NULL, false, 0},
        {PX_RELAY_URL A "@relay.example", NULL, false, 0},
        {"two words", NULL, false, 0},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_relay_entry e;
        bool has_id;
        int err = px_relay_word_parse(px_slice_cstr(rows[i].word), &e, &has_id);
        CHECK_ERR(err, rows[i].addr != NULL ? 0 : PX_EPARSE);
        if (err != 0)
            continue;
        CHECK_INT(e.addr_count, 1);
        CHECK_STR(e.addrs[0], rows[i].addr);
        CHECK_INT(has_id, rows[i].id);
        CHECK_INT(e.tcp, rows[i].tcp);
    }
}

TEST(a_url_that_is_printed_reads_back)
{
    struct px_relay_entry e;
    char url[PX_RELAY_URL_TEXT_MAX], host[PX_AUTH_ADDR_MAX];
    bool has_id;
    CHECK_OK(px_relay_word_parse(PX_SLICE_LIT(PX_RELAY_URL A "@h.example:9"), &e, &has_id));
    memset(host, 'h', sizeof(host)); /* the longest there can be */
    memcpy(host + 253, ":65535", 7);
    for (unsigned i = 1; i * 60 < 253; i++)
        host[i * 60] = '.';
    for (unsigned tcp = 0; tcp <= UINT16_MAX; tcp += UINT16_MAX) {
        px_relay_url_format(&e.id, host, (uint16_t)tcp, url);
        struct px_relay_entry back;
        CHECK_OK(px_relay_word_parse(px_slice_cstr(url), &back, &has_id));
        CHECK(has_id && px_peer_id_eq(&back.id, &e.id) && back.tcp == tcp);
        CHECK_STR(back.addrs[0], host);
    }
    CHECK_STR(px_relay_url_format(&e.id, "h:1", 8443, url), PX_RELAY_URL A "@h:1?tcp=8443");
}

TEST(a_list_has_so_many_relays)
{
    static struct px_relay_list l;
    struct px_buf text, out;
    px_buf_init(&text, 65536);
    px_buf_init(&out, 65536);
    for (unsigned n = 0; n < PX_RELAY_LIST_MAX; n++)
        put_relay(&text, n);
    px_relay_list_parse(px_buf_slice(&text), &l);
    CHECK(l.count == PX_RELAY_LIST_MAX && l.error_count == 0);
    struct px_relay_entry e = l.entries[2];
    e.id.key[0] = 99;
    snprintf(e.name, sizeof(e.name), "new");
    CHECK_ERR(px_relay_text_set(px_buf_slice(&text), &e, &out), PX_ELIMIT);
    CHECK_INT(out.len, 0);
    e.id = l.entries[2].id; /* in its place */
    CHECK_OK(px_relay_text_set(px_buf_slice(&text), &e, &out));
    put_relay(&text, PX_RELAY_LIST_MAX);
    px_relay_list_parse(px_buf_slice(&text), &l);
    CHECK(l.count == PX_RELAY_LIST_MAX && l.error_count == 1);
    CHECK_INT(l.errors[0].line, PX_RELAY_LIST_MAX + 1);
    for (unsigned n = 0; n < 2 * PX_RELAY_LIST_MAX; n++)
        CHECK_OK(px_buf_put_cstr(&text, "junk\n"));
    px_relay_list_parse(px_buf_slice(&text), &l);
    CHECK_INT(l.error_count, PX_ARRAY_LEN(l.errors));
    px_buf_deinit(&text);
    px_buf_deinit(&out);
}

TEST(a_relay_has_so_many_addresses)
{
    struct px_relay_entry e;
    struct px_auth_error error;
    struct px_buf line;
    px_buf_init(&line, PX_AUTH_LINE_MAX);
    CHECK_OK(px_buf_put_cstr(&line, A));
    CHECK_ERR(px_relay_entry_parse(px_buf_slice(&line), &e, &error), PX_EPARSE);
    for (size_t i = 0; i < PX_RELAY_ADDRS_MAX; i++)
        CHECK_OK(px_buf_printf(&line, " addr=10.0.0.%zu:1", i));
    CHECK_OK(px_relay_entry_parse(px_buf_slice(&line), &e, &error));
    CHECK_INT(e.addr_count, PX_RELAY_ADDRS_MAX);
    CHECK_OK(px_buf_put_cstr(&line, " addr=10.0.1.1:1"));
    CHECK_ERR(px_relay_entry_parse(px_buf_slice(&line), &e, &error), PX_EPARSE);
    px_buf_deinit(&line);
}

TEST(names_are_used_once_and_edits_keep_the_other_lines)
{
    static struct px_relay_list l;
    struct px_buf text, out;
    px_buf_init(&text, 65536);
    px_buf_init(&out, 65536);
    CHECK_OK(px_buf_put_cstr(&text, "# mine\njunk\n"));
    put_relay(&text, 1);
    put_relay(&text, 2);
    px_relay_list_parse(px_buf_slice(&text), &l);
    CHECK(l.count == 2 && l.error_count == 1);
    CHECK(px_relay_list_find(&l, PX_SLICE_LIT("r2")) == &l.entries[1]);
    CHECK(px_relay_list_find(&l, PX_SLICE_LIT("10.0.0.1:1")) == &l.entries[0]);
    CHECK(px_relay_list_find(&l, PX_SLICE_LIT("")) == NULL);
    struct px_relay_entry e = l.entries[0];
    snprintf(e.name, sizeof(e.name), "r2");
    CHECK_ERR(px_relay_text_set(px_buf_slice(&text), &e, &out), PX_EEXIST);
    snprintf(e.name, sizeof(e.name), "x\nevil");
    CHECK_ERR(px_relay_text_set(px_buf_slice(&text), &e, &out), PX_EPARSE);
    CHECK_INT(out.len, 0);
    CHECK_OK(px_relay_text_remove(px_buf_slice(&text), &l.entries[0].id, &out));
    CHECK(px_slice_starts(px_buf_slice(&out), PX_SLICE_LIT("# mine\njunk\n" PX_RELAY_URL)));
    CHECK_ERR(px_relay_text_remove(px_slice(NULL, 0), &l.entries[0].id, &out), PX_ENOENT);
    px_buf_deinit(&text);
    px_buf_deinit(&out);
}

TEST(a_line_may_name_the_tcp_port)
{
    static const struct {
        const char *line;
        int err;
        uint16_t tcp;
    } rows[] = {
        {PX_RELAY_URL A "@relay.example:1", 0, 0},
        {PX_RELAY_URL A "@relay.example:1 tcp=8443", 0, 8443},
        {PX_RELAY_URL A "@relay.example:1?tcp=8443 name=r", 0, 8443},
        {PX_RELAY_URL A "@relay.example:1?tcp=8443 tcp=8443", PX_EPARSE, 0},
        {A " addr=10.0.0.1:1 addr=10.0.0.2:1 tcp=8443 name=r # why", 0, 8443},
        {PX_RELAY_URL A "@relay.example:1 tcp=0", PX_EPARSE, 0},
        {PX_RELAY_URL A "@relay.example:1 tcp=65536", PX_EPARSE, 0},
        {PX_RELAY_URL A "@relay.example:1 tcp=x", PX_EPARSE, 0},
        {PX_RELAY_URL A "@relay.example:1 tcp=1 tcp=2", PX_EPARSE, 0},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_relay_entry e, back;
        struct px_auth_error error;
        struct px_buf out;
        CHECK_ERR(px_relay_entry_parse(px_slice_cstr(rows[i].line), &e, &error), rows[i].err);
        if (rows[i].err != 0)
            continue;
        CHECK_INT(e.tcp, rows[i].tcp);
        px_buf_init(&out, 4096);
        CHECK_OK(px_relay_entry_format(&e, &out));
        CHECK_OK(px_relay_entry_parse(px_slice(out.data, out.len - 1), &back, &error));
        CHECK_INT(back.tcp, rows[i].tcp);
        px_buf_deinit(&out);
    }
}

TEST(a_file_has_a_longest_length)
{
    char path[] = "/tmp/px-test-relays.XXXXXX";
    struct px_relay_list list;
    struct px_buf text;
    int fd = mkstemp(path);
    CHECK(fd >= 0 && close(fd) == 0);
    px_buf_init(&text, PX_RELAY_FILE_MAX + 1);
    put_relay(&text, 1);
    while (text.len < PX_RELAY_FILE_MAX)
        CHECK_OK(px_buf_put_u8(&text, '#'));
    CHECK_OK(px_file_write_atomic(path, px_buf_slice(&text), 0600, false));
    CHECK_OK(px_relay_list_load(path, &list));
    CHECK_INT(list.count, 1);
    CHECK_OK(px_buf_put_u8(&text, '#'));
    CHECK_OK(px_file_write_atomic(path, px_buf_slice(&text), 0600, false));
    CHECK_ERR(px_relay_list_load(path, &list), PX_ELIMIT);
    px_buf_deinit(&text);
    unlink(path);
}
