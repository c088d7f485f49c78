/* Nodes that list each other, for the tests of LAN discovery. */
#ifndef PX_TESTS_LAN_FIXTURE_H
#define PX_TESTS_LAN_FIXTURE_H

#include "auth/authorized_keys.h"
#include "auth/identity.h"
#include "proto/addr.h"
#include "tests/test.h"

static inline void px_test_identity(uint64_t seed, struct px_identity *ret)
{
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, seed);
    px_identity_generate(&rng, ret);
}

/* The list that has identities seeded first … first + count - 1. */
static inline struct px_authorized_keys *px_test_list(uint64_t first, size_t count)
{
    struct px_authorized_keys *list;
    struct px_identity identity;
    struct px_buf text;
    char id[PX_PEER_ID_TEXT_MAX];
    px_buf_init(&text, 1u << 20);
    for (size_t i = 0; i < count; i++) {
        px_test_identity(first + i, &identity);
        CHECK_OK(px_buf_printf(&text, "%s\n", px_peer_id_format(&identity.id, id)));
    }
    CHECK_OK(px_authorized_keys_parse(px_buf_slice(&text), &list));
    CHECK_INT(px_authorized_keys_count(list), count);
    px_buf_deinit(&text);
    return list;
}

static inline struct px_addr px_test_addr(const char *text)
{
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return a;
}

#endif
