/* The heap against a naive minimum. */
#include "proto/base/heap.h"
#include "tests/test.h"

TEST(heap_top_is_the_least_key_through_inserts_moves_and_removals)
{
    enum { N = 200 };
    struct px_heap_node nodes[N] = {0};
    struct px_test_rng state;
    (void)px_test_rng(&state, 7);
    struct px_heap h;
    px_heap_init(&h);
    CHECK_OK(px_heap_reserve(&h, N));
    for (int step = 0; step < 20000; step++) {
        struct px_heap_node *node = &nodes[px_test_rng_next(&state) % N];
        if (px_test_rng_next(&state) % 3 == 0)
            px_heap_remove(&h, node);
        else
            px_heap_set(&h, node, px_test_rng_next(&state) % 1000);
        px_nsec least = PX_NEVER;
        size_t count = 0;
        for (size_t i = 0; i < N; i++) {
            if (nodes[i].at == 0)
                continue;
            count++;
            least = PX_MIN(least, nodes[i].key);
        }
        CHECK_INT(h.len, count);
        const struct px_heap_node *top = px_heap_top(&h);
        CHECK((top == NULL) == (count == 0));
        CHECK(top == NULL || top->key == least);
    }
    px_heap_deinit(&h);
}

TEST(heap_empties_in_order)
{
    struct px_heap_node nodes[100] = {0};
    struct px_test_rng state;
    (void)px_test_rng(&state, 8);
    struct px_heap h;
    px_heap_init(&h);
    CHECK(px_heap_top(&h) == NULL);
    for (size_t i = 0; i < PX_ARRAY_LEN(nodes); i++) {
        CHECK_OK(px_heap_reserve(&h, i + 1));
        px_heap_set(&h, &nodes[i], px_test_rng_next(&state));
    }
    px_nsec last = 0;
    for (struct px_heap_node *top; (top = px_heap_top(&h)) != NULL; last = top->key) {
        CHECK(top->key >= last);
        px_heap_remove(&h, top);
    }
    px_heap_deinit(&h);
}
