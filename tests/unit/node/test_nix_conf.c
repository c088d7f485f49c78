/* nix.conf: the settings that name keys, in nix's own order of precedence, includes and limits. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "node/nix/nix_conf.h"
#include "tests/test.h"

#define B64   ":6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
#define KEY_A "a-1" B64
#define KEY_B "b-1" B64
#define KEY_C "c-1" B64

#define KEY_LINE "trusted-public-keys = " KEY_A "\n"

static char dir[64];

static void begin(void)
{
    snprintf(dir, sizeof(dir), "/tmp/px-test-conf.XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    CHECK_INT(system(command), 0);
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const char *text)
{
    CHECK_OK(px_file_write_atomic(path_of(name), px_slice_cstr(text), 0600, false));
}

struct counter {
    int events;
    char last[64];
};

static void count_event(void *ctx, enum px_log_level level, const char *event,
                        const struct px_log_field *fields, size_t count)
{
    struct counter *c = ctx;
    (void)level;
    (void)fields;
    (void)count;
    c->events++;
    snprintf(c->last, sizeof(c->last), "%s", event);
}

/* Names of the keys found, joined by blanks; *events: what was logged. */
static const char *names_from(const char *name, int *ret_events)
{
    static char names[4096];
    struct counter counter = {0};
    struct px_log log = {PX_LOG_DEBUG, count_event, &counter};
    struct px_nix_keys keys = {0};
    names[0] = '\0';
    CHECK_OK(px_nix_conf_keys(path_of(name), &log, &keys));
    for (size_t i = 0; i < keys.count; i++) {
        size_t n = strlen(names);
        snprintf(names + n, sizeof(names) - n, "%s%s", i > 0 ? " " : "", keys.keys[i].name);
    }
    px_nix_keys_deinit(&keys);
    if (ret_events != NULL)
        *ret_events = counter.events;
    return names;
}

TEST(settings_replace_append_and_default_as_in_nix)
{
    static const struct {
        const char *text, *names;
        int events;
    } table[] = {
        {"", "cache.nixos.org-1", 0},
        {"# trusted-public-keys = " KEY_A "\n", "cache.nixos.org-1", 0},
        {"substituters = https://x\n", "cache.nixos.org-1", 0},
        {"trusted-public-keys = " KEY_A " " KEY_B "\n", "a-1 b-1", 0},
        {"\ttrusted-public-keys\t=  " KEY_A " # " KEY_B "\n", "a-1", 0},
        {"trusted-public-keys = " KEY_A "\r\n", "a-1", 0},
        {"trusted-public-keys = " KEY_A, "a-1", 0},
        {"trusted-public-keys =\n", "", 0},
        {"extra-trusted-public-keys = " KEY_A "\n", "cache.nixos.org-1 a-1", 0},
        {"trusted-public-keys = " KEY_A "\nextra-trusted-public-keys = " KEY_B "\n", "a-1 b-1", 0},
        {"extra-trusted-public-keys = " KEY_B "\ntrusted-public-keys = " KEY_A "\n", "a-1", 0},
        {"trusted-public-keys = " KEY_A "\ntrusted-public-keys = " KEY_B "\n", "b-1", 0},
        {"trusted-public-keys = " KEY_A " " KEY_A "\n", "a-1", 0},
        {"binary-cache-public-keys = " KEY_A "\n", "a-1", 0},
        {"trusted-public-keys = bad " KEY_A " a:b\n", "a-1", 2},
        {"nonsense\ntrusted-public-keys=" KEY_A "\n", "cache.nixos.org-1", 2},
        {"trusted-public-keys-x = " KEY_A "\n", "cache.nixos.org-1", 0},
    };
    begin();
    for (size_t i = 0; i < PX_ARRAY_LEN(table); i++) {
        int events;
        put("nix.conf", table[i].text);
        CHECK_STR(names_from("nix.conf", &events), table[i].names);
        CHECK_INT(events, table[i].events);
    }
    end();
}

TEST(missing_files_count_as_empty)
{
    int events;
    begin();
    CHECK_STR(names_from("none.conf", &events), "cache.nixos.org-1");
    CHECK_INT(events, 0);
    struct px_nix_keys keys = {0};
    CHECK_OK(px_nix_conf_keys("", NULL, &keys));
    CHECK_INT(keys.count, 1);
    px_nix_keys_deinit(&keys);
    end();
}

TEST(includes_are_read_in_place_and_relative_to_their_file)
{
    char text[512];
    int events;
    begin();
    CHECK_INT(mkdir(path_of("sub"), 0700), 0);
    snprintf(text, sizeof(text),
             "trusted-public-keys = " KEY_A "\ninclude sub/one.conf\n!include none.conf\n"
             "include %s/two.conf\n",
             dir);
    put("nix.conf", text);
    put("sub/one.conf", "include inner.conf\n");
    put("sub/inner.conf", "extra-trusted-public-keys = " KEY_B "\n");
    put("two.conf", "extra-trusted-public-keys = " KEY_C "\n");
    CHECK_STR(names_from("nix.conf", &events), "a-1 b-1 c-1");
    CHECK_INT(events, 0);
    put("nix.conf", "include none.conf\n!include\ninclude a b\n");
    CHECK_STR(names_from("nix.conf", &events), "cache.nixos.org-1");
    CHECK_INT(events, 3);
    end();
}

TEST(include_loops_end_at_the_limits)
{
    int events;
    begin();
    put("nix.conf", "extra-trusted-public-keys = " KEY_A "\ninclude nix.conf\n");
    CHECK_STR(names_from("nix.conf", &events), "cache.nixos.org-1 a-1");
    CHECK_INT(events, 1); /* depth */
    put("nix.conf", "include nix.conf\ninclude nix.conf\n");
    CHECK_STR(names_from("nix.conf", &events), "cache.nixos.org-1");
    CHECK(events < 2 * PX_NIX_CONF_FILES_MAX);
    end();
}

/* A chain of files, each including the next; the last names a key. */
static void put_chain(int levels)
{
    char name[32], text[256];
    for (int i = 0; i <= levels; i++) {
        snprintf(name, sizeof(name), i == 0 ? "nix.conf" : "c%d.conf", i);
        snprintf(text, sizeof(text), i < levels ? "include c%d.conf\n" : KEY_LINE, i + 1);
        put(name, text);
    }
}

TEST(includes_within_includes_have_a_depth)
{
    int events;
    begin();
    put_chain(PX_NIX_CONF_DEPTH_MAX);
    CHECK_STR(names_from("nix.conf", &events), "a-1");
    CHECK_INT(events, 0);
    put_chain(PX_NIX_CONF_DEPTH_MAX + 1);
    CHECK_STR(names_from("nix.conf", &events), "cache.nixos.org-1");
    CHECK_INT(events, 1);
    end();
}

TEST(files_have_a_number)
{
    for (int includes = PX_NIX_CONF_FILES_MAX - 1; includes <= PX_NIX_CONF_FILES_MAX; includes++) {
        static char text[32 * (PX_NIX_CONF_FILES_MAX + 1)];
        size_t n = 0;
        int events;
        begin();
        put("empty.conf", "");
        put("key.conf", KEY_LINE);
        for (int i = 1; i < includes; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "include empty.conf\n");
        snprintf(text + n, sizeof(text) - n, "include key.conf\n");
        put("nix.conf", text); /* itself one of them */
        bool fits = includes < PX_NIX_CONF_FILES_MAX;
        CHECK_STR(names_from("nix.conf", &events), fits ? "a-1" : "cache.nixos.org-1");
        CHECK_INT(events, fits ? 0 : 1);
        end();
    }
}

TEST(a_file_that_is_too_large_counts_as_unreadable)
{
    static char text[PX_NIX_CONF_FILE_MAX + 2];
    static const char line[] = "extra-trusted-public-keys = " KEY_A "\n";
    int events;
    begin();
    memset(text, '#', PX_NIX_CONF_FILE_MAX);
    memcpy(text, line, sizeof(line) - 1);
    put("nix.conf", text); /* the largest */
    CHECK_STR(names_from("nix.conf", &events), "cache.nixos.org-1 a-1");
    CHECK_INT(events, 0);
    text[PX_NIX_CONF_FILE_MAX] = '#';
    put("nix.conf", text);
    CHECK_STR(names_from("nix.conf", &events), "cache.nixos.org-1");
    CHECK_INT(events, 1);
    end();
}

TEST(keys_are_appended_to_those_given)
{
    struct px_nix_keys keys = {0};
    begin();
    put("nix.conf", "trusted-public-keys = " KEY_B "\n");
    CHECK_OK(px_nix_keys_add(&keys, PX_SLICE_LIT(KEY_A)));
    CHECK_OK(px_nix_keys_add(&keys, PX_SLICE_LIT(KEY_A)));
    CHECK_INT(keys.count, 1);
    CHECK_OK(px_nix_conf_keys(path_of("nix.conf"), NULL, &keys));
    CHECK_INT(keys.count, 2);
    CHECK_STR(keys.keys[0].name, "a-1");
    CHECK_STR(keys.keys[1].name, "b-1");
    CHECK_ERR(px_nix_keys_add(&keys, PX_SLICE_LIT("a-1:short")), PX_EPARSE);
    px_nix_keys_deinit(&keys);
    end();
}

TEST(key_lists_have_a_limit)
{
    struct px_nix_keys keys = {0};
    char key[128];
    for (int i = 0; i < PX_NIX_KEYS_MAX; i++) {
        snprintf(key, sizeof(key), "k%d%s", i, B64);
        CHECK_OK(px_nix_keys_add(&keys, px_slice_cstr(key)));
    }
    CHECK_ERR(px_nix_keys_add(&keys, PX_SLICE_LIT(KEY_A)), PX_ELIMIT);
    px_nix_keys_deinit(&keys);
}
