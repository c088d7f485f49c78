/* What of a peer's narinfo reaches nix: the rows of NIX.md's attack table, and every field that no
 * signature covers. */
#include "node/nix/narinfo_check.h"

#include <stdlib.h>

#include "proto/base/encoding.h"
#include "tests/test.h"

#define HASH "0c5s43c5w1mzzm4rgrdwgcw0g1jyn5wd"
#define PATH "/nix/store/" HASH "-hello-1.0"
#define REF1 "1m0xhyvs3fgvhgdjhxrk4lpnl9q57ap7-glibc-2.36"
#define NAR  "sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0"

static struct {
    struct px_nix_secret_key upstream, own, stranger;
    struct px_nix_public_key keys[2];
    struct px_narinfo_policy policy;
    struct px_path_info *info;
    struct px_buf text;
} t;

static void setup(void)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 3);
    memset(&t, 0, sizeof(t));
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_nix_key_generate("upstream-1", &rng, &t.upstream));
    CHECK_OK(px_nix_key_generate("own-1", &rng, &t.own));
    CHECK_OK(px_nix_key_generate("upstream-1", &rng, &t.stranger)); /* same name, other key */
    px_nix_secret_key_public(&t.upstream, &t.keys[0]);
    t.policy = (struct px_narinfo_policy){
        .store_dir = PX_SLICE_LIT("/nix/store"), .keys = t.keys, .key_count = 1};
    px_buf_init(&t.text, 4 * PX_NARINFO_MAX);
}

static void teardown(void)
{
    px_path_info_free(t.info);
    px_buf_deinit(&t.text);
}

/* The signature of the fields that are signed, as "Sig: …\n". */
static void put_sig(const struct px_nix_secret_key *key, const char *refs)
{
    struct px_buf text, fingerprint;
    struct px_path_info *info;
    px_buf_init(&text, PX_NARINFO_MAX);
    px_buf_init(&fingerprint, 4 * PX_NARINFO_MAX);
    CHECK_OK(px_buf_printf(&text, "StorePath: %s\nNarHash: %s\nNarSize: 100\nReferences: %s\n",
                           PATH, NAR, refs));
    CHECK_OK(px_narinfo_parse(px_buf_slice(&text), &info));
    CHECK_OK(px_path_info_fingerprint(info, &fingerprint));
    (void)px_buf_put_cstr(&t.text, "Sig: ");
    CHECK_OK(px_nix_sign(key, px_buf_slice(&fingerprint), &t.text));
    CHECK_OK(px_buf_put_cstr(&t.text, "\n"));
    px_path_info_free(info);
    px_buf_deinit(&text);
    px_buf_deinit(&fingerprint);
}

/* A narinfo whose signed part is PATH, NAR, 100 and refs, plus `more` lines. */
static void put_narinfo(const char *refs, const char *more)
{
    px_buf_clear(&t.text);
    CHECK_OK(px_buf_printf(&t.text, "StorePath: %s\nURL: nar/x.nar.xz\nCompression: xz\n", PATH));
    CHECK_OK(
        px_buf_printf(&t.text, "NarHash: %s\nNarSize: 100\nReferences: %s\n%s", NAR, refs, more));
}

static enum px_narinfo_fault check(void)
{
    px_path_info_free(t.info);
    t.info = NULL;
    return px_narinfo_check(&t.policy, px_buf_slice(&t.text), PX_SLICE_LIT(HASH), &t.info);
}

static void expect(enum px_narinfo_fault want, int line)
{
    enum px_narinfo_fault got = check();
    if (got != want)
        px_test_fail(__FILE__, line, "%s", px_narinfo_fault_text(got));
}
#define CHECK_FAULT(want) expect((want), __LINE__)

TEST(a_trusted_signature_is_enough)
{
    setup();
    put_narinfo(REF1, "");
    put_sig(&t.upstream, REF1);
    CHECK_FAULT(PX_NARINFO_OK);
    CHECK_INT(t.info->sig_count, 1);
    CHECK_INT(t.info->ref_count, 1);
    CHECK_INT(t.info->nar_size, 100);
    teardown();
}

TEST(no_trusted_signature_is_not)
{
    setup();
    put_narinfo("", "");
    CHECK_FAULT(PX_NARINFO_UNTRUSTED);
    put_sig(&t.own, "");
    CHECK_FAULT(PX_NARINFO_UNTRUSTED); /* a key nobody trusts */
    put_narinfo("", "");
    put_sig(&t.stranger, "");
    CHECK_FAULT(PX_NARINFO_UNTRUSTED); /* a trusted name, another key */
    put_narinfo(REF1, "");
    put_sig(&t.upstream, "");
    CHECK_FAULT(PX_NARINFO_UNTRUSTED); /* a signature for other references */
    put_narinfo("", "Sig: upstream-1:AAAA\n");
    CHECK_FAULT(PX_NARINFO_UNTRUSTED);
    t.policy.key_count = 0;
    put_narinfo("", "");
    put_sig(&t.upstream, "");
    CHECK_FAULT(PX_NARINFO_UNTRUSTED);
    teardown();
}

TEST(every_signed_field_is_bound)
{
    static const struct {
        const char *from, *to; /* of the same length */
        enum px_narinfo_fault fault;
    } rows[] = {
        {"NarSize: 100", "NarSize: 999", PX_NARINFO_UNTRUSTED}, /* a bomb's size */
        {"NarHash: sha256:1b4", "NarHash: sha256:1b5", PX_NARINFO_UNTRUSTED},
        {"hello-1.0", "hellp-1.0", PX_NARINFO_UNTRUSTED},
        {"StorePath: /nix/store/0", "StorePath: /nix/store/1", PX_NARINFO_OTHER_PATH},
        {"StorePath: /nix/store", "StorePath: /gnu/store", PX_NARINFO_OTHER_STORE},
        {"glibc-2.36", "glibc-2.37", PX_NARINFO_UNTRUSTED},
    };
    setup();
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        put_narinfo(REF1, "");
        put_sig(&t.upstream, REF1);
        uint8_t *at = memmem(t.text.data, t.text.len, rows[i].from, strlen(rows[i].from));
        CHECK(at != NULL && strlen(rows[i].from) == strlen(rows[i].to));
        memcpy(at, rows[i].to, strlen(rows[i].to));
        CHECK_FAULT(rows[i].fault);
    }
    teardown();
}

TEST(bogus_references_are_refused_before_nix_follows_them)
{
    struct px_buf refs;
    setup();
    px_buf_init(&refs, PX_NARINFO_MAX);
    for (int i = 0; i < 3000; i++)
        CHECK_OK(px_buf_printf(&refs, "%s%032d-x", i > 0 ? " " : "", i));
    CHECK_OK(px_buf_put_u8(&refs, 0));
    put_narinfo((const char *)refs.data, "");
    put_sig(&t.upstream, "");
    CHECK_FAULT(PX_NARINFO_UNTRUSTED);
    px_buf_deinit(&refs);
    teardown();
}

TEST(url_and_compression_are_always_ours)
{
    static const char *const urls[] = {"file:///etc/passwd", "http://evil.example/x.nar", "../../x",
                                       "nar/other.nar"};
    setup();
    for (size_t i = 0; i < PX_ARRAY_LEN(urls); i++) {
        px_buf_clear(&t.text);
        CHECK_OK(px_buf_printf(&t.text,
                               "StorePath: %s\nURL: %s\nCompression: zstd\nFileHash: %s\n"
                               "FileSize: 72000\nNarHash: %s\nNarSize: 100\nReferences: \n",
                               PATH, urls[i], NAR, NAR));
        put_sig(&t.upstream, "");
        CHECK_FAULT(PX_NARINFO_OK);
        CHECK_SLICE(t.info->url,
                    PX_SLICE_LIT("nar/1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0.nar"
                                 "?hash=" HASH));
        CHECK_SLICE(t.info->compression, PX_SLICE_LIT("none"));
    }
    teardown();
}

TEST(junk_signatures_are_dropped_upstream_ones_kept)
{
    setup();
    put_narinfo("", "Sig: junk-1:AAAA\nSig: cache.nixos.org-1:BBBB\n");
    put_sig(&t.own, "");
    put_sig(&t.upstream, "");
    put_sig(&t.upstream, ""); /* doubled */
    put_sig(&t.stranger, "");
    CHECK_FAULT(PX_NARINFO_OK);
    CHECK_INT(t.info->sig_count, 1);
    CHECK(px_slice_starts(t.info->sigs[0], PX_SLICE_LIT("upstream-1:")));
    teardown();
}

TEST(too_many_signatures_or_bytes_are_too_big)
{
    setup();
    put_narinfo("", "");
    for (int i = 0; i < 2000; i++)
        CHECK_OK(px_buf_printf(&t.text, "Sig: junk-%d:AAAA\n", i));
    put_sig(&t.upstream, "");
    CHECK_FAULT(PX_NARINFO_TOO_BIG);
    put_narinfo("", "");
    put_sig(&t.upstream, "");
    while (t.text.len <= PX_NARINFO_MAX)
        CHECK_OK(px_buf_put_cstr(&t.text, "X-Junk: 0123456789012345678901234567890123456789\n"));
    CHECK_FAULT(PX_NARINFO_TOO_BIG);
    teardown();
}

/* Each costs a verification; a few bad ones are let pass, a flood ends the search. */
TEST(false_signatures_in_a_trusted_name_are_bounded)
{
    for (int bad = PX_NARINFO_BAD_SIGS_MAX - 1; bad <= PX_NARINFO_BAD_SIGS_MAX; bad++) {
        setup();
        put_narinfo("", "");
        for (int i = 0; i < bad; i++)
            CHECK_OK(px_buf_printf(&t.text, "Sig: upstream-1:%04d\n", i));
        put_sig(&t.upstream, "");
        CHECK_FAULT(bad < PX_NARINFO_BAD_SIGS_MAX ? PX_NARINFO_OK : PX_NARINFO_UNTRUSTED);
        teardown();
    }
}

TEST(our_signature_is_added_once)
{
    setup();
    t.policy.own_key = &t.own;
    put_narinfo("", "");
    put_sig(&t.upstream, "");
    CHECK_FAULT(PX_NARINFO_OK);
    CHECK_INT(t.info->sig_count, 2);
    CHECK(px_slice_starts(t.info->sigs[0], PX_SLICE_LIT("upstream-1:")));
    CHECK(px_slice_starts(t.info->sigs[1], PX_SLICE_LIT("own-1:")));

    px_nix_secret_key_public(&t.own, &t.keys[1]); /* our own path comes back to us */
    t.policy.key_count = 2;
    put_sig(&t.own, "");
    CHECK_FAULT(PX_NARINFO_OK);
    CHECK_INT(t.info->sig_count, 2);

    t.policy.key_count = 1; /* ours alone is no ground for trust */
    put_narinfo("", "");
    CHECK_FAULT(PX_NARINFO_UNTRUSTED);
    teardown();
}

TEST(deriver_is_kept_in_good_form_only)
{
    static const struct {
        const char *line;
        enum px_narinfo_fault fault;
        bool kept;
    } rows[] = {
        {"Deriver: 1m0xhyvs3fgvhgdjhxrk4lpnl9q57ap7-hello-1.0.drv\n", PX_NARINFO_OK, true},
        {"Deriver: 1m0xhyvs3fgvhgdjhxrk4lpnl9q57ap7-hello-1.0\n", PX_NARINFO_OK, false},
        {"Deriver: unknown-deriver\n", PX_NARINFO_OK, false},
        {"Deriver: ../../etc/passwd\n", PX_NARINFO_OK, false},
    };
    setup();
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        put_narinfo("", rows[i].line);
        put_sig(&t.upstream, "");
        CHECK_FAULT(rows[i].fault);
        if (rows[i].fault == PX_NARINFO_OK)
            CHECK_INT(t.info->deriver.len > 0, rows[i].kept);
    }
    teardown();
}

/* The path nix gives a file "hello" by `nix-store --add-fixed sha256`-like rules is tested with
 * path_info; here: a content address that does not agree neither lends trust nor reaches nix. */
TEST(a_false_content_address_is_worth_nothing)
{
    static const char recursive[] = "CA: fixed:r:" NAR "\n", flat[] = "CA: fixed:" NAR "\n",
                      text[] = "CA: text:" NAR "\n";
    static const char *const cas[] = {recursive, flat, text,
                                      "CA: fixed:r:md5:00000000000000000000000000000000\n",
                                      "CA: nonsense\n"};
    setup();
    for (size_t i = 0; i < PX_ARRAY_LEN(cas); i++) {
        put_narinfo("", cas[i]);
        CHECK_FAULT(PX_NARINFO_UNTRUSTED);
        put_sig(&t.upstream, "");
        CHECK_FAULT(PX_NARINFO_OK);
        CHECK_INT(t.info->ca.len, 0);
    }
    teardown();
}

/* Nix's rule: `type` is all that is hashed before ":<store dir>:<name>". */
static void put_addressed(const char *type, const uint8_t inner[32], const char *ca,
                          const uint8_t ca_hash[32], struct px_buf *hash_part)
{
    uint8_t digest[32], folded[20] = {0}, nar_hash[32];
    struct px_buf text;
    memset(nar_hash, 7, sizeof(nar_hash));
    px_buf_init(&text, 1024);
    (void)px_buf_printf(&text, "%s:sha256:", type);
    (void)px_hex_encode(&text, px_slice(inner, 32));
    CHECK_OK(px_buf_put_cstr(&text, ":/nix/store:n"));
    px_sha256(px_buf_slice(&text), digest);
    px_buf_deinit(&text);
    for (size_t i = 0; i < sizeof(digest); i++)
        folded[i % sizeof(folded)] ^= digest[i];
    px_buf_clear(hash_part);
    CHECK_OK(px_nix32_encode(hash_part, px_slice(folded, sizeof(folded))));
    px_buf_clear(&t.text);
    (void)px_buf_put_cstr(&t.text, "StorePath: /nix/store/");
    (void)px_buf_put(&t.text, px_buf_slice(hash_part));
    (void)px_buf_put_cstr(&t.text, "-n\nNarHash: sha256:");
    (void)px_nix32_encode(&t.text, px_slice(nar_hash, 32));
    (void)px_buf_printf(&t.text, "\nNarSize: 5\nReferences: \nCA: %s", ca);
    (void)px_nix32_encode(&t.text, px_slice(ca_hash, 32));
    CHECK_OK(px_buf_put_cstr(&t.text, "\n"));
}

static void sign_text(void)
{
    struct px_buf fingerprint;
    struct px_path_info *info;
    px_buf_init(&fingerprint, PX_NARINFO_MAX);
    CHECK_OK(px_narinfo_parse(px_buf_slice(&t.text), &info));
    CHECK_OK(px_path_info_fingerprint(info, &fingerprint));
    (void)px_buf_put_cstr(&t.text, "Sig: ");
    CHECK_OK(px_nix_sign(&t.upstream, px_buf_slice(&fingerprint), &t.text));
    CHECK_OK(px_buf_put_cstr(&t.text, "\n"));
    px_path_info_free(info);
    px_buf_deinit(&fingerprint);
}

/* All three are true of the path. But only fixed:r ties the NarHash to it: with the others a peer
 * could send any NAR, and nix, finding the contents do not have the address, would not go on to its
 * next substituter but fail. */
TEST(only_a_content_address_that_covers_the_nar_needs_no_signature)
{
    enum { RECURSIVE, TEXT, FLAT, KINDS };
    static const char *const cas[] = {"fixed:r:sha256:", "text:sha256:", "fixed:sha256:"};
    uint8_t hash[32], flat[32];
    struct px_buf inner, hash_part;
    memset(hash, 7, sizeof(hash));
    px_buf_init(&inner, 256);
    px_buf_init(&hash_part, 64);
    (void)px_buf_put_cstr(&inner, "fixed:out:sha256:");
    (void)px_hex_encode(&inner, px_slice(hash, 32));
    CHECK_OK(px_buf_put_u8(&inner, ':'));
    px_sha256(px_buf_slice(&inner), flat);
    for (int kind = 0; kind < KINDS; kind++) {
        setup();
        for (int round = 0; round < 3; round++) {
            bool is_signed = round == 1;
            t.policy.trust_peers = round == 2;
            put_addressed(kind == RECURSIVE ? "source"
                          : kind == TEXT    ? "text"
                                            : "output:out",
                          kind == FLAT ? flat : hash, cas[kind], hash, &hash_part);
            if (is_signed)
                sign_text();
            enum px_narinfo_fault want =
                round > 0 || kind == RECURSIVE ? PX_NARINFO_OK : PX_NARINFO_UNTRUSTED;
            px_path_info_free(t.info);
            t.info = NULL;
            CHECK_INT(px_narinfo_check(&t.policy, px_buf_slice(&t.text), px_buf_slice(&hash_part),
                                       &t.info),
                      want);
            if (want == PX_NARINFO_OK) {
                CHECK_INT(t.info->sig_count, is_signed);
                CHECK_INT(t.info->ca.len > 0, is_signed || kind == RECURSIVE);
            }
        }
        teardown();
    }
    px_buf_deinit(&inner);
    px_buf_deinit(&hash_part);
}

TEST(trusted_peers_need_no_signature_but_cannot_lie_about_the_path)
{
    setup();
    t.policy.trust_peers = true;
    put_narinfo("", "Sig: junk-1:AAAA\nCA: nonsense\n");
    CHECK_FAULT(PX_NARINFO_OK);
    CHECK_INT(t.info->sig_count, 0);
    CHECK_INT(t.info->ca.len, 0);
    t.text.data[strlen("StorePath: /nix/store/")] = '1';
    CHECK_FAULT(PX_NARINFO_OTHER_PATH);
    teardown();
}

TEST(what_nix_calls_corrupt_is_refused)
{
    static const char store_path[] = "StorePath: " PATH "\n", crlf[] = "StorePath: " PATH "\r\n";
    static const char *const texts[] = {"", "\n", store_path, crlf,
                                        "<html>captive portal</html>\n"};
    setup();
    t.policy.trust_peers = true;
    for (size_t i = 0; i < PX_ARRAY_LEN(texts); i++) {
        px_buf_clear(&t.text);
        CHECK_OK(px_buf_put_cstr(&t.text, texts[i]));
        CHECK_FAULT(PX_NARINFO_MALFORMED);
    }
    teardown();
}
