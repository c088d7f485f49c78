/* The sharing policy: who gets which path. */
#include "auth/authorized_keys.h"
#include "node/nix/share.h"
#include "tests/test.h"

#define HASH "0123456789abcdfghijklmnpqrsvwxyz"

static struct px_nix_secret_key key(const char *name, uint64_t seed)
{
    struct px_test_rng r;
    struct px_rng rng = px_test_rng(&r, seed);
    struct px_nix_secret_key k;
    CHECK_OK(px_nix_key_generate(name, &rng, &k));
    return k;
}

static struct px_path_info *path(void)
{
    struct px_path_info *p = px_path_info_new();
    CHECK(p != NULL);
    CHECK_OK(px_path_info_set_str(p, &p->store_path, PX_SLICE_LIT("/nix/store/" HASH "-a")));
    CHECK_OK(px_path_info_add_ref(p, PX_SLICE_LIT(HASH "-a")));
    p->nar_size = 100;
    return p;
}

static void sign(struct px_path_info *p, const struct px_nix_secret_key *k, bool wrong)
{
    struct px_buf print, sig;
    px_buf_init(&print, 10000);
    px_buf_init(&sig, 1000);
    CHECK_OK(px_path_info_fingerprint(p, &print));
    if (wrong)
        print.data[print.len - 1] ^= 1;
    CHECK_OK(px_nix_sign(k, px_buf_slice(&print), &sig));
    CHECK_OK(px_path_info_add_sig(p, px_buf_slice(&sig)));
    px_buf_deinit(&print);
    px_buf_deinit(&sig);
}

/* The content address of builtins.toFile "greeting" "hello". */
static void make_addressed(struct px_path_info *p)
{

    CHECK_OK(px_path_info_set_str(p, &p->store_path, PX_SLICE_LIT("/nix/store/" HASH "-greeting")));
    CHECK_OK(px_path_info_set_str(
        p, &p->ca,
        PX_SLICE_LIT("text:sha256:094qif9n4cq4fdg459qzbhg1c6wywawwaaivx0k0x8xhbyx4vwic")));
    p->ref_count = 0;
}

enum sigs { NONE, LISTED, LISTED_WRONG, OTHER, SAME_NAME, OTHER_AND_LISTED };

TEST(every_row_of_the_policy_table)
{
    const uint32_t both = PX_GRANT_CACHE | PX_GRANT_CACHE_OWN;
    const struct {
        uint32_t grants;
        enum sigs sigs;
        bool ultimate, own_key;
        enum px_share_verdict verdict;
    } rows[] = {
        /* no grant, nothing */
        {0, LISTED, true, true, PX_SHARE_DENIED},
        {0, NONE, true, true, PX_SHARE_DENIED},
        {1u << 30, LISTED, true, true, PX_SHARE_DENIED},
        /* cache: a valid signature by a listed key, nothing else */
        {PX_GRANT_CACHE, LISTED, false, true, PX_SHARE_SIGNED},
        {PX_GRANT_CACHE, LISTED, false, false, PX_SHARE_SIGNED},
        {PX_GRANT_CACHE, OTHER_AND_LISTED, false, true, PX_SHARE_SIGNED},
        {PX_GRANT_CACHE, NONE, true, true, PX_SHARE_DENIED},
        {PX_GRANT_CACHE, OTHER, true, true, PX_SHARE_DENIED},
        {PX_GRANT_CACHE, LISTED_WRONG, true, true, PX_SHARE_DENIED},
        {PX_GRANT_CACHE, SAME_NAME, true, true, PX_SHARE_DENIED},
        /* cache-own: own builds, and only with a key to vouch for them */
        {PX_GRANT_CACHE_OWN, NONE, true, true, PX_SHARE_OWN},
        {PX_GRANT_CACHE_OWN, NONE, true, false, PX_SHARE_DENIED},
        {PX_GRANT_CACHE_OWN, NONE, false, true, PX_SHARE_DENIED},
        {PX_GRANT_CACHE_OWN, OTHER, false, true, PX_SHARE_DENIED},
        {PX_GRANT_CACHE_OWN, LISTED, false, true, PX_SHARE_DENIED},
        {PX_GRANT_CACHE_OWN, LISTED, true, true, PX_SHARE_OWN},
        /* both */
        {both, LISTED, true, true, PX_SHARE_SIGNED},
        {both, LISTED_WRONG, true, true, PX_SHARE_OWN},
        {both, OTHER, true, true, PX_SHARE_OWN},
        {both, OTHER, false, true, PX_SHARE_DENIED},
        {both, NONE, false, true, PX_SHARE_DENIED},
    };
    CHECK_OK(px_crypto_init());
    struct px_nix_secret_key listed = key("cache.example-1", 1), other = key("other-1", 2),
                             same_name = key("cache.example-1", 3), own = key("me-1", 4);
    struct px_nix_public_key share[1];
    px_nix_secret_key_public(&listed, &share[0]);
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_share *s;
        CHECK_OK(px_share_new(share, 1, rows[i].own_key ? &own : NULL, &s));
        struct px_path_info *p = path();
        p->ultimate = rows[i].ultimate;
        switch (rows[i].sigs) {
        case NONE:
            break;
        case LISTED:
            sign(p, &listed, false);
            break;
        case LISTED_WRONG:
            sign(p, &listed, true);
            break;
        case OTHER:
            sign(p, &other, false);
            break;
        case SAME_NAME:
            sign(p, &same_name, false);
            break;
        case OTHER_AND_LISTED:
            sign(p, &other, false);
            sign(p, &listed, true);
            sign(p, &listed, false);
            break;
        }
        struct px_buf print;
        px_buf_init(&print, 10000);
        CHECK_OK(px_path_info_fingerprint(p, &print));
        for (int again = 0; again < 2; again++) /* the second time from memory */
            if (px_share_decide(s, rows[i].grants, p, px_buf_slice(&print)) != rows[i].verdict)
                px_test_fail(__FILE__, __LINE__, "row %zu, time %d", i, again);
        px_buf_deinit(&print);
        px_path_info_free(p);
        px_share_free(s);
    }
}

TEST(a_remembered_verdict_is_for_that_very_path)
{
    CHECK_OK(px_crypto_init());
    struct px_nix_secret_key listed = key("cache.example-1", 1);
    struct px_nix_public_key share[1];
    px_nix_secret_key_public(&listed, &share[0]);
    struct px_share *s;
    CHECK_OK(px_share_new(share, 1, NULL, &s));
    struct px_path_info *p = path();
    sign(p, &listed, false);
    struct px_buf print;
    px_buf_init(&print, 10000);
    CHECK_OK(px_path_info_fingerprint(p, &print));
    CHECK_INT(px_share_decide(s, PX_GRANT_CACHE, p, px_buf_slice(&print)), PX_SHARE_SIGNED);
    p->nar_size++;
    px_buf_clear(&print);
    CHECK_OK(px_path_info_fingerprint(p, &print));
    CHECK_INT(px_share_decide(s, PX_GRANT_CACHE, p, px_buf_slice(&print)), PX_SHARE_DENIED);
    /* more paths than are remembered: each is judged right */
    for (uint64_t i = 0; i < PX_SHARE_VERDICTS_MAX + 20; i++) {
        p->nar_size = 1000 + i;
        px_path_info_clear_sigs(p);
        sign(p, &listed, i % 2 == 1);
        px_buf_clear(&print);
        CHECK_OK(px_path_info_fingerprint(p, &print));
        CHECK_INT(px_share_decide(s, PX_GRANT_CACHE, p, px_buf_slice(&print)),
                  i % 2 == 1 ? PX_SHARE_DENIED : PX_SHARE_SIGNED);
    }
    px_buf_deinit(&print);
    px_path_info_free(p);
    px_share_free(s);
}

TEST(content_addressed_paths_go_with_own_builds_only_if_the_address_is_true)
{
    CHECK_OK(px_crypto_init());
    struct px_nix_secret_key own = key("me-1", 4);
    struct px_share *s;
    CHECK_OK(px_share_new(NULL, 0, &own, &s));
    struct px_path_info *p = path();
    struct px_buf print;
    px_buf_init(&print, 10000);
    make_addressed(p); /* of a path it does not make */
    CHECK_OK(px_path_info_fingerprint(p, &print));
    CHECK_INT(px_share_decide(s, PX_GRANT_CACHE_OWN, p, px_buf_slice(&print)), PX_SHARE_DENIED);
    /* the path nix makes of it */
    CHECK_OK(px_path_info_set_str(
        p, &p->store_path, PX_SLICE_LIT("/nix/store/5akl8zsmda0yrr63v4khwgskih2g2hsh-greeting")));
    CHECK_INT(px_share_decide(s, PX_GRANT_CACHE_OWN, p, px_buf_slice(&print)), PX_SHARE_OWN);
    CHECK_INT(px_share_decide(s, PX_GRANT_CACHE, p, px_buf_slice(&print)), PX_SHARE_DENIED);
    px_buf_deinit(&print);
    px_path_info_free(p);
    px_share_free(s);
}

TEST(our_signature_is_added_once_and_finds_room)
{
    CHECK_OK(px_crypto_init());
    struct px_nix_secret_key own = key("me-1", 4), other = key("other-1", 5),
                             impostor = key("me-1", 6);
    struct px_nix_public_key pub[1];
    px_nix_secret_key_public(&own, &pub[0]);
    struct px_share *s;
    CHECK_OK(px_share_new(NULL, 0, &own, &s));
    struct px_path_info *p = path();
    struct px_buf print;
    px_buf_init(&print, 10000);
    CHECK_OK(px_path_info_fingerprint(p, &print));
    sign(p, &impostor, false);
    CHECK_OK(px_share_sign(s, p, px_buf_slice(&print)));
    CHECK_INT(p->sig_count, 2);
    CHECK(px_nix_verify(pub, 1, p->sigs[1], px_buf_slice(&print)));
    CHECK_OK(px_share_sign(s, p, px_buf_slice(&print)));
    CHECK_INT(p->sig_count, 2);
    px_path_info_clear_sigs(p);
    while (p->sig_count < PX_NARINFO_SIGS_MAX)
        sign(p, &other, false);
    CHECK_OK(px_share_sign(s, p, px_buf_slice(&print)));
    CHECK_INT(p->sig_count, 1);
    CHECK(px_nix_verify(pub, 1, p->sigs[0], px_buf_slice(&print)));
    px_buf_deinit(&print);
    px_path_info_free(p);
    px_share_free(s);
}
