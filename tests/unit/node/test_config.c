/* The option table, setting values from text, config.yaml and its errors, the sample file. */
#include <stdlib.h>

#include "node/config.h"
#include "node/config_json.h"
#include "node/nix/nix_conf.h"
#include "node/spell.h"
#include "tests/test.h"

#define KEY_A "a-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
#define KEY_B "b-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

static struct px_config *defaults(void)
{
    struct px_config *c;
    CHECK_OK(px_config_new(&c));
    return c;
}

/* Parses as config.yaml; "" for no error. */
static const char *parse(struct px_config *c, struct px_slice text)
{
    static char message[512];
    message[0] = '\0';
    int err = px_config_parse(c, text, "config.yaml", message, sizeof(message));
    CHECK(err == 0 || err == PX_EPARSE);
    CHECK((err != 0) == (message[0] != '\0') || err == 0);
    return err == 0 ? "" : message;
}

TEST(defaults_are_what_the_table_says)
{
    struct px_config *c = defaults();
    CHECK_STR(c->network, "default");
    CHECK_STR(c->listen, "[::]:12303");
    CHECK_STR(c->http, "127.0.0.1:12304");
    CHECK_STR(c->store, "auto");
    CHECK_STR(c->nix_conf, "/etc/nix/nix.conf");
    CHECK_STR(c->nix_key, "");
    CHECK_INT(c->trusted_public_keys.count, 0);
    CHECK_INT(c->share_keys.count, 1);
    CHECK_STR(c->share_keys.items[0], px_nix_default_key);
    CHECK(!c->trust_peers && !c->sign_passed);
    CHECK_INT(c->priority, 30);
    CHECK_INT(c->deadline_ms, 250);
    CHECK_INT(c->stall_ms, 10000);
    CHECK_INT(c->packet_max, 8952);
    CHECK_INT(c->dial_max_ms, 60000);
    CHECK_STR(c->log_level, "info");
    CHECK_STR(c->log_format, "text");
    px_config_free(c);
}

TEST(rows_have_distinct_names_and_a_help_sentence)
{
    for (size_t i = 0; i < px_option_count; i++) {
        const struct px_option *o = &px_options[i];
        CHECK(px_option_by_name(px_slice_cstr(o->name)) == o);
        CHECK(o->flag == NULL || px_option_by_flag(px_slice_cstr(o->flag)) == o);
        CHECK(o->help[strlen(o->help) - 1] == '.');
        CHECK((o->type == PX_OPT_BOOL) == (o->arg == NULL));
    }
}

TEST(yaml_sets_every_kind_of_value)
{
    struct px_config *c = defaults();
    CHECK_STR(parse(c, PX_SLICE_LIT("# a comment\n"
                                    "---\n"
                                    "network: home\n"
                                    "listen: \"[::1]:0\"\n"
                                    "http: '[::1]:7'\n"
                                    "store: local?root=/tmp/x\n"
                                    "nix-conf:\n"
                                    "trust-peers: true\n"
                                    "priority: 41\n"
                                    "deadline: 2s\n"
                                    "dial-max: 1 m\n"
                                    "log-level: debug\n"
                                    "trusted-public-keys:\n"
                                    "  - " KEY_A "\n"
                                    "  - \"" KEY_B "\"\n"
                                    "share-keys: [\"" KEY_A "\"]\n"
                                    "...\n")),
              "");
    CHECK_STR(c->network, "home");
    CHECK_STR(c->listen, "[::1]:0");
    CHECK_STR(c->http, "[::1]:7");
    CHECK_STR(c->store, "local?root=/tmp/x");
    CHECK_STR(c->nix_conf, "");
    CHECK(c->trust_peers);
    CHECK_INT(c->priority, 41);
    CHECK_INT(c->deadline_ms, 2000);
    CHECK_INT(c->dial_max_ms, 60000);
    CHECK_STR(c->log_level, "debug");
    CHECK_INT(c->trusted_public_keys.count, 2);
    CHECK_STR(c->trusted_public_keys.items[1], KEY_B);
    CHECK_INT(c->share_keys.count, 2);
    CHECK_STR(c->share_keys.items[0], px_nix_default_key);
    CHECK_STR(c->share_keys.items[1], KEY_A);
    px_config_free(c);
}

TEST(json_is_read_as_the_yaml_it_is)
{
    struct px_config *c = defaults();
    CHECK_STR(parse(c, PX_SLICE_LIT("{\"network\": \"x\", \"trusted-public-keys\": []}")), "");
    CHECK_STR(c->network, "x");
    px_config_free(c);
}

TEST(empty_files_change_nothing)
{
    static const char *const texts[] = {"",      "\n",         "# only\n",
                                        "---\n", "---\n...\n", "\xef\xbb\xbf"};
    struct px_config *c = defaults();
    for (size_t i = 0; i < PX_ARRAY_LEN(texts); i++)
        CHECK_STR(parse(c, px_slice_cstr(texts[i])), "");
    CHECK_STR(c->network, "default");
    px_config_free(c);
}

TEST(errors_name_file_line_and_what_is_allowed)
{
    static const struct {
        const char *text, *message;
    } table[] = {
        {"network: a\n\nlisen: x\n", "config.yaml:3: unknown key 'lisen'; did you mean 'listen'?"},
        {"xyzzyplugh: 1\n", "config.yaml:1: unknown key 'xyzzyplugh'; see `peerix config sample`"},
        {"a: 1\nb: 2\n", "config.yaml:1: unknown key 'a'; see `peerix config sample`"},
        {"# c\n\n\ndeadline: abc\n", "config.yaml:4: deadline: 'abc' is not a duration of 1ms..1m"},
        {"deadline: 0\n", "config.yaml:1: deadline: '0' is not a duration of 1ms..1m"},
        {"deadline: 61s\n", "config.yaml:1: deadline: '61s' is not a duration of 1ms..1m"},
        {"deadline: 18446744073709551615h\n",
         "config.yaml:1: deadline: '18446744073709551615h' is not a duration of 1ms..1m"},
        {"deadline: -1\n", "config.yaml:1: deadline: '-1' is not a duration of 1ms..1m"},
        {"deadline: 1.5s\n", "config.yaml:1: deadline: '1.5s' is not a duration of 1ms..1m"},
        {"priority: 1001\n", "config.yaml:1: priority: '1001' is not a number of 1..1000"},
        {"priority: 1e2\n", "config.yaml:1: priority: '1e2' is not a number of 1..1000"},
        {"trust-peers: yes\n", "config.yaml:1: trust-peers: 'yes' is not true or false"},
        {"listen: localhost:1\n", "config.yaml:1: listen: 'localhost:1' is not a numeric address "
                                  "like \"[::]:12303\""},
        {"http: 0.0.0.0:1\n", "config.yaml:1: http: '0.0.0.0:1' is not a loopback numeric address "
                              "like \"127.0.0.1:12304\""},
        {"listen: [::]:1\n", "config.yaml:1: listen: must be one value, quoted if it has brackets: "
                             "a numeric address like \"[::]:12303\""},
        {"listen:\n  a: b\n", "config.yaml:2: listen: must be one value, quoted if it has "
                              "brackets: a numeric address like \"[::]:12303\""},
        {"store: s3://x\n", "config.yaml:1: store: 's3://x' is not auto, daemon, unix:///SOCKET, "
                            "local or local?root=/DIR"},
        {"log-level: loud\n", "config.yaml:1: log-level: 'loud' is not error, warn, info or debug"},
        {"log-format: xml\n", "config.yaml:1: log-format: 'xml' is not text or json"},
        {"network: ''\n", "config.yaml:1: network: '' is not text of 1..64 bytes"},
        {"network: \"a\\nb\"\n", "config.yaml:1: network: 'a?b' is not text of 1..64 bytes"},
        {"network: \"a\\0b\"\n", "config.yaml:1: network: 'a?b' is not text of 1..64 bytes"},
        {"share-keys:\n  - x\n", "config.yaml:2: share-keys: 'x' is not a public key NAME:BASE64"},
        {"share-keys: " KEY_A "\n",
         "config.yaml:1: share-keys: is a list; write each entry as a line `  - \"KEY\"`"},
        {"share-keys:\n  - [a]\n",
         "config.yaml:2: share-keys: entries are plain values, nothing nested"},
        {"network: a\nnetwork: b\n", "config.yaml:2: 'network' is given twice, first in line 1"},
        {"network:\ta\n\tx: y\n", "config.yaml:2: tabs are not allowed here; use spaces"},
        {"a: &x b\n", "config.yaml:1: unknown key 'a'; see `peerix config sample`"},
        {"network: &x b\n", "config.yaml:1: anchors (&) are not supported; quote the value"},
        {"network: *x\n", "config.yaml:1: aliases (*) are not supported; quote the value"},
        {"network: !!str x\n", "config.yaml:1: tags (!) are not supported; quote the value"},
        {"network: a\n---\nnetwork: b\n",
         "config.yaml:2: a second document begins; only one is allowed"},
        {"- a\n", "config.yaml:1: expected lines of the form `key: value`"},
        {"just words\n", "config.yaml:1: expected lines of the form `key: value`"},
        {"? [a]\n: b\n", "config.yaml:1: a key must be one plain word"},
        {"<<: {a: b}\n", "config.yaml:1: unknown key '<<'; see `peerix config sample`"},
        {"\"\\e[31mnetwork\": x\n",
         "config.yaml:1: unknown key '?[31mnetwork'; see `peerix config sample`"},
    };
    struct px_config *c = defaults();
    for (size_t i = 0; i < PX_ARRAY_LEN(table); i++)
        CHECK_STR(parse(c, px_slice_cstr(table[i].text)), table[i].message);
    px_config_free(c);
}

TEST(invalid_yaml_tells_the_line)
{
    static const char *const texts[] = {"network: a\n  b: c: d\n", "network: \"open\n",
                                        "network: a\n\x01\n",      "network: a\n# \xff\xfe\n",
                                        "{network: a\n",           "network: a\n]\n"};
    struct px_config *c = defaults();
    for (size_t i = 0; i < PX_ARRAY_LEN(texts); i++) {
        const char *message = parse(c, px_slice_cstr(texts[i]));
        CHECK(strncmp(message, "config.yaml:", 12) == 0);
        CHECK(strstr(message, ": not valid YAML: ") != NULL);
    }
    CHECK(strncmp(parse(c, px_slice_cstr(texts[3])), "config.yaml:2:", 14) == 0);
    px_config_free(c);
}

TEST(a_bad_file_leaves_the_configuration_alone)
{
    struct px_config *c = defaults();
    CHECK(parse(c, PX_SLICE_LIT("network: new\nshare-keys: [\"" KEY_A "\"]\nbad: 1\n"))[0] != '\0');
    CHECK_STR(c->network, "default");
    CHECK_INT(c->share_keys.count, 1);
    px_config_free(c);
}

TEST(files_beyond_the_limit_are_refused)
{
    struct px_config *c = defaults();
    size_t len = PX_CONFIG_FILE_MAX + 1;
    char *text = malloc(len);
    CHECK(text != NULL);
    memset(text, '#', len);
    CHECK_STR(parse(c, px_slice(text, len)), "config.yaml: larger than 1 MiB");
    CHECK_STR(parse(c, px_slice(text, len - 1)), "");
    free(text);
    px_config_free(c);
}

TEST(deep_nesting_is_refused_at_once)
{
    struct px_config *c = defaults();
    char text[20000] = "share-keys: ";
    memset(text + 12, '[', sizeof(text) - 13);
    CHECK_STR(parse(c, px_slice_cstr(text)),
              "config.yaml:1: share-keys: entries are plain values, nothing nested");
    px_config_free(c);
}

TEST(lists_have_a_limit)
{
    struct px_config *c = defaults();
    const struct px_option *o = px_option_by_name(PX_SLICE_LIT("trusted-public-keys"));
    char key[128], message[256] = "";
    for (int i = 0; i <= PX_CONFIG_LIST_MAX; i++) {
        snprintf(key, sizeof(key), "k%d:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=", i);
        int err = px_config_set(c, o, px_slice_cstr(key), "--k", message, sizeof(message));
        CHECK_ERR(err, i < PX_CONFIG_LIST_MAX ? 0 : PX_EPARSE);
    }
    CHECK_STR(message, "--k: more than 256 entries");
    px_config_free(c);
}

TEST(flags_go_over_the_file_and_add_to_its_lists)
{
    struct px_config *c = defaults();
    char message[256];
    CHECK_STR(parse(c, PX_SLICE_LIT("network: file\ntrusted-public-keys: [\"" KEY_A "\"]\n")), "");
    CHECK_OK(px_config_set(c, px_option_by_flag(PX_SLICE_LIT("network")), PX_SLICE_LIT("flag"),
                           "--network", message, sizeof(message)));
    const struct px_option *keys = px_option_by_flag(PX_SLICE_LIT("trusted-public-key"));
    for (int i = 0; i < 2; i++) /* the second time it is there already */
        CHECK_OK(px_config_set(c, keys, PX_SLICE_LIT(KEY_B), "--x", message, sizeof(message)));
    CHECK_STR(c->network, "flag");
    CHECK_INT(c->trusted_public_keys.count, 2);
    CHECK_STR(c->trusted_public_keys.items[1], KEY_B);
    px_config_free(c);
}

TEST(copies_are_equal_and_independent)
{
    struct px_config *c = defaults(), *copy;
    CHECK_STR(parse(c, PX_SLICE_LIT("network: n\npriority: 7\nsign-passed: true\nstall: 1s\n"
                                    "share-keys: [\"" KEY_A "\"]\n")),
              "");
    CHECK_OK(px_config_copy(c, &copy));
    px_config_free(c);
    CHECK_STR(copy->network, "n");
    CHECK_INT(copy->priority, 7);
    CHECK(copy->sign_passed);
    CHECK_INT(copy->stall_ms, 1000);
    CHECK_INT(copy->share_keys.count, 2);
    px_config_free(copy);
}

/* Drops the comment sign of every line that is not prose. */
static void uncomment(struct px_slice text, struct px_buf *out)
{
    struct px_slice line;
    while (px_slice_split(&text, '\n', &line)) {
        bool prose = px_slice_starts(line, PX_SLICE_LIT("# "));
        bool option = !prose && px_slice_starts(line, PX_SLICE_LIT("#"));
        CHECK_OK(px_buf_put(out, px_slice_skip(line, option ? 1 : 0)));
        CHECK_OK(px_buf_put_u8(out, '\n'));
    }
}

TEST(the_sample_is_valid_as_it_is_and_uncommented)
{
    struct px_config *c = defaults(), *plain = defaults();
    struct px_buf sample, text;
    px_buf_init(&sample, PX_CONFIG_FILE_MAX);
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    CHECK_OK(px_config_sample(&sample));
    CHECK_STR(parse(c, px_buf_slice(&sample)), "");
    uncomment(px_buf_slice(&sample), &text);
    CHECK_STR(parse(c, px_buf_slice(&text)), "");
    CHECK_STR(c->listen, plain->listen);
    CHECK_INT(c->deadline_ms, plain->deadline_ms);
    CHECK_INT(c->share_keys.count, plain->share_keys.count);
    /* every option is in it */
    CHECK_OK(px_buf_put_u8(&text, 0));
    for (size_t i = 0; i < px_option_count; i++)
        CHECK(strstr((const char *)text.data, px_options[i].name) != NULL);
    px_buf_deinit(&sample);
    px_buf_deinit(&text);
    px_config_free(c);
    px_config_free(plain);
}

TEST(spelling_finds_the_near_word_only)
{
    static const struct {
        const char *word, *best;
    } table[] = {
        {"lisen", "listen"}, {"lsiten", "listen"},
        {"storre", "store"}, {"trusted", "trusted-public-keys"},
        {"http:", "http"},   {"zzz", NULL},
        {"", NULL},          {"a-word-that-is-longer-than-any-candidate-could-ever-be", NULL},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(table); i++) {
        struct px_spell near = {.word = px_slice_cstr(table[i].word)};
        for (size_t k = 0; k < px_option_count; k++)
            px_spell_offer(&near, px_options[k].name);
        if (table[i].best == NULL)
            CHECK(near.best == NULL);
        else
            CHECK_STR(near.best != NULL ? near.best : "none", table[i].best);
    }
}

TEST(quoted_words_are_short_printable_lines)
{
    char out[PX_SPELL_QUOTE_MAX], word[300];
    CHECK_STR(px_spell_quote(PX_SLICE_LIT("a\nb\x1b\xff"), out), "a?b??");
    memset(word, 'x', sizeof(word));
    px_spell_quote(px_slice(word, sizeof(word)), out);
    CHECK_INT(strlen(out), PX_SPELL_QUOTE_MAX - 1);
    CHECK_STR(out + PX_SPELL_QUOTE_MAX - 4, "...");
}

static struct px_config *from(const char *text)
{
    struct px_config *c = defaults();
    CHECK_STR(parse(c, px_slice_cstr(text)), "");
    return c;
}

TEST(values_print_as_the_file_takes_them_back)
{
    struct px_config *c = from("network: \"a \\\"b\\\" \\\\c\"\ntrust-peers: true\nstall: 3s\n"
                               "log-level: warn\ntrusted-public-keys: [\"" KEY_A "\"]\n");
    struct px_config *back = defaults();
    struct px_buf text;
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    for (size_t i = 0; i < px_option_count; i++) {
        CHECK_OK(px_buf_printf(&text, "%s: ", px_options[i].name));
        CHECK_OK(px_config_put_value(c, &px_options[i], &text));
        CHECK_OK(px_buf_put_u8(&text, '\n'));
    }
    CHECK_STR(parse(back, px_buf_slice(&text)), "");
    for (size_t i = 0; i < px_option_count; i++)
        CHECK(px_config_same_value(c, back, &px_options[i]));
    CHECK_INT(px_config_compare(c, back), PX_CONFIG_SAME);
    px_buf_deinit(&text);
    px_config_free(back);
    px_config_free(c);
}

TEST(a_difference_says_whether_parts_must_restart)
{
    static const struct {
        const char *text;
        enum px_config_change change;
    } rows[] = {{"", PX_CONFIG_SAME},
                {"log-level: info\n", PX_CONFIG_SAME},
                {"log-level: debug\n", PX_CONFIG_LIVE},
                {"log-level: debug\nlisten: 127.0.0.1:1\n", PX_CONFIG_RESTART},
                {"share-keys: [\"" KEY_A "\"]\n", PX_CONFIG_RESTART}};
    struct px_config *c = defaults();
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_config *other = from(rows[i].text);
        CHECK_INT(px_config_compare(c, other), rows[i].change);
        CHECK_INT(px_config_compare(other, c), rows[i].change);
        px_config_free(other);
    }
    px_config_free(c);
}

TEST(json_has_every_option_with_its_type)
{
    struct px_config *c = from("deadline: 2s\nshare-keys: [\"" KEY_A "\"]\n");
    json_t *json = px_config_json(c);
    CHECK_INT(json_object_size(json), px_option_count);
    CHECK_STR(json_string_value(json_object_get(json, "network")), "default");
    CHECK_INT(json_integer_value(json_object_get(json, "deadline")), 2000);
    CHECK(json_is_false(json_object_get(json, "trust-peers")));
    CHECK_STR(json_string_value(json_array_get(json_object_get(json, "share-keys"), 1)), KEY_A);
    json_decref(json);
    px_config_free(c);
}

TEST(addresses_to_announce_are_taken_as_written)
{
    static const char *const bad[] = {"host", "10.0.0.1", "10.0.0.1:0", "[fe80::1%2]:5", ""};
    const struct px_option *o = px_option_by_name(PX_SLICE_LIT("announce-addr"));
    struct px_config *c, *copy;
    char message[256];
    CHECK_OK(px_config_new(&c));
    CHECK_INT(c->announce_addrs.count, 0);
    CHECK_OK(px_config_parse(c,
                             PX_SLICE_LIT("announce-addr:\n  - Home.example.org:4001\n"
                                          "  - \"[2001:db8::1]:5\"\n"),
                             "f", message, sizeof(message)));
    CHECK_INT(c->announce_addrs.count, 2);
    CHECK_STR(c->announce_addrs.items[0], "Home.example.org:4001");
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        CHECK_ERR(px_config_set(c, o, px_slice_cstr(bad[i]), "x", message, sizeof(message)),
                  PX_EPARSE);
    CHECK_OK(px_config_copy(c, &copy));
    CHECK_INT(px_config_compare(c, copy), PX_CONFIG_SAME);
    CHECK_OK(px_config_set(copy, o, PX_SLICE_LIT("a:1"), "x", message, sizeof(message)));
    CHECK_INT(px_config_compare(c, copy), PX_CONFIG_RESTART);
    CHECK_OK(px_config_set(copy, o, PX_SLICE_LIT("b:1"), "x", message, sizeof(message)));
    CHECK_ERR(px_config_set(copy, o, PX_SLICE_LIT("c:1"), "x", message, sizeof(message)),
              PX_EPARSE);
    CHECK_STR(message, "x: more than 4 entries");
    px_config_free(copy);
    px_config_free(c);
}
