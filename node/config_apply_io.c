/* The files of config_apply_io.h. Order makes it safe: the earlier text is kept first, then the
 * marker names it, then the new text takes the name; backwards, the earlier text takes the name
 * before the marker goes. */
#include "node/config_apply_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "node/config.h"

#define BOOT_ID_FILE  "/proc/sys/kernel/random/boot_id"
#define LOCK_PAUSE_MS 20
#define VERSIONS_MAX  256          /* of a history directory somebody else filled */
#define TEMP_TAIL     (1 + 16 + 4) /* ".<16 hex digits>.tmp", see px_file_write_atomic */

/* What one call works on; ends with close_files. */
struct files {
    char config[PX_HOME_FILE_MAX], config_dir[PX_HOME_FILE_MAX];
    char pending[PX_HOME_FILE_MAX], state_dir[PX_HOME_FILE_MAX];
    char history[PX_HOME_FILE_MAX];
    int lock;
    uint64_t numbers[VERSIONS_MAX]; /* ascending */
    size_t count;
};

/* A whole text with its hash; `there` is false for a missing file. */
struct text {
    bool there;
    unsigned mode;
    struct px_buf bytes;
    uint8_t hash[PX_HASH_LEN];
};

int px_config_clock_now(struct px_config_clock *ret)
{
    struct timespec wall, boot;
    struct px_buf id;
    px_buf_init(&id, 64);
    int err = px_file_read(BOOT_ID_FILE, 64, &id);
    if (err == 0 && id.len < PX_CONFIG_BOOT_ID_LEN)
        err = PX_EIO;
    if (err == 0) {
        memcpy(ret->boot_id, id.data, PX_CONFIG_BOOT_ID_LEN);
        ret->boot_id[PX_CONFIG_BOOT_ID_LEN] = '\0';
        clock_gettime(CLOCK_REALTIME, &wall);
        clock_gettime(CLOCK_BOOTTIME, &boot);
        ret->wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
        ret->boot_ms = (uint64_t)boot.tv_sec * 1000 + (uint64_t)boot.tv_nsec / 1000000;
    }
    px_buf_deinit(&id);
    return err;
}

/* ---- the directory and its lock ---- */

static int take_lock(const char *path, int *ret_fd)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return px_err_from_errno(errno);
    for (uint64_t waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += LOCK_PAUSE_MS) {
        if (waited * PX_MSEC >= PX_CONFIG_LOCK_WAIT) {
            close(fd);
            return PX_EBUSY;
        }
        nanosleep(&pause, NULL);
    }
    *ret_fd = fd;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static int list_versions(struct files *f)
{
    DIR *dir = opendir(f->history);
    struct dirent *e;
    f->count = 0;
    if (dir == NULL)
        return errno == ENOENT ? 0 : px_err_from_errno(errno);
    while ((e = readdir(dir)) != NULL && f->count < VERSIONS_MAX) {
        uint64_t n = px_config_version_number(e->d_name);
        if (n != 0)
            f->numbers[f->count++] = n;
    }
    closedir(dir);
    qsort(f->numbers, f->count, sizeof(f->numbers[0]), compare_numbers);
    return 0;
}

/* A writer that was killed leaves its temporary file. Under the lock no other writer is alive. */
static void sweep_temps(const char *dir_path, const char *base)
{
    DIR *dir = opendir(dir_path);
    struct dirent *e;
    size_t base_len = strlen(base);
    if (dir == NULL)
        return;
    while ((e = readdir(dir)) != NULL) {
        size_t len = strlen(e->d_name);
        if (len > TEMP_TAIL && strncmp(e->d_name, base, base_len) == 0 &&
            (base_len == 0 || len == base_len + TEMP_TAIL) && e->d_name[len - TEMP_TAIL] == '.' &&
            strcmp(e->d_name + len - 4, ".tmp") == 0)
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
}

static void close_files(struct files *f)
{
    close(f->lock); /* and with it the lock */
}

static int open_files(const struct px_home *home, struct files *f)
{
    char lock[PX_HOME_FILE_MAX];
    snprintf(f->config_dir, sizeof(f->config_dir), "%s", home->config_dir);
    snprintf(f->state_dir, sizeof(f->state_dir), "%s", home->state_dir);
    px_home_config_path(home, PX_HOME_CONFIG, f->config);
    snprintf(f->pending, sizeof(f->pending), "%s/" PX_HOME_CONFIG_PENDING, home->state_dir);
    snprintf(f->history, sizeof(f->history), "%s/" PX_HOME_CONFIG_HISTORY, home->state_dir);
    snprintf(lock, sizeof(lock), "%s/" PX_HOME_CONFIG_LOCK, home->state_dir);
    int err = take_lock(lock, &f->lock);
    if (err != 0)
        return err;
    err = list_versions(f);
    if (err != 0)
        close_files(f);
    return err;
}

static int sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd >= 0 && fsync(fd) == 0 ? 0 : px_err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    return err;
}

static int remove_file(const char *path, const char *dir)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return px_err_from_errno(errno);
    return sync_dir(dir);
}

/* ---- texts ---- */

static void version_path(const struct files *f, uint64_t number, char out[PX_HOME_FILE_MAX + 64])
{
    char name[PX_CONFIG_VERSION_NAME_MAX];
    snprintf(out, PX_HOME_FILE_MAX + 64, "%s/%s", f->history, px_config_version_name(number, name));
}

/* Ends with px_buf_deinit of its bytes, also on failure. */
static int read_text(const char *path, struct text *t)
{
    struct stat st;
    *t = (struct text){.mode = 0644};
    px_buf_init(&t->bytes, PX_CONFIG_FILE_MAX);
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : px_err_from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return PX_EPERM;
    int err = px_file_read(path, PX_CONFIG_FILE_MAX, &t->bytes);
    t->there = err == 0;
    t->mode = st.st_mode & 0777;
    px_sha256(px_buf_slice(&t->bytes), t->hash);
    return err;
}

static int read_version(const struct files *f, uint64_t number, struct text *t)
{
    char path[PX_HOME_FILE_MAX + 64];
    version_path(f, number, path);
    return read_text(path, t);
}

static bool same(const struct text *a, const struct text *b)
{
    return a->there == b->there && memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}

/* Keeps the text as the latest version, unless it is that already. *ret_number is 0 for no text. */
static int keep(struct files *f, const struct text *t, uint64_t *ret_number)
{
    char path[PX_HOME_FILE_MAX + 64];
    uint64_t latest = f->count > 0 ? f->numbers[f->count - 1] : 0;
    struct text last;
    *ret_number = 0;
    if (!t->there)
        return 0;
    int err = latest != 0 ? read_version(f, latest, &last) : 0;
    bool known = latest != 0 && err == 0 && same(&last, t);
    if (latest != 0)
        px_buf_deinit(&last.bytes);
    *ret_number = known ? latest : latest + 1;
    if (err != 0 || known)
        return err;
    if (mkdir(f->history, 0700) != 0 && errno != EEXIST)
        return px_err_from_errno(errno);
    version_path(f, latest + 1, path);
    err = px_file_write_atomic(path, px_buf_slice(&t->bytes), 0600, false);
    if (err == 0)
        err = sync_dir(f->state_dir); /* the history's own name */
    return err != 0 ? err : list_versions(f);
}

/* The oldest go, but never `needed`. A failure leaves too many, which harms nobody. */
static void prune(const struct files *f, uint64_t needed)
{
    char path[PX_HOME_FILE_MAX + 64];
    size_t surplus = f->count > PX_CONFIG_HISTORY_MAX ? f->count - PX_CONFIG_HISTORY_MAX : 0;
    for (size_t i = 0; i < surplus; i++) {
        version_path(f, f->numbers[i], path);
        if (f->numbers[i] != needed)
            (void)unlink(path);
    }
    sweep_temps(f->config_dir, PX_HOME_CONFIG);
    sweep_temps(f->state_dir, PX_HOME_CONFIG_PENDING);
    sweep_temps(f->history, "");
}

static int put_in_place(const struct files *f, const struct text *t, unsigned mode)
{
    if (!t->there)
        return remove_file(f->config, f->config_dir);
    return px_file_write_atomic(f->config, px_buf_slice(&t->bytes), mode, false);
}

/* ---- the marker ---- */

static int read_pending(const struct files *f, struct px_config_pending *ret)
{
    struct px_buf text;
    px_buf_init(&text, PX_CONFIG_PENDING_TEXT_MAX);
    int err = px_file_read(f->pending, PX_CONFIG_PENDING_TEXT_MAX, &text);
    if (err == 0)
        err = px_config_pending_parse(px_buf_slice(&text), ret);
    px_buf_deinit(&text);
    return err;
}

static int write_pending(const struct files *f, const struct px_config_pending *p)
{
    struct px_buf text;
    px_buf_init(&text, PX_CONFIG_PENDING_TEXT_MAX);
    int err = px_config_pending_format(p, &text);
    if (err == 0)
        err = px_file_write_atomic(f->pending, px_buf_slice(&text), 0600, false);
    px_buf_deinit(&text);
    return err;
}

/* A text that somebody wrote since is kept. The candidate is not: a rollback would bring back what
 * nobody wanted, and who applied it has the file. */
static int revert(struct files *f, const struct px_config_pending *p, const struct text *current,
                  const struct text *previous)
{
    uint64_t number;
    if (p->previous != 0 && !previous->there) {
        int err = remove_file(f->pending, f->state_dir);
        return err != 0 ? err : PX_ENOENT;
    }
    bool rejected = current->there && memcmp(current->hash, p->candidate, PX_HASH_LEN) == 0;
    int err = rejected ? 0 : keep(f, current, &number);
    if (err == 0)
        err = put_in_place(f, previous, current->there ? current->mode : 0644);
    if (err == 0)
        err = remove_file(f->pending, f->state_dir);
    if (err == 0)
        prune(f, 0);
    return err;
}

/* What the marker asks for; with `overdue` it is reverted whatever the time. */
static int settle_with(struct files *f, bool overdue, const struct px_config_pending *p,
                       const struct px_config_clock *now, const struct text *current,
                       const struct text *previous, struct px_config_state *ret)
{
    enum px_config_step step = px_config_pending_step(p, now, current->there ? current->hash : NULL,
                                                      previous->there ? previous->hash : NULL);
    if (step == PX_CONFIG_FORGET)
        return remove_file(f->pending, f->state_dir);
    if (step == PX_CONFIG_REVERT || overdue) {
        int err = revert(f, p, current, previous);
        ret->reverted = err == 0;
        return err;
    }
    ret->pending = true;
    ret->left_ms = px_config_pending_left(p, now);
    return 0;
}

static int settle(struct files *f, bool overdue, const struct px_config_clock *now,
                  struct px_config_state *ret)
{
    struct px_config_pending p;
    struct text current, previous = {.there = false};
    *ret = (struct px_config_state){.pending = false};
    int err = read_pending(f, &p);
    if (err != 0)
        return err == PX_ENOENT ? 0 : err;
    px_buf_init(&previous.bytes, PX_CONFIG_FILE_MAX);
    err = read_text(f->config, &current);
    if (err == 0 && p.previous != 0)
        err = read_version(f, p.previous, &previous);
    if (err == 0)
        err = settle_with(f, overdue, &p, now, &current, &previous, ret);
    px_buf_deinit(&current.bytes);
    px_buf_deinit(&previous.bytes);
    return err;
}

int px_config_recover(const struct px_home *home, bool overdue, const struct px_config_clock *now,
                      struct px_config_state *ret)
{
    struct files f;
    struct stat st;
    *ret = (struct px_config_state){.pending = false};
    /* most homes never had a change: nothing is to be made there */
    snprintf(f.pending, sizeof(f.pending), "%s/" PX_HOME_CONFIG_PENDING, home->state_dir);
    if (lstat(f.pending, &st) != 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : px_err_from_errno(errno);
    int err = open_files(home, &f);
    if (err != 0)
        return err;
    err = settle(&f, overdue, now, ret);
    close_files(&f);
    return err;
}

/* ---- what people ask for ---- */

static int apply_text(struct files *f, struct px_slice text, uint64_t timeout_ms,
                      const struct px_config_clock *now, const struct text *current)
{
    struct px_config_pending p = {.timeout_ms = timeout_ms, .since = *now};
    px_sha256(text, p.candidate);
    if (current->there && memcmp(p.candidate, current->hash, PX_HASH_LEN) == 0)
        return PX_EEXIST;
    int err = keep(f, current, &p.previous);
    if (err == 0 && timeout_ms != 0)
        err = write_pending(f, &p);
    if (err == 0)
        err = px_file_write_atomic(f->config, text, current->mode, false);
    if (err == 0)
        prune(f, p.previous);
    return err;
}

static int apply_locked(struct files *f, struct px_slice text, uint64_t timeout_ms,
                        const struct px_config_clock *now)
{
    struct px_config_state state;
    struct text current;
    int err = settle(f, false, now, &state);
    if (err == 0 && state.pending)
        err = PX_EBUSY;
    if (err != 0)
        return err;
    err = read_text(f->config, &current);
    if (err == 0)
        err = apply_text(f, text, timeout_ms, now, &current);
    px_buf_deinit(&current.bytes);
    return err;
}

int px_config_apply(const struct px_home *home, struct px_slice text, uint64_t timeout_ms,
                    const struct px_config_clock *now)
{
    struct files f;
    if (text.len > PX_CONFIG_FILE_MAX)
        return PX_ELIMIT;
    int err = open_files(home, &f);
    if (err != 0)
        return err;
    err = apply_locked(&f, text, timeout_ms, now);
    close_files(&f);
    return err;
}

int px_config_confirm(const struct px_home *home, const struct px_config_clock *now)
{
    struct px_config_state state;
    struct files f;
    int err = open_files(home, &f);
    if (err != 0)
        return err;
    err = settle(&f, false, now, &state);
    if (err == 0 && state.reverted)
        err = PX_ETIMEDOUT;
    else if (err == 0 && !state.pending)
        err = PX_ENOENT;
    if (err == 0)
        err = remove_file(f.pending, f.state_dir);
    close_files(&f);
    return err;
}

/* The text a rollback brings back, with its number; `current` is what is in place. */
static int find_version(const struct files *f, uint64_t number, const struct text *current,
                        struct text *ret, uint64_t *ret_number)
{
    for (size_t i = f->count; i > 0; i--) {
        uint64_t n = f->numbers[i - 1];
        if (number != 0 && n != number)
            continue;
        int err = read_version(f, n, ret);
        if (err == 0 && (number != 0 || !same(ret, current))) {
            *ret_number = n;
            return 0;
        }
        px_buf_deinit(&ret->bytes);
        if (err != 0)
            return err;
    }
    return PX_ENOENT;
}

static int rollback_to(struct files *f, uint64_t number, const struct px_config_clock *now)
{
    struct text current, version;
    int err = read_text(f->config, &current);
    if (err == 0)
        err = find_version(f, number, &current, &version, &number);
    if (err == 0) {
        err = apply_text(f, px_buf_slice(&version.bytes), 0, now, &current);
        px_buf_deinit(&version.bytes);
    }
    px_buf_deinit(&current.bytes);
    return err;
}

int px_config_rollback(const struct px_home *home, uint64_t number,
                       const struct px_config_clock *now)
{
    struct px_config_state state, after = {.reverted = false};
    struct files f;
    int err = open_files(home, &f);
    if (err != 0)
        return err;
    err = settle(&f, false, now, &state);
    if (err == 0 && state.pending)
        err = settle(&f, true, now, &after);
    if (err == 0 && (number != 0 || (!state.reverted && !after.reverted)))
        err = rollback_to(&f, number, now);
    close_files(&f);
    return err;
}

int px_config_history(const struct px_home *home, struct px_config_version *ret, size_t cap,
                      size_t *ret_count)
{
    struct px_config_pending p = {.previous = 0};
    struct text current, version;
    struct files f;
    int err = open_files(home, &f);
    if (err != 0)
        return err;
    (void)!read_pending(&f, &p);
    size_t count = 0;
    err = read_text(f.config, &current);
    for (size_t i = f.count; i > 0 && count < cap && err == 0; i--) {
        char path[PX_HOME_FILE_MAX + 64];
        struct stat st;
        version_path(&f, f.numbers[i - 1], path);
        err = read_text(path, &version);
        if (err == 0 && lstat(path, &st) == 0)
            ret[count++] = (struct px_config_version){
                .number = f.numbers[i - 1],
                .wall_ms = (uint64_t)st.st_mtim.tv_sec * 1000,
                .size = version.bytes.len,
                .current = same(&version, &current),
                .previous = f.numbers[i - 1] == p.previous,
            };
        px_buf_deinit(&version.bytes);
    }
    px_buf_deinit(&current.bytes);
    close_files(&f);
    if (err == 0)
        *ret_count = count;
    return err;
}

int px_config_version_read(const struct px_home *home, uint64_t number, struct px_buf *out)
{
    struct text current, version;
    struct files f;
    int err = open_files(home, &f);
    if (err != 0)
        return err;
    err = read_text(f.config, &current);
    if (err == 0)
        err = find_version(&f, number, &current, &version, &number);
    if (err == 0) {
        err = px_buf_put(out, px_buf_slice(&version.bytes));
        px_buf_deinit(&version.bytes);
    }
    px_buf_deinit(&current.bytes);
    close_files(&f);
    return err;
}
