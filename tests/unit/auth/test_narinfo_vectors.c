/* Path infos written and signed by real nix (tests/vectors/narinfo): the signature stands over our
 * fingerprint, the content address over our store path, and neither over anything else. */
#include "auth/crypto.h"
#include "proto/base/encoding.h"
#include "proto/path_info.h"
#include "tests/test.h"
#include "tests/vector.h"

static const struct vector {
    const char *name;
    bool ca_valid;
} vectors[] = {
    {"app", false},
    {"lib", false},
    {"text", true},
    {"text-refs", true},
    {"text-drv", true},
    {"flat", true},
    {"flat-added", true},
    {"recursive", true},
    {"recursive-refs", true},
    {"recursive-self", false}, /* the hash is modulo the self-reference, so not the NarHash */
    {"flat-sha1", false},
    {"recursive-sha1", false},
};

static struct px_path_info *load(const char *name)
{
    char path[100];
    struct px_buf text;
    struct px_path_info *p;
    snprintf(path, sizeof(path), "narinfo/%s.narinfo", name);
    px_test_vector(path, &text);
    CHECK_OK(px_narinfo_parse(px_buf_slice(&text), &p));
    px_buf_deinit(&text);
    return p;
}

/* What stands behind the colon of "name:base64". */
static void decode_after_name(struct px_slice text, uint8_t *ret, size_t want)
{
    struct px_slice name;
    size_t len;
    CHECK(px_slice_split(&text, ':', &name));
    CHECK_SLICE(name, PX_SLICE_LIT("fixture.example-1"));
    CHECK_OK(px_base64_decode(text, ret, want, &len));
    CHECK_INT(len, want);
}

static int verify(const struct px_path_info *p, const uint8_t key[PX_ED25519_PK_LEN])
{
    uint8_t sig[PX_ED25519_SIG_LEN];
    struct px_buf fingerprint;
    px_buf_init(&fingerprint, PX_NARINFO_MAX);
    CHECK_INT(p->sig_count, 1);
    decode_after_name(p->sigs[0], sig, sizeof(sig));
    CHECK_OK(px_path_info_fingerprint(p, &fingerprint));
    int err = px_ed25519_verify(key, px_buf_slice(&fingerprint), sig);
    px_buf_deinit(&fingerprint);
    return err;
}

TEST(the_signature_of_nix_stands_over_our_fingerprint)
{
    uint8_t key[PX_ED25519_PK_LEN];
    struct px_buf text;
    px_test_vector("narinfo/public-key", &text);
    CHECK_OK(px_crypto_init());
    decode_after_name(px_buf_slice(&text), key, sizeof(key));
    px_buf_deinit(&text);
    for (size_t i = 0; i < PX_ARRAY_LEN(vectors); i++) {
        struct px_path_info *p = load(vectors[i].name);
        CHECK_OK(verify(p, key));
        p->nar_size++;
        CHECK_ERR(verify(p, key), PX_ECRYPTO);
        p->nar_size--;
        p->nar_hash[31] ^= 1;
        CHECK_ERR(verify(p, key), PX_ECRYPTO);
        p->nar_hash[31] ^= 1;
        CHECK_OK(px_path_info_add_ref(p, PX_SLICE_LIT("fznshr7am8lp74s73rchid7ggzncyz1c-a")));
        px_path_info_sort_refs(p);
        CHECK_ERR(verify(p, key), PX_ECRYPTO);
        px_path_info_free(p);
    }
}

TEST(content_addresses_of_nix_are_recognised)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(vectors); i++) {
        struct px_path_info *p = load(vectors[i].name);
        if (px_path_info_ca_valid(p, px_sha256) != vectors[i].ca_valid)
            px_test_fail(__FILE__, __LINE__, "%s", vectors[i].name);
        px_path_info_free(p);
    }
}

/* Each change makes another path, so the address no longer agrees. */
TEST(a_changed_path_has_another_content_address)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(vectors); i++) {
        if (!vectors[i].ca_valid)
            continue;
        struct px_path_info *p = load(vectors[i].name);
        char path[300], ca[200];
        struct px_slice old_path = p->store_path, old_ca = p->ca;
        memcpy(path, old_path.data, old_path.len);
        memcpy(ca, old_ca.data, old_ca.len);

        path[old_path.len - 1] ^= 1; /* the name */
        p->store_path = px_slice(path, old_path.len);
        CHECK(!px_path_info_ca_valid(p, px_sha256));
        path[old_path.len - 1] ^= 1;
        CHECK(px_path_info_ca_valid(p, px_sha256));
        path[1] = 'x'; /* the store directory */
        CHECK(!px_path_info_ca_valid(p, px_sha256));
        p->store_path = old_path;

        ca[old_ca.len - 1] = ca[old_ca.len - 1] == '0' ? '1' : '0'; /* the hash */
        p->ca = px_slice(ca, old_ca.len);
        CHECK(!px_path_info_ca_valid(p, px_sha256));
        p->ca = old_ca;

        CHECK_OK(px_path_info_add_ref(p, PX_SLICE_LIT("fznshr7am8lp74s73rchid7ggzncyz1c-a")));
        px_path_info_sort_refs(p);
        CHECK(!px_path_info_ca_valid(p, px_sha256));
        px_path_info_free(p);
    }
}

TEST(another_method_algorithm_or_nar_hash_does_not_pass)
{
    static const char *const bad[] = {"",
                                      "text:",
                                      "fixed:",
                                      "fixed:r:",
                                      "text:sha256:",
                                      "fixed:r:sha256",
                                      "text:r:sha256:",
                                      "fixed:git:sha256:"};
    struct px_path_info *p = load("recursive");
    struct px_slice ca = p->ca;
    char text[200];
    CHECK(px_path_info_ca_valid(p, px_sha256));
    p->nar_hash[0] ^= 1;
    CHECK(!px_path_info_ca_valid(p, px_sha256));
    p->nar_hash[0] ^= 1;
    struct px_slice hash = px_slice_skip(ca, strlen("fixed:r:sha256:"));
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), "%s%.*s", bad[i], (int)hash.len, (const char *)hash.data);
        p->ca = px_slice_cstr(text);
        CHECK(!px_path_info_ca_valid(p, px_sha256));
        p->ca = px_slice_cstr(bad[i]);
        CHECK(!px_path_info_ca_valid(p, px_sha256));
    }
    px_path_info_free(p);
}
