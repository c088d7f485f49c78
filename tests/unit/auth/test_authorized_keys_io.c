/* The file: two editors at once, an editor killed with the lock in its hand, modes kept. */
#include "auth/authorized_keys_io.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "tests/test.h"

static char dir[64];
static char path[128];

static void enter(void)
{
    snprintf(dir, sizeof(dir), "/tmp/px-authkeys-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/authorized_keys", dir);
}

static void leave(void)
{
    glob_t g;
    char pattern[80];
    snprintf(pattern, sizeof(pattern), "%s/*", dir);
    if (glob(pattern, 0, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc; i++)
            unlink(g.gl_pathv[i]);
        globfree(&g);
    }
    CHECK_INT(rmdir(dir), 0);
}

static struct px_authorized_key numbered(unsigned i, const char *comment)
{
    struct px_authorized_key k = {.grants = PX_GRANT_CACHE};
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, i);
    rng.fill(rng.ctx, k.id.key, sizeof(k.id.key));
    snprintf(k.name, sizeof(k.name), "n%u", i);
    snprintf(k.comment, sizeof(k.comment), "%s", comment);
    return k;
}

static void check_text(const char *want)
{
    struct px_buf b;
    px_buf_init(&b, 10000);
    CHECK_OK(px_file_read(path, 10000, &b));
    CHECK_SLICE(px_buf_slice(&b), px_slice_cstr(want));
    px_buf_deinit(&b);
}

static size_t count(void)
{
    struct px_authorized_keys *k;
    CHECK_OK(px_authorized_keys_load(path, &k));
    size_t n = px_authorized_keys_count(k);
    CHECK_INT(px_authorized_keys_error_count(k), 0);
    px_authorized_keys_free(k);
    return n;
}

TEST(a_missing_file_is_an_empty_list_and_the_first_edit_makes_it)
{
    struct px_authorized_key k = numbered(1, "");
    struct stat st;
    enter();
    CHECK_INT(count(), 0);
    CHECK_ERR(px_authorized_keys_file_remove(path, &k.id), PX_ENOENT);
    CHECK(access(path, F_OK) != 0);
    CHECK_OK(px_authorized_keys_file_set(path, &k));
    CHECK_INT(count(), 1);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_OK(px_authorized_keys_file_remove(path, &k.id));
    check_text("");
    leave();
}

TEST(an_edit_keeps_comments_and_the_mode)
{
    struct px_authorized_key k = numbered(1, "");
    struct stat st;
    enter();
    CHECK_OK(px_file_write_atomic(path, PX_SLICE_LIT("# mine\nbad line\n# end"), 0644, true));
    CHECK_OK(px_authorized_keys_file_set(path, &k));
    CHECK_OK(px_authorized_keys_file_remove(path, &k.id));
    check_text("# mine\nbad line\n# end\n");
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0644);
    leave();
}

TEST(a_list_everyone_may_write_is_not_trusted)
{
    struct px_authorized_keys *k;
    enter();
    CHECK_OK(px_file_write_atomic(path, PX_SLICE_LIT(""), 0666, true));
    CHECK_ERR(px_authorized_keys_load(path, &k), PX_EPERM);
    leave();
}

TEST(a_symbolic_link_is_read_but_not_edited)
{
    struct px_authorized_key k = numbered(1, "");
    char real[160];
    enter();
    snprintf(real, sizeof(real), "%s/real", dir);
    CHECK_OK(px_file_write_atomic(real, PX_SLICE_LIT("#\n"), 0600, true));
    CHECK_INT(symlink("real", path), 0);
    CHECK_INT(count(), 0);
    CHECK_ERR(px_authorized_keys_file_set(path, &k), PX_EPERM);
    check_text("#\n");
    leave();
}

TEST(a_file_over_the_limit_is_refused_for_reading_and_editing)
{
    struct px_authorized_keys *keys;
    struct px_authorized_key k = numbered(1, "");
    char *big = malloc(PX_AUTH_FILE_MAX + 1);
    CHECK(big != NULL);
    memset(big, '#', PX_AUTH_FILE_MAX + 1);
    enter();
    CHECK_OK(px_file_write_atomic(path, px_slice(big, PX_AUTH_FILE_MAX + 1), 0600, true));
    CHECK_ERR(px_authorized_keys_load(path, &keys), PX_ELIMIT);
    CHECK_ERR(px_authorized_keys_file_set(path, &k), PX_ELIMIT);
    CHECK_OK(px_file_write_atomic(path, px_slice(big, PX_AUTH_FILE_MAX), 0600, false));
    CHECK_INT(count(), 0);
    CHECK_ERR(px_authorized_keys_file_set(path, &k), PX_ELIMIT); /* the result would be over it */
    free(big);
    leave();
}

TEST(editors_at_the_same_time_lose_nothing)
{
    enum { EDITORS = 4, EACH = 10 };
    pid_t pids[EDITORS];
    enter();
    for (unsigned e = 0; e < EDITORS; e++) {
        pids[e] = fork();
        CHECK(pids[e] >= 0);
        if (pids[e] == 0) {
            int err = 0;
            for (unsigned i = 0; i < EACH && err == 0; i++) {
                struct px_authorized_key k = numbered(e * EACH + i, "");
                err = px_authorized_keys_file_set(path, &k);
            }
            _exit(err == 0 ? 0 : 1);
        }
    }
    for (unsigned e = 0; e < EDITORS; e++) {
        int status;
        CHECK_INT(waitpid(pids[e], &status, 0), pids[e]);
        CHECK_INT(status, 0);
    }
    CHECK_INT(count(), EDITORS * EACH);
    leave();
}

TEST(a_lock_dies_with_its_holder)
{
    struct px_authorized_key k = numbered(1, "");
    char lock[160], byte;
    int pipe_fds[2], status;
    enter();
    snprintf(lock, sizeof(lock), "%s.lock", path);
    CHECK_INT(pipe(pipe_fds), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        int fd = open(lock, O_RDWR | O_CREAT, 0600);
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || write(pipe_fds[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    CHECK_INT(read(pipe_fds[0], &byte, 1), 1);
    int fd = open(lock, O_RDWR);
    CHECK(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0); /* it does hold it */
    close(fd);
    CHECK_INT(kill(pid, SIGKILL), 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_OK(px_authorized_keys_file_set(path, &k));
    CHECK_INT(count(), 1);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    leave();
}

TEST(an_editor_killed_at_any_moment_leaves_a_whole_file)
{
    enter();
    struct px_authorized_key other = numbered(1000, "stays");
    CHECK_OK(px_authorized_keys_file_set(path, &other));
    for (unsigned round = 0; round < 10; round++) {
        char byte;
        int pipe_fds[2], status;
        CHECK_INT(pipe(pipe_fds), 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            for (unsigned i = 0;; i++) {
                struct px_authorized_key k = numbered(i % 7, i % 2 ? "odd" : "");
                if (px_authorized_keys_file_set(path, &k) != 0)
                    _exit(1);
                if (write(pipe_fds[1], "x", 1) != 1)
                    _exit(1);
            }
        }
        for (unsigned i = 0; i <= round % 3; i++)
            CHECK_INT(read(pipe_fds[0], &byte, 1), 1);
        CHECK_INT(kill(pid, SIGKILL), 0);
        CHECK_INT(waitpid(pid, &status, 0), pid);
        CHECK(WIFSIGNALED(status));
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        struct px_authorized_keys *k;
        CHECK_OK(px_authorized_keys_load(path, &k));
        CHECK_INT(px_authorized_keys_error_count(k), 0);
        CHECK(px_authorized_keys_find(k, &other.id) != NULL);
        CHECK(px_authorized_keys_count(k) >= 2);
        px_authorized_keys_free(k);
    }
    leave();
}

TEST(root_editing_a_users_list_leaves_it_the_users)
{
    struct px_authorized_key k = numbered(1, "");
    struct stat st;
    char lock[160];
    if (geteuid() != 0)
        px_test_skip("needs root to give a file away");
    enter();
    CHECK_OK(px_file_write_atomic(path, PX_SLICE_LIT("#\n"), 0600, true));
    CHECK_INT(chown(path, 12345, 23456), 0);
    CHECK_OK(px_authorized_keys_file_set(path, &k));
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_uid, 12345);
    CHECK_INT(st.st_gid, 23456);
    CHECK_INT(st.st_mode & 07777, 0600);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    CHECK_INT(stat(lock, &st), 0);
    CHECK_INT(st.st_uid, 12345);
    leave();
}
