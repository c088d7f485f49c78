/* What the substituter remembers: facts and faults come back, are forgotten in time, and never
 * become too many. */
#include "node/nix/nar_memory.h"

#include "tests/test.h"

#define NOW (5 * PX_SEC)

static char hash_text[PX_STORE_HASH_LEN + 1];

static struct px_slice hash_part(size_t i)
{
    snprintf(hash_text, sizeof(hash_text), "%032zu", i);
    return px_slice(hash_text, PX_STORE_HASH_LEN);
}

static struct px_nar_memory *new_memory(void)
{
    struct px_nar_memory *m;
    CHECK_OK(px_nar_memory_new(&m));
    return m;
}

static struct px_nar_fact fact_of(uint64_t size)
{
    return (struct px_nar_fact){.nar_hash = {1, 2, 3}, .nar_size = size};
}

TEST(a_fact_is_told_again_until_its_time_is_over)
{
    struct px_nar_memory *m = new_memory();
    struct px_nar_fact fact = fact_of(7);
    CHECK(px_nar_memory_get(m, NOW, hash_part(1)) == NULL);
    px_nar_memory_put(m, NOW, hash_part(1), &fact);
    const struct px_nar_fact *got = px_nar_memory_get(m, NOW + PX_NAR_FACT_TIME - 1, hash_part(1));
    CHECK(got != NULL && got->nar_size == 7 && memcmp(got->nar_hash, fact.nar_hash, 32) == 0);
    CHECK(px_nar_memory_get(m, NOW, hash_part(2)) == NULL);
    CHECK(px_nar_memory_get(m, NOW + PX_NAR_FACT_TIME, hash_part(1)) == NULL);
    px_nar_memory_free(m);
}

TEST(a_newer_fact_takes_the_place_and_the_time_of_the_old)
{
    struct px_nar_memory *m = new_memory();
    struct px_nar_fact old = fact_of(7), newer = fact_of(8);
    px_nar_memory_put(m, NOW, hash_part(1), &old);
    px_nar_memory_put(m, NOW + PX_SEC, hash_part(1), &newer);
    const struct px_nar_fact *got = px_nar_memory_get(m, NOW + PX_NAR_FACT_TIME, hash_part(1));
    CHECK(got != NULL && got->nar_size == 8);
    px_nar_memory_free(m);
}

TEST(the_fact_asked_for_longest_ago_makes_room)
{
    struct px_nar_memory *m = new_memory();
    for (size_t i = 0; i < PX_NAR_FACTS_MAX; i++) {
        struct px_nar_fact fact = fact_of(i + 1);
        px_nar_memory_put(m, NOW, hash_part(i), &fact);
    }
    CHECK(px_nar_memory_get(m, NOW, hash_part(0)) != NULL); /* so 1 is the oldest now */
    struct px_nar_fact one_more = fact_of(1);
    px_nar_memory_put(m, NOW, hash_part(PX_NAR_FACTS_MAX), &one_more);
    CHECK(px_nar_memory_get(m, NOW, hash_part(0)) != NULL);
    CHECK(px_nar_memory_get(m, NOW, hash_part(1)) == NULL);
    CHECK(px_nar_memory_get(m, NOW, hash_part(2)) != NULL);
    px_nar_memory_free(m);
}

TEST(blame_holds_for_one_peer_and_one_nar_and_a_time)
{
    static const uint8_t nar[32] = {1}, other_nar[32] = {2};
    const struct px_peer_id peer = {{1}}, other_peer = {{2}};
    struct px_nar_memory *m = new_memory();
    CHECK(!px_nar_memory_blamed(m, NOW, nar, &peer));
    px_nar_memory_blame(m, NOW, nar, &peer);
    CHECK(px_nar_memory_blamed(m, NOW + PX_NAR_FAULT_TIME - 1, nar, &peer));
    CHECK(!px_nar_memory_blamed(m, NOW, other_nar, &peer));
    CHECK(!px_nar_memory_blamed(m, NOW, nar, &other_peer));
    CHECK(!px_nar_memory_blamed(m, NOW + PX_NAR_FAULT_TIME, nar, &peer));
    px_nar_memory_free(m);
}

TEST(the_oldest_fault_makes_room)
{
    static const uint8_t nar[32] = {1}, other_nar[32] = {2};
    const struct px_peer_id peer = {{1}};
    struct px_nar_memory *m = new_memory();
    px_nar_memory_blame(m, NOW, nar, &peer);
    for (int i = 0; i < PX_NAR_FAULTS_MAX - 1; i++)
        px_nar_memory_blame(m, NOW, other_nar, &peer);
    CHECK(px_nar_memory_blamed(m, NOW, nar, &peer));
    px_nar_memory_blame(m, NOW, other_nar, &peer);
    CHECK(!px_nar_memory_blamed(m, NOW, nar, &peer));
    px_nar_memory_free(m);
}
