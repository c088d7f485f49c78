/* Real stores: private roots filled by nix, read through the database (store_db.c, store_info.c)
 * and through a nix-daemon started on them (store_greeting.c, store_daemon.c, store_daemon_conn.c),
 * and scripted daemons for what a real one does not do. */
#include "node/nix/store.h"

#include <signal.h>
#include <sqlite3.h> /* to play a writer that holds locks; reading goes through node/sqlite_db */
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "proto/base/encoding.h"
#include "tests/unit/node/store_fixture.h"

/* ---- a private store ---- */

struct site {
    struct fixture_dir dir;
    char env[4096];  /* in front of nix commands */
    char local[700]; /* URIs of it */
    char remote[900];
    const char *store_dir;
    pid_t daemon;
};

/* With store_dir NULL a chroot store whose logical directory is /nix/store; else a store whose
 * directory really is <dir>/store, where nix can build without a sandbox. */
static void site_make(struct site *s, bool own_dir)
{
    fixture_require_nix();
    *s = (struct site){0};
    fixture_dir_make(&s->dir);
    const char *d = s->dir.path;
    CHECK(chmod(d, 0755) == 0);
    fixture_sh("mkdir '%s/conf' && printf 'build-users-group =\\nsandbox = false\\n"
               "experimental-features = nix-command\\nsubstituters =\\n' >'%s/conf/nix.conf'",
               d, d);
    static char store_dir[300];
    snprintf(store_dir, sizeof(store_dir), "%s/store", d);
    s->store_dir = own_dir ? store_dir : "/nix/store";
    if (own_dir)
        snprintf(s->env, sizeof(s->env),
                 "HOME='%s' NIX_CONF_DIR='%s/conf' NIX_STORE_DIR='%s/store' NIX_STATE_DIR='%s/var' "
                 "NIX_LOG_DIR='%s/log' NIX_DAEMON_SOCKET_PATH='%s/sock' NIX_REMOTE=local",
                 d, d, d, d, d, d);
    else
        snprintf(s->env, sizeof(s->env),
                 "HOME='%s' NIX_CONF_DIR='%s/conf' NIX_STATE_DIR='%s/var' NIX_LOG_DIR='%s/log' "
                 "NIX_DAEMON_SOCKET_PATH='%s/sock' NIX_REMOTE='local?root=%s/r'",
                 d, d, d, d, d, d);
    char params[600];
    if (own_dir)
        snprintf(params, sizeof(params), "store=%s/store&state=%s/var", d, d);
    else
        snprintf(params, sizeof(params), "root=%s/r", d);
    snprintf(s->local, sizeof(s->local), "local?%s", params);
    snprintf(s->remote, sizeof(s->remote), "unix://%s/sock?%s", d, params);
}

/* Runs a nix command in the site and returns what it printed, NUL-terminated; freed by the caller
 * with px_buf_deinit. */
static void site_output(const struct site *s, struct px_buf *out, const char *fmt, ...)
    PX_PRINTF(3, 4);
static void site_output(const struct site *s, struct px_buf *out, const char *fmt, ...)
{
    char tail[1024], cmd[6000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(tail, sizeof(tail), fmt, ap);
    va_end(ap);
    snprintf(cmd, sizeof(cmd), "export %s; %s 2>>'%s/stderr'", s->env, tail, s->dir.path);
    fixture_output(cmd, true, out);
}

/* The path it printed. */
static void site_add(const struct site *s, char *ret, size_t size, const char *text)
{
    struct px_buf out;
    fixture_sh("printf '%%s' '%s' >'%s/file'", text, s->dir.path);
    site_output(s, &out, "nix-store --add '%s/file'", s->dir.path);
    snprintf(ret, size, "%s", (const char *)out.data);
    px_buf_deinit(&out);
}

static bool can_connect(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0;
    close(fd);
    return ok;
}

static void site_daemon_stop(struct site *s)
{
    if (s->daemon <= 0)
        return;
    /* Its children, one a connection, lead sessions of their own; some may be ending just now. */
    fixture_sh("for p in $(ps -o pid= --ppid %d); do kill -KILL $p 2>/dev/null; done; "
               "kill -KILL %d",
               (int)s->daemon, (int)s->daemon);
    waitpid(s->daemon, NULL, 0);
    s->daemon = 0;
    fixture_sh("rm -f '%s/sock'", s->dir.path);
}

static void site_daemon_start(struct site *s)
{
    signal(SIGPIPE, SIG_IGN);
    char cmd[5000], sock[300];
    snprintf(cmd, sizeof(cmd), "export %s; exec nix-daemon >>'%s/daemon.log' 2>&1", s->env,
             s->dir.path);
    snprintf(sock, sizeof(sock), "%s/sock", s->dir.path);
    s->daemon = fork();
    CHECK(s->daemon >= 0);
    if (s->daemon == 0) {
        execl("/bin/sh", "sh", "-c", cmd, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000 && !can_connect(sock); i++)
        usleep(10000);
    CHECK(can_connect(sock));
}

static void site_remove(struct site *s)
{
    site_daemon_stop(s);
    fixture_dir_remove(&s->dir);
}

/* ---- asking ---- */

struct answer {
    int calls, err;
    struct px_path_info *info;
};

static void on_answer(void *ctx, int err, struct px_path_info *owned_info)
{
    struct answer *a = ctx;
    a->calls++;
    a->err = err;
    a->info = owned_info;
}

static struct px_slice hash_part_of(const struct site *s, const char *path)
{
    return px_slice(path + strlen(s->store_dir) + 1, PX_STORE_HASH_LEN);
}

/* Turns the loop until `*flag` is not 0, for at most 20 s. */
static void turn_until(uv_loop_t *loop, const int *flag)
{
    uint64_t end = uv_hrtime() + UINT64_C(20000000000);
    while (*flag == 0) {
        CHECK(uv_hrtime() < end);
        uv_run(loop, UV_RUN_NOWAIT);
        if (*flag == 0)
            usleep(200);
    }
}

static int ask(uv_loop_t *loop, struct px_store *store, struct px_slice hash_part,
               struct px_path_info **ret)
{
    struct answer a = {0};
    struct px_store_query *q;
    CHECK_OK(px_store_query(store, hash_part, on_answer, &a, &q));
    CHECK_INT(a.calls, 0);
    turn_until(loop, &a.calls);
    CHECK_INT(a.calls, 1);
    CHECK((a.info != NULL) == (a.err == 0));
    *ret = a.info;
    return a.err;
}

static int ask_err(uv_loop_t *loop, struct px_store *store, struct px_slice hash_part)
{
    struct px_path_info *info;
    int err = ask(loop, store, hash_part, &info);
    px_path_info_free(info);
    return err;
}

static int store_open(uv_loop_t *loop, const char *uri, struct px_store **ret)
{
    struct px_store_uri u;
    CHECK(uv_loop_init(loop) == 0);
    CHECK_OK(px_store_uri_parse(uri, &u, NULL, 0));
    int err = px_store_open(loop, &u, NULL, ret);
    if (err != 0)
        CHECK(uv_loop_close(loop) == 0);
    return err;
}

static void store_close(uv_loop_t *loop, struct px_store *store)
{
    px_store_close(store);
    uv_run(loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(loop) == 0);
}

/* ---- whole NARs ---- */

struct nar {
    struct px_nar *n;
    struct px_buf got;
    int err, done;
};

static void nar_ready(void *ctx)
{
    struct nar *t = ctx;
    struct px_nar_chunk *c;
    while ((t->err = px_nar_next(t->n, &c)) == 0 && c != NULL) {
        CHECK_OK(px_buf_put(&t->got, c->data));
        px_nar_chunk_free(c);
    }
    t->done = t->err != PX_EAGAIN;
}

static void check_nar(uv_loop_t *loop, struct px_store *store, const struct px_path_info *info,
                      struct px_slice want, uint64_t offset)
{
    struct nar t = {0};
    px_buf_init(&t.got, FIXTURE_BYTES_MAX);
    CHECK_OK(px_nar_open(store, info, offset, nar_ready, &t, &t.n));
    nar_ready(&t);
    turn_until(loop, &t.done);
    CHECK_ERR(t.err, 0);
    CHECK_SLICE(px_buf_slice(&t.got), px_slice_skip(want, (size_t)offset));
    px_nar_close(t.n);
    px_buf_deinit(&t.got);
}

/* ---- against nix ---- */

static bool line_in(const struct px_buf *lines, const char *dir, struct px_slice base)
{
    struct px_slice rest = px_buf_slice(lines), line;
    char full[1024];
    snprintf(full, sizeof(full), "%s/%.*s", dir, (int)base.len, (const char *)base.data);
    while (px_slice_split(&rest, '\n', &line))
        if (px_slice_eq_cstr(line, full))
            return true;
    return false;
}

static void check_refs(const struct site *s, const struct px_path_info *info, const char *path)
{
    struct px_buf want;
    size_t lines = 0;
    site_output(s, &want, "nix-store -q --references '%s'", path);
    for (size_t i = 0; i < want.len; i++)
        lines += want.data[i] == '\n';
    lines += want.len > 0;
    CHECK_INT(info->ref_count, lines);
    for (size_t i = 0; i < info->ref_count; i++)
        CHECK(line_in(&want, s->store_dir, info->refs[i]));
    px_buf_deinit(&want);
}

static void check_info(const struct site *s, const struct px_path_info *info, const char *path)
{
    struct px_buf want, hash;
    px_buf_init(&hash, 256);
    CHECK_SLICE(info->store_path, px_slice_cstr(path));
    site_output(s, &want, "nix-store -q --size '%s'", path);
    CHECK_INT(info->nar_size, strtoull((const char *)want.data, NULL, 10));
    px_buf_deinit(&want);
    site_output(s, &want, "nix-store -q --hash '%s'", path);
    CHECK_OK(px_buf_put_cstr(&hash, "sha256:"));
    CHECK_OK(px_nix32_encode(&hash, px_slice(info->nar_hash, 32)));
    CHECK_SLICE(px_buf_slice(&hash), px_buf_slice(&want));
    px_buf_deinit(&want);
    site_output(s, &want, "nix-store -q --deriver '%s'", path);
    if (px_slice_eq_cstr(px_buf_slice(&want), "unknown-deriver"))
        CHECK_INT(info->deriver.len, 0);
    else
        CHECK(line_in(&want, s->store_dir, info->deriver));
    px_buf_deinit(&want);
    px_buf_deinit(&hash);
    check_refs(s, info, path);
}

/* Every path of the site, through the store at `uri`, must be as nix says it is. */
static int check_all(const struct site *s, const char *uri)
{
    uv_loop_t loop;
    struct px_store *store;
    struct px_buf all;
    int count = 0;
    CHECK_OK(store_open(&loop, uri, &store));
    CHECK_STR(px_store_dir(store), s->store_dir);
    site_output(s, &all, "nix --extra-experimental-features nix-command path-info --all");
    struct px_slice rest = px_buf_slice(&all), piece;
    while (px_slice_split(&rest, '\n', &piece)) {
        struct px_path_info *info;
        char line[600];
        if (piece.len == 0)
            continue;
        snprintf(line, sizeof(line), "%.*s", (int)piece.len, (const char *)piece.data);
        CHECK_OK(ask(&loop, store, hash_part_of(s, line), &info));
        check_info(s, info, line);
        px_path_info_free(info);
        count++;
    }
    px_buf_deinit(&all);
    store_close(&loop, store);
    return count;
}

/* A derivation's output that refers to itself and to a source, that source, the .drv. */
static void site_build(const struct site *s, char *ret, size_t size)
{
    struct px_buf out;
    fixture_sh("cat >'%s/x.nix' <<'EOF'\n"
               "derivation { name = \"built\"; system = builtins.currentSystem; builder = "
               "\"/bin/sh\";\n  args = [ \"-c\" \"echo $out $dep > $out\" ];\n"
               "  dep = builtins.toFile \"dep\" \"text\"; }\nEOF",
               s->dir.path);
    site_output(s, &out, "nix-build --no-out-link '%s/x.nix'", s->dir.path);
    snprintf(ret, size, "%s", (const char *)out.data);
    px_buf_deinit(&out);
}

static void site_sign(const struct site *s, const char *path)
{
    struct px_buf out;
    site_output(s, &out,
                "{ test -e '%s/key' || nix key generate-secret --key-name site-1 >'%s/key'; } && "
                "nix store sign -k '%s/key' '%s'",
                s->dir.path, s->dir.path, s->dir.path, path);
    px_buf_deinit(&out);
}

static void check_built(const struct site *s, const char *uri, const char *path)
{
    uv_loop_t loop;
    struct px_store *store;
    struct px_path_info *info;
    struct px_buf want;
    CHECK_OK(store_open(&loop, uri, &store));
    CHECK_OK(ask(&loop, store, hash_part_of(s, path), &info));
    CHECK(info->ultimate);
    CHECK_INT(info->ref_count, 2);
    CHECK(info->deriver.len > 0);
    CHECK_INT(info->ca.len, 0);
    CHECK_INT(info->sig_count, 1);
    CHECK(px_slice_starts(info->sigs[0], PX_SLICE_LIT("site-1:")));
    fixture_dump(path, &want);
    CHECK_INT(want.len, info->nar_size);
    check_nar(&loop, store, info, px_buf_slice(&want), 0);
    check_nar(&loop, store, info, px_buf_slice(&want), 100);
    check_nar(&loop, store, info, px_buf_slice(&want), want.len);
    px_buf_deinit(&want);
    px_path_info_free(info);
    store_close(&loop, store);
}

TEST(a_store_elsewhere_is_read_as_nix_reads_it_by_both_ways)
{
    struct site s;
    char built[512], file[512];
    site_make(&s, true);
    site_build(&s, built, sizeof(built));
    site_add(&s, file, sizeof(file), "some text");
    site_sign(&s, built);
    CHECK(check_all(&s, s.local) >= 4);
    check_built(&s, s.local, built);
    site_daemon_start(&s);
    CHECK(check_all(&s, s.remote) >= 4);
    check_built(&s, s.remote, built);
    site_remove(&s);
}

static void check_content_addressed(const struct site *s, const char *uri, const char *path)
{
    uv_loop_t loop;
    struct px_store *store;
    struct px_path_info *info;
    struct px_buf want;
    char real[800];
    CHECK_OK(store_open(&loop, uri, &store));
    CHECK_OK(ask(&loop, store, hash_part_of(s, path), &info));
    CHECK(px_slice_starts(info->ca, PX_SLICE_LIT("fixed:r:sha256:")));
    CHECK_INT(info->ref_count, 0);
    snprintf(real, sizeof(real), "%s/r%s", s->dir.path, path);
    fixture_dump(real, &want);
    check_nar(&loop, store, info, px_buf_slice(&want), 0);
    px_buf_deinit(&want);
    px_path_info_free(info);

    CHECK_ERR(ask_err(&loop, store, PX_SLICE_LIT("00000000000000000000000000000000")), PX_ENOENT);
    CHECK_ERR(ask_err(&loop, store, PX_SLICE_LIT("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz")), PX_ENOENT);
    struct px_store_query *q;
    CHECK_ERR(px_store_query(store, PX_SLICE_LIT("0000"), on_answer, NULL, &q), PX_EINVAL);
    CHECK_ERR(px_store_query(store, PX_SLICE_LIT("eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"), on_answer,
                             NULL, &q),
              PX_EINVAL);
    store_close(&loop, store);
}

TEST(a_chroot_store_is_read_by_both_ways)
{
    struct site s;
    char path[512];
    site_make(&s, false);
    site_add(&s, path, sizeof(path), "in a chroot store");
    check_content_addressed(&s, s.local, path);
    CHECK(check_all(&s, s.local) >= 1);
    site_daemon_start(&s);
    check_content_addressed(&s, s.remote, path);
    CHECK(check_all(&s, s.remote) >= 1);
    site_remove(&s);
}

TEST(auto_takes_the_daemon_if_it_answers_else_the_database)
{
    struct site s;
    uv_loop_t loop;
    struct px_store *store;
    char path[512], sock[400], uri[600];
    site_make(&s, false);
    site_add(&s, path, sizeof(path), "x");
    snprintf(sock, sizeof(sock), "%s/r/nix/var/nix/daemon-socket", s.dir.path);
    snprintf(uri, sizeof(uri), "auto?root=%s/r", s.dir.path);
    CHECK_OK(store_open(&loop, uri, &store));
    CHECK(strncmp(px_store_describe(store), "database ", 9) == 0);
    CHECK_OK(ask_err(&loop, store, hash_part_of(&s, path)));
    store_close(&loop, store);
    site_daemon_start(&s);
    fixture_sh("mkdir -p '%s' && ln -sf '%s/sock' '%s/socket'", sock, s.dir.path, sock);
    CHECK_OK(store_open(&loop, uri, &store));
    CHECK(strncmp(px_store_describe(store), "daemon 1.", 9) == 0);
    CHECK_OK(ask_err(&loop, store, hash_part_of(&s, path)));
    store_close(&loop, store);
    /* A socket nobody listens on is no daemon. */
    kill(s.daemon, SIGKILL);
    waitpid(s.daemon, NULL, 0);
    s.daemon = 0;
    CHECK_OK(store_open(&loop, uri, &store));
    CHECK(strncmp(px_store_describe(store), "database ", 9) == 0);
    store_close(&loop, store);
    site_remove(&s);
}

TEST(a_store_that_is_not_there_is_told_apart)
{
    uv_loop_t loop;
    struct px_store *store;
    struct fixture_dir d;
    char uri[400];
    fixture_dir_make(&d);
    CHECK_ERR(store_open(&loop, "unix:///nonexistent/socket", &store), PX_ENOENT);
    CHECK_ERR(store_open(&loop, "local?root=/nonexistent", &store), PX_ENOENT);
    snprintf(uri, sizeof(uri), "local?state=%s", d.path);
    fixture_sh("mkdir '%s/db' && echo 7 >'%s/db/schema'", d.path, d.path);
    CHECK_ERR(store_open(&loop, uri, &store), PX_EPROTO);
    fixture_sh("echo 10 >'%s/db/schema'", d.path);
    CHECK_ERR(store_open(&loop, uri, &store), PX_ENOENT);
    fixture_sh("head -c 8192 /dev/urandom >'%s/db/db.sqlite'", d.path);
    CHECK_ERR(store_open(&loop, uri, &store), PX_EPROTO);
    fixture_dir_remove(&d);
}

/* ---- the database ---- */

TEST(paths_added_and_deleted_later_are_noticed)
{
    struct site s;
    uv_loop_t loop;
    struct px_store *store;
    char first[512], second[512];
    struct px_buf out;
    site_make(&s, false);
    site_add(&s, first, sizeof(first), "first");
    CHECK_OK(store_open(&loop, s.local, &store));
    CHECK_OK(ask_err(&loop, store, hash_part_of(&s, first)));
    site_add(&s, second, sizeof(second), "second");
    CHECK_OK(ask_err(&loop, store, hash_part_of(&s, second)));
    site_output(&s, &out, "nix-store --delete '%s'", first);
    px_buf_deinit(&out);
    CHECK_ERR(ask_err(&loop, store, hash_part_of(&s, first)), PX_ENOENT);
    CHECK_OK(ask_err(&loop, store, hash_part_of(&s, second)));
    store_close(&loop, store);
    site_remove(&s);
}

static int files_in_db(const struct site *s)
{
    struct px_buf out;
    site_output(s, &out, "ls '%s/r/nix/var/nix/db' | grep -c sqlite", s->dir.path);
    int n = (int)strtol((const char *)out.data, NULL, 10);
    px_buf_deinit(&out);
    return n;
}

TEST(reading_leaves_nothing_behind_and_needs_no_privileges)
{
    struct site s;
    uv_loop_t loop;
    struct px_store *store;
    char path[512];
    site_make(&s, false);
    site_add(&s, path, sizeof(path), "x");
    CHECK_INT(files_in_db(&s), 1);
    bool root = geteuid() == 0;
    if (root)
        CHECK(seteuid(65534) == 0);
    int err = store_open(&loop, s.local, &store);
    if (err == 0) {
        err = ask_err(&loop, store, hash_part_of(&s, path));
        store_close(&loop, store);
    }
    if (root)
        CHECK(seteuid(0) == 0);
    CHECK_OK(err);
    CHECK_INT(files_in_db(&s), 1);
    site_remove(&s);
}

/* A daemon at work keeps its additions in the WAL, where an immutable read would miss them. */
TEST(what_is_only_in_the_wal_is_seen)
{
    struct site s;
    uv_loop_t loop;
    struct px_store *local, *remote;
    uv_loop_t other;
    char early[512], late[512], cmd[900];
    struct px_buf out;
    site_make(&s, false);
    site_add(&s, early, sizeof(early), "early");
    CHECK_OK(store_open(&loop, s.local, &local));
    CHECK_OK(ask_err(&loop, local, hash_part_of(&s, early)));
    site_daemon_start(&s);
    /* Our connection keeps one child, and so the database, open. */
    CHECK_OK(store_open(&other, s.remote, &remote));
    CHECK_OK(ask_err(&other, remote, hash_part_of(&s, early)));
    snprintf(cmd, sizeof(cmd),
             "printf late >'%s/f2' && NIX_REMOTE=unix://%s/sock nix-store --add "
             "'%s/f2'",
             s.dir.path, s.dir.path, s.dir.path);
    site_output(&s, &out, "%s", cmd);
    snprintf(late, sizeof(late), "%s", (const char *)out.data);
    px_buf_deinit(&out);
    site_output(&s, &out, "stat -c %%s '%s/r/nix/var/nix/db/db.sqlite-wal'", s.dir.path);
    CHECK(strtol((const char *)out.data, NULL, 10) > 0);
    px_buf_deinit(&out);
    CHECK_OK(ask_err(&loop, local, hash_part_of(&s, late)));
    CHECK_OK(ask_err(&loop, local, hash_part_of(&s, early)));
    /* Unreadable -shm (its mode in some set-ups): an error, never a stale "not found". */
    store_close(&loop, local);
    if (geteuid() == 0) {
        fixture_sh("chmod 0600 '%s'/r/nix/var/nix/db/db.sqlite-shm", s.dir.path);
        CHECK(seteuid(65534) == 0);
        int err = store_open(&loop, s.local, &local);
        CHECK(seteuid(0) == 0);
        CHECK_ERR(err, PX_EPERM);
    }
    store_close(&other, remote);
    site_remove(&s);
}

/* use-sqlite-wal = false: a rollback journal, whose writers lock readers out. */
TEST(a_locked_database_is_waited_for_without_blocking)
{
    struct site s;
    uv_loop_t loop;
    struct px_store *store;
    struct px_store_query *q;
    struct answer a = {0};
    sqlite3 *writer;
    char path[512], db[400];
    site_make(&s, false);
    site_add(&s, path, sizeof(path), "x");
    snprintf(db, sizeof(db), "%s/r/nix/var/nix/db/db.sqlite", s.dir.path);
    CHECK_INT(sqlite3_open(db, &writer), SQLITE_OK);
    CHECK_INT(sqlite3_exec(writer, "pragma journal_mode = delete", NULL, NULL, NULL), SQLITE_OK);
    CHECK_OK(store_open(&loop, s.local, &store));
    CHECK_OK(ask_err(&loop, store, hash_part_of(&s, path)));
    CHECK_INT(sqlite3_exec(writer, "begin exclusive", NULL, NULL, NULL), SQLITE_OK);
    CHECK_OK(px_store_query(store, hash_part_of(&s, path), on_answer, &a, &q));
    for (int i = 0; i < 10; i++)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK_INT(a.calls, 0);
    CHECK_INT(sqlite3_exec(writer, "commit", NULL, NULL, NULL), SQLITE_OK);
    turn_until(&loop, &a.calls);
    CHECK_OK(a.err);
    px_path_info_free(a.info);
    /* For ever is too long. */
    CHECK_INT(sqlite3_exec(writer, "begin exclusive", NULL, NULL, NULL), SQLITE_OK);
    CHECK_ERR(ask_err(&loop, store, hash_part_of(&s, path)), PX_EBUSY);
    CHECK_INT(sqlite3_close(writer), SQLITE_OK);
    store_close(&loop, store);
    site_remove(&s);
}

/* ---- limits, cancelling, closing ---- */

static void no_answer(void *ctx, int err, struct px_path_info *owned_info)
{
    (void)ctx;
    (void)err;
    px_path_info_free(owned_info);
    px_test_fail(__FILE__, __LINE__, "called after it was cancelled");
}

static void check_limits(const char *uri, struct px_slice hash_part, bool remote)
{
    static struct px_store_query *queries[PX_STORE_QUERIES_MAX + 1];
    uv_loop_t loop;
    struct px_store *store;
    struct answer a = {0};
    CHECK_OK(store_open(&loop, uri, &store));
    for (int i = 0; i < PX_STORE_QUERIES_MAX; i++)
        CHECK_OK(px_store_query(store, hash_part, no_answer, NULL, &queries[i]));
    CHECK_ERR(px_store_query(store, hash_part, no_answer, NULL, &queries[0]), PX_EBUSY);
    for (int i = 0; i < PX_STORE_QUERIES_MAX; i++)
        px_store_query_cancel(queries[i]);
    uv_run(&loop, UV_RUN_NOWAIT);
    /* Cancelled while asked, too: the connection goes on. The database is never "asked". */
    CHECK_OK(px_store_query(store, hash_part, no_answer, NULL, &queries[0]));
    if (remote)
        uv_run(&loop, UV_RUN_NOWAIT);
    CHECK_OK(px_store_query(store, hash_part, on_answer, &a, &queries[1]));
    px_store_query_cancel(queries[0]);
    turn_until(&loop, &a.calls);
    CHECK_OK(a.err);
    px_path_info_free(a.info);
    store_close(&loop, store);
}

static void check_close_cancels(const char *uri, struct px_slice hash_part)
{
    struct answer a[20] = {0};
    struct px_store_query *q;
    uv_loop_t loop;
    struct px_store *store;
    CHECK_OK(store_open(&loop, uri, &store));
    for (size_t i = 0; i < PX_ARRAY_LEN(a); i++)
        CHECK_OK(px_store_query(store, hash_part, on_answer, &a[i], &q));
    store_close(&loop, store);
    for (size_t i = 0; i < PX_ARRAY_LEN(a); i++) {
        CHECK_INT(a[i].calls, 1);
        CHECK_ERR(a[i].err, PX_ECANCELED);
    }
}

static void count_ready(void *ctx)
{
    ++*(int *)ctx;
}

static void check_nar_limit(const char *uri, struct px_slice hash_part)
{
    struct px_nar *nars[PX_STORE_NARS_MAX + 1];
    struct px_path_info *info;
    uv_loop_t loop;
    struct px_store *store;
    int ready = 0;
    CHECK_OK(store_open(&loop, uri, &store));
    CHECK_OK(ask(&loop, store, hash_part, &info));
    CHECK_ERR(px_nar_open(store, info, info->nar_size + 1, count_ready, &ready, &nars[0]),
              PX_EINVAL);
    for (int i = 0; i < PX_STORE_NARS_MAX; i++)
        CHECK_OK(px_nar_open(store, info, 0, count_ready, &ready, &nars[i]));
    CHECK_ERR(px_nar_open(store, info, 0, count_ready, &ready, &nars[PX_STORE_NARS_MAX]), PX_EBUSY);
    uv_run(&loop, UV_RUN_NOWAIT);
    for (int i = 0; i < PX_STORE_NARS_MAX; i++)
        px_nar_close(nars[i]);
    px_path_info_free(info);
    store_close(&loop, store);
}

TEST(limits_cancelling_and_closing_hold_by_both_ways)
{
    struct site s;
    char path[512];
    site_make(&s, false);
    site_add(&s, path, sizeof(path), "x");
    struct px_slice hash_part = hash_part_of(&s, path);
    site_daemon_start(&s);
    const char *uris[] = {s.local, s.remote};
    for (size_t i = 0; i < PX_ARRAY_LEN(uris); i++) {
        check_limits(uris[i], hash_part, i == 1);
        check_close_cancels(uris[i], hash_part);
        check_nar_limit(uris[i], hash_part);
    }
    site_remove(&s);
}

TEST(a_path_that_vanished_is_an_error_of_its_nar)
{
    struct site s;
    uv_loop_t loop;
    struct px_store *store;
    struct px_path_info *info;
    struct nar t = {0};
    char path[512];
    site_make(&s, false);
    site_add(&s, path, sizeof(path), "x");
    CHECK_OK(store_open(&loop, s.local, &store));
    CHECK_OK(ask(&loop, store, hash_part_of(&s, path), &info));
    fixture_sh("rm -f '%s/r%s'", s.dir.path, path);
    CHECK_OK(px_nar_open(store, info, 0, nar_ready, &t, &t.n));
    nar_ready(&t);
    turn_until(&loop, &t.done);
    CHECK_ERR(t.err, PX_ENOENT);
    px_nar_close(t.n);
    px_path_info_free(info);
    store_close(&loop, store);
    site_remove(&s);
}

/* ---- the daemon ---- */

TEST(many_queries_at_once_are_all_answered)
{
    enum { N = 500 };
    static struct answer a[N];
    struct px_store_query *q;
    struct site s;
    uv_loop_t loop;
    struct px_store *store;
    char path[512];
    memset(a, 0, sizeof(a));
    site_make(&s, false);
    site_add(&s, path, sizeof(path), "x");
    site_daemon_start(&s);
    CHECK_OK(store_open(&loop, s.remote, &store));
    for (int i = 0; i < N; i++)
        CHECK_OK(px_store_query(store,
                                i % 2 != 0 ? hash_part_of(&s, path)
                                           : PX_SLICE_LIT("00000000000000000000000000000000"),
                                on_answer, &a[i], &q));
    for (int i = 0; i < N; i++) {
        turn_until(&loop, &a[i].calls);
        CHECK_ERR(a[i].err, i % 2 != 0 ? 0 : PX_ENOENT);
        px_path_info_free(a[i].info);
    }
    store_close(&loop, store);
    site_remove(&s);
}

TEST(a_daemon_that_goes_away_is_an_error_and_is_dialled_again)
{
    struct site s;
    uv_loop_t loop;
    struct px_store *store;
    char path[512];
    site_make(&s, false);
    site_add(&s, path, sizeof(path), "x");
    site_daemon_start(&s);
    CHECK_OK(store_open(&loop, s.remote, &store));
    CHECK_OK(ask_err(&loop, store, hash_part_of(&s, path)));
    site_daemon_stop(&s);
    CHECK_ERR(ask_err(&loop, store, hash_part_of(&s, path)), PX_ECLOSED);
    CHECK_ERR(ask_err(&loop, store, hash_part_of(&s, path)), PX_ECLOSED);
    site_daemon_start(&s);
    CHECK_OK(ask_err(&loop, store, hash_part_of(&s, path)));
    store_close(&loop, store);
    site_remove(&s);
}

TEST(a_path_is_a_temporary_root_while_its_nar_is_open)
{
    struct site s;
    uv_loop_t loop;
    struct px_store *store;
    struct px_path_info *info;
    struct px_nar *nar;
    struct px_nar_chunk *c;
    struct px_buf out;
    int ready = 0;
    char path[512];
    site_make(&s, false);
    site_add(&s, path, sizeof(path), "x");
    site_daemon_start(&s);
    CHECK_OK(store_open(&loop, s.remote, &store));
    CHECK_OK(ask(&loop, store, hash_part_of(&s, path), &info));
    CHECK_OK(px_nar_open(store, info, 0, count_ready, &ready, &nar));
    CHECK_ERR(px_nar_next(nar, &c), PX_EAGAIN);
    turn_until(&loop, &ready);
    site_output(&s, &out,
                "if nix-store --delete '%s' >/dev/null; then echo gone; else echo alive; fi", path);
    CHECK_STR((const char *)out.data, "alive");
    px_buf_deinit(&out);
    px_nar_close(nar);
    px_path_info_free(info);
    store_close(&loop, store);
    /* The daemon's child ends a moment after its connection. */
    site_output(&s, &out,
                "for i in $(seq 100); do nix-store --delete '%s' >/dev/null && echo gone && break; "
                "sleep 0.05; done",
                path);
    CHECK_STR((const char *)out.data, "gone");
    px_buf_deinit(&out);
    site_remove(&s);
}

/* ---- scripted daemons ---- */

/* Serves connections one after the other: greets, reads the request for a hash part, replies,
 * hangs up. Connections beyond the script are refused. */
struct script {
    struct {
        struct px_buf greeting, reply;
    } conns[3];
    size_t count;
    int listener;
    char path[300];
    uv_thread_t thread;
};

static bool read_exactly(int fd, size_t len)
{
    uint8_t sink[256];
    while (len > 0) {
        ssize_t n = read(fd, sink, PX_MIN(len, sizeof(sink)));
        if (n <= 0)
            return false;
        len -= (size_t)n;
    }
    return true;
}

static void send_all(int fd, const struct px_buf *b)
{
    ssize_t n = send(fd, b->data, b->len, MSG_NOSIGNAL);
    (void)n;
}

#define HELLO_SENT   16
#define OPTIONS_SENT 16
#define REQUEST_SENT (8 + 8 + PX_STORE_HASH_LEN)

static void script_run(void *arg)
{
    struct script *s = arg;
    for (size_t i = 0; i < s->count; i++) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            return;
        if (read_exactly(fd, HELLO_SENT))
            send_all(fd, &s->conns[i].greeting);
        if (s->conns[i].greeting.len > 16 && read_exactly(fd, OPTIONS_SENT + REQUEST_SENT))
            send_all(fd, &s->conns[i].reply);
        close(fd);
    }
}

static void put_words(struct px_buf *b, size_t count, const uint64_t *words)
{
    px_buf_init(b, 4096);
    for (size_t i = 0; i < count; i++)
        CHECK_OK(px_buf_put_le64(b, words[i]));
}

#define PUT(b, ...)                                                                                \
    put_words((b), sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (uint64_t[]){__VA_ARGS__})
#define HELLO(minor) 0x6478696f, 0x100 | (minor)
#define LAST         0x616c7473

static int script_open(struct script *s, struct fixture_dir *d, uv_loop_t *loop,
                       struct px_store **ret)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char uri[400];
    signal(SIGPIPE, SIG_IGN);
    fixture_dir_make(d);
    snprintf(s->path, sizeof(s->path), "%s/sock", d->path);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", s->path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(s->listener, (const struct sockaddr *)&sa, sizeof(sa)) == 0);
    CHECK(listen(s->listener, 8) == 0);
    CHECK(uv_thread_create(&s->thread, script_run, s) == 0);
    snprintf(uri, sizeof(uri), "unix://%s", s->path);
    return store_open(loop, uri, ret);
}

static void script_end(struct script *s, struct fixture_dir *d)
{
    shutdown(s->listener, SHUT_RDWR);
    uv_thread_join(&s->thread);
    close(s->listener);
    for (size_t i = 0; i < PX_ARRAY_LEN(s->conns); i++) {
        px_buf_deinit(&s->conns[i].greeting);
        px_buf_deinit(&s->conns[i].reply);
    }
    fixture_dir_remove(d);
}

static const struct px_slice any_hash = {(const uint8_t *)"00000000000000000000000000000000", 32};

TEST(daemons_that_are_too_old_or_none_are_refused_when_opening)
{
    const struct {
        int err;
        size_t count;
        uint64_t words[4];
    } cases[] = {
        {PX_EPROTO, 4, {HELLO(33), 0, LAST}},
        {PX_EPROTO, 2, {0x1234, 5}},
        {PX_EPERM, 0, {0}},
        {PX_EPERM, 2, {HELLO(34)}},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct fixture_dir d;
        struct script s = {.count = 1};
        uv_loop_t loop;
        struct px_store *store;
        put_words(&s.conns[0].greeting, cases[i].count, cases[i].words);
        CHECK_ERR(script_open(&s, &d, &loop, &store), cases[i].err);
        script_end(&s, &d);
    }
}

TEST(a_query_lost_with_its_connection_is_asked_once_more)
{
    for (size_t lost = 0; lost <= 2; lost++) {
        struct fixture_dir d;
        struct script s = {.count = 3};
        uv_loop_t loop;
        struct px_store *store;
        for (size_t i = 0; i < s.count; i++) {
            PUT(&s.conns[i].greeting, HELLO(34), 0, LAST);
            px_buf_init(&s.conns[i].reply, 64);
            if (i >= lost)
                PUT(&s.conns[i].reply, LAST, 0);
        }
        CHECK_OK(script_open(&s, &d, &loop, &store));
        CHECK(strstr(px_store_describe(store), "daemon 1.34") != NULL);
        CHECK_ERR(ask_err(&loop, store, any_hash), lost < 2 ? PX_ENOENT : PX_ECLOSED);
        store_close(&loop, store);
        script_end(&s, &d);
    }
}

static void put_path(struct px_buf *b, const char *path)
{
    PUT(b, LAST, strlen(path));
    CHECK_OK(px_buf_put_cstr(b, path));
    while (b->len % 8 != 0)
        CHECK_OK(px_buf_put_u8(b, 0));
}

TEST(a_daemon_that_answers_for_another_path_or_store_is_refused)
{
    static const char *const paths[] = {
        "/nix/store/11111111111111111111111111111111-other",
        "/foo/store/00000000000000000000000000000000-name",
        "00000000000000000000000000000000-name",
        "/nix/store/00000000000000000000000000000000-../../etc",
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(paths); i++) {
        struct fixture_dir d;
        struct script s = {.count = 2};
        uv_loop_t loop;
        struct px_store *store;
        for (size_t k = 0; k < s.count; k++) {
            PUT(&s.conns[k].greeting, HELLO(34), 0, LAST);
            put_path(&s.conns[k].reply, paths[i]);
        }
        CHECK_OK(script_open(&s, &d, &loop, &store));
        CHECK_ERR(ask_err(&loop, store, any_hash), PX_EPROTO);
        store_close(&loop, store);
        script_end(&s, &d);
    }
}
