/* NARs against nix-store --dump, byte by byte, and everything that must end one early. */
#include "node/nix/nar_source.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "node/nix/nar_walk.h"
#include "proto/nar.h"
#include "tests/unit/node/store_fixture.h"

/* ---- the walk, synchronously ---- */

struct sink {
    struct px_buf got;
    int chunks;
    void (*on_chunk)(struct sink *s);
    const char *path; /* for on_chunk */
    bool stop;
};

static int sink_emit(void *ctx, struct px_nar_chunk *owned)
{
    struct sink *s = ctx;
    CHECK(owned->data.len > 0 && owned->data.len <= PX_NAR_CHUNK);
    CHECK_OK(px_buf_put(&s->got, owned->data));
    px_nar_chunk_free(owned);
    s->chunks++;
    if (s->on_chunk != NULL)
        s->on_chunk(s);
    return 0;
}

static bool sink_stopped(void *ctx)
{
    const struct sink *s = ctx;
    return s->stop;
}

static const struct px_nar_walk_ops sink_ops = {.emit = sink_emit, .stopped = sink_stopped};

static int walk(const char *path, uint64_t size, uint64_t offset, struct sink *s)
{
    px_buf_clear(&s->got);
    s->got.max = FIXTURE_BYTES_MAX;
    s->chunks = 0;
    return px_nar_walk(path, size, offset, &sink_ops, s);
}

/* The walk's bytes from `offset` on are those of the reference. */
static void check_suffix(const char *path, struct px_slice want, uint64_t offset, struct sink *s)
{
    CHECK_OK(walk(path, want.len, offset, s));
    struct px_slice got = px_buf_slice(&s->got), rest = px_slice_skip(want, (size_t)offset);
    CHECK_INT(got.len, rest.len);
    CHECK(px_slice_eq(got, rest));
}

static void check_equal(const char *path)
{
    struct px_buf want;
    struct sink s = {0};
    fixture_dump(path, &want);
    check_suffix(path, px_buf_slice(&want), 0, &s);
    px_buf_deinit(&s.got);
    px_buf_deinit(&want);
}

static void make_corpus(const char *dir)
{
    char sub[512];
    static const char zeros[9] = {0};
    mkdir(dir, 0755);
    fixture_file(dir, "plain", "hello", 5, 0644);
    fixture_file(dir, "eight", "12345678", 8, 0444);
    fixture_file(dir, "nine", zeros, 9, 0400);
    fixture_file(dir, "run.sh", "#!/bin/sh\n", 10, 0755);
    fixture_file(dir, "owner-only-exec", "x", 1, 0700);
    fixture_file(dir, "group-exec", "x", 1, 0654);
    fixture_file(dir, "empty", "", 0, 0644);
    fixture_file(dir, "empty-exec", "", 0, 0755);
    fixture_file(dir, "with space", "a", 1, 0644);
    fixture_file(dir, "new\nline", "b", 1, 0644);
    fixture_file(dir, "-rf", "c", 1, 0644);
    fixture_file(dir, "\xff\xfe not utf-8 \x80", "d", 1, 0644);
    fixture_file(dir, "\xc3\xa9", "e", 1, 0644);
    fixture_file(dir, "case", "f", 1, 0644);
    fixture_file(dir, "Case~nix~case~hack~1", "g", 1, 0644);
    fixture_file(dir, "a.b", "h", 1, 0644);
    fixture_file(dir, "ab", "i", 1, 0644);
    fixture_file(dir, "...", "j", 1, 0644);
    snprintf(sub, sizeof(sub), "%s/empty-dir", dir);
    CHECK(mkdir(sub, 0755) == 0);
    snprintf(sub, sizeof(sub), "%s/a", dir);
    CHECK(mkdir(sub, 0755) == 0);
    fixture_file(sub, "inner", "k", 1, 0644);
}

static void make_links(const char *dir)
{
    char long_target[PX_NAR_TARGET_MAX + 1], at[512];
    memset(long_target, 't', sizeof(long_target) - 1);
    long_target[sizeof(long_target) - 1] = '\0';
    const char *targets[] = {"plain",         "/does/not/exist", "..",          "a/",
                             "with\nnewline", "\xff\xfe",        "/etc/passwd", long_target};
    for (size_t i = 0; i < PX_ARRAY_LEN(targets); i++) {
        snprintf(at, sizeof(at), "%s/link-%zu", dir, i);
        CHECK(symlink(targets[i], at) == 0);
    }
    snprintf(at, sizeof(at), "%s/self", dir);
    CHECK(symlink("self", at) == 0);
}

TEST(a_tree_of_everything_equals_nix_store_dump)
{
    fixture_require_nix();
    struct fixture_dir d;
    char tree[300];
    fixture_dir_make(&d);
    snprintf(tree, sizeof(tree), "%s/tree", d.path);
    make_corpus(tree);
    make_links(tree);
    check_equal(tree);
    fixture_dir_remove(&d);
}

TEST(roots_that_are_no_directory_equal_nix_store_dump)
{
    fixture_require_nix();
    struct fixture_dir d;
    char path[300];
    fixture_dir_make(&d);
    fixture_file(d.path, "file", "contents", 8, 0644);
    fixture_file(d.path, "exec", "contents!", 9, 0755);
    fixture_file(d.path, "empty", "", 0, 0644);
    fixture_sh("ln -s /nowhere %s/link; mkdir %s/dir", d.path, d.path);
    const char *names[] = {"file", "exec", "empty", "link", "dir"};
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", d.path, names[i]);
        check_equal(path);
    }
    fixture_dir_remove(&d);
}

TEST(every_offset_gives_the_suffix_of_the_whole)
{
    fixture_require_nix();
    struct fixture_dir d;
    struct px_buf want;
    struct sink s = {0};
    char tree[300];
    fixture_dir_make(&d);
    snprintf(tree, sizeof(tree), "%s/tree", d.path);
    make_corpus(tree);
    fixture_dump(tree, &want);
    for (uint64_t offset = 0; offset <= want.len; offset++)
        check_suffix(tree, px_buf_slice(&want), offset, &s);
    CHECK_ERR(walk(tree, want.len, want.len + 1, &s), PX_EINVAL);
    px_buf_deinit(&s.got);
    px_buf_deinit(&want);
    fixture_dir_remove(&d);
}

/* Files larger than a chunk and than the framing's own buffer, so that the way past whole files
 * is taken too. */
TEST(offsets_into_and_past_large_files_give_the_suffix)
{
    fixture_require_nix();
    struct fixture_dir d;
    struct px_buf want;
    struct sink s = {0};
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 7);
    fixture_dir_make(&d);
    fixture_sh("cd '%s' && mkdir t && for i in 1 2 3 4; do head -c $((i * 99991)) /dev/urandom "
               ">t/f$i; done && head -c 131072 /dev/zero >t/chunk",
               d.path);
    char tree[300];
    snprintf(tree, sizeof(tree), "%s/t", d.path);
    fixture_dump(tree, &want);
    for (int i = 0; i < 400; i++) {
        uint64_t offset;
        rng.fill(rng.ctx, &offset, sizeof(offset));
        check_suffix(tree, px_buf_slice(&want), offset % (want.len + 1), &s);
    }
    px_buf_deinit(&s.got);
    px_buf_deinit(&want);
    fixture_dir_remove(&d);
}

TEST(twenty_thousand_entries_equal_nix_store_dump)
{
    fixture_require_nix();
    struct fixture_dir d;
    char tree[300], name[64];
    fixture_dir_make(&d);
    snprintf(tree, sizeof(tree), "%s/tree", d.path);
    mkdir(tree, 0755);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "%d-entry-%x", i * 7919 % 20000, i);
        fixture_file(tree, name, name, strlen(name) * (size_t)(i % 3), i % 5 == 0 ? 0755 : 0644);
    }
    check_equal(tree);
    fixture_dir_remove(&d);
}

static void make_depth(const char *tree, int levels)
{
    fixture_sh("rm -rf '%s'; mkdir '%s' && cd '%s' && i=1; while [ $i -lt %d ]; do mkdir d && cd d "
               "|| exit 1; i=$((i + 1)); done; echo bottom >file",
               tree, tree, tree, levels);
}

TEST(depth_is_limited_as_newer_nix_limits_it)
{
    fixture_require_nix();
    struct fixture_dir d;
    struct px_buf want;
    struct sink s = {0};
    char tree[300];
    fixture_dir_make(&d);
    snprintf(tree, sizeof(tree), "%s/tree", d.path);
    make_depth(tree, PX_NAR_DEPTH_MAX - 1);
    check_equal(tree);
    make_depth(tree, PX_NAR_DEPTH_MAX);
    fixture_dump(tree, &want);
    CHECK_ERR(walk(tree, want.len, 0, &s), PX_ELIMIT);
    px_buf_deinit(&s.got);
    px_buf_deinit(&want);
    fixture_dir_remove(&d);
}

TEST(names_of_one_directory_have_a_size_and_each_directory_its_own)
{
    struct fixture_dir d;
    char tree[300], other[310];
    fixture_dir_make(&d);
    snprintf(tree, sizeof(tree), "%s/tree", d.path);
    snprintf(other, sizeof(other), "%s/other", tree);
    CHECK(mkdir(tree, 0755) == 0 && mkdir(other, 0755) == 0);
    for (int i = 0; i < 10; i++) {
        const char name[] = {'n', 'a', 'm', 'e', '-', (char)('0' + i), '\0'};
        fixture_file(tree, name, "", 0, 0644);
        fixture_file(other, name, "", 0, 0644);
    }
    /* 8 bytes of each name, 7 of "other" */
    const size_t size = 10 * sizeof("xname-0") + sizeof("xother");
    for (size_t max = size - 1; max <= size; max++) {
        const struct px_nar_walk_ops ops = {sink_emit, sink_stopped, max};
        struct sink s = {0};
        s.got.max = FIXTURE_BYTES_MAX;
        /* the size is wrong: seen when all of it was walked */
        CHECK_ERR(px_nar_walk(tree, 1u << 20, 0, &ops, &s), max < size ? PX_ELIMIT : PX_EPROTO);
        px_buf_deinit(&s.got);
    }
    CHECK_INT(PX_NAR_DIR_MAX, 64 << 20); /* a quarter of a million long names */
    fixture_dir_remove(&d);
}

TEST(a_tree_that_does_not_add_up_is_refused_and_never_exceeds_its_size)
{
    struct fixture_dir d;
    struct sink s = {0};
    char tree[300];
    fixture_dir_make(&d);
    snprintf(tree, sizeof(tree), "%s/tree", d.path);
    make_corpus(tree);
    for (uint64_t size = 1; size < 4000; size += 37) {
        CHECK_ERR(walk(tree, size, 0, &s), PX_EPROTO);
        CHECK(s.got.len <= size);
    }
    CHECK_ERR(walk(tree, 1u << 20, 0, &s), PX_EPROTO);
    px_buf_deinit(&s.got);
    fixture_dir_remove(&d);
}

static void shrink(struct sink *s)
{
    CHECK(truncate(s->path, PX_NAR_CHUNK * 2) == 0);
}

static void grow(struct sink *s)
{
    CHECK(truncate(s->path, PX_NAR_CHUNK * 9) == 0);
}

static void vanish(struct sink *s)
{
    CHECK(unlink(s->path) == 0 || errno == ENOENT);
}

static void become_link(struct sink *s)
{
    vanish(s);
    CHECK(symlink("/etc/passwd", s->path) == 0 || errno == EEXIST);
}

static void become_dir(struct sink *s)
{
    CHECK(unlink(s->path) == 0 || errno == EISDIR);
    CHECK(mkdir(s->path, 0755) == 0 || errno == EEXIST);
}

TEST(a_tree_that_changes_while_it_is_read_is_refused)
{
    const struct {
        void (*change)(struct sink *s);
        const char *file;
        int err;
    } cases[] = {
        {shrink, "a-big", PX_EPROTO},      {grow, "a-big", PX_EPROTO},
        {vanish, "b-late", PX_ENOENT},     {become_link, "b-late", PX_EPROTO},
        {become_dir, "b-late", PX_EPROTO},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct fixture_dir d;
        char path[600];
        struct sink s = {.on_chunk = cases[i].change, .path = path};
        fixture_dir_make(&d);
        fixture_file(d.path, "a-big", "", 0, 0644);
        fixture_file(d.path, "b-late", "late", 4, 0644);
        fixture_sh("truncate -s %u '%s/a-big'", PX_NAR_CHUNK * 5, d.path);
        snprintf(path, sizeof(path), "%s/%s", d.path, cases[i].file);
        CHECK_ERR(walk(d.path, PX_NAR_CHUNK * 20, 0, &s), cases[i].err);
        px_buf_deinit(&s.got);
        fixture_dir_remove(&d);
    }
}

TEST(what_a_nar_cannot_hold_is_refused_without_being_opened)
{
    struct fixture_dir d;
    struct sink s = {0};
    char path[300];
    fixture_dir_make(&d);
    snprintf(path, sizeof(path), "%s/x", d.path);

    CHECK(mkfifo(path, 0600) == 0);
    CHECK_ERR(walk(d.path, 4096, 0, &s), PX_EPROTO);
    CHECK_ERR(walk(path, 4096, 0, &s), PX_EPROTO);
    CHECK(unlink(path) == 0);

    int sock = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", path);
    CHECK(bind(sock, (const struct sockaddr *)&sa, sizeof(sa)) == 0);
    close(sock);
    CHECK_ERR(walk(d.path, 4096, 0, &s), PX_EPROTO);
    CHECK(unlink(path) == 0);

    if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) == 0)
        CHECK_ERR(walk(d.path, 4096, 0, &s), PX_EPROTO);
    CHECK_ERR(walk("/nonexistent/path", 4096, 0, &s), PX_ENOENT);
    px_buf_deinit(&s.got);
    fixture_dir_remove(&d);
}

TEST(an_unreadable_file_or_directory_is_an_error)
{
    struct fixture_dir d;
    struct sink s = {0};
    char sub[300];
    fixture_dir_make(&d);
    CHECK(chmod(d.path, 0755) == 0);
    fixture_file(d.path, "secret", "x", 1, 0000);
    bool root = geteuid() == 0;
    if (root)
        CHECK(seteuid(65534) == 0);
    int file_err = walk(d.path, 4096, 0, &s);
    if (root)
        CHECK(seteuid(0) == 0);
    CHECK_ERR(file_err, PX_EPERM);
    fixture_sh("rm -f '%s/secret'", d.path);
    snprintf(sub, sizeof(sub), "%s/sub", d.path);
    CHECK(mkdir(sub, 0000) == 0);
    if (root)
        CHECK(seteuid(65534) == 0);
    int dir_err = walk(d.path, 4096, 0, &s);
    if (root)
        CHECK(seteuid(0) == 0);
    CHECK_ERR(dir_err, PX_EPERM);
    CHECK(chmod(sub, 0700) == 0);
    px_buf_deinit(&s.got);
    fixture_dir_remove(&d);
}

/* ---- the thread and its queue ---- */

struct stream {
    uv_loop_t loop;
    struct px_nar_source *src;
    FILE *want; /* compared with, or NULL */
    uint64_t got, close_at;
    size_t max_queued;
    int err;
    int ready_calls;
    bool ended, gone;
};

static void check_chunk(struct stream *t, const struct px_nar_chunk *c)
{
    static uint8_t buf[PX_NAR_CHUNK];
    if (t->want == NULL)
        return;
    CHECK(fread(buf, 1, c->data.len, t->want) == c->data.len);
    CHECK(memcmp(buf, c->data.data, c->data.len) == 0);
}

static void drain(struct stream *t)
{
    struct px_nar_chunk *c = NULL;
    while (t->src != NULL && (t->err = px_nar_source_next(t->src, &c)) == 0 && c != NULL) {
        t->max_queued = PX_MAX(t->max_queued, px_nar_source_queued(t->src) + c->data.len);
        check_chunk(t, c);
        t->got += c->data.len;
        px_nar_chunk_free(c);
        if (t->close_at != 0 && t->got >= t->close_at) {
            px_nar_source_close(t->src);
            t->src = NULL;
        }
    }
    if (t->src == NULL || t->err == PX_EAGAIN)
        return;
    t->ended = true;
    /* The end, good or bad, lasts. */
    CHECK_ERR(px_nar_source_next(t->src, &c), t->err);
    px_nar_source_close(t->src);
    t->src = NULL;
}

static void on_ready(void *ctx)
{
    struct stream *t = ctx;
    CHECK(t->src != NULL);
    t->ready_calls++;
    drain(t);
}

static void on_gone(void *ctx)
{
    struct stream *t = ctx;
    CHECK(!t->gone);
    t->gone = true;
}

static void stream_run(struct stream *t, const char *path, uint64_t size, uint64_t offset)
{
    CHECK(uv_loop_init(&t->loop) == 0);
    const struct px_nar_source_events events = {on_ready, t, on_gone, t};
    CHECK_OK(px_nar_source_start(&t->loop, path, size, offset, &events, &t->src));
    drain(t);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    CHECK(t->gone);
    CHECK(uv_loop_close(&t->loop) == 0);
}

/* A NAR of one file of that size: magic, "(", type, regular, contents, length, padding, ")". */
static uint64_t file_nar_size(uint64_t size)
{
    struct px_buf b;
    px_buf_init(&b, 1024);
    px_nar_put_magic(&b);
    px_nar_put_regular_head(&b, false, size);
    px_nar_put_regular_tail(&b, size);
    uint64_t n = b.len + size;
    px_buf_deinit(&b);
    return n;
}

static void check_sparse(uint64_t size)
{
    struct fixture_dir d;
    struct stream t = {0};
    char path[300], cmd[400];
    fixture_dir_make(&d);
    snprintf(path, sizeof(path), "%s/sparse", d.path);
    fixture_file(d.path, "sparse", "head", 4, 0644);
    CHECK(truncate(path, (off_t)size) == 0);
    snprintf(cmd, sizeof(cmd), "nix-store --dump '%s'", path);
    t.want = popen(cmd, "r");
    CHECK(t.want != NULL);
    stream_run(&t, path, file_nar_size(size), 0);
    CHECK_ERR(t.err, 0);
    CHECK(t.ended);
    CHECK_INT(t.got, file_nar_size(size));
    CHECK_INT(fgetc(t.want), EOF);
    CHECK_INT(pclose(t.want), 0);
    CHECK(t.max_queued <= PX_NAR_READ_AHEAD);
    fixture_dir_remove(&d);
}

TEST(a_large_sparse_file_streams_equal_within_the_read_ahead)
{
    fixture_require_nix();
    check_sparse(300u << 20);
}

TEST(a_sparse_file_of_ten_gigabytes_streams_equal)
{
    if (getenv("PX_TEST_BIG") == NULL)
        px_test_skip("set PX_TEST_BIG=1 to stream 10 GB");
    fixture_require_nix();
    check_sparse((uint64_t)10 << 30);
}

TEST(closing_early_ends_the_thread_wherever_it_is)
{
    struct fixture_dir d;
    char path[300];
    fixture_dir_make(&d);
    fixture_file(d.path, "f", "", 0, 0644);
    snprintf(path, sizeof(path), "%s/f", d.path);
    CHECK(truncate(path, 64 << 20) == 0);
    for (uint64_t at = 1; at < (8u << 20); at = at * 3 + 1) {
        struct stream t = {.close_at = at};
        stream_run(&t, path, file_nar_size(64 << 20), 0);
        CHECK(!t.ended);
        CHECK(t.got >= at);
    }
    fixture_dir_remove(&d);
}

TEST(closing_before_anything_was_taken_works)
{
    struct fixture_dir d;
    fixture_dir_make(&d);
    for (int i = 0; i < 50; i++) {
        struct stream t = {0};
        const struct px_nar_source_events events = {on_ready, &t, on_gone, &t};
        CHECK(uv_loop_init(&t.loop) == 0);
        CHECK_OK(px_nar_source_start(&t.loop, d.path, 1 << 20, 0, &events, &t.src));
        px_nar_source_close(t.src);
        uv_run(&t.loop, UV_RUN_DEFAULT);
        CHECK(t.gone);
        CHECK_INT(t.ready_calls, 0);
        CHECK(uv_loop_close(&t.loop) == 0);
    }
    fixture_dir_remove(&d);
}

TEST(errors_of_the_walk_last_until_the_close)
{
    struct stream missing = {0}, wrong = {0};
    stream_run(&missing, "/nonexistent/path", 100, 0);
    CHECK_ERR(missing.err, PX_ENOENT);
    stream_run(&wrong, "/dev/null", 100, 0);
    CHECK_ERR(wrong.err, PX_EPROTO);
}
