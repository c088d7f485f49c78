/* The hash map against published SipHash vectors and a naive list. */
#include "proto/base/map.h"
#include "tests/test.h"

TEST(siphash_gives_its_published_vectors)
{
    /* Key 00..0f, input 00..n-1: first entries and entry 15 of the reference table. */
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {{0, 0x726fdb47dd0e0e31u}, {1, 0x74f839c593dc67fdu}, {15, 0xa129ca6149be45e5u}};
    const uint64_t seed[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    uint8_t in[16];
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)i;
    for (size_t i = 0; i < PX_ARRAY_LEN(vectors); i++)
        CHECK(px_siphash(seed, px_slice(in, vectors[i].len)) == vectors[i].hash);
}

struct item {
    struct px_map_node node;
    uint64_t key;
    bool in;
};

TEST(map_finds_what_is_in_it_and_nothing_else)
{
    enum { N = 500 };
    static struct item items[N];
    memset(items, 0, sizeof(items));
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 1);
    struct px_map m;
    CHECK_OK(px_map_init(&m, &rng));
    for (uint64_t i = 0; i < N; i++)
        items[i].key = i * i;
    size_t count = 0;
    for (int step = 0; step < 5000; step++) {
        struct item *it = &items[px_test_rng_next(&state) % N];
        struct px_slice key = px_slice(&it->key, sizeof(it->key));
        CHECK(px_map_find(&m, key) == (it->in ? &it->node : NULL));
        if (it->in)
            px_map_remove(&m, &it->node);
        else
            px_map_insert(&m, &it->node, key);
        count = it->in ? count - 1 : count + 1;
        it->in = !it->in;
        CHECK_INT(m.count, count);
    }
    for (size_t i = 0; i < N; i++) {
        uint64_t key = items[i].key; /* equal bytes at another place */
        CHECK(px_map_find(&m, px_slice(&key, sizeof(key))) ==
              (items[i].in ? &items[i].node : NULL));
    }
    px_map_deinit(&m);
}
