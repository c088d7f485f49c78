/* Bounds of the relay's tables that one node, or many, can run into: admission, and what a client
 * has under way. */
#include "auth/crypto.h"
#include "relay/admission.h"
#include "relay/client.h"
#include "relay/registry.h"
#include "tests/test.h"

static struct px_peer_id peer(unsigned n)
{
    return (struct px_peer_id){.key = {1, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
}

/* --- admission --- */

static bool everyone(void *ctx, const struct px_peer_id *id)
{
    (void)ctx, (void)id;
    return true;
}

static struct px_admission *admission_new(void)
{
    static struct px_test_rng seed;
    const struct px_admission_config config = {.rng = px_test_rng(&seed, 1), .is_member = everyone};
    struct px_admission *a;
    CHECK_OK(px_admission_new(&config, &a));
    return a;
}

static enum px_relay_status invite(struct px_admission *a, unsigned member, unsigned n, px_nsec ttl)
{
    const struct px_peer_id id = peer(member);
    uint8_t hash[PX_RELAY_SECRET_LEN] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    return px_admission_invite(a, &id, hash, ttl, PX_SEC);
}

TEST(an_invite_lives_between_a_second_and_a_week)
{
    struct px_admission *a = admission_new();
    CHECK_INT(invite(a, 1, 1, PX_ADMISSION_TTL_MIN - 1), PX_RELAY_MALFORMED_MESSAGE);
    CHECK_INT(invite(a, 1, 1, PX_ADMISSION_TTL_MAX + 1), PX_RELAY_MALFORMED_MESSAGE);
    CHECK_INT(invite(a, 1, 1, PX_ADMISSION_TTL_MIN), PX_RELAY_OK);
    CHECK_INT(invite(a, 1, 2, PX_ADMISSION_TTL_MAX), PX_RELAY_OK);
    px_admission_free(a);
}

TEST(a_member_vouches_for_64_nodes)
{
    struct px_admission *a = admission_new();
    const struct px_peer_id member = peer(1), other = peer(2);
    struct px_peer_id node;
    for (unsigned n = 0; n < PX_ADMISSION_VOUCHED_MAX; n++) {
        node = peer(100 + n);
        CHECK_INT(px_admission_vouch(a, &member, &node, true), PX_RELAY_OK);
    }
    node = peer(99);
    CHECK_INT(px_admission_vouch(a, &member, &node, true), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(px_admission_vouch(a, &other, &node, true), PX_RELAY_OK);
    node = peer(100);
    CHECK_INT(px_admission_vouch(a, &member, &node, true), PX_RELAY_OK); /* the same again */
    CHECK_INT(px_admission_vouch(a, &member, &node, false), PX_RELAY_OK);
    node = peer(99);
    CHECK_INT(px_admission_vouch(a, &member, &node, true), PX_RELAY_OK);
    px_admission_free(a);
}

TEST(all_members_together_fill_no_more_than_the_table)
{
    struct px_admission *a = admission_new();
    unsigned members = PX_ADMISSION_ITEMS_MAX / PX_ADMISSION_INVITES_MAX;
    for (unsigned n = 0; n < PX_ADMISSION_ITEMS_MAX; n++)
        CHECK_INT(invite(a, n % members, n, 60 * PX_SEC), PX_RELAY_OK);
    CHECK(invite(a, members, PX_ADMISSION_ITEMS_MAX, 60 * PX_SEC) != PX_RELAY_OK);
    CHECK_INT(px_admission_invites(a), PX_ADMISSION_ITEMS_MAX);
    (void)px_admission_run(a, 100 * PX_SEC);
    CHECK_INT(px_admission_invites(a), 0);
    CHECK_INT(invite(a, members, 1, 60 * PX_SEC), PX_RELAY_OK);
    px_admission_free(a);
}

/* A store that fails when it is told to. */
struct bad_store {
    bool fails, drop_fails, end_fails;
    unsigned drops, undone;
};

static int bad_put(void *ctx, enum px_relay_item kind, struct px_slice key, struct px_slice value,
                   px_nsec ttl)
{
    (void)kind, (void)key, (void)value, (void)ttl;
    return ((const struct bad_store *)ctx)->fails ? PX_EIO : 0;
}

static int bad_drop(void *ctx, enum px_relay_item kind, struct px_slice key)
{
    struct bad_store *s = ctx;
    (void)kind, (void)key;
    s->drops += !s->drop_fails;
    return s->drop_fails ? PX_EIO : 0;
}

static int bad_begin(void *ctx)
{
    (void)ctx;
    return 0;
}

static int bad_end(void *ctx, bool keep)
{
    struct bad_store *s = ctx;
    s->undone += !keep;
    return s->end_fails ? PX_EIO : 0;
}

static int bad_each(void *ctx, enum px_relay_item kind,
                    void (*fn)(void *fn_ctx, struct px_slice key, struct px_slice value,
                               px_nsec ttl),
                    void *fn_ctx)
{
    (void)ctx, (void)kind, (void)fn, (void)fn_ctx;
    return 0;
}

static struct px_relay_store store_of(struct bad_store *bad)
{
    return (struct px_relay_store){.put = bad_put,
                                   .drop = bad_drop,
                                   .begin = bad_begin,
                                   .end = bad_end,
                                   .each = bad_each,
                                   .ctx = bad};
}

static bool is_low(void *ctx, const struct px_peer_id *id)
{
    (void)ctx;
    return id->key[3] < 10;
}

TEST(a_store_that_fails_loses_no_admission)
{
    static struct px_test_rng seed;
    struct bad_store bad = {0};
    const struct px_relay_store store = store_of(&bad);
    const struct px_admission_config config = {
        .rng = px_test_rng(&seed, 1), .is_member = is_low, .store = &store};
    const uint8_t secret[2][PX_RELAY_SECRET_LEN] = {{1}, {2}};
    const struct px_peer_id inviter[2] = {peer(1), peer(2)}, joiner = peer(50);
    uint8_t hash[PX_HASH_LEN];
    struct px_peer_id by;
    px_nsec ttl;
    struct px_admission *a;
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_admission_new(&config, &a));
    for (int i = 0; i < 2; i++) {
        px_sha256(px_slice(secret[i], sizeof(secret[i])), hash);
        CHECK_INT(px_admission_invite(a, &inviter[i], hash, 60 * PX_SEC, 0), PX_RELAY_OK);
    }
    CHECK_INT(px_admission_admit(a, &joiner, secret[0], 0, &by, &ttl), PX_RELAY_OK);

    bad.fails = true; /* a longer time for an invite: it stays the shorter one */
    CHECK_INT(px_admission_invite(a, &inviter[1], hash, 3600 * PX_SEC, 0), PX_RELAY_INTERNAL);
    CHECK_INT(px_admission_invites(a), 1);
    CHECK_INT(px_admission_admit(a, &joiner, secret[1], 0, &by, &ttl), PX_RELAY_INTERNAL);
    CHECK_INT(px_admission_class(a, &joiner, 0), PX_RELAY_JOINER);
    CHECK(px_admission_is_pair(a, &joiner, &inviter[0]));
    CHECK_INT(px_admission_invites(a), 1);
    CHECK_INT(bad.drops, 1); /* the first invite, used up */
    const struct px_peer_id other = peer(51);
    CHECK_INT(px_admission_admit(a, &other, secret[1], 0, &by, &ttl), PX_RELAY_INTERNAL);
    CHECK_INT(px_admission_class(a, &other, 0), PX_RELAY_UNKNOWN);
    CHECK_INT(px_admission_vouch(a, &inviter[0], &other, true), PX_RELAY_INTERNAL);
    CHECK_INT(px_admission_class(a, &other, 0), PX_RELAY_UNKNOWN);

    bad.fails = false; /* and the same invite is good again */
    CHECK_INT(px_admission_admit(a, &joiner, secret[1], 0, &by, &ttl), PX_RELAY_OK);
    CHECK(px_admission_is_pair(a, &joiner, &inviter[1]) && px_peer_id_eq(&by, &inviter[1]));
    CHECK_INT(px_admission_invites(a), 0);
    CHECK_INT(ttl, 60 * PX_SEC);
    px_admission_free(a);
}

static bool everybody(void *ctx, const struct px_peer_id *id)
{
    (void)id;
    return *(const bool *)ctx; /* or nobody */
}

/* What a broken disk keeps must not come back with the next start. */
TEST(what_ends_is_dropped_until_the_store_has_done_it)
{
    static struct px_test_rng seed;
    struct bad_store bad = {.drop_fails = true};
    bool members = true;
    const struct px_relay_store store = store_of(&bad);
    const struct px_admission_config config = {
        .rng = px_test_rng(&seed, 1), .is_member = everybody, .ctx = &members, .store = &store};
    const struct px_peer_id member = peer(1), node = peer(50), other = peer(51);
    const uint8_t hash[PX_HASH_LEN] = {7};
    struct px_admission *a;
    CHECK_OK(px_admission_new(&config, &a));
    CHECK_INT(px_admission_vouch(a, &member, &node, true), PX_RELAY_OK);
    CHECK_INT(px_admission_vouch(a, &member, &other, true), PX_RELAY_OK);
    CHECK_INT(px_admission_invite(a, &member, hash, 60 * PX_SEC, 0), PX_RELAY_OK);

    /* ended at once, and told that it is not on the disk yet; by hand again or by itself */
    members = false; /* as questions go: nobody is one */
    CHECK_INT(px_admission_vouch(a, &member, &node, false), PX_RELAY_INTERNAL);
    CHECK_INT(px_admission_class(a, &node, 0), PX_RELAY_UNKNOWN);
    CHECK_INT(px_admission_class(a, &other, 0), PX_RELAY_VOUCHED);
    CHECK_INT(px_admission_uninvite(a, &member, hash), PX_RELAY_INTERNAL);
    CHECK_INT(px_admission_invites(a), 0);
    CHECK(!px_admission_hears_unknown(a, 0));
    (void)px_admission_run(a, PX_SEC);
    CHECK(px_admission_deadline(a) > PX_SEC && px_admission_deadline(a) < 60 * PX_SEC);
    bad.drop_fails = false;
    CHECK_INT(px_admission_vouch(a, &member, &node, false), PX_RELAY_OK);
    CHECK_INT(px_admission_vouch(a, &member, &node, false), PX_RELAY_NOT_FOUND);
    CHECK_INT(bad.drops, 1);
    (void)px_admission_run(a, px_admission_deadline(a));
    CHECK_INT(bad.drops, 2);
    CHECK_INT(px_admission_uninvite(a, &member, hash), PX_RELAY_NOT_FOUND);

    /* a member that is removed and comes back finds nothing of before, and may begin anew */
    bad.drop_fails = true;
    px_admission_recheck(a);
    CHECK_INT(px_admission_class(a, &other, 0), PX_RELAY_UNKNOWN);
    CHECK_INT(px_admission_deadline(a), 0);
    CHECK_INT(px_admission_vouch(a, &member, &other, true), PX_RELAY_OK);
    CHECK_INT(px_admission_class(a, &other, 0), PX_RELAY_VOUCHED);
    bad.drop_fails = false;
    (void)px_admission_run(a, 100 * PX_SEC);
    CHECK_INT(px_admission_class(a, &other, 0), PX_RELAY_VOUCHED);
    CHECK_INT(bad.drops, 2);
    px_admission_free(a);
}

TEST(an_invite_is_used_up_on_the_disk_together_with_the_admission_or_not_at_all)
{
    static struct px_test_rng seed;
    struct bad_store bad = {0};
    const struct px_relay_store store = store_of(&bad);
    const struct px_admission_config config = {
        .rng = px_test_rng(&seed, 1), .is_member = is_low, .store = &store};
    const struct px_peer_id member = peer(1), joiner = peer(50);
    const uint8_t secret[PX_RELAY_SECRET_LEN] = {1};
    uint8_t hash[PX_HASH_LEN];
    struct px_peer_id by;
    px_nsec ttl;
    struct px_admission *a;
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_admission_new(&config, &a));
    px_sha256(px_slice(secret, sizeof(secret)), hash);
    CHECK_INT(px_admission_invite(a, &member, hash, 60 * PX_SEC, 0), PX_RELAY_OK);
    bad.drop_fails = true;
    CHECK_INT(px_admission_admit(a, &joiner, secret, 0, &by, &ttl), PX_RELAY_INTERNAL);
    CHECK_INT(bad.undone, 1);
    bad.drop_fails = false;
    bad.end_fails = true;
    CHECK_INT(px_admission_admit(a, &joiner, secret, 0, &by, &ttl), PX_RELAY_INTERNAL);
    CHECK_INT(px_admission_class(a, &joiner, 0), PX_RELAY_UNKNOWN);
    CHECK_INT(px_admission_invites(a), 1);
    bad.end_fails = false;
    CHECK_INT(px_admission_admit(a, &joiner, secret, 0, &by, &ttl), PX_RELAY_OK);
    CHECK_INT(px_admission_invites(a), 0);
    CHECK_INT(px_admission_admit(a, &joiner, secret, 0, &by, &ttl), PX_RELAY_NOT_FOUND);
    px_admission_free(a);
}

TEST(whom_a_member_takes_back_is_no_joiner_of_its_invite_either)
{
    static struct px_test_rng seed;
    struct bad_store bad = {0};
    const struct px_relay_store store = store_of(&bad);
    const struct px_admission_config config = {
        .rng = px_test_rng(&seed, 1), .is_member = is_low, .store = &store};
    const struct px_peer_id member = peer(1), other = peer(2), joiner = peer(50);
    const uint8_t secret[PX_RELAY_SECRET_LEN] = {1};
    uint8_t hash[PX_HASH_LEN];
    struct px_peer_id by;
    px_nsec ttl;
    CHECK_OK(px_crypto_init());
    px_sha256(px_slice(secret, sizeof(secret)), hash);
    for (int vouched = 0; vouched < 2; vouched++) {
        struct px_admission *a;
        CHECK_OK(px_admission_new(&config, &a));
        CHECK_INT(px_admission_invite(a, &member, hash, 60 * PX_SEC, 0), PX_RELAY_OK);
        CHECK_INT(px_admission_admit(a, &joiner, secret, 0, &by, &ttl), PX_RELAY_OK);
        if (vouched > 0)
            CHECK_INT(px_admission_vouch(a, &member, &joiner, true), PX_RELAY_OK);
        CHECK_INT(px_admission_vouch(a, &other, &joiner, false), PX_RELAY_NOT_FOUND);
        CHECK(px_admission_class(a, &joiner, 0) != PX_RELAY_UNKNOWN);
        bad.drop_fails = true;
        CHECK_INT(px_admission_vouch(a, &member, &joiner, false), PX_RELAY_INTERNAL);
        CHECK_INT(px_admission_class(a, &joiner, 0), PX_RELAY_UNKNOWN);
        bad.drop_fails = false;
        CHECK_INT(px_admission_vouch(a, &member, &joiner, false), PX_RELAY_OK);
        CHECK_INT(px_admission_vouch(a, &member, &joiner, false), PX_RELAY_NOT_FOUND);
        px_admission_free(a);
    }
}

/* --- the registry --- */

static void on_record(void *ctx, const struct px_registry_entry *e, bool gone)
{
    (void)ctx, (void)e, (void)gone;
}

static enum px_relay_status put_for(struct px_registry *r, const struct px_identity *node,
                                    unsigned space, px_nsec wanted, px_nsec *ret_ttl)
{
    char name[16];
    struct px_buf bytes;
    snprintf(name, sizeof(name), "space-%u", space);
    const struct px_record said = {.sequence = 1, .name_space = px_slice_cstr(name)};
    px_buf_init(&bytes, PX_RELAY_RECORD_MAX);
    CHECK_OK(px_record_sign(node, &said, &bytes));
    enum px_relay_status status = px_registry_register(
        r, &node->id, said.name_space, px_buf_slice(&bytes), wanted, PX_SEC, ret_ttl);
    px_buf_deinit(&bytes);
    return status;
}

static enum px_relay_status put_record(struct px_registry *r, const struct px_identity *node,
                                       unsigned space)
{
    px_nsec ttl;
    return put_for(r, node, space, 0, &ttl);
}

static struct px_registry *registry_new(const struct px_registry_config *config)
{
    struct px_registry *r;
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_registry_new(config, &r));
    return r;
}

TEST(a_namespace_has_so_many_records)
{
    static struct px_test_rng seed;
    const struct px_registry_config config = {.rng = px_test_rng(&seed, 2), .changed = on_record};
    struct px_registry *r = registry_new(&config);
    struct px_identity node, first;
    for (unsigned n = 0; n < PX_REGISTRY_PER_NAMESPACE; n++) {
        px_identity_generate(&config.rng, &node);
        CHECK_INT(put_record(r, &node, 1), PX_RELAY_OK);
        if (n == 0)
            first = node;
    }
    px_identity_generate(&config.rng, &node);
    CHECK_INT(put_record(r, &node, 1), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(put_record(r, &node, 2), PX_RELAY_OK);
    CHECK(px_registry_unregister(r, &first.id, PX_SLICE_LIT("space-1")));
    CHECK_INT(put_record(r, &node, 1), PX_RELAY_OK);
    px_registry_free(r);
}

TEST(a_record_lives_between_its_shortest_and_longest_time)
{
    static const struct {
        px_nsec wanted, got;
    } rows[] = {{0, PX_REGISTRY_TTL_DEFAULT},
                {PX_REGISTRY_TTL_MIN - 1, PX_REGISTRY_TTL_MIN},
                {PX_REGISTRY_TTL_MAX - 1, PX_REGISTRY_TTL_MAX - 1},
                {PX_REGISTRY_TTL_MAX, PX_REGISTRY_TTL_MAX},
                {PX_REGISTRY_TTL_MAX + 1, PX_REGISTRY_TTL_MAX}};
    static struct px_test_rng seed;
    const struct px_registry_config config = {.rng = px_test_rng(&seed, 3), .changed = on_record};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_registry *r = registry_new(&config);
        struct px_identity node;
        px_nsec ttl = 0;
        px_identity_generate(&config.rng, &node);
        CHECK_INT(put_for(r, &node, 1, rows[i].wanted, &ttl), PX_RELAY_OK);
        CHECK_INT(ttl, rows[i].got);
        px_registry_run(r, PX_SEC + ttl - 1);
        CHECK_INT(px_registry_count(r), 1);
        px_registry_run(r, PX_SEC + ttl + 2 * PX_REGISTRY_TTL_MIN);
        CHECK_INT(px_registry_count(r), 0);
        px_registry_free(r);
    }
}

TEST(all_nodes_together_fill_no_more_than_the_registry)
{
    static struct px_test_rng seed;
    const struct px_registry_config config = {.rng = px_test_rng(&seed, 1), .changed = on_record};
    const unsigned nodes = PX_REGISTRY_RECORDS_MAX / PX_REGISTRY_PER_PEER;
    struct px_registry *r;
    struct px_identity node;
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_registry_new(&config, &r));
    for (unsigned n = 0; n < nodes; n++) {
        px_identity_generate(&config.rng, &node);
        for (unsigned s = 0; s < PX_REGISTRY_PER_PEER; s++)
            CHECK_INT(put_record(r, &node, (n * PX_REGISTRY_PER_PEER + s) % 97), PX_RELAY_OK);
        if (n == 0)
            CHECK_INT(put_record(r, &node, 98), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    }
    CHECK_INT(px_registry_count(r), PX_REGISTRY_RECORDS_MAX);
    px_identity_generate(&config.rng, &node);
    CHECK_INT(put_record(r, &node, 1), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(px_registry_count(r), PX_REGISTRY_RECORDS_MAX);
    px_registry_free(r);
}

/* --- a client --- */

static struct {
    unsigned rings, declines, connects, replies, answers;
    struct px_relay_leg *ringing;
} heard;

static void on_send(void *ctx, struct px_slice frame)
{
    struct px_relay_msg m;
    (void)ctx;
    CHECK_OK(px_relay_msg_decode(px_slice_skip(frame, 2), &m));
    heard.connects += m.type == PX_RELAY_MSG_CONNECT;
    heard.declines += m.type == PX_RELAY_MSG_CONSENT && m.status == PX_RELAY_DECLINED;
}

static void on_packet(void *ctx, struct px_slice packet)
{
    struct px_relay_packet p;
    (void)ctx;
    CHECK_OK(px_relay_packet_parse(packet, &p));
    heard.answers += p.type == PX_RELAY_ANSWER;
}

static void on_reserved(void *ctx, enum px_relay_status status, enum px_relay_class class)
{
    (void)ctx, (void)status, (void)class;
}

static void on_ring(void *ctx, struct px_relay_leg *leg, const struct px_peer_id *caller)
{
    (void)ctx, (void)caller;
    heard.rings++;
    heard.ringing = leg;
}

static void on_open(void *ctx, struct px_relay_leg *leg)
{
    (void)ctx, (void)leg;
}

static void on_data(void *ctx, struct px_relay_leg *leg, struct px_slice payload)
{
    (void)ctx, (void)leg, (void)payload;
}

static void on_ended(void *ctx, struct px_relay_leg *leg, enum px_relay_status why)
{
    (void)ctx, (void)leg, (void)why;
}

static void on_reply(void *ctx, void *token, enum px_relay_status status,
                     const struct px_relay_msg *m)
{
    (void)ctx, (void)token, (void)m;
    CHECK_INT(status, PX_RELAY_NO_ANSWER);
    heard.replies++;
}

static void on_observed(void *ctx, const struct px_addr *a)
{
    (void)ctx, (void)a;
}

static void on_changed(void *ctx, const struct px_relay_msg *m)
{
    (void)ctx, (void)m;
}

static void on_restarting(void *ctx, px_nsec left, px_nsec spread)
{
    (void)ctx, (void)left, (void)spread;
}

static const struct px_relay_client_ops client_ops = {
    on_send,  on_packet, on_reserved, on_ring,    on_open,      on_data,
    on_ended, on_reply,  on_observed, on_changed, on_restarting};

static struct px_relay_client *client_up(void)
{
    static struct px_test_rng seed;
    const uint8_t binding[PX_RELAY_CLIENT_BINDING_LEN] = {0};
    const struct px_relay_client_config config = {.rng = px_test_rng(&seed, 1), .ops = &client_ops};
    struct px_relay_client *c;
    memset(&heard, 0, sizeof(heard));
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_relay_client_new(&config, &c));
    px_relay_client_up(c, binding, PX_SEC);
    return c;
}

TEST(a_client_has_so_many_requests_under_way)
{
    struct px_relay_client *c = client_up();
    struct px_relay_msg m = {.type = PX_RELAY_MSG_OBSERVE};
    for (unsigned n = 0; n < PX_RELAY_CLIENT_REQUESTS_MAX; n++)
        CHECK_OK(px_relay_client_request(c, &m, NULL, PX_SEC));
    CHECK_ERR(px_relay_client_request(c, &m, NULL, PX_SEC), PX_EBUSY);
    px_relay_client_run(c, PX_SEC + PX_RELAY_REQUEST_TIME);
    CHECK_INT(heard.replies, PX_RELAY_CLIENT_REQUESTS_MAX);
    CHECK_OK(px_relay_client_request(c, &m, NULL, PX_SEC + PX_RELAY_REQUEST_TIME));
    px_relay_client_free(c);
}

static void ring(struct px_relay_client *c, unsigned n)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_RING, .peer = peer(n), .class = PX_RELAY_MEMBER};
    struct px_buf out;
    memset(&m.leg, 0, sizeof(m.leg));
    memcpy(&m.leg, &n, sizeof(n));
    px_buf_init(&out, PX_RELAY_FRAME_MAX);
    CHECK_OK(px_relay_msg_put(&out, &m));
    CHECK_OK(px_relay_client_input(c, px_buf_slice(&out), PX_SEC));
    px_buf_deinit(&out);
}

TEST(a_client_has_so_many_legs_and_declines_calls_beyond_them)
{
    struct px_relay_client *c = client_up();
    struct px_relay_leg *l;
    const struct px_peer_id somebody = peer(9);
    for (unsigned n = 0; n < PX_RELAY_CLIENT_LEGS_MAX; n++)
        ring(c, 1 + n);
    CHECK_INT(heard.rings, PX_RELAY_CLIENT_LEGS_MAX);
    ring(c, 1000);
    CHECK_INT(heard.rings, PX_RELAY_CLIENT_LEGS_MAX);
    CHECK_INT(heard.declines, 1);
    CHECK_ERR(px_relay_client_call(c, &somebody, NULL, PX_SEC, &l), PX_EBUSY);
    CHECK_INT(px_relay_client_legs(c), PX_RELAY_CLIENT_LEGS_MAX);
    px_relay_client_run(c, 3 * PX_SEC + PX_RELAY_RING_TIME); /* nobody answered */
    CHECK_INT(px_relay_client_legs(c), 0);
    CHECK_OK(px_relay_client_call(c, &somebody, NULL, 20 * PX_SEC, &l));
    CHECK_INT(heard.connects, 1);
    px_relay_client_free(c);
}

static void challenge(struct px_relay_client *c, uint8_t n, px_nsec now)
{
    const uint8_t binding[PX_RELAY_CLIENT_BINDING_LEN] = {0};
    const struct px_relay_leg_id leg = {{1}}; /* as ring(c, 1) told it */
    const struct px_relay_nonce nonce = {{n}};
    struct px_relay_leg_key key;
    uint8_t packet[PX_RELAY_BIND_LEN];
    px_relay_leg_key(px_slice(binding, sizeof(binding)), &leg, &key);
    px_relay_bind_put(packet, PX_RELAY_CHALLENGE, &leg, &nonce, &key);
    CHECK(px_relay_client_packet(c, px_slice(packet, sizeof(packet)), now));
}

TEST(a_leg_answers_so_many_challenges_a_second)
{
    struct px_relay_client *c = client_up();
    ring(c, 1);
    challenge(c, 1, PX_SEC);
    CHECK_INT(heard.answers, 0); /* nobody took the call yet */
    px_relay_leg_answer(heard.ringing, true, PX_SEC);
    for (uint8_t n = 0; n < 10 * PX_RELAY_ANSWERS; n++)
        challenge(c, n, PX_SEC);
    CHECK_INT(heard.answers, PX_RELAY_ANSWERS);
    for (uint8_t n = 0; n < 10 * PX_RELAY_ANSWERS; n++)
        challenge(c, n, 2 * PX_SEC);
    CHECK_INT(heard.answers, 2 * PX_RELAY_ANSWERS);
    px_relay_client_free(c);
}
