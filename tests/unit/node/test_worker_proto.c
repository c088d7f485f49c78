/* A scripted daemon of each version, cut into pieces of every size, and daemons that misbehave. */
#include "node/nix/worker_proto.h"

#include "node/nix/store_backend.h"
#include "tests/test.h"

#define MAGIC_DAEMON 0x6478696f
#define LAST         0x616c7473
#define NEXT         0x6f6c6d67
#define ERROR        0x63787470
#define START        0x53545254
#define STOP         0x53544f50
#define RESULT       0x52534c54
#define READ         0x64617461
#define WRITE        0x64617416
#define HASH         "0123456789abcdfghijklmnpqrsvwxyz"
#define PATH         "/nix/store/" HASH "-name"
#define REF          "/nix/store/1123456789abcdfghijklmnpqrsvwxyz-ref"
#define DRV          "/nix/store/2123456789abcdfghijklmnpqrsvwxyz-name.drv"
#define NAR_HEX      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* ---- writing as a daemon ---- */

static void u64(struct px_buf *b, uint64_t v)
{
    CHECK_OK(px_buf_put_le64(b, v));
}

static void str(struct px_buf *b, const char *s)
{
    u64(b, strlen(s));
    CHECK_OK(px_buf_put_cstr(b, s));
    while (b->len % 8 != 0)
        CHECK_OK(px_buf_put_u8(b, 0));
}

static void greeting(struct px_buf *b, unsigned minor)
{
    u64(b, MAGIC_DAEMON);
    u64(b, 0x100 | minor);
    if (minor >= 38) {
        u64(b, 2);
        str(b, "realisation-with-path-not-hash");
        str(b, "some-feature-of-tomorrow");
    }
    str(b, "2.99.1");
    if (minor >= 35)
        u64(b, PX_WORKER_NOT_TRUSTED);
    u64(b, LAST);
}

/* Everything a daemon may say before a reply. */
static void chatter(struct px_buf *b)
{
    u64(b, START);
    u64(b, 7), u64(b, 3), u64(b, 101);
    str(b, "copying");
    u64(b, 2), u64(b, 0), u64(b, 42), u64(b, 1), str(b, "field");
    u64(b, 0);
    u64(b, RESULT);
    u64(b, 7), u64(b, 105), u64(b, 1), u64(b, 0), u64(b, 1);
    u64(b, NEXT);
    str(b, "warning: hello\n");
    u64(b, STOP);
    u64(b, 7);
}

static void info_reply(struct px_buf *b)
{
    u64(b, LAST);
    u64(b, 1);
    str(b, DRV);
    str(b, NAR_HEX);
    u64(b, 2), str(b, REF), str(b, PATH);
    u64(b, 1700000000);
    u64(b, 4096);
    u64(b, 1);
    u64(b, 2), str(b, "key-1:c2ln"), str(b, "not a signature");
    str(b, "fixed:r:sha256:0000");
}

static void error_reply(struct px_buf *b, const char *message)
{
    u64(b, ERROR);
    str(b, "Error");
    u64(b, 0);
    str(b, "Error");
    str(b, message);
    u64(b, 0);
    u64(b, 1), u64(b, 0), str(b, "while doing something");
}

/* ---- the client under test ---- */

/* Feeds `in`, `step` bytes at a time, until an event other than a log message. */
static int run(struct px_worker *w, struct px_slice *in, size_t step, struct px_worker_event *ev)
{
    for (;;) {
        int err = px_worker_next(w, ev);
        if (err == 0 && ev->kind == PX_WORKER_LOG) {
            CHECK_SLICE(ev->text, PX_SLICE_LIT("warning: hello\n"));
            continue;
        }
        if (err != PX_EAGAIN || in->len == 0)
            return err;
        err = px_worker_feed(w, px_slice_take(*in, step));
        if (err != 0)
            return err;
        *in = px_slice_skip(*in, step);
    }
}

static void check_sent(struct px_worker *w, const struct px_buf *want)
{
    struct px_buf sent;
    px_buf_init(&sent, 0);
    px_worker_take_output(w, &sent);
    CHECK_SLICE(px_buf_slice(&sent), px_buf_slice(want));
    px_buf_deinit(&sent);
}

static void check_greeting_sent(struct px_worker *w, unsigned minor)
{
    struct px_buf want;
    px_buf_init(&want, 1024);
    u64(&want, 0x6e697863);
    u64(&want, 0x126);
    if (minor >= 38)
        u64(&want, 0);
    u64(&want, 0);
    u64(&want, 0);
    check_sent(w, &want);
    px_buf_deinit(&want);
}

static void check_request_sent(struct px_worker *w, uint64_t op, const char *arg)
{
    struct px_buf want;
    px_buf_init(&want, 1024);
    u64(&want, op);
    str(&want, arg);
    check_sent(w, &want);
    px_buf_deinit(&want);
}

static void check_info(const struct px_path_info *p)
{
    CHECK(p != NULL);
    CHECK_SLICE(p->store_path, PX_SLICE_LIT(PATH));
    CHECK_SLICE(p->deriver, px_slice_skip(PX_SLICE_LIT(DRV), 11));
    CHECK_INT(p->ref_count, 2);
    CHECK_SLICE(p->refs[0], px_slice_skip(PX_SLICE_LIT(PATH), 11));
    CHECK_SLICE(p->refs[1], px_slice_skip(PX_SLICE_LIT(REF), 11));
    CHECK_INT(p->nar_size, 4096);
    CHECK(p->ultimate);
    CHECK_INT(p->sig_count, 1);
    CHECK_SLICE(p->sigs[0], PX_SLICE_LIT("key-1:c2ln"));
    CHECK_SLICE(p->ca, PX_SLICE_LIT("fixed:r:sha256:0000"));
    for (unsigned i = 0; i < sizeof(p->nar_hash); i++)
        CHECK_INT(p->nar_hash[i], i);
}

static void converse(unsigned minor, size_t step)
{
    struct px_worker w;
    struct px_worker_event ev;
    struct px_buf script;
    px_buf_init(&script, 1 << 20);
    greeting(&script, minor);
    CHECK_OK(px_worker_init(&w, "/nix/store"));
    CHECK_ERR(px_worker_request(&w, PX_WORKER_QUERY_PATH_INFO, PX_SLICE_LIT(PATH)), PX_ESTATE);
    struct px_slice in = px_buf_slice(&script);
    CHECK_OK(run(&w, &in, step, &ev));
    CHECK_INT(ev.kind, PX_WORKER_READY);
    CHECK_INT(w.minor, PX_MIN(minor, 38u));
    CHECK_STR(w.nix_version, "2.99.1");
    CHECK_INT(w.trust, minor >= 35 ? PX_WORKER_NOT_TRUSTED : PX_WORKER_TRUST_UNKNOWN);
    check_greeting_sent(&w, minor);

    px_buf_clear(&script);
    chatter(&script);
    u64(&script, LAST);
    str(&script, PATH);
    in = px_buf_slice(&script);
    CHECK_OK(px_worker_request(&w, PX_WORKER_QUERY_PATH_FROM_HASH_PART, PX_SLICE_LIT(HASH)));
    CHECK_ERR(px_worker_request(&w, PX_WORKER_ADD_TEMP_ROOT, PX_SLICE_LIT(PATH)), PX_ESTATE);
    check_request_sent(&w, 29, HASH);
    CHECK_OK(run(&w, &in, step, &ev));
    CHECK_INT(ev.kind, PX_WORKER_PATH);
    CHECK_SLICE(ev.text, PX_SLICE_LIT(PATH));

    px_buf_clear(&script);
    chatter(&script);
    info_reply(&script);
    in = px_buf_slice(&script);
    CHECK_OK(px_worker_request(&w, PX_WORKER_QUERY_PATH_INFO, PX_SLICE_LIT(PATH)));
    check_request_sent(&w, 26, PATH);
    CHECK_OK(run(&w, &in, step, &ev));
    CHECK_INT(ev.kind, PX_WORKER_INFO);
    check_info(ev.owned_info);
    px_path_info_free(ev.owned_info);

    px_buf_clear(&script);
    error_reply(&script, "path is not valid");
    in = px_buf_slice(&script);
    CHECK_OK(px_worker_request(&w, PX_WORKER_QUERY_PATH_INFO, PX_SLICE_LIT(PATH)));
    check_request_sent(&w, 26, PATH);
    CHECK_OK(run(&w, &in, step, &ev));
    CHECK_INT(ev.kind, PX_WORKER_REFUSED);
    CHECK_SLICE(ev.text, PX_SLICE_LIT("path is not valid"));

    px_buf_clear(&script);
    u64(&script, LAST);
    u64(&script, 1);
    in = px_buf_slice(&script);
    CHECK_OK(px_worker_request(&w, PX_WORKER_ADD_TEMP_ROOT, PX_SLICE_LIT(PATH)));
    check_request_sent(&w, 11, PATH);
    CHECK_OK(run(&w, &in, step, &ev));
    CHECK_INT(ev.kind, PX_WORKER_ROOTED);
    CHECK_ERR(run(&w, &in, step, &ev), PX_EAGAIN);
    px_worker_deinit(&w);
    px_buf_deinit(&script);
}

TEST(every_version_is_spoken_in_pieces_of_every_size)
{
    static const size_t steps[] = {1, 2, 3, 7, 8, 9, 64, 1 << 20};
    for (unsigned minor = 34; minor <= 40; minor++)
        for (size_t i = 0; i < PX_ARRAY_LEN(steps); i++)
            converse(minor, steps[i]);
}

/* The whole of what nix-daemon 2.8.0 (1.34) said to a greeting, QueryPathFromHashPart and
 * QueryPathInfo, as recorded from the real program. */
TEST(bytes_recorded_from_a_real_daemon_are_understood)
{
#include "tests/unit/node/worker_recording.inc"
    struct px_worker w;
    struct px_worker_event ev;
    CHECK_OK(px_worker_init(&w, "/nix/store"));
    struct px_slice in = px_slice(recorded_greeting, sizeof(recorded_greeting));
    CHECK_OK(run(&w, &in, 5, &ev));
    CHECK_INT(ev.kind, PX_WORKER_READY);
    CHECK_INT(w.minor, 34);
    CHECK_STR(w.nix_version, "2.8.0");
    in = px_slice(recorded_path, sizeof(recorded_path));
    CHECK_OK(px_worker_request(&w, PX_WORKER_QUERY_PATH_FROM_HASH_PART,
                               px_slice_cstr(recorded_hash_part)));
    CHECK_OK(run(&w, &in, 5, &ev));
    CHECK_SLICE(ev.text, px_slice_cstr(recorded_store_path));
    in = px_slice(recorded_info, sizeof(recorded_info));
    CHECK_OK(px_worker_request(&w, PX_WORKER_QUERY_PATH_INFO, px_slice_cstr(recorded_store_path)));
    CHECK_OK(run(&w, &in, 5, &ev));
    CHECK_INT(ev.kind, PX_WORKER_INFO);
    CHECK_INT(ev.owned_info->nar_size, recorded_nar_size);
    CHECK_INT(ev.owned_info->ref_count, 1);
    CHECK_INT(in.len, 0);
    px_path_info_free(ev.owned_info);
    px_worker_deinit(&w);
}

/* ---- paths that cannot be served ---- */

static void start(struct px_worker *w, enum px_worker_op op)
{
    struct px_worker_event ev;
    struct px_buf b;
    px_buf_init(&b, 4096);
    greeting(&b, 34);
    CHECK_OK(px_worker_init(w, "/nix/store"));
    struct px_slice in = px_buf_slice(&b);
    CHECK_OK(run(w, &in, 4096, &ev));
    CHECK_OK(px_worker_request(w, op,
                               op == PX_WORKER_QUERY_PATH_FROM_HASH_PART ? PX_SLICE_LIT(HASH)
                                                                         : PX_SLICE_LIT(PATH)));
    px_buf_deinit(&b);
}

static void check_bad_info(const char *hash, uint64_t size, const char *ref, int want)
{
    struct px_worker w;
    struct px_worker_event ev;
    struct px_buf b;
    px_buf_init(&b, 4096);
    u64(&b, LAST), u64(&b, 1);
    str(&b, "");
    str(&b, hash);
    u64(&b, 1), str(&b, ref);
    u64(&b, 0), u64(&b, size), u64(&b, 0), u64(&b, 0);
    str(&b, "");
    struct px_slice in = px_buf_slice(&b);
    start(&w, PX_WORKER_QUERY_PATH_INFO);
    CHECK_OK(run(&w, &in, 4096, &ev));
    CHECK_INT(ev.kind, PX_WORKER_INFO);
    CHECK_ERR(ev.info_err, want);
    CHECK((ev.owned_info == NULL) == (want != 0));
    px_path_info_free(ev.owned_info);
    /* The connection is none the worse for it. */
    CHECK_OK(px_worker_request(&w, PX_WORKER_ADD_TEMP_ROOT, PX_SLICE_LIT(PATH)));
    px_worker_deinit(&w);
    px_buf_deinit(&b);
}

TEST(an_info_that_makes_no_sense_is_an_error_of_that_path_alone)
{
    check_bad_info(NAR_HEX, 1, REF, 0);
    check_bad_info("sha256:" NAR_HEX, 1, REF, 0);
    check_bad_info(NAR_HEX, 0, REF, PX_ENOENT);
    check_bad_info("", 1, REF, PX_EPROTO);
    check_bad_info("0001", 1, REF, PX_EPROTO);
    check_bad_info(NAR_HEX "00", 1, REF, PX_EPROTO);
    check_bad_info(NAR_HEX, 1, "/other/store/1123456789abcdfghijklmnpqrsvwxyz-ref", PX_EPROTO);
    check_bad_info(NAR_HEX, 1, "1123456789abcdfghijklmnpqrsvwxyz-ref", PX_EPROTO);
}

TEST(a_path_that_is_not_valid_is_not_found)
{
    struct px_worker w;
    struct px_worker_event ev;
    struct px_buf b;
    px_buf_init(&b, 4096);
    u64(&b, LAST), u64(&b, 0);
    struct px_slice in = px_buf_slice(&b);
    start(&w, PX_WORKER_QUERY_PATH_INFO);
    CHECK_OK(run(&w, &in, 4096, &ev));
    CHECK_INT(ev.kind, PX_WORKER_INFO);
    CHECK_ERR(ev.info_err, PX_ENOENT);
    px_worker_deinit(&w);

    px_buf_clear(&b);
    u64(&b, LAST), str(&b, "");
    in = px_buf_slice(&b);
    start(&w, PX_WORKER_QUERY_PATH_FROM_HASH_PART);
    CHECK_OK(run(&w, &in, 4096, &ev));
    CHECK_INT(ev.kind, PX_WORKER_PATH);
    CHECK_INT(ev.text.len, 0);
    px_worker_deinit(&w);
    px_buf_deinit(&b);
}

/* ---- daemons that misbehave ---- */

/* Runs the words as the whole of what a daemon says, from the greeting on or to a request. */
static void check_words(bool greet, int want, size_t count, const uint64_t *words)
{
    struct px_worker w;
    struct px_worker_event ev;
    struct px_buf b;
    px_buf_init(&b, 4096);
    for (size_t i = 0; i < count; i++)
        u64(&b, words[i]);
    struct px_slice in = px_buf_slice(&b);
    if (greet)
        CHECK_OK(px_worker_init(&w, "/nix/store"));
    else
        start(&w, PX_WORKER_QUERY_PATH_INFO);
    CHECK_ERR(run(&w, &in, 8, &ev), want);
    if (want != PX_EAGAIN) {
        /* Lasting. */
        CHECK_ERR(px_worker_next(&w, &ev), want);
        CHECK_ERR(px_worker_feed(&w, PX_SLICE_LIT("x")), want);
        CHECK_ERR(px_worker_request(&w, PX_WORKER_ADD_TEMP_ROOT, PX_SLICE_LIT(PATH)), PX_ESTATE);
    }
    px_worker_deinit(&w);
    px_buf_deinit(&b);
}

#define WORDS(greet, want, ...)                                                                    \
    check_words((greet), (want), sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),             \
                (uint64_t[]){__VA_ARGS__})

TEST(what_is_no_daemon_or_too_old_a_one_is_refused)
{
    WORDS(true, PX_EPROTO, 0x6478696e);
    WORDS(true, PX_EPROTO, UINT64_C(0x1006478696f));
    WORDS(true, PX_EPROTO, MAGIC_DAEMON, 0x121);
    WORDS(true, PX_EPROTO, MAGIC_DAEMON, 0x10a);
    WORDS(true, PX_EPROTO, MAGIC_DAEMON, 0x226);
    WORDS(true, PX_EPROTO, MAGIC_DAEMON, UINT64_C(0x10000000122));
    WORDS(true, PX_EAGAIN, MAGIC_DAEMON, 0x122);
    WORDS(true, PX_ELIMIT, MAGIC_DAEMON, 0x126, 1025);
    WORDS(true, PX_EPROTO, MAGIC_DAEMON, 0x123, 0, 3);
    WORDS(true, PX_EPROTO, MAGIC_DAEMON, 0x122, 0, 12345);
}

TEST(a_daemon_that_refuses_at_start_is_told_apart)
{
    struct px_worker w;
    struct px_worker_event ev;
    struct px_buf b;
    px_buf_init(&b, 4096);
    greeting(&b, 34);
    b.len -= 8;
    error_reply(&b, "no");
    struct px_slice in = px_buf_slice(&b);
    CHECK_OK(px_worker_init(&w, "/nix/store"));
    CHECK_ERR(run(&w, &in, 8, &ev), PX_EPERM);
    px_worker_deinit(&w);
    px_buf_deinit(&b);
}

TEST(malformed_or_boundless_messages_are_refused_at_once)
{
    WORDS(false, PX_EPROTO, 1);
    WORDS(false, PX_EPROTO, READ, 10);
    WORDS(false, PX_EPROTO, WRITE, 0);
    WORDS(false, PX_ELIMIT, NEXT, PX_WORKER_STRING_MAX + 1);
    WORDS(false, PX_ELIMIT, NEXT, UINT64_MAX);
    WORDS(false, PX_EPROTO, NEXT, 1, 0x0101);
    WORDS(false, PX_ELIMIT, RESULT, 1, 1, UINT64_MAX);
    WORDS(false, PX_EPROTO, RESULT, 1, 1, 1, 2);
    WORDS(false, PX_ELIMIT, START, 1, 1, 1, 0, PX_WORKER_FIELDS_MAX + 1);
    WORDS(false, PX_EPROTO, ERROR, 0, 0, 0, 0, 0, 0);
    WORDS(false, PX_EPROTO, LAST, 2);
    WORDS(false, PX_ELIMIT, LAST, 1, 0, 0, UINT64_MAX);
    WORDS(false, PX_ELIMIT, LAST, 1, 0, 0, 0, 0, 1, 0, PX_WORKER_REFS_MAX + 1);
    WORDS(false, PX_EAGAIN, LAST, 1, 0, 0, 0, 0, 1, 0, 0);
}

TEST(a_message_longer_than_the_limit_is_refused)
{
    struct px_worker w;
    struct px_worker_event ev;
    static uint8_t piece[1 << 20];
    uint64_t size = 0;
    struct px_buf b;
    int err = 0;
    px_buf_init(&b, 4096);
    u64(&b, LAST), u64(&b, 1), str(&b, ""), str(&b, NAR_HEX), u64(&b, PX_WORKER_REFS_MAX);
    start(&w, PX_WORKER_QUERY_PATH_INFO);
    CHECK_OK(px_worker_feed(&w, px_buf_slice(&b)));
    CHECK_ERR(px_worker_next(&w, &ev), PX_EAGAIN);
    /* Strings of 1 MiB less their length word, each within its limit. */
    struct px_buf head;
    px_buf_init(&head, 64);
    u64(&head, sizeof(piece));
    while (err == 0 && size < 2 * PX_WORKER_MESSAGE_MAX) {
        err = px_worker_feed(&w, px_buf_slice(&head));
        if (err == 0)
            err = px_worker_feed(&w, px_slice(piece, sizeof(piece)));
        if (err == 0 && (err = px_worker_next(&w, &ev)) == PX_EAGAIN)
            err = 0;
        size += sizeof(piece);
    }
    CHECK_ERR(err, PX_ELIMIT);
    CHECK(w.in.cap <= PX_WORKER_MESSAGE_MAX);
    px_buf_deinit(&head);
    px_buf_deinit(&b);
    px_worker_deinit(&w);
}

TEST(a_reply_nobody_asked_for_is_refused)
{
    struct px_worker w;
    struct px_worker_event ev;
    struct px_buf b;
    px_buf_init(&b, 4096);
    greeting(&b, 36);
    u64(&b, LAST);
    struct px_slice in = px_buf_slice(&b);
    CHECK_OK(px_worker_init(&w, "/nix/store"));
    CHECK_OK(run(&w, &in, 8, &ev));
    CHECK_ERR(run(&w, &in, 8, &ev), PX_EPROTO);
    px_worker_deinit(&w);
    px_buf_deinit(&b);
}

TEST(an_endless_argument_is_refused_before_it_is_sent)
{
    struct px_worker w;
    struct px_worker_event ev;
    struct px_buf b;
    char huge[PX_STORE_PATH_MAX + 1];
    px_buf_init(&b, 4096);
    greeting(&b, 34);
    struct px_slice in = px_buf_slice(&b);
    CHECK_OK(px_worker_init(&w, "/nix/store"));
    CHECK_OK(run(&w, &in, 4096, &ev));
    memset(huge, 'a', sizeof(huge));
    struct px_slice arg = px_slice(huge, sizeof(huge));
    px_buf_deinit(&w.out);
    CHECK_ERR(px_worker_request(&w, PX_WORKER_ADD_TEMP_ROOT, arg), PX_ELIMIT);
    CHECK_INT(w.out.len, 0);
    arg.len--; /* the longest, which the daemon may judge */
    CHECK_OK(px_worker_request(&w, PX_WORKER_ADD_TEMP_ROOT, arg));
    px_worker_deinit(&w);
    px_buf_deinit(&b);
}
