/* Where a home is, and what init puts there. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "node/config.h"
#include "node/home.h"
#include "tests/test.h"

struct made {
    int count;
};

static void count_made(void *ctx, const char *path)
{
    struct made *m = ctx;
    CHECK(path[0] == '/');
    m->count++;
}

/* A new directory; remove_tree ends it. */
static char *new_dir(void)
{
    static char dir[64];
    snprintf(dir, sizeof(dir), "/tmp/px-test-home.XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    return dir;
}

static void remove_tree(const char *dir)
{
    char command[256];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    CHECK_INT(system(command), 0);
}

static void clear_env(void)
{
    unsetenv("PEERIX_HOME");
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_STATE_HOME");
    setenv("HOME", "/home/someone", 1);
}

TEST(home_comes_from_flag_system_environment_or_xdg)
{
    struct px_home h;
    clear_env();
    CHECK_OK(px_home_resolve(NULL, false, &h));
    CHECK_STR(h.config_dir, "/home/someone/.config/peerix");
    CHECK_STR(h.state_dir, "/home/someone/.local/state/peerix");
    setenv("XDG_CONFIG_HOME", "/c", 1);
    setenv("XDG_STATE_HOME", "relative-is-ignored", 1);
    CHECK_OK(px_home_resolve(NULL, false, &h));
    CHECK_STR(h.config_dir, "/c/peerix");
    CHECK_STR(h.state_dir, "/home/someone/.local/state/peerix");
    setenv("PEERIX_HOME", "/p", 1);
    CHECK_OK(px_home_resolve(NULL, false, &h));
    CHECK_STR(h.config_dir, "/p");
    CHECK_OK(px_home_resolve(NULL, true, &h));
    CHECK_STR(h.config_dir, "/etc/peerix");
    CHECK_STR(h.state_dir, "/var/lib/peerix");
    CHECK_OK(px_home_resolve("/h", true, &h));
    CHECK_STR(h.config_dir, "/h");
    CHECK_STR(h.state_dir, "/h");
    clear_env();
}

TEST(home_that_cannot_be_is_an_error)
{
    struct px_home h;
    char path[PX_HOME_PATH_MAX + 1];
    clear_env();
    unsetenv("HOME");
    CHECK_ERR(px_home_resolve(NULL, false, &h), PX_ENOENT);
    CHECK_ERR(px_home_resolve("", false, &h), PX_EINVAL);
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[PX_HOME_PATH_MAX] = '\0';
    CHECK_ERR(px_home_resolve(path, false, &h), PX_ELIMIT);
    path[PX_HOME_PATH_MAX - 1] = '\0';
    CHECK_OK(px_home_resolve(path, false, &h));
    char file[PX_HOME_FILE_MAX];
    CHECK_INT(strlen(px_home_config_path(&h, PX_HOME_AUTHORIZED_KEYS, file)),
              PX_HOME_PATH_MAX - 1 + 1 + strlen(PX_HOME_AUTHORIZED_KEYS));
    clear_env();
}

TEST(init_creates_all_once_and_never_overwrites)
{
    char home[128], hint[512], file[PX_HOME_FILE_MAX];
    struct px_home h;
    struct made made = {0};
    struct px_identity first, second;
    struct stat st;
    char *dir = new_dir();
    snprintf(home, sizeof(home), "%s/a/b", dir);
    CHECK_OK(px_home_resolve(home, false, &h));
    CHECK_OK(px_home_init(&h, NULL, count_made, &made, hint, sizeof(hint)));
    CHECK_INT(made.count, 5); /* the directory itself and four files */
    CHECK_OK(px_home_load_identity(&h, &first, hint, sizeof(hint)));
    CHECK_INT(stat(home, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0700);
    CHECK_INT(stat(px_home_config_path(&h, PX_HOME_NIX_KEY, file), &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);

    made.count = 0;
    CHECK_OK(px_home_init(&h, "other-1", count_made, &made, hint, sizeof(hint)));
    CHECK_INT(made.count, 0);
    CHECK_OK(px_home_load_identity(&h, &second, hint, sizeof(hint)));
    CHECK(px_peer_id_eq(&first.id, &second.id));
    px_identity_wipe(&first);
    px_identity_wipe(&second);
    remove_tree(dir);
}

TEST(init_writes_a_nix_key_and_a_config_that_parse)
{
    char hint[512], file[PX_HOME_FILE_MAX], message[256];
    struct px_home h;
    struct px_nix_secret_key key;
    struct px_config *config;
    struct px_buf text;
    char *dir = new_dir();
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    CHECK_OK(px_home_resolve(dir, false, &h));
    CHECK_OK(px_home_init(&h, "my-key-1", NULL, NULL, hint, sizeof(hint)));
    CHECK_OK(px_file_read(px_home_config_path(&h, PX_HOME_NIX_KEY, file), 1024, &text));
    CHECK_OK(px_nix_secret_key_parse(px_buf_slice(&text), &key));
    CHECK_STR(key.name, "my-key-1");
    px_nix_secret_key_wipe(&key);
    px_buf_clear(&text);
    CHECK_OK(
        px_file_read(px_home_config_path(&h, PX_HOME_CONFIG, file), PX_CONFIG_FILE_MAX, &text));
    CHECK_OK(px_config_new(&config));
    CHECK_OK(px_config_parse(config, px_buf_slice(&text), "c", message, sizeof(message)));
    px_config_free(config);
    px_buf_deinit(&text);
    remove_tree(dir);
}

TEST(init_refuses_key_names_nix_could_not_read)
{
    static const char *const names[] = {"", "a:b", "a b", "a\nb"};
    char hint[512];
    struct px_home h;
    char *dir = new_dir();
    CHECK_OK(px_home_resolve(dir, false, &h));
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++) {
        hint[0] = '\0';
        CHECK_ERR(px_home_init(&h, names[i], NULL, NULL, hint, sizeof(hint)), PX_EINVAL);
        CHECK(hint[0] != '\0');
    }
    remove_tree(dir);
}

TEST(init_below_a_file_says_what_it_could_not_create)
{
    char home[128], hint[512] = "";
    struct px_home h;
    char *dir = new_dir();
    snprintf(home, sizeof(home), "%s/file", dir);
    CHECK_OK(px_file_write_atomic(home, PX_SLICE_LIT("x"), 0600, true));
    snprintf(home, sizeof(home), "%s/file/home", dir);
    CHECK_OK(px_home_resolve(home, false, &h));
    CHECK(px_home_init(&h, NULL, NULL, NULL, hint, sizeof(hint)) != 0);
    CHECK(strncmp(hint, "cannot create ", 14) == 0);
    remove_tree(dir);
}

TEST(the_default_key_name_is_one_nix_accepts)
{
    char name[PX_NIX_KEY_NAME_MAX + 1];
    struct px_nix_secret_key key;
    struct px_identity i;
    char id[PX_PEER_ID_TEXT_MAX], end[64];
    CHECK_OK(px_crypto_init());
    px_identity_generate(&px_system_rng, &i);
    px_peer_id_format(&i.id, id);
    px_home_default_key_name(&i.id, name);
    snprintf(end, sizeof(end), "-%s-peerix-1", id + strlen(id) - PX_HOME_KEY_NAME_ID);
    CHECK(strlen(name) > strlen(end));
    CHECK_STR(name + strlen(name) - strlen(end), end);
    CHECK(px_nix_key_name_plain(name));
    px_identity_wipe(&i);
    CHECK_OK(px_nix_key_generate(name, &px_system_rng, &key));
    px_nix_secret_key_wipe(&key);
}
