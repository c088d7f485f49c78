/* Where the nix signing key is looked for, and which files are refused. */
#include "node/nix/nix_key_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "tests/test.h"

static struct {
    char dir[64];
    struct px_home home;
    char hint[256];
} t;

static void setup(void)
{
    memset(&t, 0, sizeof(t));
    CHECK_OK(px_crypto_init());
    snprintf(t.dir, sizeof(t.dir), "/tmp/px-test-nixkey.XXXXXX");
    CHECK(mkdtemp(t.dir) != NULL);
    snprintf(t.home.config_dir, sizeof(t.home.config_dir), "%s/home", t.dir);
    CHECK_INT(mkdir(t.home.config_dir, 0700), 0);
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv("PEERIX_NIX_KEY_FILE");
}

static void teardown(void)
{
    char command[128];
    unsetenv("CREDENTIALS_DIRECTORY");
    snprintf(command, sizeof(command), "rm -rf '%s'", t.dir);
    CHECK_INT(system(command), 0);
}

/* A new key of that name as DIR/<file> with this mode. */
static const char *put_key(const char *file, const char *name, unsigned mode)
{
    static char path[128];
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 1);
    struct px_nix_secret_key key;
    struct px_buf text;
    px_buf_init(&text, PX_NIX_KEY_TEXT_MAX + 1);
    CHECK_OK(px_nix_key_generate(name, &rng, &key));
    CHECK_OK(px_nix_secret_key_format(&key, &text));
    snprintf(path, sizeof(path), "%s/%s", t.dir, file);
    CHECK_OK(px_file_write_atomic(path, px_buf_slice(&text), mode, false));
    px_buf_deinit(&text);
    return path;
}

static int load(const char *option, char ret_name[PX_NIX_KEY_NAME_MAX + 1])
{
    struct px_nix_secret_key key;
    struct px_nix_public_key public;
    int err = px_nix_key_load(&t.home, option, &key, t.hint, sizeof(t.hint));
    if (err == 0) {
        px_nix_secret_key_public(&key, &public);
        snprintf(ret_name, PX_NIX_KEY_NAME_MAX + 1, "%s", public.name);
        px_nix_secret_key_wipe(&key);
    }
    return err;
}

TEST(the_first_of_option_credential_and_home_is_taken)
{
    char name[PX_NIX_KEY_NAME_MAX + 1];
    setup();
    CHECK_ERR(load("", name), PX_ENOENT);
    CHECK(strstr(t.hint, "peerix init") != NULL);
    put_key("home/" PX_HOME_NIX_KEY, "home-1", 0600);
    CHECK_OK(load("", name));
    CHECK_STR(name, "home-1");
    setenv("CREDENTIALS_DIRECTORY", t.dir, 1);
    CHECK_OK(load("", name)); /* nothing there */
    CHECK_STR(name, "home-1");
    put_key("nix-key", "credential-1", 0400);
    CHECK_OK(load("", name));
    CHECK_STR(name, "credential-1");
    CHECK_OK(load(put_key("other", "option-1", 0600), name));
    CHECK_STR(name, "option-1");
    teardown();
}

/* systemd may grant the unit's user by an ACL, which shows as group bits. */
TEST(a_file_open_to_others_is_refused_but_a_credential_may_have_group_bits)
{
    static const struct {
        unsigned mode;
        bool credential;
        int err;
    } rows[] = {
        {0600, false, 0}, {0400, false, 0}, {0440, false, PX_EPERM}, {0604, false, PX_EPERM},
        {0440, true, 0},  {0400, true, 0},  {0444, true, PX_EPERM},  {0460, true, PX_EPERM},
    };
    char name[PX_NIX_KEY_NAME_MAX + 1];
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        setup();
        const char *path = put_key("nix-key", "k-1", rows[i].mode);
        if (rows[i].credential)
            setenv("CREDENTIALS_DIRECTORY", t.dir, 1);
        CHECK_ERR(load(rows[i].credential ? "" : path, name), rows[i].err);
        teardown();
    }
}

TEST(what_is_no_file_or_no_key_is_refused)
{
    char name[PX_NIX_KEY_NAME_MAX + 1], fifo[128];
    setup();
    snprintf(fifo, sizeof(fifo), "%s/fifo", t.dir);
    CHECK_INT(mkfifo(fifo, 0600), 0);
    CHECK_ERR(load(fifo, name), PX_EPERM); /* and nobody waits for a writer */
    CHECK_ERR(load(t.dir, name), PX_EPERM);
    const char *path = put_key("nix-key", "k-1", 0600);
    CHECK_OK(px_file_write_atomic(path, PX_SLICE_LIT("k-1:AAAA\n"), 0600, false));
    CHECK_ERR(load(path, name), PX_EPARSE);
    teardown();
}
