/* Key files in a directory of the test's own: modes, owners, atomic creation, OpenSSL reads ours.
 */
#include "auth/identity_io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "tests/test.h"

static char dir[64];
static char path[128];

static void enter(void)
{
    snprintf(dir, sizeof(dir), "/tmp/px-identity-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/key", dir);
}

static void leave(void)
{
    unlink(path);
    CHECK_INT(rmdir(dir), 0); /* fails when a temporary file was left behind */
}

static void create_key(struct px_identity *i)
{
    px_identity_generate(&px_system_rng, i);
    CHECK_OK(px_identity_create(path, i));
}

TEST(a_created_key_is_0600_and_loads)
{
    struct px_identity made, loaded;
    char hint[256] = "";
    struct stat st;
    mode_t old = umask(0);
    enter();
    create_key(&made);
    umask(old);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_OK(px_identity_load(path, &loaded, hint, sizeof(hint)));
    CHECK(px_peer_id_eq(&made.id, &loaded.id));
    CHECK_STR(hint, "");
    leave();
}

TEST(an_existing_key_is_never_overwritten)
{
    struct px_identity first, second, loaded;
    char hint[256];
    enter();
    create_key(&first);
    px_identity_generate(&px_system_rng, &second);
    CHECK_ERR(px_identity_create(path, &second), PX_EEXIST);
    CHECK_OK(px_identity_load(path, &loaded, hint, sizeof(hint)));
    CHECK(px_peer_id_eq(&first.id, &loaded.id));
    leave();
}

TEST(a_key_open_to_others_is_refused_with_the_chmod_to_run)
{
    static const mode_t bad[] = {0644, 0640, 0604, 0660, 0601, 0610, 0620, 0602, 0777};
    static const mode_t good[] = {0600, 0400, 0700};
    struct px_identity i;
    enter();
    create_key(&i);
    for (size_t n = 0; n < PX_ARRAY_LEN(bad); n++) {
        char hint[256], want[256];
        CHECK_INT(chmod(path, bad[n]), 0);
        CHECK_ERR(px_identity_load(path, &i, hint, sizeof(hint)), PX_EPERM);
        snprintf(want, sizeof(want), "run: chmod 600 %s", path);
        CHECK(strstr(hint, want) != NULL);
        if (n == 0) { /* the command in the hint does help */
            CHECK_INT(system(strstr(hint, "chmod")), 0);
            CHECK_OK(px_identity_load(path, &i, hint, sizeof(hint)));
        }
    }
    for (size_t n = 0; n < PX_ARRAY_LEN(good); n++) {
        char hint[256];
        CHECK_INT(chmod(path, good[n]), 0);
        CHECK_OK(px_identity_load(path, &i, hint, sizeof(hint)));
    }
    leave();
}

TEST(the_command_in_a_hint_can_be_pasted_whatever_the_path)
{
    struct px_identity i;
    char hint[256];
    enter();
    snprintf(path, sizeof(path), "%s/it's a key; $(false)", dir);
    create_key(&i);
    CHECK_INT(chmod(path, 0644), 0);
    CHECK_ERR(px_identity_load(path, &i, hint, sizeof(hint)), PX_EPERM);
    CHECK_INT(system(strstr(hint, "chmod")), 0);
    CHECK_OK(px_identity_load(path, &i, hint, sizeof(hint)));
    leave();
}

TEST(a_key_of_another_user_is_refused)
{
    struct px_identity i;
    char hint[256];
    if (geteuid() != 0)
        px_test_skip("needs root to give a file away");
    enter();
    create_key(&i);
    CHECK_INT(chown(path, 12345, 12345), 0);
    CHECK_ERR(px_identity_load(path, &i, hint, sizeof(hint)), PX_EPERM);
    CHECK(strstr(hint, "chown 0 ") != NULL);
    leave();
}

TEST(what_is_no_regular_file_is_refused_at_once)
{
    struct px_identity i;
    char hint[256];
    enter();
    CHECK_INT(mkfifo(path, 0600), 0);
    CHECK_ERR(px_identity_load(path, &i, hint, sizeof(hint)), PX_EPERM);
    CHECK(strstr(hint, "not a regular file") != NULL);
    CHECK_ERR(px_identity_load(dir, &i, hint, sizeof(hint)), PX_EPERM);
    leave();
}

TEST(a_symlink_to_a_good_key_is_followed)
{
    struct px_identity i;
    char hint[256], name[160];
    enter();
    create_key(&i);
    snprintf(name, sizeof(name), "%s/link", dir);
    CHECK_INT(symlink("key", name), 0);
    CHECK_OK(px_identity_load(name, &i, hint, sizeof(hint)));
    unlink(name);
    leave();
}

TEST(a_missing_key_is_told_with_its_path)
{
    struct px_identity i;
    char hint[256];
    enter();
    CHECK_ERR(px_identity_load(path, &i, hint, sizeof(hint)), PX_ENOENT);
    CHECK(strstr(hint, path) != NULL);
    char tiny[5];
    CHECK_ERR(px_identity_load(path, &i, tiny, sizeof(tiny)), PX_ENOENT);
    CHECK_INT(strlen(tiny), 4);
    CHECK_ERR(px_identity_load(path, &i, NULL, 0), PX_ENOENT);
    leave();
}

TEST(a_file_that_holds_no_key_is_refused)
{
    struct px_identity i;
    char hint[256];
    char *huge = calloc(1, 20000);
    CHECK(huge != NULL);
    memset(huge, 'A', 20000);
    enter();
    CHECK_OK(px_file_write_atomic(path, PX_SLICE_LIT(""), 0600, false));
    CHECK_ERR(px_identity_load(path, &i, hint, sizeof(hint)), PX_EPARSE);
    CHECK(strstr(hint, "no PKCS#8 PEM") != NULL);
    CHECK_OK(px_file_write_atomic(path, px_slice(huge, 20000), 0600, false));
    CHECK_ERR(px_identity_load(path, &i, hint, sizeof(hint)), PX_EPARSE);
    CHECK_OK(
        px_file_write_atomic(path, PX_SLICE_LIT("-----BEGIN EC PRIVATE KEY-----\n"), 0600, false));
    CHECK_ERR(px_identity_load(path, &i, hint, sizeof(hint)), PX_EUNSUPPORTED);
    free(huge);
    leave();
}

TEST(openssl_reads_our_key_and_finds_the_same_public_key)
{
    if (system("openssl version >/dev/null 2>&1") != 0)
        px_test_skip("openssl is not installed");
    struct px_identity i;
    char command[512];
    uint8_t spki[128];
    enter();
    create_key(&i);
    snprintf(command, sizeof(command), "openssl pkey -in %s -pubout -outform DER", path);
    FILE *p = popen(command, "r");
    CHECK(p != NULL);
    size_t n = fread(spki, 1, sizeof(spki), p);
    CHECK_INT(pclose(p), 0);
    CHECK_INT(n, 44); /* RFC 8410 §10.1: 12 bytes in front of the key */
    CHECK(memcmp(spki + 12, i.id.key, 32) == 0);
    leave();
}

TEST(we_read_what_openssl_generates)
{
    if (system("openssl version >/dev/null 2>&1") != 0)
        px_test_skip("openssl is not installed");
    struct px_identity i;
    char command[512], hint[256];
    enter();
    snprintf(command, sizeof(command), "umask 077; openssl genpkey -algorithm ed25519 -out %s",
             path);
    CHECK_INT(system(command), 0);
    CHECK_OK(px_identity_load(path, &i, hint, sizeof(hint)));
    leave();
}

TEST(files_are_replaced_whole_and_read_up_to_their_bound)
{
    struct px_buf out;
    struct stat st;
    enter();
    px_buf_init(&out, 100000);
    CHECK_ERR(px_file_read(path, 10, &out), PX_ENOENT);
    CHECK_OK(px_file_write_atomic(path, PX_SLICE_LIT("first"), 0640, false));
    CHECK_OK(px_file_write_atomic(path, PX_SLICE_LIT("second"), 0644, false));
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0644);
    CHECK_ERR(px_file_write_atomic(path, PX_SLICE_LIT("third"), 0644, true), PX_EEXIST);
    CHECK_OK(px_file_read(path, 6, &out));
    CHECK_SLICE(px_buf_slice(&out), PX_SLICE_LIT("second"));
    CHECK_ERR(px_file_read(path, 5, &out), PX_ELIMIT);
    CHECK_SLICE(px_buf_slice(&out), PX_SLICE_LIT("second"));
    uint8_t big[9000];
    memset(big, 'x', sizeof(big));
    CHECK_OK(px_file_write_atomic(path, px_slice(big, sizeof(big)), 0600, false));
    px_buf_clear(&out);
    CHECK_OK(px_file_read(path, sizeof(big), &out));
    CHECK_SLICE(px_buf_slice(&out), px_slice(big, sizeof(big)));
    CHECK_ERR(px_file_read(path, sizeof(big) - 1, &out), PX_ELIMIT);
    px_buf_deinit(&out);
    char missing[160];
    snprintf(missing, sizeof(missing), "%s/no/such", dir);
    CHECK_ERR(px_file_write_atomic(missing, PX_SLICE_LIT("x"), 0600, false), PX_ENOENT);
    leave();
}
