/* The local copy of the network's names: whose word counts, what pushes what out, what a file may
 * say. */
#include "node/net_names.h"

#include <stdio.h>

#include "relay/record.h"
#include "tests/test.h"

#define DAY ((int64_t)24 * 3600)
#define NOW (1000 * DAY)

static const struct px_peer_id one = {{1}}, two = {{2}};

static struct px_identity identity(uint64_t seed)
{
    struct px_identity i;
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, seed);
    CHECK_OK(px_crypto_init());
    px_identity_generate(&rng, &i);
    return i;
}

/* What the peer of that seed says of itself; "": it has no name. */
static struct px_slice record_in(const char *network, uint64_t seed, const char *name,
                                 uint64_t sequence)
{
    static uint8_t bytes[PX_RELAY_RECORD_MAX];
    struct px_identity i = identity(seed);
    struct px_buf out;
    const struct px_record rec = {
        .sequence = sequence, .name_space = px_slice_cstr(network), .name = px_slice_cstr(name)};
    px_buf_init(&out, sizeof(bytes));
    CHECK_OK(px_record_sign(&i, &rec, &out));
    memcpy(bytes, out.data, out.len);
    struct px_slice s = px_slice(bytes, out.len);
    px_buf_deinit(&out);
    return s;
}

static struct px_slice record(uint64_t seed, const char *name, uint64_t sequence)
{
    return record_in("home", seed, name, sequence);
}

static struct px_net_names *table(void)
{
    struct px_net_names *n;
    CHECK_OK(px_net_names_new(&n));
    return n;
}

static void check_means(const struct px_net_names *n, const char *word, uint64_t seed)
{
    const struct px_net_name *name;
    struct px_identity i = identity(seed);
    CHECK_OK(px_net_names_find(n, px_slice_cstr(word), NOW, &name));
    CHECK(px_peer_id_eq(&name->peer, &i.id));
}

static void check_none(const struct px_net_names *n, const char *word, int err)
{
    const struct px_net_name *name;
    CHECK_ERR(px_net_names_find(n, px_slice_cstr(word), NOW, &name), err);
}

TEST(a_name_of_a_network_has_a_dot)
{
    static const struct {
        const char *word;
        bool valid;
    } rows[] = {
        {"bob.home", true}, {"bob.home.arpa", true}, {"bob", false}, {"bob.", false},
        {".home", false},   {"Bob.home", false},     {"", false},    {".", false},
        {"-b.home", false}, {"bob.Home_1", true},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        CHECK_INT(px_net_name_valid(px_slice_cstr(rows[i].word)), rows[i].valid);
}

TEST(a_record_gives_its_signer_the_name)
{
    struct px_net_names *n = table();
    CHECK_OK(px_net_names_take(n, &one, record(1, "bob", 5), NOW));
    check_means(n, "bob.home", 1);
    check_none(n, "bob", PX_ENOENT);
    check_none(n, "bob.office", PX_ENOENT);
    CHECK_OK(px_net_names_take(n, &one, record_in("office", 1, "desk", 1), NOW));
    check_means(n, "bob.home", 1);
    check_means(n, "desk.office", 1);
    px_net_names_free(n);
}

TEST(a_forged_or_strange_record_is_not_kept)
{
    struct px_net_names *n = table();
    struct px_slice good = record(1, "bob", 5);
    for (size_t byte = 0; byte < good.len; byte += 7) {
        uint8_t bad[PX_RELAY_RECORD_MAX];
        memcpy(bad, good.data, good.len);
        bad[byte] ^= 1;
        CHECK(px_net_names_take(n, &one, px_slice(bad, good.len), NOW) != 0);
    }
    CHECK_ERR(px_net_names_take(n, &one, record_in("a b", 1, "bob", 5), NOW), PX_EPARSE);
    CHECK_INT(px_net_names_count(n), 0);
    px_net_names_free(n);
}

TEST(a_newer_record_counts_and_an_older_one_does_not)
{
    struct px_net_names *n = table();
    CHECK_OK(px_net_names_take(n, &one, record(1, "bob", 5), NOW));
    CHECK_OK(px_net_names_take(n, &one, record(1, "robert", 6), NOW));
    check_none(n, "bob.home", PX_ENOENT);
    check_means(n, "robert.home", 1);
    CHECK_ERR(px_net_names_take(n, &two, record(1, "bob", 5), NOW), PX_ESTATE);
    CHECK_ERR(px_net_names_take(n, &one, record(1, "robert", 7), NOW), PX_EEXIST);
    CHECK_OK(px_net_names_take(n, &one, record(1, "", 8), NOW));
    check_none(n, "robert.home", PX_ENOENT);
    CHECK_ERR(px_net_names_take(n, &one, record(1, "", 9), NOW), PX_ENOENT);
    px_net_names_free(n);
}

TEST(one_relay_changes_its_mind_and_two_may_disagree)
{
    struct px_net_names *n = table();
    CHECK_OK(px_net_names_take(n, &one, record(1, "bob", 5), NOW));
    CHECK_OK(px_net_names_take(n, &one, record(2, "bob", 5), NOW));
    check_means(n, "bob.home", 2);
    CHECK_OK(px_net_names_take(n, &two, record(1, "bob", 5), NOW));
    check_none(n, "bob.home", PX_EEXIST); /* nobody here can tell */
    px_net_names_free(n);
}

TEST(what_is_gone_at_the_relay_stays_here_until_it_is_old)
{
    struct px_net_names *n = table();
    struct px_identity i = identity(1);
    const struct px_net_name *name;
    CHECK_OK(px_net_names_take(n, &one, record(1, "bob", 5), NOW - PX_NET_NAMES_AGE));
    px_net_names_gone(n, &two, &i.id);
    CHECK_OK(px_net_names_find(n, PX_SLICE_LIT("bob.home"), NOW, &name));
    CHECK(!name->gone);
    px_net_names_gone(n, &one, &i.id);
    CHECK_OK(px_net_names_find(n, PX_SLICE_LIT("bob.home"), NOW, &name));
    CHECK(name->gone);
    CHECK_ERR(px_net_names_find(n, PX_SLICE_LIT("bob.home"), NOW + 1, &name), PX_ENOENT);
    px_net_names_free(n);
}

TEST(a_relay_pushes_out_its_own_and_all_have_room)
{
    struct px_net_names *n = table();
    char name[16];
    CHECK_OK(px_net_names_take(n, &two, record(1, "bob", 5), NOW - DAY));
    for (unsigned i = 0; i < PX_NET_NAMES_PER_RELAY + 3; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        CHECK_OK(px_net_names_take(n, &one, record(100 + i, name, 1), NOW - 1000 + i));
    }
    CHECK_INT(px_net_names_count(n), PX_NET_NAMES_PER_RELAY + 1);
    check_means(n, "bob.home", 1);
    check_none(n, "n2.home", PX_ENOENT);
    check_means(n, "n3.home", 103);
    for (unsigned i = 0; px_net_names_count(n) < PX_NET_NAMES_MAX; i++) {
        const struct px_peer_id relay = {{(uint8_t)(3 + i / PX_NET_NAMES_PER_RELAY)}};
        snprintf(name, sizeof(name), "m%u", i);
        CHECK_OK(px_net_names_take(n, &relay, record(1000 + i, name, 1), NOW));
    }
    check_means(n, "bob.home", 1);
    CHECK_OK(px_net_names_take(n, &(struct px_peer_id){{99}}, record(9999, "last", 1), NOW));
    CHECK_INT(px_net_names_count(n), PX_NET_NAMES_MAX);
    check_none(n, "bob.home", PX_ENOENT); /* seen longest ago of all */
    px_net_names_free(n);
}

TEST(the_text_reads_back_and_signatures_are_checked_again)
{
    struct px_net_names *n = table(), *back = table();
    struct px_buf text;
    const struct px_net_name *name;
    size_t bad;
    px_buf_init(&text, PX_NET_NAMES_FILE_MAX);
    CHECK_OK(px_net_names_take(n, &one, record(1, "bob", 5), NOW - DAY));
    CHECK_OK(px_net_names_take(n, &two, record(2, "ann", 5), NOW - 31 * DAY)); /* too old */
    CHECK_OK(px_net_names_take(n, &two, record(3, "eve", 5), NOW + DAY));
    CHECK_OK(px_net_names_write(n, NOW, &text));
    CHECK_OK(px_net_names_read(back, px_buf_slice(&text), NOW, &bad));
    CHECK_INT(bad, 0);
    CHECK_INT(px_net_names_count(back), 2);
    check_means(back, "bob.home", 1);
    CHECK_OK(px_net_names_find(back, PX_SLICE_LIT("bob.home"), NOW, &name));
    CHECK(name->seen == NOW - DAY && px_peer_id_eq(&name->relay, &one));
    CHECK_OK(px_net_names_find(back, PX_SLICE_LIT("eve.home"), NOW, &name));
    CHECK(name->seen == NOW);
    px_net_names_free(back);
    back = table();
    text.data[text.len - 8] ^= 1; /* in the last record's signature */
    CHECK_OK(px_buf_put_cstr(&text, "junk\n1 2 3\n"));
    CHECK_OK(px_net_names_read(back, px_buf_slice(&text), NOW, &bad));
    CHECK_INT(bad, 3);
    CHECK_INT(px_net_names_count(back), 1);
    px_buf_deinit(&text);
    px_net_names_free(back);
    px_net_names_free(n);
}
