/* The state database: its file, damage, later versions, a writer that is killed; and the address
 * book in it. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/address_book.h"
#include "node/peer_addrs.h"
#include "node/state_db.h"
#include "tests/test.h"

#define WALL_NOW 2000000000u /* some day in 2033 */

struct fixture {
    struct px_home home;
    char path[PX_HOME_FILE_MAX];
    struct px_log log;
    int warnings;
};

static void on_log(void *ctx, enum px_log_level level, const char *event,
                   const struct px_log_field *fields, size_t count)
{
    struct fixture *f = ctx;
    (void)event;
    (void)fields;
    (void)count;
    f->warnings += level == PX_LOG_WARN;
}

static void setup(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    snprintf(f->home.state_dir, sizeof(f->home.state_dir), "/tmp/px-test-state.XXXXXX");
    CHECK(mkdtemp(f->home.state_dir) != NULL);
    snprintf(f->path, sizeof(f->path), "%s/state.db", f->home.state_dir);
    f->log = (struct px_log){.level = PX_LOG_DEBUG, .emit = on_log, .ctx = f};
}

static void teardown(struct fixture *f)
{
    char command[PX_HOME_PATH_MAX + 32];
    snprintf(command, sizeof(command), "rm -rf '%s'", f->home.state_dir);
    CHECK_INT(system(command), 0);
}

static struct px_sqlite *open_db(struct fixture *f)
{
    struct px_sqlite *db;
    CHECK_OK(px_state_db_open(&f->home, &f->log, &db));
    return db;
}

static bool exists(const struct fixture *f, const char *suffix)
{
    char path[PX_HOME_FILE_MAX + 32];
    struct stat st;
    snprintf(path, sizeof(path), "%s%s", f->path, suffix);
    return lstat(path, &st) == 0;
}

static unsigned mode_of(const struct fixture *f, const char *suffix)
{
    char path[PX_HOME_FILE_MAX + 32];
    struct stat st;
    snprintf(path, sizeof(path), "%s%s", f->path, suffix);
    CHECK(lstat(path, &st) == 0);
    return st.st_mode & 0777;
}

static void write_file(const char *path, const void *data, size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    CHECK(fd >= 0);
    CHECK(write(fd, data, len) == (ssize_t)len);
    close(fd);
}

static struct px_peer_id id_of(uint8_t n)
{
    struct px_peer_id id;
    memset(id.key, n, sizeof(id.key));
    return id;
}

static struct px_addr addr_of(unsigned n)
{
    struct px_addr a;
    char text[32];
    snprintf(text, sizeof(text), "10.0.%u.%u:4433", n / 250, n % 250 + 1);
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return a;
}

/* ---- what a book holds ---- */

struct seen {
    size_t count;
    struct px_addr addrs[64];
    uint64_t agos[64];
    bool keep;
};

static bool on_each(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                    uint64_t ago)
{
    struct seen *s = ctx;
    (void)id;
    CHECK(s->count < PX_ARRAY_LEN(s->addrs));
    s->addrs[s->count] = *addr;
    s->agos[s->count++] = ago;
    return s->keep;
}

static struct px_address_book *book_of(struct fixture *f, struct px_sqlite *db)
{
    struct px_address_book *b;
    CHECK_OK(px_address_book_new(db, &f->log, &b));
    return b;
}

static struct seen load(struct px_address_book *b, uint64_t now, bool keep)
{
    struct seen s = {.keep = keep};
    CHECK_OK(px_address_book_load(b, now, on_each, &s));
    return s;
}

/* ---- the file ---- */

TEST(the_database_and_what_lies_beside_it_are_for_the_owner_alone)
{
    struct fixture f;
    setup(&f);
    mode_t before = umask(0);
    struct px_sqlite *db = open_db(&f);
    umask(before);
    CHECK_INT(mode_of(&f, ""), 0600);
    CHECK_INT(mode_of(&f, "-wal"), 0600);
    CHECK_INT(mode_of(&f, "-shm"), 0600);
    px_sqlite_close(db);
    CHECK(chmod(f.path, 0644) == 0); /* decayed */
    db = open_db(&f);
    CHECK_INT(mode_of(&f, ""), 0600);
    px_sqlite_close(db);
    CHECK_INT(f.warnings, 0);
    teardown(&f);
}

TEST(a_symbolic_link_in_the_place_of_a_file_is_refused)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < PX_ARRAY_LEN(suffixes); i++) {
        struct fixture f;
        struct px_sqlite *db;
        char link[PX_HOME_FILE_MAX + 32], target[PX_HOME_FILE_MAX];
        setup(&f);
        snprintf(link, sizeof(link), "%s%s", f.path, suffixes[i]);
        snprintf(target, sizeof(target), "%s/victim", f.home.state_dir);
        write_file(target, "precious", 8, 0600);
        CHECK(symlink(target, link) == 0);
        CHECK_ERR(px_state_db_open(&f.home, &f.log, &db), PX_EPERM);
        struct stat st;
        CHECK(stat(target, &st) == 0 && st.st_size == 8);
        teardown(&f);
    }
}

TEST(a_directory_that_cannot_be_written_or_is_missing_is_an_error_the_node_survives)
{
    struct fixture f;
    struct px_sqlite *db;
    setup(&f);
    struct px_home missing = f.home;
    snprintf(missing.state_dir, sizeof(missing.state_dir), "%.400s/missing", f.home.state_dir);
    CHECK_ERR(px_state_db_open(&missing, &f.log, &db), PX_ENOENT);
    CHECK(mkdir(f.path, 0700) == 0); /* a directory of that name */
    int err = px_state_db_open(&f.home, &f.log, &db);
    CHECK(err != 0 && err != PX_EPROTO);
    CHECK(rmdir(f.path) == 0);
    CHECK(chmod(f.home.state_dir, 0500) == 0);
    if (geteuid() == 0) /* root may write everywhere */
        CHECK(chown(f.home.state_dir, 65534, 65534) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(2);
        _exit(px_state_db_open(&f.home, &f.log, &db) == PX_EPERM ? 0 : 1);
    }
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
    CHECK(chmod(f.home.state_dir, 0700) == 0);
    teardown(&f);
}

TEST(what_is_no_database_of_ours_is_put_aside_not_deleted)
{
    static const char junk[] = "this is no database, but somebody may want it back";
    struct fixture f;
    setup(&f);
    for (int n = 1; n <= 3; n++) {
        char aside[32];
        write_file(f.path, junk, sizeof(junk), 0600);
        px_sqlite_close(open_db(&f));
        CHECK_INT(f.warnings, n);
        snprintf(aside, sizeof(aside), ".unusable-%d", n);
        CHECK(exists(&f, aside));
    }
    /* of a later version */
    struct px_sqlite *db = open_db(&f);
    CHECK_OK(px_sqlite_exec(db, "PRAGMA user_version=4711;"));
    px_sqlite_close(db);
    px_sqlite_close(open_db(&f));
    CHECK_INT(f.warnings, 4);
    CHECK(exists(&f, ".unusable-4"));
    teardown(&f);
}

TEST(a_damaged_database_is_noticed_and_a_new_one_begun)
{
    struct fixture f;
    setup(&f);
    struct px_sqlite *db = open_db(&f);
    struct px_address_book *b = book_of(&f, db);
    for (uint8_t i = 0; i < 200; i++) {
        struct px_peer_id id = id_of(i);
        struct px_addr a = addr_of(i);
        px_address_book_good(b, &id, &a, WALL_NOW);
    }
    px_address_book_free(b);
    px_sqlite_close(db); /* the log is written back */
    int fd = open(f.path, O_RDWR);
    struct stat st;
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 3 * 4096);
    for (off_t at = 4096; at < st.st_size; at += 4096)
        CHECK(pwrite(fd, "damage damage damage", 20, at) == 20);
    close(fd);
    db = open_db(&f);
    CHECK_INT(f.warnings, 1);
    b = book_of(&f, db);
    CHECK_INT(load(b, WALL_NOW, true).count, 0);
    px_address_book_free(b);
    px_sqlite_close(db);
    teardown(&f);
}

/* ---- the book ---- */

TEST(good_addresses_survive_a_restart_with_their_ages)
{
    struct fixture f;
    struct px_peer_id id = id_of(1);
    setup(&f);
    for (int round = 0; round < 2; round++) {
        struct px_sqlite *db = open_db(&f);
        struct px_address_book *b = book_of(&f, db);
        struct px_addr one = addr_of(1), two = addr_of(2);
        if (round == 0) {
            px_address_book_good(b, &id, &one, WALL_NOW - 500);
            px_address_book_good(b, &id, &two, WALL_NOW - 300);
            px_address_book_good(b, &id, &one, WALL_NOW - 100); /* again */
        } else {
            struct seen s = load(b, WALL_NOW, true);
            CHECK_INT(s.count, 2);
            CHECK(px_addr_eq(&s.addrs[0], &one) && s.agos[0] == 100);
            CHECK(px_addr_eq(&s.addrs[1], &two) && s.agos[1] == 300);
            /* a clock set back makes nothing younger than now */
            CHECK_INT(load(b, WALL_NOW - 1000, true).agos[0], 0);
        }
        px_address_book_free(b);
        px_sqlite_close(db);
    }
    teardown(&f);
}

TEST(a_database_of_an_earlier_version_keeps_what_it_has_and_gets_what_is_new)
{
    struct fixture f;
    struct px_peer_id id = id_of(1);
    struct px_addr one = addr_of(1);
    setup(&f);
    struct px_sqlite *db = open_db(&f);
    struct px_address_book *b = book_of(&f, db);
    px_address_book_good(b, &id, &one, WALL_NOW);
    px_address_book_free(b);
    CHECK_OK(px_sqlite_exec(db, "DROP TABLE peer_history; PRAGMA user_version=3;"));
    px_sqlite_close(db);
    for (int round = 0; round < 2; round++) { /* and once more as it is now */
        db = open_db(&f);
        CHECK_OK(px_sqlite_exec(db, "SELECT * FROM peer_history;"));
        b = book_of(&f, db);
        CHECK_INT(load(b, WALL_NOW, true).count, 1);
        px_address_book_free(b);
        px_sqlite_close(db);
    }
    CHECK_INT(f.warnings, 0);
    teardown(&f);
}

TEST(the_book_is_bounded_a_peer_and_forgets_what_is_old_unlisted_or_malformed)
{
    struct fixture f;
    struct px_peer_id one = id_of(1), two = id_of(2);
    setup(&f);
    struct px_sqlite *db = open_db(&f);
    struct px_address_book *b = book_of(&f, db);
    for (unsigned i = 0; i < 20; i++) {
        struct px_addr a = addr_of(i);
        px_address_book_good(b, &one, &a, WALL_NOW + i);
    }
    struct seen s = load(b, WALL_NOW + 100, true);
    CHECK_INT(s.count, PX_ADDRS_BOOK_MAX);
    CHECK_INT(s.agos[0], 81); /* the newest are kept */
    struct px_addr a = addr_of(1);
    px_address_book_good(b, &two, &a, WALL_NOW - PX_BOOK_AGE_MAX - 1);
    CHECK_OK(px_sqlite_exec(db, "INSERT INTO peer_addr VALUES ('nobody', '10.0.0.1:1', 5);"
                                "INSERT INTO peer_addr VALUES ('x', 'nowhere', -5);"
                                "INSERT INTO peer_addr VALUES (x'00ff', x'00', 'text');"));
    CHECK_INT(load(b, WALL_NOW + 100, true).count, PX_ADDRS_BOOK_MAX);
    px_address_book_forget(b, &two);
    CHECK_INT(load(b, WALL_NOW + 100, false).count, PX_ADDRS_BOOK_MAX); /* none is wanted */
    CHECK_INT(load(b, WALL_NOW + 100, true).count, 0);
    CHECK_INT(f.warnings, 0);
    px_address_book_free(b);
    px_sqlite_close(db);
    teardown(&f);
}

/* Writes without end until it is killed; tells through the pipe that it has begun. */
_Noreturn static void write_for_ever(struct fixture *f, int tell)
{
    struct px_sqlite *db = open_db(f);
    struct px_address_book *b = book_of(f, db);
    for (unsigned i = 0;; i++) {
        struct px_peer_id id = id_of((uint8_t)(i % 8));
        struct px_addr a = addr_of(i % 5000);
        px_address_book_good(b, &id, &a, WALL_NOW);
        if (i == 20 && write(tell, "x", 1) != 1)
            _exit(1);
    }
}

TEST(a_writer_killed_at_any_point_leaves_a_good_database)
{
    struct fixture f;
    setup(&f);
    for (unsigned round = 0; round < 10; round++) {
        int tell[2];
        char byte;
        CHECK(pipe(tell) == 0);
        pid_t pid = fork();
        if (pid == 0)
            write_for_ever(&f, tell[1]);
        CHECK(pid > 0);
        CHECK(read(tell[0], &byte, 1) == 1);
        struct timespec t = {.tv_nsec = (long)round * 1700000};
        (void)nanosleep(&t, NULL); /* another place in its work each time */
        CHECK(kill(pid, SIGKILL) == 0);
        CHECK(waitpid(pid, NULL, 0) == pid);
        close(tell[0]);
        close(tell[1]);
        struct px_sqlite *db = open_db(&f);
        struct px_address_book *b = book_of(&f, db);
        CHECK(load(b, WALL_NOW, true).count >= 8);
        px_address_book_free(b);
        px_sqlite_close(db);
    }
    CHECK_INT(f.warnings, 0);
    teardown(&f);
}

TEST(a_full_disk_is_said_once_and_the_book_goes_on_when_there_is_room_again)
{
    struct fixture f;
    struct rlimit was, small = {.rlim_cur = 160 * 1024, .rlim_max = RLIM_INFINITY};
    setup(&f);
    struct px_sqlite *db = open_db(&f);
    struct px_address_book *b = book_of(&f, db);
    CHECK(getrlimit(RLIMIT_FSIZE, &was) == 0);
    small.rlim_max = was.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN); /* the write fails, as on a full disk */
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    for (unsigned i = 0; i < 4000 && f.warnings == 0; i++) {
        struct px_peer_id id = id_of((uint8_t)i);
        struct px_addr a = addr_of(i % 5000);
        id.key[1] = (uint8_t)(i >> 8);
        px_address_book_good(b, &id, &a, WALL_NOW);
    }
    CHECK_INT(f.warnings, 1);
    for (unsigned i = 0; i < 20; i++) {
        struct px_peer_id id = id_of((uint8_t)i);
        struct px_addr a = addr_of(6000 + i);
        px_address_book_good(b, &id, &a, WALL_NOW);
    }
    CHECK_INT(f.warnings, 1);
    CHECK(setrlimit(RLIMIT_FSIZE, &was) == 0);
    struct px_peer_id id = id_of(3);
    struct px_addr a = addr_of(7000);
    px_address_book_good(b, &id, &a, WALL_NOW + 1);
    px_address_book_free(b);
    px_sqlite_close(db);
    db = open_db(&f);
    CHECK_INT(f.warnings, 1);
    struct px_sqlite_stmt *st;
    bool row;
    CHECK_OK(px_sqlite_prepare(db, "SELECT 1 FROM peer_addr WHERE good_at = 2000000001;", &st));
    CHECK_OK(px_sqlite_step(st, &row));
    CHECK(row);
    px_sqlite_stmt_free(st);
    px_sqlite_close(db);
    teardown(&f);
}
