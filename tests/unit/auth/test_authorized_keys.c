/* The allowlist's text: what is read, what each kind of bad line is told, what may be written. */
#include "auth/authorized_keys.h"

#include <stdlib.h>

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

TEST(a_full_line_gives_all_its_fields)
{
    struct px_authorized_key k;
    struct px_auth_error e;
    struct px_peer_id a = id_of(A);
    CHECK_OK(px_authorized_key_parse_line(
        PX_SLICE_LIT("\t " A "  addr=192.0.2.1:4001 name=build-7\tgrant=cache,cache-own "
                     "addr=[2001:db8::1]:1 addr=host.example:65535  #  Käthe's box #2 "),
        &k, &e));
    CHECK(px_peer_id_eq(&k.id, &a));
    CHECK_STR(k.name, "build-7");
    CHECK_INT(k.grants, PX_GRANT_CACHE | PX_GRANT_CACHE_OWN);
    CHECK_INT(k.addr_count, 3);
    CHECK_STR(k.addrs[0], "192.0.2.1:4001");
    CHECK_STR(k.addrs[1], "[2001:db8::1]:1");
    CHECK_STR(k.addrs[2], "host.example:65535");
    CHECK_STR(k.comment, "Käthe's box #2");
}

TEST(a_bare_peer_id_is_granted_nothing)
{
    struct px_authorized_key k;
    struct px_auth_error e;
    CHECK_OK(px_authorized_key_parse_line(PX_SLICE_LIT(A), &k, &e));
    CHECK_INT(k.grants, 0);
    CHECK_INT(k.addr_count, 0);
    CHECK_STR(k.name, "");
    CHECK_STR(k.comment, "");
}

TEST(empty_and_comment_lines_hold_no_entry)
{
    static const char *const lines[] = {"", " ", "\t\t", "#", "# hi", "  # hi", "#\xff\x01"};
    for (size_t i = 0; i < PX_ARRAY_LEN(lines); i++) {
        struct px_authorized_key k;
        struct px_auth_error e;
        CHECK_ERR(px_authorized_key_parse_line(px_slice_cstr(lines[i]), &k, &e), PX_ENOENT);
    }
}

#define X63 "a23456789012345678901234567890123456789012345678901234567890123"

TEST(each_bad_line_says_what_is_wrong)
{
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"hello", "'hello' is not a peer ID"},
        {"name=x " A, "'name=x' is not a peer ID"},
        {"\"" A "\"", "is not a peer ID"},
        {"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "is not of an ed25519 key"},
        {A " nmae=x", "unknown option 'nmae'"},
        {A " Name=x", "unknown option 'Name'"},
        {A " =x", "unknown option ''"},
        {A " name", "'name' is not of the form option=value"},
        {A " " B, "is not of the form option=value"},
        {A " name=", "name '' is not"},
        {A " name=X", "name 'X' is not"},
        {A " name=-x", "name '-x' is not"},
        {A " name=x-", "name 'x-' is not"},
        {A " name=a_b", "name 'a_b' is not"},
        {A " name=a.b", "name 'a.b' is not"},
        {A " name=a=b", "name 'a=b' is not"},
        {A " name=a#b", "name 'a#b' is not"},
        {A " name=\"a", "name '\"a' is not"},
        {A " name=" X63 "4", "name 'a2345"},
        {A " name=a name=a", "option 'name' is given twice"},
        {A " addr=", "addr '' is not HOST:PORT"},
        {A " addr=host", "addr 'host' is not HOST:PORT"},
        {A " addr=host:0", "addr 'host:0' is not HOST:PORT"},
        {A " addr=host:65536", "addr 'host:65536' is not HOST:PORT"},
        {A " addr=::1:5", "is not HOST:PORT"},
        {A " addr=a/b:5", "is not HOST:PORT"},
        {A " addr=a:5,b:5", "is not HOST:PORT"},
        {A " addr=a:5 addr=a:5", "addr 'a:5' is given twice"},
        {A " grant=", "grant '' is not a list of: cache, cache-own"},
        {A " grant=all", "grant 'all' is not a list of"},
        {A " grant=cache,", "is not a list of"},
        {A " grant=,cache", "is not a list of"},
        {A " grant=cache,cache", "is not a list of"},
        {A " grant=CACHE", "is not a list of"},
        {A " grant=cache grant=cache-own", "option 'grant' is given twice"},
        {A "\r", "carriage return"},
        {A " # x\r", "carriage return"},
        {A " name=a\rb", "byte 0x0d in column 60 is not allowed"},
        {A "\v", "byte 0x0b in column 53 is not allowed"},
        {A " name=\x7f", "byte 0x7f"},
        {A " name=\xc3\xa4", "byte 0xc3"},
        {"\xef\xbb\xbf" A, "byte 0xef in column 1 is not allowed"},
        {A " # a\x01", "control character U+0001"},
        {A " # a\tb", "control character U+0009"},
        {A " # \x7f", "control character U+007F"},
        {A " # \xc2\x9b", "control character U+009B"},
        {A " # \xe2\x80\xae", "control character U+202E"},
        {A " # \xff", "the comment is not UTF-8"},
        {A " # \xc3", "the comment is not UTF-8"},
        {A " # \xc3(", "the comment is not UTF-8"},
        {A " # \xc0\xaf", "the comment is not UTF-8"},
        {A " # \xed\xa0\x80", "the comment is not UTF-8"},
        {A " # \xf4\x90\x80\x80", "the comment is not UTF-8"},
        {A " # \xe0\x80\x80", "the comment is not UTF-8"},
        {A " # \x80", "the comment is not UTF-8"},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_authorized_key k;
        struct px_auth_error e = {0};
        memset(&k, 7, sizeof(k));
        CHECK_ERR(px_authorized_key_parse_line(px_slice_cstr(cases[i].line), &k, &e), PX_EPARSE);
        if (strstr(e.message, cases[i].message) == NULL)
            px_test_fail(__FILE__, __LINE__, "\"%s\" lacks \"%s\"", e.message, cases[i].message);
        CHECK_INT(k.name[0], 7); /* untouched */
    }
}

TEST(a_nul_byte_is_refused_anywhere)
{
    static const char line[] = A " name=ab # cd";
    for (size_t i = 0; i < sizeof(line) - 1; i++) {
        char copy[sizeof(line)];
        struct px_authorized_key k;
        struct px_auth_error e;
        memcpy(copy, line, sizeof(line));
        copy[i] = '\0';
        CHECK_ERR(px_authorized_key_parse_line(px_slice(copy, sizeof(line) - 1), &k, &e),
                  PX_EPARSE);
    }
}

TEST(limits_of_a_line_are_kept)
{
    struct px_authorized_key k;
    struct px_auth_error e;
    struct px_buf b;
    px_buf_init(&b, 10000);
    /* a line of exactly the limit, made of blanks */
    CHECK_OK(px_buf_put_cstr(&b, A));
    while (b.len < PX_AUTH_LINE_MAX)
        CHECK_OK(px_buf_put_u8(&b, ' '));
    CHECK_OK(px_authorized_key_parse_line(px_buf_slice(&b), &k, &e));
    CHECK_OK(px_buf_put_u8(&b, ' '));
    CHECK_ERR(px_authorized_key_parse_line(px_buf_slice(&b), &k, &e), PX_EPARSE);
    CHECK(strstr(e.message, "longer than 1024 bytes") != NULL);
    /* the comment */
    px_buf_clear(&b);
    CHECK_OK(px_buf_put_cstr(&b, A " #"));
    for (size_t i = 0; i < PX_AUTH_COMMENT_MAX - 1; i++)
        CHECK_OK(px_buf_put_u8(&b, 'c'));
    CHECK_OK(px_authorized_key_parse_line(px_buf_slice(&b), &k, &e));
    CHECK_INT(strlen(k.comment), PX_AUTH_COMMENT_MAX - 1);
    CHECK_OK(px_buf_put_u8(&b, 'c'));
    CHECK_ERR(px_authorized_key_parse_line(px_buf_slice(&b), &k, &e), PX_EPARSE);
    /* the addresses */
    px_buf_clear(&b);
    CHECK_OK(px_buf_put_cstr(&b, A " name=" X63));
    for (unsigned i = 1; i <= PX_AUTH_ADDRS_MAX; i++)
        CHECK_OK(px_buf_printf(&b, " addr=h:%u", i));
    CHECK_OK(px_authorized_key_parse_line(px_buf_slice(&b), &k, &e));
    CHECK_INT(k.addr_count, PX_AUTH_ADDRS_MAX);
    CHECK_OK(px_buf_put_cstr(&b, " addr=h:100"));
    CHECK_ERR(px_authorized_key_parse_line(px_buf_slice(&b), &k, &e), PX_EPARSE);
    CHECK(strstr(e.message, "more than 8 addr options") != NULL);
    px_buf_deinit(&b);
}

static struct px_authorized_keys *parse(const char *text)
{
    struct px_authorized_keys *k;
    CHECK_OK(px_authorized_keys_parse(px_slice_cstr(text), &k));
    return k;
}

TEST(one_bad_line_does_not_lock_the_others_out)
{
    struct px_authorized_keys *k = parse("# peers\n" A " name=a grant=cache\n"
                                         "garbage\n\n" B " nmae=b\n" C " name=c\n");
    struct px_peer_id a = id_of(A), b = id_of(B), c = id_of(C);
    CHECK_INT(px_authorized_keys_count(k), 2);
    CHECK(px_authorized_keys_find(k, &a) == px_authorized_keys_at(k, 0));
    CHECK(px_authorized_keys_find(k, &b) == NULL);
    CHECK(px_authorized_keys_find(k, &c) == px_authorized_keys_at(k, 1));
    CHECK_INT(px_authorized_keys_at(k, 0)->line, 2);
    CHECK_INT(px_authorized_keys_at(k, 1)->line, 6);
    CHECK(px_authorized_keys_by_name(k, PX_SLICE_LIT("c")) == px_authorized_keys_at(k, 1));
    CHECK(px_authorized_keys_by_name(k, PX_SLICE_LIT("b")) == NULL);
    CHECK(px_authorized_keys_by_name(k, PX_SLICE_LIT("")) == NULL);
    CHECK_INT(px_authorized_keys_error_count(k), 2);
    CHECK_INT(px_authorized_keys_error_at(k, 0)->line, 3);
    CHECK_INT(px_authorized_keys_error_at(k, 1)->line, 5);
    CHECK_STR(px_authorized_keys_error_at(k, 1)->message, "unknown option 'nmae'");
    px_authorized_keys_free(k);
    px_authorized_keys_free(NULL);
}

TEST(a_second_line_for_a_peer_or_a_name_is_bad)
{
    struct px_authorized_keys *k =
        parse(A " name=x\n" A2 " grant=cache\n" B " name=x\n" B " name=y\n");
    struct px_peer_id a = id_of(A), b = id_of(B);
    CHECK_INT(px_authorized_keys_count(k), 2);
    CHECK_INT(px_authorized_keys_find(k, &a)->grants, 0);
    CHECK_STR(px_authorized_keys_find(k, &b)->name, "y");
    CHECK_INT(px_authorized_keys_error_count(k), 2);
    CHECK_STR(px_authorized_keys_error_at(k, 0)->message, "this peer is already listed in line 1");
    CHECK_STR(px_authorized_keys_error_at(k, 1)->message, "name 'x' is already used in line 1");
    px_authorized_keys_free(k);
}

TEST(a_file_with_dos_line_ends_lists_nobody_and_says_why)
{
    struct px_authorized_keys *k = parse(A "\r\n" B "\r\n");
    CHECK_INT(px_authorized_keys_count(k), 0);
    CHECK_INT(px_authorized_keys_error_count(k), 2);
    px_authorized_keys_free(k);
}

TEST(empty_text_is_an_empty_list)
{
    struct px_authorized_keys *k;
    struct px_peer_id a = id_of(A);
    CHECK_OK(px_authorized_keys_parse(px_slice(NULL, 0), &k));
    CHECK_INT(px_authorized_keys_count(k) + px_authorized_keys_error_count(k), 0);
    CHECK(px_authorized_keys_find(k, &a) == NULL);
    px_authorized_keys_free(k);
}

TEST(the_errors_kept_are_bounded_and_the_last_one_counts_the_rest)
{
    struct px_buf text;
    struct px_authorized_keys *k;
    px_buf_init(&text, 100000);
    for (int i = 0; i < 1000; i++)
        CHECK_OK(px_buf_put_cstr(&text, "bad\n"));
    CHECK_OK(px_buf_put_cstr(&text, A "\n"));
    CHECK_OK(px_authorized_keys_parse(px_buf_slice(&text), &k));
    CHECK_INT(px_authorized_keys_count(k), 1);
    CHECK_INT(px_authorized_keys_error_count(k), PX_AUTH_ERRORS_MAX);
    CHECK_INT(px_authorized_keys_error_at(k, 99)->line, 100);
    CHECK_STR(px_authorized_keys_error_at(k, 99)->message, "from here on 901 lines are bad");
    px_authorized_keys_free(k);
    px_buf_deinit(&text);
}

/* Line i of a big list. */
static struct px_authorized_key numbered(unsigned i)
{
    struct px_authorized_key k = {.grants = PX_GRANT_CACHE};
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, i);
    rng.fill(rng.ctx, k.id.key, sizeof(k.id.key));
    snprintf(k.name, sizeof(k.name), "n%u", i);
    return k;
}

TEST(up_to_the_maximum_entries_are_found_and_one_more_is_refused)
{
    struct px_buf text, out;
    struct px_authorized_keys *k, *none = NULL;
    px_buf_init(&text, 4000000);
    px_buf_init(&out, 4000000);
    for (unsigned i = 0; i < PX_AUTH_ENTRIES_MAX; i++) {
        struct px_authorized_key e = numbered(i);
        CHECK_OK(px_authorized_key_format(&e, &text));
    }
    CHECK_OK(px_authorized_keys_parse(px_buf_slice(&text), &k));
    CHECK_INT(px_authorized_keys_count(k), PX_AUTH_ENTRIES_MAX);
    for (unsigned i = 0; i < 2 * PX_AUTH_ENTRIES_MAX; i++) {
        struct px_authorized_key e = numbered(i);
        const struct px_authorized_key *at =
            i < PX_AUTH_ENTRIES_MAX ? px_authorized_keys_at(k, i) : NULL;
        CHECK(px_authorized_keys_find(k, &e.id) == at);
        CHECK(px_authorized_keys_by_name(k, px_slice_cstr(e.name)) == at);
    }
    px_authorized_keys_free(k);
    struct px_authorized_key more = numbered(PX_AUTH_ENTRIES_MAX), known = numbered(5);
    CHECK_ERR(px_authorized_keys_text_set(px_buf_slice(&text), &more, &out), PX_ELIMIT);
    CHECK_INT(out.len, 0);
    CHECK_OK(px_authorized_keys_text_set(px_buf_slice(&text), &known, &out));
    CHECK_OK(px_authorized_key_format(&more, &text));
    CHECK_ERR(px_authorized_keys_parse(px_buf_slice(&text), &none), PX_ELIMIT);
    CHECK(none == NULL);
    px_buf_deinit(&text);
    px_buf_deinit(&out);
}

static struct px_authorized_key sample(void)
{
    struct px_authorized_key k = {.id = id_of(A), .grants = PX_GRANT_CACHE, .addr_count = 1};
    snprintf(k.name, sizeof(k.name), "alpha");
    snprintf(k.addrs[0], sizeof(k.addrs[0]), "h:1");
    snprintf(k.comment, sizeof(k.comment), "hi");
    return k;
}

TEST(a_written_line_is_read_back)
{
    struct px_buf b;
    struct px_authorized_key k = sample();
    px_buf_init(&b, 2000);
    CHECK_OK(px_authorized_key_format(&k, &b));
    CHECK_SLICE(px_buf_slice(&b), PX_SLICE_LIT(A " name=alpha addr=h:1 grant=cache # hi\n"));
    px_buf_clear(&b);
    k.name[0] = k.comment[0] = '\0';
    k.addr_count = 0;
    k.grants = 0;
    CHECK_OK(px_authorized_key_format(&k, &b));
    CHECK_SLICE(px_buf_slice(&b), PX_SLICE_LIT(A "\n"));
    px_buf_deinit(&b);
}

TEST(no_field_can_smuggle_in_a_second_line_option_or_comment)
{
    static const char *const evil[] = {
        "x\n" B,
        "\n",
        "x\r",
        "x\r\n" B " grant=cache",
        "x grant=cache,cache-own",
        "x # y",
        " x",
        "x ",
        "x\ty",
        "\xff",
        "x\x1b[2J",
        "x\xc2\x85y",
        "x\xe2\x80\xa8" B,
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(evil); i++) {
        struct px_authorized_key in_name = sample(), in_addr = sample(), in_comment = sample();
        struct px_buf b;
        px_buf_init(&b, 4000);
        snprintf(in_name.name, sizeof(in_name.name), "%s", evil[i]);
        snprintf(in_addr.addrs[0], sizeof(in_addr.addrs[0]), "%s", evil[i]);
        snprintf(in_comment.comment, sizeof(in_comment.comment), "%s", evil[i]);
        CHECK_ERR(px_authorized_key_format(&in_name, &b), PX_EPARSE);
        CHECK_ERR(px_authorized_key_format(&in_addr, &b), PX_EPARSE);
        /* in a comment a blank inside and another '#' are harmless */
        bool harmless =
            strcmp(evil[i], "x # y") == 0 || strcmp(evil[i], "x grant=cache,cache-own") == 0;
        CHECK_ERR(px_authorized_key_format(&in_comment, &b), harmless ? 0 : PX_EPARSE);
        CHECK(harmless || b.len == 0);
        px_buf_deinit(&b);
    }
}

TEST(fields_without_end_unknown_bits_and_too_long_lines_are_not_written)
{
    struct px_buf b;
    px_buf_init(&b, 4000);
    struct px_authorized_key k = sample();
    memset(k.name, 'a', sizeof(k.name));
    CHECK_ERR(px_authorized_key_format(&k, &b), PX_EPARSE);
    k = sample();
    memset(k.comment, 'a', sizeof(k.comment));
    CHECK_ERR(px_authorized_key_format(&k, &b), PX_EPARSE);
    k = sample();
    memset(k.addrs[0], 'a', sizeof(k.addrs[0]));
    CHECK_ERR(px_authorized_key_format(&k, &b), PX_EPARSE);
    k = sample();
    k.grants = 1u << 31;
    CHECK_ERR(px_authorized_key_format(&k, &b), PX_EPARSE);
    k = sample();
    k.addr_count = PX_AUTH_ADDRS_MAX + 1;
    CHECK_ERR(px_authorized_key_format(&k, &b), PX_EPARSE);
    k = sample();
    k.addr_count = PX_AUTH_ADDRS_MAX;
    for (unsigned i = 0; i < PX_AUTH_ADDRS_MAX; i++) {
        memset(k.addrs[i], 'a', 250);
        for (size_t dot = 50; dot < 250; dot += 50)
            k.addrs[i][dot] = '.';
        snprintf(k.addrs[i] + 250, sizeof(k.addrs[i]) - 250, ":%u", i + 1);
    }
    CHECK_ERR(px_authorized_key_format(&k, &b), PX_EPARSE);
    CHECK_INT(b.len, 0);
    CHECK_INT(b.err, 0);
    px_buf_deinit(&b);
}

static void check_set(const char *text, const char *want)
{
    struct px_buf b;
    struct px_authorized_key k = sample();
    px_buf_init(&b, 4000);
    CHECK_OK(px_authorized_keys_text_set(px_slice_cstr(text), &k, &b));
    CHECK_SLICE(px_buf_slice(&b), px_slice_cstr(want));
    px_buf_deinit(&b);
}

#define LINE A " name=alpha addr=h:1 grant=cache # hi\n"

TEST(setting_an_entry_keeps_comments_bad_lines_and_the_order)
{
    check_set("", LINE);
    check_set("# mine\n\n", "# mine\n\n" LINE);
    check_set(B, B "\n" LINE); /* no newline at the end */
    check_set("# 1\nbad\n" A " name=old\n" B "\n#2", "# 1\nbad\n" LINE B "\n#2\n");
    check_set(A2 "\n" B "\n", LINE B "\n");              /* another text form */
    check_set(A " name=p\n" B "\n" A "\n", LINE B "\n"); /* a second line must not come to life */
    check_set(A " nmae=x\n" B "\n", A " nmae=x\n" B "\n" LINE); /* a bad line is left alone */
    check_set("x\r\n# y\r\n", "x\r\n# y\r\n" LINE);
}

TEST(setting_a_name_another_peer_has_is_refused_wherever_it_stands)
{
    static const char *const texts[] = {B " name=alpha\n", A "\n" B " name=alpha\n",
                                        B " name=alpha\n" A "\n"};
    struct px_authorized_key k = sample();
    for (size_t i = 0; i < PX_ARRAY_LEN(texts); i++) {
        struct px_buf b;
        px_buf_init(&b, 4000);
        CHECK_OK(px_buf_put_cstr(&b, "before"));
        CHECK_ERR(px_authorized_keys_text_set(px_slice_cstr(texts[i]), &k, &b), PX_EEXIST);
        CHECK_SLICE(px_buf_slice(&b), PX_SLICE_LIT("before"));
        px_buf_deinit(&b);
    }
}

TEST(a_set_that_does_not_fit_or_cannot_be_written_leaves_the_output_alone)
{
    struct px_buf b;
    struct px_authorized_key k = sample();
    px_buf_init(&b, 60);
    CHECK_ERR(px_authorized_keys_text_set(PX_SLICE_LIT("#\n"), &k, &b), PX_ELIMIT);
    CHECK_INT(b.len, 0);
    px_buf_clear(&b);
    snprintf(k.name, sizeof(k.name), "a\nb");
    CHECK_ERR(px_authorized_keys_text_set(PX_SLICE_LIT("#\n"), &k, &b), PX_EPARSE);
    CHECK_INT(b.len, 0);
    px_buf_deinit(&b);
}

TEST(removing_a_peer_takes_all_its_lines_and_nothing_else)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {A "\n", ""},
        {"# a\n" A " name=x # y\nbad\n" B "\n", "# a\nbad\n" B "\n"},
        {A "\n" B "\n" A2, B "\n"},
        {B "\n" A, B "\n"},
        {A "\n" A " nmae=x\n", A " nmae=x\n"},
    };
    struct px_peer_id a = id_of(A);
    struct px_buf b;
    px_buf_init(&b, 4000);
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        px_buf_clear(&b);
        CHECK_OK(px_authorized_keys_text_remove(px_slice_cstr(cases[i].text), &a, &b));
        CHECK_SLICE(px_buf_slice(&b), px_slice_cstr(cases[i].want));
    }
    px_buf_clear(&b);
    CHECK_ERR(px_authorized_keys_text_remove(PX_SLICE_LIT("# " A "\n" B "\n"), &a, &b), PX_ENOENT);
    CHECK_ERR(px_authorized_keys_text_remove(px_slice(NULL, 0), &a, &b), PX_ENOENT);
    CHECK_INT(b.len, 0);
    px_buf_deinit(&b);
}

TEST(grants_go_to_bits_and_back)
{
    static const struct {
        const char *text;
        uint32_t bits;
    } cases[] = {{"cache", PX_GRANT_CACHE},
                 {"cache-own", PX_GRANT_CACHE_OWN},
                 {"cache,cache-own", PX_GRANT_CACHE | PX_GRANT_CACHE_OWN}};
    struct px_buf b;
    uint32_t bits = 0;
    px_buf_init(&b, 100);
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        CHECK_OK(px_grants_parse(px_slice_cstr(cases[i].text), &bits));
        CHECK_INT(bits, cases[i].bits);
        px_buf_clear(&b);
        CHECK_OK(px_grants_format(bits, &b));
        CHECK_SLICE(px_buf_slice(&b), px_slice_cstr(cases[i].text));
    }
    CHECK_OK(px_grants_parse(PX_SLICE_LIT("cache-own,cache"), &bits));
    CHECK_INT(bits, 3);
    CHECK_ERR(px_grants_parse(PX_SLICE_LIT("cache, cache-own"), &bits), PX_EPARSE);
    CHECK_ERR(px_grants_parse(px_slice(NULL, 0), &bits), PX_EPARSE);
    CHECK_INT(bits, 3);
    CHECK_ERR(px_grants_format(4, &b), PX_EINVAL);
    px_buf_deinit(&b);
}

TEST(names_follow_the_pattern)
{
    static const char *const good[] = {"a", "0", "ab", "a-b", "a--b", "0-9", X63};
    static const char *const bad[] = {"", "-", "a-", "-a", "A", "a b", "a.b", "ä", X63 "4"};
    for (size_t i = 0; i < PX_ARRAY_LEN(good); i++)
        CHECK(px_name_valid(px_slice_cstr(good[i])));
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        CHECK(!px_name_valid(px_slice_cstr(bad[i])));
}
