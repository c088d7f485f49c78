/* Store path names, narinfo text there and back, and every limit. What needs real hashes and
 * signatures is in unit/auth/test_narinfo_vectors.c. */
#include "proto/path_info.h"
#include "tests/test.h"
#include "tests/vector.h"

#define HASH    "fznshr7am8lp74s73rchid7ggzncyz1c"
#define NARHASH "0rbrb0aakq9v4145mpy7dak0kn2i0h7a61hq0m7bv0wny9vgmswp"
#define MINIMAL "StorePath: /nix/store/" HASH "-a\nNarHash: sha256:" NARHASH "\nNarSize: 272\n"

static int parse(const char *text, struct px_path_info **ret)
{
    return px_narinfo_parse(px_slice_cstr(text), ret);
}

/* The file without its FileHash and FileSize lines, which we do not write. */
static void vector_as_written(const char *name, struct px_buf *out)
{
    struct px_buf whole;
    struct px_slice rest, line;
    px_test_vector(name, &whole);
    px_buf_init(out, PX_NARINFO_MAX);
    rest = px_slice_take(px_buf_slice(&whole), whole.len - 1);
    while (px_slice_split(&rest, '\n', &line)) {
        if (px_slice_starts(line, PX_SLICE_LIT("File")))
            continue;
        CHECK_OK(px_buf_put(out, line));
        CHECK_OK(px_buf_put_u8(out, '\n'));
    }
    px_buf_deinit(&whole);
}

TEST(narinfos_written_by_nix_come_back_unchanged)
{
    static const char *const names[] = {"app",
                                        "lib",
                                        "text",
                                        "text-refs",
                                        "text-drv",
                                        "flat",
                                        "flat-added",
                                        "flat-sha1",
                                        "recursive-sha1",
                                        "recursive",
                                        "recursive-refs",
                                        "recursive-self"};
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++) {
        char path[100];
        struct px_path_info *p;
        struct px_buf whole, want, out;
        snprintf(path, sizeof(path), "narinfo/%s.narinfo", names[i]);
        px_test_vector(path, &whole);
        vector_as_written(path, &want);
        px_buf_init(&out, PX_NARINFO_MAX);
        CHECK_OK(px_narinfo_parse(px_buf_slice(&whole), &p));
        CHECK_OK(px_narinfo_format(p, &out));
        CHECK_SLICE(px_buf_slice(&out), px_buf_slice(&want));
        px_path_info_free(p);
        px_buf_deinit(&out);
        px_buf_deinit(&want);
        px_buf_deinit(&whole);
    }
}

TEST(every_field_is_read)
{
    struct px_buf text;
    struct px_path_info *p;
    px_test_vector("narinfo/app.narinfo", &text);
    CHECK_OK(px_narinfo_parse(px_buf_slice(&text), &p));
    px_buf_deinit(&text); /* the object owns its strings */
    CHECK_SLICE(p->store_path, PX_SLICE_LIT("/nix/store/" HASH "-app-2.1"));
    CHECK_SLICE(px_path_info_hash_part(p), PX_SLICE_LIT(HASH));
    CHECK_SLICE(px_path_info_store_dir(p), PX_SLICE_LIT("/nix/store"));
    CHECK_INT(p->nar_size, 272);
    CHECK_INT(p->ref_count, 3);
    CHECK_SLICE(p->refs[2], PX_SLICE_LIT("lah2lhpkr8yyr2a5cinjaqkpdndp6yhm-lib-1.0"));
    CHECK_SLICE(p->deriver, PX_SLICE_LIT("np6rmnrsvsksc17hxpq2ls321508500l-app-2.1.drv"));
    CHECK_INT(p->sig_count, 1);
    CHECK(px_slice_starts(p->sigs[0], PX_SLICE_LIT("fixture.example-1:Pe7bBB0w")));
    CHECK_SLICE(p->compression, PX_SLICE_LIT("none"));
    CHECK_SLICE(p->url, PX_SLICE_LIT("nar/" NARHASH ".nar"));
    CHECK_INT(p->ca.len, 0);
    px_path_info_free(p);
}

/* The text that openssl found the vector's signature to stand for. */
TEST(the_fingerprint_is_what_nix_signed)
{
    struct px_buf text, out;
    struct px_path_info *p;
    px_test_vector("narinfo/app.narinfo", &text);
    CHECK_OK(px_narinfo_parse(px_buf_slice(&text), &p));
    px_buf_init(&out, 10000);
    CHECK_OK(px_path_info_fingerprint(p, &out));
    CHECK_SLICE(px_buf_slice(&out),
                PX_SLICE_LIT("1;/nix/store/" HASH "-app-2.1;sha256:" NARHASH ";272;/nix/store/" HASH
                             "-app-2.1,"
                             "/nix/store/ilkplyfgvbsc0nbvvhh1lfc1pxvsx2qz-refers.txt,"
                             "/nix/store/lah2lhpkr8yyr2a5cinjaqkpdndp6yhm-lib-1.0"));
    px_buf_deinit(&out);
    px_path_info_free(p);
    CHECK_OK(parse(MINIMAL, &p));
    CHECK_OK(px_path_info_fingerprint(p, &out));
    CHECK_SLICE(px_buf_slice(&out),
                PX_SLICE_LIT("1;/nix/store/" HASH "-a;sha256:" NARHASH ";272;"));
    px_path_info_free(p);
    px_buf_deinit(&out);
    px_buf_deinit(&text);
}

TEST(all_forms_of_a_nar_hash_are_one)
{
    /* SHA-256 of "abc" */
    static const char *const good[] = {
        "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="};
    static const char *const bad[] = {
        "",
        "sha256:",
        "sha256-",
        "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
        "sha1:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
        "sha1:kpcd173cq987hw957sx6m0868wv3x6d9",
        "sha256:kpcd173cq987hw957sx6m0868wv3x6d9",
        "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5",
        "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s ",
        "sha256:2b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
        "sha256-1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
        "sha256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
        "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa1=",
        "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa==",
        "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"};
    static const uint8_t want[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    for (size_t i = 0; i < PX_ARRAY_LEN(good); i++) {
        uint8_t hash[32];
        CHECK_OK(px_nix_sha256_parse(px_slice_cstr(good[i]), hash));
        CHECK(memcmp(hash, want, sizeof(want)) == 0);
    }
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        uint8_t hash[32];
        CHECK_ERR(px_nix_sha256_parse(px_slice_cstr(bad[i]), hash), PX_EPARSE);
    }
}

TEST(what_nix_tolerates_is_tolerated)
{
    static const char *const texts[] = {
        MINIMAL,
        MINIMAL "\n",
        "a line without anything\n" MINIMAL,
        MINIMAL "System: x86_64-linux\nFileHash: whatever\nFileSize: -1\nFuture: a: b\n:\n",
        MINIMAL "References:\n",
        MINIMAL "References: \n",
        MINIMAL "Deriver: unknown-deriver\n",
        MINIMAL "Deriver: /nix/store/" HASH "-a.drv\n",
        MINIMAL "Deriver: ../../etc/passwd\n",
        MINIMAL "Deriver: \n",
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(texts); i++) {
        struct px_path_info *p;
        CHECK_OK(parse(texts[i], &p));
        CHECK_INT(p->nar_size, 272);
        CHECK_INT(p->ref_count, 0);
        CHECK_INT(p->deriver.len, 0);
        CHECK_INT(p->sig_count, 0);
        px_path_info_free(p);
    }
}

TEST(a_bad_narinfo_is_refused)
{
    static const char *const texts[] = {
        "",
        "\n",
        "StorePath: /nix/store/" HASH "-a\nNarHash: sha256:" NARHASH "\n",
        "StorePath: /nix/store/" HASH "-a\nNarSize: 272\n",
        "NarHash: sha256:" NARHASH "\nNarSize: 272\n",
        /* a line cut off */
        MINIMAL "Sig: a:b",
        /* doubled */
        MINIMAL "StorePath: /nix/store/" HASH "-a\n",
        MINIMAL "NarHash: sha256:" NARHASH "\n",
        MINIMAL "NarSize: 272\n",
        MINIMAL "References: \nReferences: \n",
        MINIMAL "Deriver: unknown-deriver\nDeriver: unknown-deriver\n",
        MINIMAL "CA: a\nCA: a\n",
        MINIMAL "URL: a\nURL: a\n",
        MINIMAL "Compression: none\nCompression: xz\n",
        /* line ends and bytes that could hide something */
        "StorePath: /nix/store/" HASH "-a\r\nNarHash: sha256:" NARHASH "\r\nNarSize: 272\r\n",
        MINIMAL "\r\n",
        MINIMAL "Foo: \x01\n",
        MINIMAL "Foo: \xc3\xa4\n",
        MINIMAL "Foo:\tbar\n",
        /* bad values */
        "StorePath: " HASH "-a\nNarHash: sha256:" NARHASH "\nNarSize: 272\n",
        "StorePath: /" HASH "-a\nNarHash: sha256:" NARHASH "\nNarSize: 272\n",
        "StorePath:  /nix/store/" HASH "-a\nNarHash: sha256:" NARHASH "\nNarSize: 272\n",
        "StorePath: /nix/store/" HASH "-a/b\nNarHash: sha256:" NARHASH "\nNarSize: 272\n",
        "StorePath: /nix/../" HASH "-a\nNarHash: sha256:" NARHASH "\nNarSize: 272\n",
        "StorePath: /nix/store/" HASH "-a\nNarHash: sha256:" NARHASH "\nNarSize: 0\n",
        "StorePath: /nix/store/" HASH "-a\nNarHash: sha256:" NARHASH "\nNarSize: -1\n",
        "StorePath: /nix/store/" HASH "-a\nNarHash: sha256:" NARHASH
        "\nNarSize: 18446744073709551616\n",
        "StorePath: /nix/store/" HASH "-a\nNarHash: md5:" NARHASH "\nNarSize: 272\n",
        MINIMAL "References: a\n",
        MINIMAL "References: /nix/store/" HASH "-a\n",
        MINIMAL "References: " HASH "-a," HASH "-b\n",
        MINIMAL "Sig: \n",
        MINIMAL "Sig: nocolon\n",
        MINIMAL "Sig: :b\n",
        MINIMAL "Sig: a:\n",
        MINIMAL "Sig: a:b c\n",
        MINIMAL "URL: \n",
        MINIMAL "URL: a b\n",
        MINIMAL "CA: \n",
        MINIMAL "CA: text:sha256:a b\n",
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(texts); i++) {
        struct px_path_info *p = NULL;
        int err = parse(texts[i], &p);
        if (err != PX_EPARSE)
            px_test_fail(__FILE__, __LINE__, "row %zu: %s", i, px_errname(err));
        CHECK(p == NULL);
    }
    struct px_path_info *p = NULL;
    CHECK_ERR(px_narinfo_parse(px_slice(MINIMAL "Foo: \0\n", sizeof(MINIMAL "Foo: \0\n") - 1), &p),
              PX_EPARSE);
    CHECK_ERR(px_narinfo_parse(px_slice(NULL, 0), &p), PX_EPARSE);
}

TEST(references_are_sorted_and_single)
{
    struct px_path_info *p;
    CHECK_OK(parse(MINIMAL "References: " HASH "-b " HASH "-a  " HASH "-aa " HASH "-b " HASH "-A\n",
                   &p));
    CHECK_INT(p->ref_count, 4);
    CHECK_SLICE(p->refs[0], PX_SLICE_LIT(HASH "-A"));
    CHECK_SLICE(p->refs[1], PX_SLICE_LIT(HASH "-a"));
    CHECK_SLICE(p->refs[2], PX_SLICE_LIT(HASH "-aa"));
    CHECK_SLICE(p->refs[3], PX_SLICE_LIT(HASH "-b"));
    px_path_info_free(p);
}

TEST(views_stay_valid_as_more_is_added)
{
    struct px_path_info *p = px_path_info_new();
    struct px_slice first;
    char name[100];
    CHECK(p != NULL);
    CHECK_OK(px_path_info_add_ref(p, PX_SLICE_LIT(HASH "-first")));
    first = p->refs[0];
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), HASH "-%d", i);
        CHECK_OK(px_path_info_add_ref(p, px_slice_cstr(name)));
    }
    CHECK_SLICE(first, PX_SLICE_LIT(HASH "-first"));
    px_path_info_sort_refs(p);
    CHECK_SLICE(p->refs[2000], first);
    px_path_info_free(p);
    px_path_info_free(NULL);
}

TEST(the_text_may_have_a_mebibyte)
{
    static char text[PX_NARINFO_MAX + 2];
    struct px_path_info *p;
    memset(text, 'x', sizeof(text));
    memcpy(text, MINIMAL, sizeof(MINIMAL) - 1);
    text[PX_NARINFO_MAX - 1] = '\n';
    CHECK_OK(px_narinfo_parse(px_slice(text, PX_NARINFO_MAX), &p));
    px_path_info_free(p);
    text[PX_NARINFO_MAX] = '\n';
    CHECK_ERR(px_narinfo_parse(px_slice(text, PX_NARINFO_MAX + 1), &p), PX_ELIMIT);
    p = px_path_info_new();
    CHECK(p != NULL);
    CHECK_OK(px_path_info_set_str(p, &p->url, px_slice(text, PX_NARINFO_MAX)));
    CHECK_ERR(px_path_info_set_str(p, &p->url, px_slice(text, PX_NARINFO_MAX + 1)), PX_ELIMIT);
    CHECK_INT(p->url.len, PX_NARINFO_MAX);
    px_path_info_free(p);
}

TEST(there_may_be_20000_references_and_64_signatures)
{
    struct px_buf text;
    struct px_path_info *p;
    px_buf_init(&text, PX_NARINFO_MAX);
    CHECK_OK(px_buf_put_cstr(&text, MINIMAL "References:"));
    for (unsigned i = 0; i < PX_NARINFO_REFS_MAX; i++)
        CHECK_OK(px_buf_printf(&text, " " HASH "-%x", i));
    size_t len = text.len;
    CHECK_OK(px_buf_put_cstr(&text, "\n"));
    CHECK_OK(px_narinfo_parse(px_buf_slice(&text), &p));
    CHECK_INT(p->ref_count, PX_NARINFO_REFS_MAX);
    px_path_info_free(p);
    text.len = len;
    CHECK_OK(px_buf_put_cstr(&text, " " HASH "-0\n"));
    CHECK_ERR(px_narinfo_parse(px_buf_slice(&text), &p), PX_ELIMIT);
    px_buf_clear(&text);
    CHECK_OK(px_buf_put_cstr(&text, MINIMAL));
    for (unsigned i = 0; i < PX_NARINFO_SIGS_MAX; i++)
        CHECK_OK(px_buf_printf(&text, "Sig: k:%u\n", i));
    CHECK_OK(px_narinfo_parse(px_buf_slice(&text), &p));
    CHECK_INT(p->sig_count, PX_NARINFO_SIGS_MAX);
    px_path_info_clear_sigs(p);
    CHECK_INT(p->sig_count, 0);
    CHECK_OK(px_path_info_add_sig(p, PX_SLICE_LIT("k:again")));
    px_path_info_free(p);
    CHECK_OK(px_buf_put_cstr(&text, "Sig: k:more\n"));
    CHECK_ERR(px_narinfo_parse(px_buf_slice(&text), &p), PX_ELIMIT);
    px_buf_deinit(&text);
}

TEST(base_names_are_a_hash_and_a_name)
{
    static const char *const good[] = {HASH "-a",   HASH "-0",   HASH "-.a",  HASH "--",
                                       HASH "-a.-", HASH "-...", HASH "-..a", HASH "-A+z-._?=9"};
    static const char *const bad[] = {"",
                                      "-",
                                      HASH,
                                      HASH "-",
                                      HASH "a",
                                      HASH "_a",
                                      HASH "-.",
                                      HASH "-..",
                                      HASH "-.-",
                                      HASH "-.-a",
                                      HASH "-..-",
                                      HASH "-..-a",
                                      HASH "-a/b",
                                      HASH "-a b",
                                      HASH "-a\n",
                                      HASH "-a,b",
                                      HASH "-a;b",
                                      HASH "-\xc3\xa4",
                                      HASH "-a*",
                                      HASH "-~",
                                      "eznshr7am8lp74s73rchid7ggzncyz1c-a",
                                      "Fznshr7am8lp74s73rchid7ggzncyz1c-a",
                                      "znshr7am8lp74s73rchid7ggzncyz1c-a",
                                      "ffznshr7am8lp74s73rchid7ggzncyz1c-a"};
    char name[300];
    for (size_t i = 0; i < PX_ARRAY_LEN(good); i++)
        CHECK(px_store_base_name_valid(px_slice_cstr(good[i])));
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        if (px_store_base_name_valid(px_slice_cstr(bad[i])))
            px_test_fail(__FILE__, __LINE__, "%s", bad[i]);
    CHECK(!px_store_base_name_valid(px_slice(HASH "-a\0b", PX_STORE_HASH_LEN + 4)));
    memset(name, 'a', sizeof(name));
    memcpy(name, HASH "-", PX_STORE_HASH_LEN + 1);
    CHECK(px_store_base_name_valid(px_slice(name, PX_STORE_HASH_LEN + 1 + PX_STORE_NAME_MAX)));
    CHECK(!px_store_base_name_valid(px_slice(name, PX_STORE_HASH_LEN + 2 + PX_STORE_NAME_MAX)));
}

TEST(store_paths_are_split_and_their_directory_is_absolute)
{
    static const struct {
        const char *path, *dir;
    } rows[] = {{"/nix/store/" HASH "-a", "/nix/store"},
                {"/s/" HASH "-a", "/s"},
                {"/home/u/.local/share/nix/root/nix/store/" HASH "-a",
                 "/home/u/.local/share/nix/root/nix/store"}};
    static const char *const bad[] = {"",
                                      "/",
                                      HASH "-a",
                                      "/" HASH "-a",
                                      "//" HASH "-a",
                                      "nix/store/" HASH "-a",
                                      "/nix//store/" HASH "-a",
                                      "/nix/store//" HASH "-a",
                                      "/nix/store/" HASH "-a/",
                                      "/nix/./store/" HASH "-a",
                                      "/nix/../store/" HASH "-a",
                                      "/nix/store/../" HASH "-a",
                                      "/nix store/" HASH "-a",
                                      "/nix\n/store/" HASH "-a",
                                      ("/nix/store/" HASH)};
    struct px_slice dir, name;
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        CHECK_OK(px_store_path_split(px_slice_cstr(rows[i].path), &dir, &name));
        CHECK_SLICE(dir, px_slice_cstr(rows[i].dir));
        CHECK_SLICE(name, PX_SLICE_LIT(HASH "-a"));
    }
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        CHECK_ERR(px_store_path_split(px_slice_cstr(bad[i]), &dir, &name), PX_EPARSE);
}
