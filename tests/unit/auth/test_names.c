/* The names file's text, and what a word for a peer means. */
#include "auth/names.h"

#include "tests/test.h"

#define A  "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj"
#define A2 "k51qzi5uqu5dl8wlbw09j1cpr1i456yb3mv0r5wnpx3wz6qq8pnppkvgqdepc8" /* the same peer */
#define B  "12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV"
#define C  "12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi"

static struct px_peer_id id_of(const char *text)
{
    struct px_peer_id id;
    CHECK_OK(px_peer_id_parse(px_slice_cstr(text), &id));
    return id;
}

static struct px_names *parse(const char *text)
{
    struct px_names *n;
    CHECK_OK(px_names_parse(px_slice_cstr(text), &n));
    return n;
}

TEST(a_full_line_gives_all_its_fields)
{
    struct px_name n;
    struct px_auth_error e;
    struct px_peer_id a = id_of(A);
    CHECK_OK(px_name_parse_line(PX_SLICE_LIT(" desk\t" A2 "  # under the desk"), &n, &e));
    CHECK_STR(n.name, "desk");
    CHECK(px_peer_id_eq(&n.id, &a));
    CHECK_STR(n.comment, "under the desk");
}

TEST(each_bad_line_says_what_is_wrong)
{
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"desk", "the peer ID is missing"},
        {"Desk " A, "name 'Desk' is not"},
        {"-desk " A, "name '-desk' is not"},
        {A " desk", "is not 1 to 63"},
        {A2 " " A, "is a peer ID"},
        {"desk " A "x", "is not a peer ID"},
        {"desk " A " desk", "'desk' is one word too many"},
        {"desk " A " # \x1b[31m", "control character U+001B"},
        {"desk " A "\r", "carriage return"},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_name n;
        struct px_auth_error e = {0};
        CHECK_ERR(px_name_parse_line(px_slice_cstr(cases[i].line), &n, &e), PX_EPARSE);
        if (strstr(e.message, cases[i].message) == NULL)
            px_test_fail(__FILE__, __LINE__, "\"%s\" lacks \"%s\"", e.message, cases[i].message);
    }
}

TEST(a_file_keeps_its_good_lines_and_numbers_the_bad_ones)
{
    struct px_names *n = parse("# names\ndesk " A "\noops\n\nlap " B "\ndesk " C "\nother " A "\n");
    CHECK_INT(px_names_count(n), 3);
    CHECK_INT(px_names_find(n, PX_SLICE_LIT("lap"))->line, 5);
    CHECK(px_names_find(n, PX_SLICE_LIT("oops")) == NULL);
    CHECK_INT(px_names_error_count(n), 2);
    CHECK_INT(px_names_error_at(n, 0)->line, 3);
    CHECK_INT(px_names_error_at(n, 1)->line, 6);
    CHECK_STR(px_names_error_at(n, 1)->message, "name 'desk' is already used in line 2");
    px_names_free(n);
}

TEST(limits_are_kept)
{
    struct px_buf text, out;
    struct px_names *n;
    struct px_name more = {.name = "more", .id = id_of(A)};
    px_buf_init(&text, 1 << 20);
    px_buf_init(&out, 1 << 20);
    for (int i = 0; i < PX_NAMES_MAX; i++)
        CHECK_OK(px_buf_printf(&text, "n%d " A "\n", i));
    CHECK_OK(px_names_parse(px_buf_slice(&text), &n));
    px_names_free(n);
    CHECK_ERR(px_names_text_set(px_buf_slice(&text), &more, &out), PX_ELIMIT);
    CHECK_INT(out.len, 0);
    CHECK_OK(px_buf_put_cstr(&text, "more " A "\n"));
    CHECK_ERR(px_names_parse(px_buf_slice(&text), &n), PX_ELIMIT);
    px_buf_clear(&text);
    for (int i = 0; i < 2 * PX_AUTH_ERRORS_MAX; i++)
        CHECK_OK(px_buf_put_cstr(&text, "x\n"));
    CHECK_OK(px_names_parse(px_buf_slice(&text), &n));
    CHECK_INT(px_names_error_count(n), PX_AUTH_ERRORS_MAX);
    px_names_free(n);
    px_buf_deinit(&text);
    px_buf_deinit(&out);
}

TEST(an_edit_leaves_every_other_line_alone)
{
    struct px_name desk = {.name = "desk", .id = id_of(B), .comment = "moved"};
    struct px_buf out;
    struct px_slice before = PX_SLICE_LIT("# mine\ndesk " A " # old\nbad line\nlap " C);
    px_buf_init(&out, 10000);
    CHECK_OK(px_names_text_set(before, &desk, &out));
    CHECK_SLICE(px_buf_slice(&out),
                PX_SLICE_LIT("# mine\ndesk " B " # moved\nbad line\nlap " C "\n"));
    px_buf_clear(&out);
    CHECK_OK(px_names_text_remove(before, PX_SLICE_LIT("desk"), &out));
    CHECK_SLICE(px_buf_slice(&out), PX_SLICE_LIT("# mine\nbad line\nlap " C "\n"));
    px_buf_clear(&out);
    CHECK_ERR(px_names_text_remove(before, PX_SLICE_LIT("bad"), &out), PX_ENOENT);
    CHECK_INT(out.len, 0);
    px_buf_deinit(&out);
}

TEST(what_could_not_be_read_back_is_not_written)
{
    static const char *const names[] = {"", "a b", "a\nb", "Upper", A2};
    struct px_buf out;
    px_buf_init(&out, 10000);
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++) {
        struct px_name n = {.id = id_of(A)};
        snprintf(n.name, sizeof(n.name), "%s", names[i]);
        CHECK_ERR(px_name_format(&n, &out), PX_EPARSE);
    }
    struct px_name n = {.name = "x", .id = id_of(A), .comment = "a\nevil " B};
    CHECK_ERR(px_name_format(&n, &out), PX_EPARSE);
    CHECK_INT(out.len, 0);
    px_buf_deinit(&out);
}

TEST(words_resolve_in_order_and_a_raw_id_always_works)
{
    struct px_authorized_keys *keys;
    struct px_names *names = parse("desk " C "\nlap " C "\n");
    CHECK_OK(px_authorized_keys_parse(PX_SLICE_LIT(A " name=desk\n" B " name=bee\n"), &keys));
    static const struct {
        const char *word, *id;
        enum px_resolved by;
    } cases[] = {
        {A, A, PX_RESOLVED_ID},
        {A2, A, PX_RESOLVED_ID},
        {C, C, PX_RESOLVED_ID},
        {"desk", A, PX_RESOLVED_AUTHORIZED},
        {"bee", B, PX_RESOLVED_AUTHORIZED},
        {"lap", C, PX_RESOLVED_NAME},
        {"12D3KooWPVYK", A, PX_RESOLVED_PREFIX},
        {"12D3KooWD3bf", C, PX_RESOLVED_PREFIX},
    };
    struct px_peer_id id, want;
    enum px_resolved by;
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        CHECK_OK(px_peer_resolve(keys, names, px_slice_cstr(cases[i].word), &id, &by));
        want = id_of(cases[i].id);
        CHECK(px_peer_id_eq(&id, &want));
        CHECK_STR(px_resolved_name(by), px_resolved_name(cases[i].by));
    }
    CHECK_OK(px_peer_resolve(NULL, NULL, PX_SLICE_LIT(B), &id, &by));
    static const char *const unknown[] = {"",   "des", "12D3KooW", "12D3KooWPVY", "12D3KooWZZZZZZ",
                                          A "x"};
    for (size_t i = 0; i < PX_ARRAY_LEN(unknown); i++)
        CHECK_ERR(px_peer_resolve(keys, names, px_slice_cstr(unknown[i]), &id, &by), PX_ENOENT);
    px_authorized_keys_free(keys);
    px_names_free(names);
}

TEST(a_beginning_that_fits_several_peers_is_no_answer)
{
    struct px_peer_id a = id_of(A), b = a, id;
    struct px_buf text;
    char line[PX_PEER_ID_TEXT_MAX];
    enum px_resolved by;
    struct px_names *names;
    b.key[31] ^= 1; /* the last digits of the ID change */
    px_buf_init(&text, 1000);
    CHECK_OK(px_buf_printf(&text, "a %s\n", px_peer_id_format(&a, line)));
    CHECK_OK(px_buf_printf(&text, "b %s\n", px_peer_id_format(&b, line)));
    CHECK_OK(px_names_parse(px_buf_slice(&text), &names));
    CHECK_ERR(px_peer_resolve(NULL, names, PX_SLICE_LIT("12D3KooWPVYKwhPs"), &id, &by), PX_EEXIST);
    px_names_free(names);
    px_buf_deinit(&text);
}
