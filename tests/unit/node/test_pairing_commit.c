/* What a pairing writes: the entry and its name, the key that counts only with it, and what is left
 * between the two. Also trusted_keys and pairing_export. */
#include "node/pairing_commit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/authorized_keys_io.h"
#include "auth/file_io.h"
#include "node/pairing_export.h"
#include "node/trusted_keys.h"
#include "tests/test.h"

#define A    "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj"
#define B    "12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV"
#define KEY  "bob-1:7ksZ3SJGjfwKcKwJZFd5eTxcVmEtxELVhAGQ1NnBnhs="
#define KEY2 "bob-1:8ksZ3SJGjfwKcKwJZFd5eTxcVmEtxELVhAGQ1NnBnhs="

struct dir {
    struct px_home home;
};

static void dir_init(struct dir *d)
{
    memset(d, 0, sizeof(*d));
    snprintf(d->home.config_dir, sizeof(d->home.config_dir), "/tmp/px-pairing.XXXXXX");
    CHECK(mkdtemp(d->home.config_dir) != NULL);
    CHECK_OK(px_crypto_init());
}

static void dir_end(struct dir *d)
{
    static const char *const names[] = {"authorized_keys", "authorized_keys.lock", "trusted-keys",
                                        "trusted-keys.lock", "peers.json"};
    char path[PX_HOME_FILE_MAX];
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++)
        (void)unlink(px_home_config_path(&d->home, names[i], path));
    CHECK_INT(rmdir(d->home.config_dir), 0);
}

static void write_file(struct dir *d, const char *name, const char *text)
{
    char path[PX_HOME_FILE_MAX];
    px_home_config_path(&d->home, name, path);
    CHECK_OK(px_file_write_atomic(path, px_slice_cstr(text), 0600, false));
}

static void check_file(struct dir *d, const char *name, const char *want)
{
    char path[PX_HOME_FILE_MAX];
    struct px_buf b;
    px_buf_init(&b, 65536);
    CHECK_OK(px_file_read(px_home_config_path(&d->home, name, path), 65536, &b));
    CHECK_SLICE(px_buf_slice(&b), px_slice_cstr(want));
    px_buf_deinit(&b);
}

static const struct px_pairing_card card = {
    .name = "bob", .addr_count = 1, .addrs = {"192.0.2.7:12303"}, .nix_key = KEY};

static struct px_pairing_commit commit_of(struct dir *d, const char *peer)
{
    struct px_pairing_commit c = {
        .home = &d->home, .name = "", .card = &card, .seen = "", .grants = PX_GRANT_CACHE};
    CHECK_OK(px_peer_id_parse(px_slice_cstr(peer), &c.peer));
    return c;
}

TEST(a_pairing_writes_the_key_and_the_entry)
{
    struct dir d;
    struct px_pairing_written w;
    dir_init(&d);
    struct px_pairing_commit c = commit_of(&d, A);
    c.seen = "192.0.2.9:4001";
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK_STR(w.name, "bob");
    CHECK(!w.renamed && !w.known && !w.key_name_taken);
    check_file(&d, "trusted-keys", KEY " " A " # bob\n");
    check_file(&d, "authorized_keys",
               A " name=bob addr=192.0.2.7:12303 addr=192.0.2.9:4001 grant=cache\n");
    CHECK_OK(px_pairing_commit(&c, &w)); /* a retry changes nothing */
    CHECK(w.known);
    check_file(&d, "trusted-keys", KEY " " A " # bob\n");
    check_file(&d, "authorized_keys",
               A " name=bob addr=192.0.2.7:12303 addr=192.0.2.9:4001 grant=cache\n");
    dir_end(&d);
}

TEST(a_name_that_is_taken_gets_a_number)
{
    struct dir d;
    struct px_pairing_written w;
    dir_init(&d);
    write_file(&d, "authorized_keys", "# mine\n" B " name=bob\n");
    struct px_pairing_commit c = commit_of(&d, A);
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK_STR(w.name, "bob-2");
    CHECK(w.renamed);
    c.name = "bob";
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK_STR(w.name, "bob-2");
    check_file(&d, "authorized_keys",
               "# mine\n" B " name=bob\n" A " name=bob-2 addr=192.0.2.7:12303 grant=cache\n");
    dir_end(&d);
}

TEST(who_was_listed_keeps_name_grants_and_addresses)
{
    struct dir d;
    struct px_pairing_written w;
    dir_init(&d);
    write_file(&d, "authorized_keys",
               A " name=robert addr=10.0.0.1:1 grant=cache,cache-own # old friend\n");
    struct px_pairing_commit c = commit_of(&d, A);
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK(w.known);
    CHECK_INT(w.grants, PX_GRANT_CACHE | PX_GRANT_CACHE_OWN);
    check_file(&d, "authorized_keys",
               A " name=robert addr=10.0.0.1:1 addr=192.0.2.7:12303 grant=cache,cache-own # old "
                 "friend\n");
    c.name = "bobby";
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK_STR(w.name, "bobby");
    dir_end(&d);
}

TEST(a_peer_without_a_name_gets_one)
{
    struct dir d;
    struct px_pairing_written w;
    const struct px_pairing_card none = {.name = ""};
    dir_init(&d);
    struct px_pairing_commit c = commit_of(&d, A);
    c.card = &none;
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK_STR(w.name, "peer");
    char path[PX_HOME_FILE_MAX];
    CHECK_INT(access(px_home_config_path(&d.home, "trusted-keys", path), F_OK), -1);
    dir_end(&d);
}

TEST(a_long_name_stays_within_its_length_with_a_number)
{
    struct dir d;
    struct px_pairing_written w;
    char name[PX_AUTH_NAME_MAX + 1], line[256];
    dir_init(&d);
    memset(name, 'a', PX_AUTH_NAME_MAX);
    name[PX_AUTH_NAME_MAX] = '\0';
    snprintf(line, sizeof(line), "%s name=%s\n", B, name);
    write_file(&d, "authorized_keys", line);
    struct px_pairing_commit c = commit_of(&d, A);
    c.name = name;
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK(strlen(w.name) <= PX_AUTH_NAME_MAX);
    CHECK_STR(w.name + strlen(w.name) - 2, "-2");
    dir_end(&d);
}

TEST(a_key_of_the_name_of_another_is_told)
{
    struct dir d;
    struct px_pairing_written w;
    struct px_nix_public_key own;
    dir_init(&d);
    write_file(&d, "authorized_keys", B " name=other\n");
    write_file(&d, "trusted-keys", KEY2 " " B "\n");
    struct px_pairing_commit c = commit_of(&d, A);
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK(w.key_name_taken);
    write_file(&d, "trusted-keys", "");
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK(!w.key_name_taken);
    CHECK_OK(px_nix_public_key_parse(PX_SLICE_LIT(KEY2), &own));
    c.own_key = &own;
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK(w.key_name_taken);
    dir_end(&d);
}

/* Both files belong to somebody else (a NixOS module, say): nothing of it is half written. */
TEST(a_list_that_is_a_link_is_left_alone_and_grants_nothing)
{
    struct dir d;
    struct px_pairing_written w;
    struct px_nix_keys keys = {NULL, 0};
    struct px_authorized_keys *list;
    char path[PX_HOME_FILE_MAX];
    dir_init(&d);
    CHECK_INT(symlink("/dev/null", px_home_config_path(&d.home, "authorized_keys", path)), 0);
    struct px_pairing_commit c = commit_of(&d, A);
    CHECK_ERR(px_pairing_commit(&c, &w), PX_EPERM);
    CHECK_OK(px_authorized_keys_parse(PX_SLICE_LIT(""), &list));
    px_home_config_path(&d.home, "trusted-keys", path);
    CHECK_OK(px_trusted_keys_load(path, list, NULL, &keys));
    CHECK_INT(keys.count, 0);
    px_authorized_keys_free(list);
    dir_end(&d);
}

/* ---- trusted_keys ---- */

TEST(a_key_counts_only_while_its_peer_is_listed)
{
    struct dir d;
    struct px_nix_keys keys = {NULL, 0};
    struct px_authorized_keys *list;
    char path[PX_HOME_FILE_MAX];
    dir_init(&d);
    px_home_config_path(&d.home, "trusted-keys", path);
    write_file(&d, "trusted-keys", KEY " " A "\n\n# a remark\nno key\n" KEY2 " " B " # two\n");
    CHECK_OK(px_authorized_keys_parse(PX_SLICE_LIT(B "\n"), &list));
    CHECK_OK(px_trusted_keys_load(path, list, NULL, &keys));
    CHECK_INT(keys.count, 1);
    CHECK_STR(keys.keys[0].name, "bob-1");
    CHECK_INT(keys.keys[0].key[0], 0xf2);
    px_nix_keys_deinit(&keys);
    CHECK_INT(chmod(path, 0666), 0);
    CHECK_ERR(px_trusted_keys_load(path, list, NULL, &keys), PX_EPERM);
    CHECK_INT(chmod(path, 0600), 0);
    CHECK_INT(truncate(path, PX_TRUSTED_KEYS_MAX + 1), 0);
    CHECK_ERR(px_trusted_keys_load(path, list, NULL, &keys), PX_ELIMIT);
    CHECK_INT(unlink(path), 0);
    CHECK_OK(px_trusted_keys_load(path, list, NULL, &keys));
    CHECK_INT(keys.count, 0);
    px_authorized_keys_free(list);
    dir_end(&d);
}

TEST(setting_a_key_replaces_the_peers_line_and_keeps_the_others)
{
    static const char *const bad[] = {"", "x", (KEY " "), (KEY "\n" KEY2), "x:AAAA", ("#" KEY)};
    struct px_peer_id a;
    struct px_buf out;
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_peer_id_parse(PX_SLICE_LIT(A), &a));
    px_buf_init(&out, 4096);
    CHECK_OK(px_trusted_keys_text_set(
        PX_SLICE_LIT("# top\n" KEY2 " " A "\nbad line\n" KEY2 " " B "\n" KEY2 " " A "\n"), &a, KEY,
        "bob", &out));
    CHECK_SLICE(px_buf_slice(&out),
                PX_SLICE_LIT("# top\n" KEY " " A " # bob\nbad line\n" KEY2 " " B "\n"));
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        CHECK_ERR(px_trusted_keys_text_set(px_slice(NULL, 0), &a, bad[i], "", &out), PX_EPARSE);
    CHECK_ERR(px_trusted_keys_text_set(px_slice(NULL, 0), &a, KEY, "x\ny", &out), PX_EPARSE);
    px_buf_deinit(&out);
}

TEST(what_was_paired_is_exported_for_nix)
{
    struct dir d;
    struct px_pairing_written w;
    struct px_authorized_keys *list;
    char path[PX_HOME_FILE_MAX];
    json_t *o;
    dir_init(&d);
    write_file(&d, "authorized_keys", B " name=plain\n");
    struct px_pairing_commit c = commit_of(&d, A);
    CHECK_OK(px_pairing_commit(&c, &w));
    CHECK_OK(px_authorized_keys_load(px_home_config_path(&d.home, "authorized_keys", path), &list));
    CHECK_OK(px_pairing_export_file(&d.home, list, "127.0.0.1:12304"));
    o = json_load_file(px_home_config_path(&d.home, "peers.json", path), 0, NULL);
    CHECK_STR(json_string_value(json_array_get(json_object_get(o, "substituters"), 0)),
              "http://127.0.0.1:12304");
    CHECK_INT(json_array_size(json_object_get(o, "trusted-public-keys")), 1);
    const json_t *a = json_object_get(json_object_get(o, "peers"), A);
    const json_t *b = json_object_get(json_object_get(o, "peers"), B);
    CHECK_STR(json_string_value(json_object_get(a, "nix-key")), KEY);
    CHECK_STR(json_string_value(json_object_get(a, "name")), "bob");
    CHECK(json_is_null(json_object_get(b, "nix-key")));
    json_decref(o);
    px_authorized_keys_free(list);
    dir_end(&d);
}
