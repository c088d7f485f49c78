/* What moving a peer to its new key leaves in the files of a home, the files of a node that
 * rotates, and what the state database keeps. Also rotation_home, rotation_store, trusted_keys. */
#include "node/rotation_move.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "auth/identity_io.h"
#include "node/rotation_home.h"
#include "node/rotation_store.h"
#include "node/state_db.h"
#include "tests/test.h"

#define A   "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj"
#define B   "12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV"
#define C   "12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi"
#define KEY "bob-1:7ksZ3SJGjfwKcKwJZFd5eTxcVmEtxELVhAGQ1NnBnhs="

struct dir {
    struct px_home home;
    struct px_rotation_move move;
};

static void dir_init(struct dir *d)
{
    memset(d, 0, sizeof(*d));
    CHECK_OK(px_crypto_init());
    snprintf(d->home.config_dir, sizeof(d->home.config_dir), "/tmp/px-rotation.XXXXXX");
    CHECK(mkdtemp(d->home.config_dir) != NULL);
    memcpy(d->home.state_dir, d->home.config_dir, sizeof(d->home.state_dir));
    CHECK_OK(px_peer_id_parse(PX_SLICE_LIT(A), &d->move.old_id));
    CHECK_OK(px_peer_id_parse(PX_SLICE_LIT(B), &d->move.new_id));
}

static void dir_end(struct dir *d)
{
    static const char *const names[] = {"authorized_keys", "authorized_keys.lock",
                                        "trusted-keys",    "trusted-keys.lock",
                                        "names",           "names.lock",
                                        "identity.pem",    "identity-next.pem",
                                        "backup.pem",      "state.db"};
    char path[PX_HOME_FILE_MAX];
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++)
        (void)unlink(px_home_config_path(&d->home, names[i], path));
    CHECK_INT(rmdir(d->home.config_dir), 0); /* nothing else was left */
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

static bool exists(struct dir *d, const char *name)
{
    char path[PX_HOME_FILE_MAX];
    return access(px_home_config_path(&d->home, name, path), F_OK) == 0;
}

/* ---- a peer moves ---- */

TEST(the_entry_its_key_and_its_names_move)
{
    struct dir d;
    dir_init(&d);
    write_file(&d, "authorized_keys", "# mine\n" A " name=bob grant=cache # shelf\n" C "\n");
    write_file(&d, "trusted-keys", KEY " " A " # bob\n" KEY " " C "\n");
    write_file(&d, "names", "desk " A "\n");
    CHECK_OK(px_rotation_move_files(&d.home, &d.move));
    check_file(&d, "authorized_keys", "# mine\n" B " name=bob grant=cache # shelf\n" C "\n");
    /* as it is when the process dies here: the old key's lines count for nothing */
    check_file(&d, "trusted-keys", KEY " " A " # bob\n" KEY " " C "\n" KEY " " B " # bob\n");
    for (int i = 0; i < 2; i++) { /* a second time changes nothing */
        CHECK_OK(px_rotation_clear_files(&d.home, &d.move));
        check_file(&d, "trusted-keys", KEY " " C "\n" KEY " " B " # bob\n");
        check_file(&d, "names", "desk " B "\n");
    }
    dir_end(&d);
}

TEST(a_peer_without_key_and_name_moves_as_well)
{
    struct dir d;
    dir_init(&d);
    write_file(&d, "authorized_keys", A "\n");
    CHECK_OK(px_rotation_move_files(&d.home, &d.move));
    CHECK_OK(px_rotation_clear_files(&d.home, &d.move));
    check_file(&d, "authorized_keys", B "\n");
    CHECK(!exists(&d, "trusted-keys") && !exists(&d, "trusted-keys.lock") && !exists(&d, "names"));
    dir_end(&d);
}

TEST(who_is_not_listed_or_is_twice_does_not_move)
{
    struct dir d;
    dir_init(&d);
    write_file(&d, "authorized_keys", C "\n");
    CHECK_ERR(px_rotation_move_files(&d.home, &d.move), PX_ENOENT);
    write_file(&d, "authorized_keys", A "\n" B "\n");
    CHECK_ERR(px_rotation_move_files(&d.home, &d.move), PX_EEXIST);
    check_file(&d, "authorized_keys", A "\n" B "\n");
    dir_end(&d);
}

TEST(a_list_that_something_else_manages_is_not_replaced)
{
    struct dir d;
    char link_path[PX_HOME_FILE_MAX], path[PX_HOME_FILE_MAX];
    dir_init(&d);
    write_file(&d, "names", A "\n"); /* any file */
    CHECK_INT(symlink(px_home_config_path(&d.home, "names", path),
                      px_home_config_path(&d.home, "authorized_keys", link_path)),
              0);
    CHECK_ERR(px_rotation_move_files(&d.home, &d.move), PX_EPERM);
    check_file(&d, "names", A "\n");
    dir_end(&d);
}

/* ---- the rotating node's files ---- */

static void make_identity(struct dir *d, struct px_identity *ret)
{
    char path[PX_HOME_FILE_MAX];
    px_identity_generate(&px_system_rng, ret);
    CHECK_OK(px_identity_create(px_home_config_path(&d->home, "identity.pem", path), ret));
}

TEST(begin_abort_and_finish_are_files_that_come_and_go)
{
    struct dir d;
    struct px_identity old, next, now;
    struct stat st;
    char hint[256], path[PX_HOME_FILE_MAX];
    dir_init(&d);
    make_identity(&d, &old);
    CHECK_ERR(px_rotation_home_next(&d.home, &old, &next, hint, sizeof(hint)), PX_ENOENT);
    CHECK_ERR(px_rotation_home_finish(&d.home), PX_ENOENT);
    CHECK_ERR(px_rotation_home_abort(&d.home), PX_ENOENT);
    CHECK_OK(px_rotation_home_begin(&d.home));
    CHECK_ERR(px_rotation_home_begin(&d.home), PX_EEXIST);
    CHECK_INT(stat(px_home_config_path(&d.home, "identity-next.pem", path), &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_OK(px_rotation_home_abort(&d.home));
    CHECK(!exists(&d, "identity-next.pem"));
    CHECK_OK(px_rotation_home_begin(&d.home));
    CHECK_OK(px_rotation_home_next(&d.home, &old, &next, hint, sizeof(hint)));
    CHECK_OK(px_rotation_home_finish(&d.home));
    CHECK(!exists(&d, "identity-next.pem"));
    CHECK_OK(px_home_load_identity(&d.home, &now, hint, sizeof(hint)));
    CHECK(px_peer_id_eq(&now.id, &next.id));
    dir_end(&d);
}

TEST(the_old_key_is_overwritten_unless_it_has_another_name)
{
    struct dir d;
    struct px_identity old;
    char path[PX_HOME_FILE_MAX], backup[PX_HOME_FILE_MAX], text[256] = "";
    dir_init(&d);
    for (int linked = 0; linked < 2; linked++) {
        (void)unlink(px_home_config_path(&d.home, "identity.pem", path));
        make_identity(&d, &old);
        FILE *f = fopen(path, "r");
        CHECK(f != NULL);
        if (linked)
            CHECK_INT(link(path, px_home_config_path(&d.home, "backup.pem", backup)), 0);
        CHECK_OK(px_rotation_home_begin(&d.home));
        CHECK_OK(px_rotation_home_finish(&d.home));
        CHECK(fread(text, 1, sizeof(text), f) > 100);
        CHECK_INT(text[0], linked ? '-' : 0);
        CHECK_INT(text[60], linked ? text[60] : 0);
        (void)fclose(f);
    }
    dir_end(&d);
}

TEST(a_key_that_something_else_manages_is_not_replaced)
{
    struct dir d;
    struct px_identity old;
    char path[PX_HOME_FILE_MAX], backup[PX_HOME_FILE_MAX];
    dir_init(&d);
    make_identity(&d, &old);
    px_home_config_path(&d.home, "identity.pem", path);
    px_home_config_path(&d.home, "backup.pem", backup);
    CHECK_INT(rename(path, backup), 0);
    CHECK_INT(symlink(backup, path), 0);
    CHECK_OK(px_rotation_home_begin(&d.home));
    CHECK_ERR(px_rotation_home_finish(&d.home), PX_EPERM);
    CHECK(exists(&d, "identity-next.pem"));
    dir_end(&d);
}

/* ---- the database ---- */

static int count_ack(void *ctx, const struct px_rotation_ack *a)
{
    struct px_rotation_ack *last = ctx;
    *last = *a;
    return 0;
}

TEST(the_database_keeps_records_retired_keys_and_acks)
{
    struct dir d;
    struct px_sqlite *db;
    struct px_identity x, y, z;
    struct px_rotation r, foreign;
    struct px_rotation_ack ack, got = {.peer = {{0}}};
    struct px_rotation_book *book = calloc(1, sizeof(*book));
    CHECK(book != NULL);
    dir_init(&d);
    px_identity_generate(&px_system_rng, &x);
    px_identity_generate(&px_system_rng, &y);
    px_identity_generate(&px_system_rng, &z);
    CHECK_OK(px_rotation_make(&x, &y, "default", &r));
    CHECK_OK(px_rotation_make(&z, &y, "other", &foreign));
    CHECK_OK(px_state_db_open(&d.home, NULL, &db));
    CHECK_OK(px_rotation_store_record(db, &r));
    CHECK_OK(px_rotation_store_record(db, &foreign));
    d.move.at = 5;
    CHECK_OK(px_rotation_store_retired(db, &d.move));
    ack = (struct px_rotation_ack){d.move.old_id, x.id, y.id};
    CHECK_OK(px_rotation_store_ack(db, &ack));
    CHECK_OK(px_rotation_move_ack(db, &d.move));
    px_sqlite_close(db);
    CHECK_OK(px_state_db_open(&d.home, NULL, &db));
    CHECK_OK(px_rotation_store_load(db, "default", book));
    CHECK_INT(book->count, 1);
    CHECK(px_rotation_book_by_new(book, &y.id) != NULL);
    CHECK(px_rotation_book_is_retired(book, &d.move.old_id));
    CHECK_INT(book->retired[0].at, 5);
    CHECK_OK(px_rotation_each_ack(db, count_ack, &got));
    CHECK(px_peer_id_eq(&got.peer, &d.move.new_id) && px_peer_id_eq(&got.next, &y.id));
    CHECK_OK(px_rotation_forget_record(db, &x.id));
    CHECK_OK(px_rotation_forget_acks(db));
    px_sqlite_close(db);
    free(book);
    dir_end(&d);
}

TEST(a_row_that_was_tampered_with_is_left_out)
{
    struct dir d;
    struct px_sqlite *db;
    struct px_identity x, y;
    struct px_rotation r;
    struct px_rotation_book *book = calloc(1, sizeof(*book));
    CHECK(book != NULL);
    dir_init(&d);
    px_identity_generate(&px_system_rng, &x);
    px_identity_generate(&px_system_rng, &y);
    CHECK_OK(px_rotation_make(&x, &y, "default", &r));
    r.new_id.key[0] ^= 1; /* as if somebody had put in a key of his own */
    CHECK_OK(px_state_db_open(&d.home, NULL, &db));
    CHECK_OK(px_rotation_store_record(db, &r));
    CHECK_OK(px_sqlite_exec(db, "INSERT INTO rotation_pending VALUES ('x', 'zz'), ('y', '');"
                                "INSERT INTO rotation_retired VALUES ('x', 'y', 1);"
                                "INSERT INTO rotation_ack VALUES ('x', 'y', 'z');"));
    CHECK_OK(px_rotation_store_load(db, "default", book));
    CHECK_INT(book->count, 0);
    CHECK_INT(book->retired_count, 0);
    px_sqlite_close(db);
    free(book);
    dir_end(&d);
}

TEST(remembered_addresses_follow)
{
    struct dir d;
    struct px_sqlite *db;
    struct px_sqlite_stmt *st;
    bool row = false;
    dir_init(&d);
    CHECK_OK(px_state_db_open(&d.home, NULL, &db));
    CHECK_OK(px_sqlite_exec(db, "INSERT INTO peer_addr VALUES ('" A "', '192.0.2.7:1', 9);"));
    CHECK_OK(px_rotation_store_addrs(db, &d.move));
    CHECK_OK(
        px_sqlite_prepare(db, "SELECT addr, good_at FROM peer_addr WHERE peer = '" B "'", &st));
    CHECK_OK(px_sqlite_step(st, &row));
    CHECK(row);
    CHECK_SLICE(px_sqlite_text(st, 0), PX_SLICE_LIT("192.0.2.7:1"));
    CHECK_INT(px_sqlite_i64(st, 1), 9);
    px_sqlite_stmt_free(st);
    px_sqlite_close(db);
    dir_end(&d);
}
