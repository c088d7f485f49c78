/* Changes of config.yaml that undo themselves: the marker and its clock, the files, and kill -9
 * before and after every system call that changes something. The linker sends those calls here
 * (tests/CMakeLists.txt). */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "node/config_apply_io.h"
#include "tests/test.h"

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);

static struct {
    unsigned seen, kill_at; /* 0: nobody is killed */
} steps;

static void step(void)
{
    if (++steps.seen == steps.kill_at)
        (void)raise(SIGKILL);
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    step();
    int fd = __real_open(path, flags, mode);
    step();
    return fd;
}

/* Half of it arrives before the kill. */
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (++steps.seen == steps.kill_at) {
        (void)!__real_write(fd, data, len / 2);
        (void)raise(SIGKILL);
    }
    return __real_write(fd, data, len);
}

#define WRAP(call)                                                                                 \
    do {                                                                                           \
        step();                                                                                    \
        int result = (call);                                                                       \
        step();                                                                                    \
        return result;                                                                             \
    } while (0)

int __wrap_fchmod(int fd, mode_t mode)
{
    WRAP(__real_fchmod(fd, mode));
}

int __wrap_fsync(int fd)
{
    WRAP(__real_fsync(fd));
}

int __wrap_rename(const char *from, const char *to)
{
    WRAP(__real_rename(from, to));
}

int __wrap_unlink(const char *path)
{
    WRAP(__real_unlink(path));
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    WRAP(__real_mkdir(path, mode));
}

/* ---- a home ---- */

#define OLD "priority: 31\n"
#define NEW "priority: 32\n# a longer text than before\n"

static struct px_home home;
static const struct px_config_clock noon = {
    .wall_ms = 1000000, .boot_ms = 5000, .boot_id = "00000000-0000-0000-0000-000000000001"};

static void write_file(const char *name, const char *text)
{
    char path[PX_HOME_FILE_MAX];
    CHECK_OK(px_file_write_atomic(px_home_config_path(&home, name, path), px_slice_cstr(text), 0644,
                                  false));
}

static void empty_dir(const char *path)
{
    char name[PX_HOME_FILE_MAX + 300];
    DIR *dir = opendir(path);
    struct dirent *e;
    while (dir != NULL && (e = readdir(dir)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        if (e->d_name[0] == '.')
            continue;
        if (__real_unlink(name) != 0) {
            empty_dir(name);
            (void)rmdir(name);
        }
    }
    if (dir != NULL)
        closedir(dir);
}

static void remove_home(void)
{
    empty_dir(home.config_dir);
    (void)rmdir(home.config_dir);
}

/* A home with config.yaml of that text; NULL: without the file. */
static void fresh_home(const char *text)
{
    static bool registered;
    if (!registered) {
        snprintf(home.config_dir, sizeof(home.config_dir), "%s/peerix-config.XXXXXX",
                 getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
        CHECK(mkdtemp(home.config_dir) != NULL);
        snprintf(home.state_dir, sizeof(home.state_dir), "%s", home.config_dir);
        CHECK(atexit(remove_home) == 0);
        registered = true;
    }
    empty_dir(home.config_dir);
    if (text != NULL)
        write_file(PX_HOME_CONFIG, text);
}

/* "" for a missing file. */
static const char *config_text(void)
{
    static struct px_buf text;
    char path[PX_HOME_FILE_MAX];
    px_buf_deinit(&text);
    px_buf_init(&text, 4096);
    if (px_file_read(px_home_config_path(&home, PX_HOME_CONFIG, path), 4000, &text) != 0)
        return "";
    CHECK_OK(px_buf_put_u8(&text, 0));
    return (const char *)text.data;
}

static bool exists(const char *name)
{
    char path[PX_HOME_FILE_MAX];
    return access(px_home_config_path(&home, name, path), F_OK) == 0;
}

static unsigned files_of(const char *path, const char *tail)
{
    unsigned count = 0;
    size_t tail_len = strlen(tail);
    DIR *dir = opendir(path);
    struct dirent *e;
    while (dir != NULL && (e = readdir(dir)) != NULL) {
        size_t len = strlen(e->d_name);
        count += len > tail_len && strcmp(e->d_name + len - tail_len, tail) == 0;
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}

static unsigned versions_kept(void)
{
    char path[PX_HOME_FILE_MAX];
    return files_of(px_home_config_path(&home, PX_HOME_CONFIG_HISTORY, path), ".yaml");
}

static unsigned temps_left(void)
{
    char path[PX_HOME_FILE_MAX];
    return files_of(home.config_dir, ".tmp") +
           files_of(px_home_config_path(&home, PX_HOME_CONFIG_HISTORY, path), ".tmp");
}

static struct px_config_clock later(uint64_t ms)
{
    struct px_config_clock c = noon;
    c.boot_ms += ms, c.wall_ms += ms;
    return c;
}

static int apply(const char *text, uint64_t timeout_ms)
{
    return px_config_apply(&home, px_slice_cstr(text), timeout_ms, &noon);
}

static struct px_config_state recover_at(const struct px_config_clock *now)
{
    struct px_config_state s;
    CHECK_OK(px_config_recover(&home, false, now, &s));
    return s;
}

/* ---- the marker and its clock ---- */

static const struct px_config_pending sample = {
    .candidate = {1, 2, 255},
    .previous = 7,
    .timeout_ms = 300000,
    .since = {
        .wall_ms = 10000000, .boot_ms = 50000, .boot_id = "00000000-0000-0000-0000-000000000001"}};

TEST(a_marker_prints_and_parses_back)
{
    struct px_config_pending back;
    struct px_buf text;
    px_buf_init(&text, PX_CONFIG_PENDING_TEXT_MAX);
    CHECK_OK(px_config_pending_format(&sample, &text));
    CHECK_OK(px_config_pending_parse(px_buf_slice(&text), &back));
    CHECK(memcmp(back.candidate, sample.candidate, PX_HASH_LEN) == 0);
    CHECK_INT(back.previous, 7);
    CHECK_INT(back.timeout_ms, 300000);
    CHECK_INT(back.since.wall_ms, 10000000);
    CHECK_INT(back.since.boot_ms, 50000);
    CHECK_STR(back.since.boot_id, sample.since.boot_id);
    for (size_t len = 0; len + 1 < text.len; len++)
        CHECK_ERR(px_config_pending_parse(px_slice(text.data, len), &back), PX_EPARSE);
    CHECK_OK(px_buf_put_cstr(&text, "more\n"));
    CHECK_ERR(px_config_pending_parse(px_buf_slice(&text), &back), PX_EPARSE);
    px_buf_deinit(&text);
}

TEST(the_time_left_survives_clock_jumps_and_restarts)
{
    static const char other[] = "00000000-0000-0000-0000-000000000002";
    static const struct {
        const char *what;
        int64_t boot, wall; /* since the change, ms */
        bool same_boot;
        uint64_t left;
    } rows[] = {
        {"at once", 0, 0, true, 300000},
        {"a while", 1000, 1000, true, 299000},
        {"the last millisecond", 299999, 299999, true, 1},
        {"over", 300000, 300000, true, 0},
        {"the wall clock jumps ahead", 1000, 900000000, true, 299000},
        {"the wall clock jumps back", 1000, -5000000, true, 299000},
        {"a restart inside the time", -40000, 100000, false, 200000},
        {"a restart, and the time over", -40000, 300000, false, 0},
        {"a restart with a clock that forgot the date", -40000, -9000000, false, 0},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_config_clock now = sample.since;
        now.boot_ms = (uint64_t)((int64_t)now.boot_ms + rows[i].boot);
        now.wall_ms = (uint64_t)((int64_t)now.wall_ms + rows[i].wall);
        if (!rows[i].same_boot)
            memcpy(now.boot_id, other, sizeof(other));
        CHECK_INT(px_config_pending_left(&sample, &now), rows[i].left);
    }
}

TEST(a_marker_asks_for_what_the_texts_and_the_time_say)
{
    const uint8_t candidate[PX_HASH_LEN] = {1, 2, 255}, old[PX_HASH_LEN] = {9}, else_[32] = {8};
    struct px_config_pending p = sample;
    struct px_config_clock in_time = sample.since, over = sample.since;
    over.boot_ms += 300000;
    CHECK_INT(px_config_pending_step(&p, &in_time, candidate, old), PX_CONFIG_WAIT);
    CHECK_INT(px_config_pending_step(&p, &over, candidate, old), PX_CONFIG_REVERT);
    CHECK_INT(px_config_pending_step(&p, &in_time, else_, old), PX_CONFIG_WAIT);
    CHECK_INT(px_config_pending_step(&p, &over, else_, old), PX_CONFIG_REVERT);
    CHECK_INT(px_config_pending_step(&p, &over, NULL, old), PX_CONFIG_REVERT);
    CHECK_INT(px_config_pending_step(&p, &in_time, old, old), PX_CONFIG_FORGET);
    CHECK_INT(px_config_pending_step(&p, &over, NULL, NULL), PX_CONFIG_REVERT);
    p.previous = 0; /* there was no file */
    CHECK_INT(px_config_pending_step(&p, &in_time, NULL, NULL), PX_CONFIG_FORGET);
    CHECK_INT(px_config_pending_step(&p, &over, candidate, NULL), PX_CONFIG_REVERT);
}

TEST(only_our_own_names_are_versions)
{
    char name[PX_CONFIG_VERSION_NAME_MAX];
    CHECK_INT(px_config_version_number(px_config_version_name(12, name)), 12);
    CHECK_INT(px_config_version_number(px_config_version_name(UINT64_MAX, name)), UINT64_MAX);
    static const char *const bad[] = {"",
                                      "12.yaml",
                                      "0000000012",
                                      "notes.yaml",
                                      "0000000000.yaml",
                                      "0000000012.yaml~",
                                      "..",
                                      "99999999999999999999999.yaml"};
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        CHECK_INT(px_config_version_number(bad[i]), 0);
}

/* ---- the files ---- */

TEST(a_change_without_limit_stays_and_can_be_rolled_back_and_forth)
{
    struct px_config_clock much_later = later(1000000000);
    fresh_home(OLD);
    CHECK_OK(apply(NEW, 0));
    CHECK_STR(config_text(), NEW);
    CHECK(!exists(PX_HOME_CONFIG_PENDING));
    CHECK(!recover_at(&much_later).reverted);
    CHECK_ERR(apply(NEW, 0), PX_EEXIST);
    CHECK_OK(px_config_rollback(&home, 0, &noon));
    CHECK_STR(config_text(), OLD);
    CHECK_OK(px_config_rollback(&home, 0, &noon));
    CHECK_STR(config_text(), NEW);
    CHECK_OK(px_config_rollback(&home, 1, &noon));
    CHECK_STR(config_text(), OLD);
    CHECK_ERR(px_config_rollback(&home, 99, &noon), PX_ENOENT);
}

TEST(a_confirmed_change_stays)
{
    struct px_config_clock in_time = later(59999), over = later(60000);
    fresh_home(OLD);
    CHECK_ERR(px_config_confirm(&home, &noon), PX_ENOENT);
    CHECK_OK(apply(NEW, 60000));
    CHECK_ERR(apply("priority: 33\n", 0), PX_EBUSY);
    struct px_config_state s = recover_at(&in_time);
    CHECK(s.pending && !s.reverted);
    CHECK_INT(s.left_ms, 1);
    CHECK_OK(px_config_confirm(&home, &in_time));
    CHECK(!recover_at(&over).reverted);
    CHECK_STR(config_text(), NEW);
}

TEST(an_unconfirmed_change_is_taken_back)
{
    struct px_config_clock over = later(60000);
    fresh_home(OLD);
    CHECK_OK(apply(NEW, 60000));
    CHECK(recover_at(&over).reverted);
    CHECK_STR(config_text(), OLD);
    CHECK(!exists(PX_HOME_CONFIG_PENDING));
    CHECK(!recover_at(&over).reverted);
    CHECK_OK(apply(NEW, 60000));
    CHECK_ERR(px_config_confirm(&home, &over), PX_ETIMEDOUT);
    CHECK_STR(config_text(), OLD);
    CHECK_OK(apply(NEW, 60000));
    CHECK_OK(px_config_rollback(&home, 0, &noon)); /* by hand, before the time is over */
    CHECK_STR(config_text(), OLD);
    CHECK_ERR(px_config_rollback(&home, 0, &noon),
              PX_ENOENT); /* what was refused is no earlier text */
}

TEST(where_there_was_no_file_none_comes_back)
{
    struct px_config_clock over = later(60000);
    fresh_home(NULL);
    CHECK_OK(apply(NEW, 60000));
    CHECK_STR(config_text(), NEW);
    CHECK(recover_at(&over).reverted);
    CHECK(!exists(PX_HOME_CONFIG));
    CHECK(!exists(PX_HOME_CONFIG_PENDING));
}

TEST(what_somebody_wrote_meanwhile_is_taken_back_too_but_kept)
{
    struct px_config_clock over = later(60000);
    fresh_home(OLD);
    CHECK_OK(apply(NEW, 60000));
    write_file(PX_HOME_CONFIG, "priority: 50\n");
    CHECK(recover_at(&over).reverted);
    CHECK_STR(config_text(), OLD);
    CHECK_OK(px_config_rollback(&home, 0, &noon));
    CHECK_STR(config_text(), "priority: 50\n");
}

TEST(a_home_that_never_saw_a_change_is_left_alone)
{
    struct px_config_state s;
    fresh_home(OLD);
    CHECK_OK(px_config_recover(&home, true, &noon, &s));
    CHECK(!s.pending && !s.reverted);
    CHECK(!exists(PX_HOME_CONFIG_LOCK));
}

TEST(the_history_is_bounded)
{
    struct px_config_version v[PX_CONFIG_HISTORY_MAX + 5];
    char text[64];
    size_t count;
    fresh_home(OLD);
    for (unsigned i = 0; i < 3 * PX_CONFIG_HISTORY_MAX; i++) {
        snprintf(text, sizeof(text), "priority: %u\n", 100 + i);
        CHECK_OK(apply(text, 0));
    }
    CHECK_INT(versions_kept(), PX_CONFIG_HISTORY_MAX);
    CHECK_OK(px_config_history(&home, v, PX_ARRAY_LEN(v), &count));
    CHECK_INT(count, PX_CONFIG_HISTORY_MAX);
    CHECK_INT(v[0].number, 3 * PX_CONFIG_HISTORY_MAX);
    CHECK(!v[0].current);
}

TEST(files_are_for_their_owner_whatever_the_umask)
{
    static const char *const names[] = {PX_HOME_CONFIG_PENDING, PX_HOME_CONFIG_LOCK,
                                        PX_HOME_CONFIG_HISTORY,
                                        PX_HOME_CONFIG_HISTORY "/0000000001.yaml"};
    struct stat st;
    char path[PX_HOME_FILE_MAX];
    mode_t old = umask(0);
    fresh_home(OLD);
    CHECK(chmod(px_home_config_path(&home, PX_HOME_CONFIG, path), 0640) == 0);
    CHECK_OK(apply(NEW, 60000));
    (void)umask(old);
    CHECK(stat(path, &st) == 0);
    CHECK_INT(st.st_mode & 0777, 0640); /* as it was */
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++) {
        CHECK(stat(px_home_config_path(&home, names[i], path), &st) == 0);
        CHECK_INT(st.st_mode & 0077, 0);
    }
}

TEST(symbolic_links_are_not_followed)
{
    char path[PX_HOME_FILE_MAX], target[PX_HOME_FILE_MAX];
    fresh_home(NULL);
    write_file("elsewhere", OLD);
    px_home_config_path(&home, "elsewhere", target);
    CHECK(symlink(target, px_home_config_path(&home, PX_HOME_CONFIG, path)) == 0);
    CHECK_ERR(apply(NEW, 0), PX_EPERM);
    CHECK_STR(config_text(), OLD);
    fresh_home(OLD);
    CHECK(symlink("/nonexistent/lock", px_home_config_path(&home, PX_HOME_CONFIG_LOCK, path)) == 0);
    CHECK(apply(NEW, 0) != 0);
    CHECK_STR(config_text(), OLD);
}

TEST(a_damaged_marker_or_a_lost_version_is_told)
{
    struct px_config_state s;
    struct px_config_clock over = later(60000);
    char path[PX_HOME_FILE_MAX];
    fresh_home(OLD);
    write_file(PX_HOME_CONFIG_PENDING, "nonsense\n");
    CHECK_ERR(px_config_recover(&home, false, &noon, &s), PX_EPARSE);
    fresh_home(OLD);
    CHECK_OK(apply(NEW, 60000));
    empty_dir(px_home_config_path(&home, PX_HOME_CONFIG_HISTORY, path));
    CHECK_ERR(px_config_recover(&home, false, &over, &s), PX_ENOENT);
    CHECK_STR(config_text(), NEW);
    CHECK_OK(px_config_recover(&home, false, &over, &s));
}

/* ---- kill -9 at every step ---- */

static int do_apply(void)
{
    return apply(NEW, 60000);
}

static int do_confirm(void)
{
    return px_config_confirm(&home, &noon);
}

static int do_rollback(void)
{
    return px_config_rollback(&home, 0, &noon);
}

static int do_expire(void)
{
    struct px_config_clock over = later(60000);
    struct px_config_state s;
    return px_config_recover(&home, false, &over, &s);
}

/* Runs it in a child that is killed at that step; false once it comes through unharmed. */
static bool killed_at(unsigned at, int (*run)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        steps.seen = 0;
        steps.kill_at = at;
        _exit(run() == 0 ? 0 : 1);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status)) {
        CHECK_INT(WTERMSIG(status), SIGKILL);
        return true;
    }
    CHECK_INT(WEXITSTATUS(status), 0);
    return false;
}

/* Whatever was interrupted: an unconfirmed text has its marker, and in the end the earlier text is
 * back with nothing left over. */
static void check_after_kill(bool may_be_confirmed)
{
    struct px_config_clock over = later(60000);
    const char *text = config_text();
    bool is_new = strcmp(text, NEW) == 0;
    CHECK(is_new || strcmp(text, OLD) == 0);
    CHECK(!is_new || may_be_confirmed || exists(PX_HOME_CONFIG_PENDING));
    bool confirmed = is_new && !exists(PX_HOME_CONFIG_PENDING);
    (void)recover_at(&over);
    CHECK_STR(config_text(), confirmed ? NEW : OLD);
    CHECK(!exists(PX_HOME_CONFIG_PENDING));
    CHECK_OK(apply("priority: 77\n", 0)); /* goes on as if nothing had been */
    CHECK_INT(temps_left(), 0);
}

static void sweep(bool pending_before, bool may_be_confirmed, int (*run)(void))
{
    bool killed = true;
    unsigned at = 1;
    for (; killed; at++) {
        CHECK(at < 200);
        fresh_home(OLD);
        if (pending_before)
            CHECK_OK(do_apply());
        killed = killed_at(at, run);
        check_after_kill(may_be_confirmed);
    }
    CHECK(at > 4); /* the calls do pass here */
}

TEST(apply_is_killed_at_every_step)
{
    sweep(false, false, do_apply);
}

TEST(confirm_is_killed_at_every_step)
{
    sweep(true, true, do_confirm);
}

TEST(rollback_is_killed_at_every_step)
{
    sweep(true, false, do_rollback);
}

TEST(the_expiry_is_killed_at_every_step)
{
    sweep(true, false, do_expire);
}
