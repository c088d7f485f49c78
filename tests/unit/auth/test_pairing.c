/* Pairing: both sides in memory, message by message; whatever does not fit ends it. Also
 * pairing_message and pairing_invite. */
#include "auth/pairing.h"

#include "auth/pairing_invite.h"
#include "auth/pairing_message.h"
#include "proto/cbor.h"
#include "tests/test.h"

#define NIX_KEY "bob-peerix-1:7ksZ3SJGjfwKcKwJZFd5eTxcVmEtxELVhAGQ1NnBnhs="

struct world {
    struct px_peer_id inviter, joiner;
    uint8_t binding[PX_PAIRING_BINDING_LEN];
    struct px_pairing_invite invite;
    struct px_invite code;
    struct px_pairing_keys keys; /* the joiner's */
    struct px_pairing a, b;      /* inviter, joiner */
    struct px_pairing_card a_card, b_card, got;
    struct px_buf msg;
};

static void world_init(struct world *w)
{
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 3);
    CHECK_OK(px_crypto_init());
    memset(w, 0, sizeof(*w));
    rng.fill(rng.ctx, w->inviter.key, sizeof(w->inviter.key));
    rng.fill(rng.ctx, w->joiner.key, sizeof(w->joiner.key));
    rng.fill(rng.ctx, w->binding, sizeof(w->binding));
    px_pairing_invite_new(&w->inviter, &rng, 1000, &w->invite, &w->code);
    px_pairing_derive(&w->code, &w->keys);
    px_pairing_init(&w->a, PX_PAIRING_INVITER, &w->inviter, &w->joiner, w->binding);
    px_pairing_init(&w->b, PX_PAIRING_JOINER, &w->inviter, &w->joiner, w->binding);
    w->a_card = (struct px_pairing_card){.name = "alice", .grants = PX_GRANT_CACHE};
    w->b_card = (struct px_pairing_card){
        .name = "bob",
        .addr_count = 2,
        .addrs = {"192.0.2.7:12303", "[2001:db8::7]:4001"},
        .nix_key = NIX_KEY,
        .grants = PX_GRANT_CACHE | PX_GRANT_CACHE_OWN,
        .verify = true,
    };
    px_buf_init(&w->msg, PX_PAIRING_MESSAGE_MAX);
}

static void world_end(struct world *w)
{
    px_buf_deinit(&w->msg);
    px_pairing_deinit(&w->a);
    px_pairing_deinit(&w->b);
}

static struct px_slice msg(const struct world *w)
{
    return px_buf_slice(&w->msg);
}

static void hello(struct world *w)
{
    px_buf_clear(&w->msg);
    CHECK_OK(px_pairing_write_hello(&w->b, w->code.id, &w->keys.pair, &w->b_card, &w->msg));
}

static void welcome(struct world *w)
{
    hello(w);
    CHECK_OK(px_pairing_read_hello(&w->a, msg(w), &w->got));
    CHECK_OK(px_pairing_check_hello(&w->a, &w->invite.pair));
    px_buf_clear(&w->msg);
    CHECK_OK(px_pairing_write_welcome(&w->a, &w->a_card, &w->msg));
}

static void confirm(struct world *w)
{
    welcome(w);
    CHECK_OK(px_pairing_read_welcome(&w->b, msg(w), &w->got));
    px_buf_clear(&w->msg);
    CHECK_OK(px_pairing_write_confirm(&w->b, &w->msg));
}

static void done(struct world *w)
{
    confirm(w);
    CHECK_OK(px_pairing_read_confirm(&w->a, msg(w)));
    px_buf_clear(&w->msg);
    CHECK_OK(px_pairing_write_done(&w->a, &w->msg));
}

static void check_card(const struct px_pairing_card *got, const struct px_pairing_card *want)
{
    CHECK_STR(got->name, want->name);
    CHECK_STR(got->nix_key, want->nix_key);
    CHECK_INT(got->grants, want->grants);
    CHECK_INT(got->verify, want->verify);
    CHECK_INT(got->addr_count, want->addr_count);
    for (size_t i = 0; i < want->addr_count; i++)
        CHECK_STR(got->addrs[i], want->addrs[i]);
}

TEST(two_sides_with_one_secret_pair_and_learn_of_each_other)
{
    struct world w;
    char a[PX_PAIRING_SAS_MAX], b[PX_PAIRING_SAS_MAX];
    world_init(&w);
    welcome(&w);
    check_card(&w.got, &w.b_card);
    CHECK_OK(px_pairing_read_welcome(&w.b, msg(&w), &w.got));
    check_card(&w.got, &w.a_card);
    CHECK_STR(px_pairing_sas(&w.a, a), px_pairing_sas(&w.b, b));
    world_end(&w);

    world_init(&w);
    done(&w);
    CHECK_OK(px_pairing_read_done(&w.b, msg(&w)));
    CHECK_INT(w.a.state, PX_PAIRING_DONE);
    CHECK_INT(w.b.state, PX_PAIRING_DONE);
    world_end(&w);
}

TEST(admission_and_pair_are_different_keys_and_the_code_is_not_kept)
{
    struct world w;
    world_init(&w);
    CHECK(memcmp(&w.keys.pair, &w.keys.admission, sizeof(w.keys.pair)) != 0);
    CHECK(memcmp(&w.keys.pair, &w.invite.pair, sizeof(w.keys.pair)) == 0);
    CHECK(memmem(&w.invite, sizeof(w.invite), w.code.secret, sizeof(w.code.secret)) == NULL);
    world_end(&w);
}

TEST(a_wrong_secret_is_refused_by_the_inviter)
{
    struct world w;
    world_init(&w);
    w.keys.pair.bytes[31] ^= 1;
    hello(&w);
    CHECK_OK(px_pairing_read_hello(&w.a, msg(&w), &w.got));
    CHECK_ERR(px_pairing_check_hello(&w.a, &w.invite.pair), PX_EINVITE_TOKEN);
    CHECK_INT(w.a.state, PX_PAIRING_FAILED);
    CHECK_ERR(px_pairing_write_welcome(&w.a, &w.a_card, &w.msg), PX_ESTATE);
    world_end(&w);
}

/* Somebody in the middle ends both links, and so has two bindings. */
TEST(proofs_relayed_between_two_links_fail)
{
    struct world w;
    world_init(&w);
    w.a.binding[0] ^= 1;
    hello(&w);
    CHECK_OK(px_pairing_read_hello(&w.a, msg(&w), &w.got));
    CHECK_ERR(px_pairing_check_hello(&w.a, &w.invite.pair), PX_EINVITE_TOKEN);
    world_end(&w);
}

TEST(proofs_are_bound_to_both_identities_and_to_the_invite)
{
    for (int what = 0; what < 3; what++) {
        struct world w;
        world_init(&w);
        uint8_t *byte = what == 0 ? w.a.inviter.key : w.a.joiner.key;
        if (what < 2)
            byte[5] ^= 0x10;
        hello(&w);
        CHECK_OK(px_pairing_read_hello(&w.a, msg(&w), &w.got));
        if (what == 2)
            w.a.id[0] ^= 1;
        CHECK_ERR(px_pairing_check_hello(&w.a, &w.invite.pair), PX_EINVITE_TOKEN);
        world_end(&w);
    }
}

TEST(somebody_who_does_not_know_the_secret_cannot_play_the_inviter)
{
    struct world w;
    world_init(&w);
    struct px_pairing_key guess = {{1}};
    hello(&w);
    CHECK_OK(px_pairing_read_hello(&w.a, msg(&w), &w.got));
    CHECK_ERR(px_pairing_check_hello(&w.a, &guess), PX_EINVITE_TOKEN);
    w.a.state = PX_PAIRING_HELLO; /* a liar goes on */
    px_buf_clear(&w.msg);
    CHECK_OK(px_pairing_write_welcome(&w.a, &w.a_card, &w.msg));
    CHECK_ERR(px_pairing_read_welcome(&w.b, msg(&w), &w.got), PX_EPAIR_IMPOSTOR);
    world_end(&w);
}

/* A message reflected, or one step's proof used for another. */
TEST(a_message_is_good_for_its_sender_and_its_step_alone)
{
    struct world w;
    world_init(&w);
    confirm(&w);
    w.b.state = PX_PAIRING_CONFIRM;
    CHECK_ERR(px_pairing_read_done(&w.b, msg(&w)), PX_EPROTO); /* its own confirm */
    world_end(&w);

    world_init(&w);
    confirm(&w);
    w.msg.data[2] = PX_PAIRING_MSG_DONE; /* {0: 3 → 4 */
    CHECK_ERR(px_pairing_read_done(&w.b, msg(&w)), PX_EPAIR_IMPOSTOR);
    world_end(&w);
}

TEST(every_bit_of_hello_and_welcome_is_covered)
{
    struct world w;
    world_init(&w);
    hello(&w);
    size_t len = w.msg.len;
    for (size_t bit = 0; bit < len * 8; bit++) {
        struct px_pairing a;
        px_pairing_init(&a, PX_PAIRING_INVITER, &w.inviter, &w.joiner, w.binding);
        w.msg.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int err = px_pairing_read_hello(&a, msg(&w), &w.got);
        if (err == 0)
            err = px_pairing_check_hello(&a, &w.invite.pair);
        CHECK(err != 0);
        w.msg.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        px_pairing_deinit(&a);
    }
    world_end(&w);

    world_init(&w);
    welcome(&w);
    for (size_t bit = 0; bit < w.msg.len * 8; bit++) {
        struct px_pairing b = w.b;
        w.msg.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(px_pairing_read_welcome(&b, msg(&w), &w.got) != 0);
        CHECK_INT(b.state, PX_PAIRING_FAILED);
        w.msg.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    world_end(&w);
}

TEST(a_message_cut_anywhere_or_with_a_tail_is_malformed)
{
    struct world w;
    world_init(&w);
    hello(&w);
    for (size_t n = 0; n < w.msg.len; n++) {
        struct px_pairing a = w.a;
        CHECK_ERR(px_pairing_read_hello(&a, px_slice(w.msg.data, n), &w.got), PX_EPROTO);
    }
    CHECK_OK(px_buf_put_u8(&w.msg, 0));
    CHECK_ERR(px_pairing_read_hello(&w.a, msg(&w), &w.got), PX_EPROTO);
    world_end(&w);
}

TEST(each_refusal_gives_its_own_error)
{
    static const struct {
        enum px_pairing_refusal code;
        int err;
    } cases[] = {
#define X(name, value, err) {name, err},
        PX_PAIRING_REFUSAL_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w);
        hello(&w);
        CHECK_OK(px_pairing_read_hello(&w.a, msg(&w), &w.got));
        px_buf_clear(&w.msg);
        CHECK_OK(px_pairing_write_refuse(&w.a, cases[i].code, &w.msg));
        CHECK_INT(w.a.state, PX_PAIRING_FAILED);
        CHECK_ERR(px_pairing_read_welcome(&w.b, msg(&w), &w.got), cases[i].err);
        CHECK_INT(px_pairing_refusal_for(cases[i].err), cases[i].code);
        for (size_t n = 0; n < i; n++)
            CHECK(cases[n].err != cases[i].err);
        world_end(&w);
    }
    CHECK_ERR(px_pairing_refusal_error(99), PX_EREFUSED);
    CHECK_INT(px_pairing_refusal_for(PX_ENOMEM), PX_PAIRING_INTERNAL);
}

TEST(nothing_is_written_or_read_out_of_turn)
{
    struct world w;
    world_init(&w);
    CHECK_ERR(px_pairing_write_confirm(&w.b, &w.msg), PX_ESTATE);
    CHECK_ERR(px_pairing_read_done(&w.b, msg(&w)), PX_ESTATE);
    CHECK_ERR(px_pairing_write_welcome(&w.a, &w.a_card, &w.msg), PX_ESTATE);
    CHECK_ERR(px_pairing_write_done(&w.a, &w.msg), PX_ESTATE);
    CHECK_ERR(px_pairing_write_hello(&w.a, w.code.id, &w.keys.pair, &w.a_card, &w.msg), PX_ESTATE);
    CHECK_ERR(px_pairing_read_hello(&w.b, msg(&w), &w.got), PX_ESTATE);
    confirm(&w);
    CHECK_ERR(px_pairing_read_welcome(&w.b, msg(&w), &w.got), PX_ESTATE);
    CHECK_ERR(px_pairing_write_done(&w.a, &w.msg), PX_ESTATE);
    world_end(&w);
}

TEST(addresses_that_do_not_fit_are_left_out)
{
    struct world w;
    world_init(&w);
    w.b_card.addr_count = PX_PAIRING_ADDRS_MAX;
    for (size_t i = 0; i < PX_PAIRING_ADDRS_MAX; i++) {
        memset(w.b_card.addrs[i], 'a' + (int)i, 250);
        memcpy(w.b_card.addrs[i] + 250, ":12303", 7);
    }
    hello(&w);
    CHECK(w.msg.len <= PX_PAIRING_MESSAGE_MAX);
    CHECK_OK(px_pairing_read_hello(&w.a, msg(&w), &w.got));
    CHECK_OK(px_pairing_check_hello(&w.a, &w.invite.pair));
    CHECK_INT(w.got.addr_count, 3);
    CHECK_STR(w.got.addrs[2], w.b_card.addrs[2]);
    world_end(&w);
}

/* What a peer says ends in files of lines: nothing in it may begin another one. */
TEST(a_card_with_what_could_forge_a_line_is_malformed)
{
    static const struct {
        const char *name, *addr, *key;
    } cases[] = {
        {"bob\nmallory", "h:1", NIX_KEY},
        {"Bob", "h:1", NIX_KEY},
        {"bob", "h:1 grant=x", NIX_KEY},
        {"bob", "h:1\n", NIX_KEY},
        {"bob", "h", NIX_KEY},
        {"bob", "h:1", "k:AA"},
        {"bob", "h:1", NIX_KEY "\n"},
        {"bob", "h:1", "# comment"},
        {"bob", "h:1", "x#:7ksZ3SJGjfwKcKwJZFd5eTxcVmEtxELVhAGQ1NnBnhs="}, /* ends nix's line */
        {"bob", "h:1", "\xc2\x9b:7ksZ3SJGjfwKcKwJZFd5eTxcVmEtxELVhAGQ1NnBnhs="},
        {"bob", "h:1", "cache.nixos.org-1:7ksZ3SJGjfwKcKwJZFd5eTxcVmEtxELVhAGQ1NnBnhs="},
        {"bob", "", NIX_KEY},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w);
        snprintf(w.b_card.name, sizeof(w.b_card.name), "%s", cases[i].name);
        snprintf(w.b_card.addrs[0], sizeof(w.b_card.addrs[0]), "%s", cases[i].addr);
        snprintf(w.b_card.nix_key, sizeof(w.b_card.nix_key), "%s", cases[i].key);
        hello(&w);
        CHECK_ERR(px_pairing_read_hello(&w.a, msg(&w), &w.got), PX_EPROTO);
        world_end(&w);
    }
}

TEST(words_of_later_versions_are_skipped)
{
    struct px_pairing_message m;
    uint8_t hash[PX_HASH_LEN] = {0};
    struct px_buf b;
    CHECK_OK(px_crypto_init());
    px_buf_init(&b, PX_PAIRING_MESSAGE_MAX);
    (void)px_cbor_put_map(&b, 8);
    (void)px_cbor_put_uint(&b, 0), (void)px_cbor_put_uint(&b, PX_PAIRING_MSG_WELCOME);
    (void)px_cbor_put_uint(&b, 2), (void)px_cbor_put_bytes(&b, px_slice(hash, 32));
    (void)px_cbor_put_uint(&b, 3), (void)px_cbor_put_text(&b, PX_SLICE_LIT(""));
    (void)px_cbor_put_uint(&b, 4), (void)px_cbor_put_array(&b, 0);
    (void)px_cbor_put_uint(&b, 5), (void)px_cbor_put_text(&b, PX_SLICE_LIT(""));
    (void)px_cbor_put_uint(&b, 6), (void)px_cbor_put_array(&b, 2);
    (void)px_cbor_put_text(&b, PX_SLICE_LIT("teleport"));
    (void)px_cbor_put_text(&b, PX_SLICE_LIT("cache"));
    (void)px_cbor_put_uint(&b, 7), (void)px_cbor_put_bool(&b, false);
    (void)px_cbor_put_uint(&b, 40), (void)px_cbor_put_text(&b, PX_SLICE_LIT("?"));
    CHECK_OK(b.err);
    CHECK_OK(px_pairing_message_get(px_buf_slice(&b), &m, hash));
    CHECK_INT(m.card.grants, PX_GRANT_CACHE);
    px_buf_deinit(&b);
}

/* ---- the invite's own states ---- */

static struct px_peer_id peer(uint8_t n)
{
    struct px_peer_id id = {{n}};
    return id;
}

static void take(struct px_pairing_invite *i, uint8_t who, int want)
{
    struct px_peer_id id = peer(who);
    CHECK_ERR(px_pairing_invite_take(i, &id), want);
}

TEST(an_invite_is_for_the_first_who_proves_it)
{
    struct world w;
    struct px_peer_id one = peer(1), two = peer(2);
    world_init(&w);
    struct px_pairing_invite *i = &w.invite;
    CHECK_ERR(px_pairing_invite_promote(i, &one), PX_ESTATE);
    take(i, 1, 0);
    CHECK_INT(i->state, PX_INVITE_PENDING);
    take(i, 1, 0); /* its retry */
    take(i, 2, PX_EINVITE_BUSY);
    CHECK_ERR(px_pairing_invite_promote(i, &two), PX_ESTATE);
    CHECK_OK(px_pairing_invite_promote(i, &one));
    CHECK_INT(i->state, PX_INVITE_USED);
    take(i, 1, 0);
    CHECK_OK(px_pairing_invite_promote(i, &one));
    take(i, 2, PX_EINVITE_USED);
    CHECK_ERR(px_pairing_invite_withdraw(i, 5), PX_ESTATE);
    CHECK(!px_pairing_invite_tick(i, 5000));
    CHECK(!px_pairing_invite_is_over(i, 1000 + PX_PAIRING_AFTERLIFE - 1));
    CHECK(px_pairing_invite_is_over(i, 1000 + PX_PAIRING_AFTERLIFE));
    world_end(&w);
}

TEST(an_invite_ends_at_its_time_and_forgets_who_was_pending)
{
    static const uint8_t zeros[32];
    struct world w;
    world_init(&w);
    struct px_pairing_invite *i = &w.invite;
    take(i, 1, 0);
    CHECK(!px_pairing_invite_tick(i, 999));
    CHECK(px_pairing_invite_tick(i, 1000));
    CHECK_INT(i->state, PX_INVITE_EXPIRED);
    CHECK(memcmp(i->joiner.key, zeros, 32) == 0);
    CHECK(memcmp(i->pair.bytes, zeros, 32) == 0);
    CHECK_ERR(px_pairing_invite_usable(i), PX_EINVITE_EXPIRED);
    take(i, 1, PX_EINVITE_EXPIRED);
    CHECK(!px_pairing_invite_is_over(i, 1000));
    CHECK(px_pairing_invite_is_over(i, 1000 + PX_PAIRING_AFTERLIFE));
    world_end(&w);
}

TEST(the_third_wrong_proof_burns_an_invite)
{
    for (int pending = 0; pending < 2; pending++) {
        struct world w;
        world_init(&w);
        struct px_pairing_invite *i = &w.invite;
        if (pending)
            take(i, 1, 0);
        CHECK_ERR(px_pairing_invite_fail(i, 10), PX_EINVITE_TOKEN);
        CHECK_ERR(px_pairing_invite_fail(i, 10), PX_EINVITE_TOKEN);
        CHECK_OK(px_pairing_invite_usable(i));
        CHECK_ERR(px_pairing_invite_fail(i, 10), PX_EINVITE_BURNT);
        CHECK_ERR(px_pairing_invite_usable(i), PX_EINVITE_BURNT);
        take(i, 1, PX_EINVITE_BURNT);
        world_end(&w);
    }
}

TEST(wrong_proofs_do_not_harm_an_invite_that_was_used)
{
    struct world w;
    struct px_peer_id one = peer(1);
    world_init(&w);
    take(&w.invite, 1, 0);
    CHECK_OK(px_pairing_invite_promote(&w.invite, &one));
    for (int n = 0; n < 10; n++)
        CHECK_ERR(px_pairing_invite_fail(&w.invite, 10), PX_EINVITE_TOKEN);
    take(&w.invite, 1, 0);
    world_end(&w);
}

TEST(a_withdrawn_invite_says_so)
{
    struct world w;
    world_init(&w);
    CHECK_OK(px_pairing_invite_withdraw(&w.invite, 10));
    take(&w.invite, 1, PX_EINVITE_WITHDRAWN);
    CHECK_ERR(px_pairing_invite_withdraw(&w.invite, 11), PX_ESTATE);
    world_end(&w);
}
