/* Integers are u64 little-endian; a string is its length, its bytes, zeros up to a multiple of 8.
 *
 * A message is decoded from the start of the input once all of it is there: decoders run over a
 * reader and say PX_ETRUNC, nothing is remembered in between. Messages are short but for the reply
 * to QueryPathInfo, and bounded. */
#include "node/nix/worker_proto.h"

#include <stdlib.h>

#include "node/nix/store_backend.h"
#include "proto/base/reader.h"

#define MAGIC_CLIENT UINT64_C(0x6e697863)
#define MAGIC_DAEMON UINT64_C(0x6478696f)
#define MAJOR        1u
#define OUT_MAX      4096

/* What a daemon may say while it works. WRITE and READ belong to requests we never make. */
#define STDERR_NEXT           UINT64_C(0x6f6c6d67)
#define STDERR_READ           UINT64_C(0x64617461)
#define STDERR_WRITE          UINT64_C(0x64617416)
#define STDERR_LAST           UINT64_C(0x616c7473)
#define STDERR_ERROR          UINT64_C(0x63787470)
#define STDERR_START_ACTIVITY UINT64_C(0x53545254)
#define STDERR_STOP_ACTIVITY  UINT64_C(0x53544f50)
#define STDERR_RESULT         UINT64_C(0x52534c54)

/* ---- state ---- */

static void set_state(struct px_worker *w, enum px_worker_state next)
{
    static const uint8_t allowed[] = {
        [PX_WORKER_HELLO] = 1u << PX_WORKER_FEATURES | 1u << PX_WORKER_ABOUT,
        [PX_WORKER_FEATURES] = 1u << PX_WORKER_ABOUT,
        [PX_WORKER_ABOUT] = 1u << PX_WORKER_STARTUP,
        [PX_WORKER_STARTUP] = 1u << PX_WORKER_IDLE,
        [PX_WORKER_IDLE] = 1u << PX_WORKER_WORKING,
        [PX_WORKER_WORKING] = 1u << PX_WORKER_REPLY | 1u << PX_WORKER_IDLE,
        [PX_WORKER_REPLY] = 1u << PX_WORKER_IDLE,
        [PX_WORKER_BROKEN] = 0,
    };
    px_assert(next == PX_WORKER_BROKEN || (allowed[w->state] & 1u << next) != 0);
    w->state = next;
}

static int put_str(struct px_buf *out, struct px_slice s)
{
    static const uint8_t zeros[8] = {0};
    px_buf_put_le64(out, s.len);
    px_buf_put(out, s);
    return px_buf_put(out, px_slice(zeros, (8 - s.len % 8) % 8));
}

int px_worker_init(struct px_worker *w, const char *store_dir)
{
    *w = (struct px_worker){.state = PX_WORKER_HELLO};
    px_buf_init(&w->in, PX_WORKER_MESSAGE_MAX);
    px_buf_init(&w->out, OUT_MAX);
    w->store_dir = px_slice_dup_cstr(px_slice_cstr(store_dir));
    px_buf_put_le64(&w->out, MAGIC_CLIENT);
    px_buf_put_le64(&w->out, MAJOR << 8 | PX_WORKER_MINOR_MAX);
    if (w->store_dir == NULL || w->out.err != 0) {
        px_worker_deinit(w);
        return PX_ENOMEM;
    }
    return 0;
}

void px_worker_deinit(struct px_worker *w)
{
    px_buf_deinit(&w->in);
    px_buf_deinit(&w->out);
    free(w->store_dir);
    free(w->path);
    w->store_dir = w->path = NULL;
}

void px_worker_take_output(struct px_worker *w, struct px_buf *into)
{
    px_assert(into->len == 0);
    struct px_buf empty = *into;
    *into = w->out;
    empty.max = OUT_MAX;
    empty.err = 0;
    w->out = empty;
}

int px_worker_request(struct px_worker *w, enum px_worker_op op, struct px_slice arg)
{
    if (w->state != PX_WORKER_IDLE)
        return PX_ESTATE;
    if (arg.len > PX_STORE_PATH_MAX)
        return PX_ELIMIT;
    char *path = px_slice_dup_cstr(arg);
    if (path == NULL)
        return PX_ENOMEM;
    px_buf_put_le64(&w->out, (uint64_t)op);
    int err = put_str(&w->out, arg);
    if (err != 0) {
        free(path);
        return err;
    }
    free(w->path);
    w->path = path;
    w->op = op;
    set_state(w, PX_WORKER_WORKING);
    return 0;
}

/* ---- decoding ---- */

/* A length that can never be satisfied is an error now, not a wait for more. */
static int get_str(struct px_reader *r, struct px_slice *ret)
{
    struct px_slice s, padding;
    uint64_t len;
    int err = px_reader_le64(r, &len);
    if (err != 0)
        return err;
    if (len > PX_WORKER_STRING_MAX)
        return PX_ELIMIT;
    err = px_reader_take(r, (size_t)len, &s);
    if (err == 0)
        err = px_reader_take(r, (size_t)((8 - len % 8) % 8), &padding);
    if (err != 0)
        return err;
    for (size_t i = 0; i < padding.len; i++)
        if (padding.data[i] != 0)
            return PX_EPROTO;
    *ret = s;
    return 0;
}

static int get_count(struct px_reader *r, uint64_t max, uint64_t *ret)
{
    uint64_t n;
    int err = px_reader_le64(r, &n);
    if (err != 0)
        return err;
    if (n > max)
        return PX_ELIMIT;
    *ret = n;
    return 0;
}

static int skip_u64(struct px_reader *r, unsigned count)
{
    struct px_slice ignored;
    return px_reader_take(r, 8 * (size_t)count, &ignored);
}

static int skip_strs(struct px_reader *r, uint64_t max)
{
    struct px_slice ignored;
    uint64_t n = 0;
    int err = get_count(r, max, &n);
    while (err == 0 && n-- > 0)
        err = get_str(r, &ignored);
    return err;
}

/* An activity's fields: each a number or a string. */
static int skip_fields(struct px_reader *r)
{
    struct px_slice ignored;
    uint64_t n = 0, type = 0;
    int err = get_count(r, PX_WORKER_FIELDS_MAX, &n);
    while (err == 0 && n-- > 0) {
        err = px_reader_le64(r, &type);
        if (err == 0 && type > 1)
            return PX_EPROTO;
        if (err == 0)
            err = type == 0 ? skip_u64(r, 1) : get_str(r, &ignored);
    }
    return err;
}

/* The form since 1.26: "Error", level, name, message, position (never given), traces. */
static int get_error(struct px_reader *r, struct px_slice *ret_message)
{
    struct px_slice type, name, message, hint;
    uint64_t position = 0, traces = 0;
    int err = get_str(r, &type);
    if (err == 0)
        err = skip_u64(r, 1);
    if (err == 0)
        err = get_str(r, &name);
    if (err == 0)
        err = get_str(r, &message);
    if (err == 0)
        err = px_reader_le64(r, &position);
    if (err == 0)
        err = get_count(r, PX_WORKER_FIELDS_MAX, &traces);
    if (err == 0 && (!px_slice_eq_cstr(type, "Error") || position != 0))
        return PX_EPROTO;
    while (err == 0 && traces-- > 0) {
        err = px_reader_le64(r, &position);
        if (err == 0 && position != 0)
            return PX_EPROTO;
        if (err == 0)
            err = get_str(r, &hint);
    }
    if (err == 0)
        *ret_message = message;
    return err;
}

/* One message of a daemon at work. *ret_event is set when there is something to tell; *ret_last at
 * the end of the messages, good or bad. */
static int get_stderr(struct px_reader *r, struct px_worker_event *ev, bool *ret_event,
                      bool *ret_last)
{
    struct px_slice ignored;
    uint64_t kind;
    int err = px_reader_le64(r, &kind);
    *ret_event = *ret_last = false;
    if (err != 0)
        return err;
    switch (kind) {
    case STDERR_LAST:
        *ret_last = true;
        return 0;
    case STDERR_ERROR:
        *ret_event = *ret_last = true;
        ev->kind = PX_WORKER_REFUSED;
        return get_error(r, &ev->text);
    case STDERR_NEXT:
        *ret_event = true;
        ev->kind = PX_WORKER_LOG;
        return get_str(r, &ev->text);
    case STDERR_START_ACTIVITY: /* id, level, type, text, fields, parent */
        err = skip_u64(r, 3);
        if (err == 0)
            err = get_str(r, &ignored);
        if (err == 0)
            err = skip_fields(r);
        return err != 0 ? err : skip_u64(r, 1);
    case STDERR_STOP_ACTIVITY:
        return skip_u64(r, 1);
    case STDERR_RESULT: /* id, type, fields */
        err = skip_u64(r, 2);
        return err != 0 ? err : skip_fields(r);
    case STDERR_READ:
    case STDERR_WRITE:
    default:
        return PX_EPROTO;
    }
}

/* ---- handshake ---- */

static int step_hello(struct px_worker *w, struct px_reader *r)
{
    uint64_t magic, version;
    int err = px_reader_le64(r, &magic);
    if (err != 0)
        return err;
    if (magic != MAGIC_DAEMON)
        return PX_EPROTO;
    err = px_reader_le64(r, &version);
    if (err != 0)
        return err;
    if (version >> 8 != MAJOR || (version & 0xff) < PX_WORKER_MINOR_MIN)
        return PX_EPROTO;
    w->minor = (unsigned)PX_MIN(version & 0xff, (uint64_t)PX_WORKER_MINOR_MAX);
    if (w->minor >= 38)
        px_buf_put_le64(&w->out, 0); /* our features: none */
    px_buf_put_le64(&w->out, 0);     /* CPU affinity, obsolete */
    px_buf_put_le64(&w->out, 0);     /* space to reserve, obsolete */
    if (w->out.err != 0)
        return w->out.err;
    set_state(w, w->minor >= 38 ? PX_WORKER_FEATURES : PX_WORKER_ABOUT);
    return 0;
}

static int step_features(struct px_worker *w, struct px_reader *r)
{
    int err = skip_strs(r, PX_WORKER_FIELDS_MAX);
    if (err == 0)
        set_state(w, PX_WORKER_ABOUT);
    return err;
}

static int step_about(struct px_worker *w, struct px_reader *r)
{
    struct px_slice version;
    uint64_t trust = 0;
    int err = get_str(r, &version);
    if (err == 0 && w->minor >= 35)
        err = px_reader_le64(r, &trust);
    if (err != 0)
        return err;
    if (trust > PX_WORKER_NOT_TRUSTED)
        return PX_EPROTO;
    w->trust = (enum px_worker_trust)trust;
    version = px_slice_take(version, sizeof(w->nix_version) - 1);
    memcpy(w->nix_version, version.data, version.len);
    w->nix_version[version.len] = '\0';
    set_state(w, PX_WORKER_STARTUP);
    return 0;
}

/* ---- replies ---- */

static int get_info_strs(struct px_reader *r, struct px_path_info *p, uint64_t max,
                         int (*add)(struct px_path_info *, struct px_slice), int *bad)
{
    struct px_slice s;
    uint64_t n = 0;
    int err = get_count(r, max, &n);
    while (err == 0 && n-- > 0) {
        err = get_str(r, &s);
        if (err == 0 && *bad == 0)
            *bad = add(p, s);
    }
    return err;
}

/* deriver, hash, references, registration time, size, ultimate, signatures, content address. What
 * is wrong with the path rather than with the message goes to *bad. */
static int get_info(struct px_reader *r, struct px_path_info *p, int *bad)
{
    struct px_slice deriver, hash, ca;
    uint64_t size = 0, ultimate = 0;
    int err = get_str(r, &deriver);
    if (err == 0)
        err = get_str(r, &hash);
    if (err == 0)
        err = get_info_strs(r, p, PX_WORKER_REFS_MAX, px_store_info_add_ref, bad);
    if (err == 0)
        err = skip_u64(r, 1);
    if (err == 0)
        err = px_reader_le64(r, &size);
    if (err == 0)
        err = px_reader_le64(r, &ultimate);
    if (err == 0)
        err = get_info_strs(r, p, PX_WORKER_REFS_MAX, px_store_info_add_sig, bad);
    if (err == 0)
        err = get_str(r, &ca);
    if (err != 0 || *bad != 0)
        return err;
    *bad = px_store_info_set_nar(p, hash, size);
    if (*bad == 0)
        *bad = px_store_info_set_deriver(p, deriver);
    if (*bad == 0)
        *bad = px_path_info_set_str(p, &p->ca, ca);
    p->ultimate = ultimate == 1;
    px_path_info_sort_refs(p);
    return 0;
}

static int reply_info(struct px_worker *w, struct px_reader *r, struct px_worker_event *ev)
{
    struct px_path_info *p;
    uint64_t valid;
    int bad = 0;
    int err = px_reader_le64(r, &valid);
    if (err != 0)
        return err;
    ev->kind = PX_WORKER_INFO;
    ev->info_err = PX_ENOENT;
    if (valid == 0)
        return 0;
    if (valid != 1)
        return PX_EPROTO;
    err = px_store_info_new(px_slice_cstr(w->store_dir), px_slice_cstr(w->path), &p);
    if (err != 0)
        return err;
    err = get_info(r, p, &bad);
    ev->info_err = bad;
    if (err != 0 || bad != 0)
        px_path_info_free(p);
    else
        ev->owned_info = p;
    return err;
}

static int step_reply(struct px_worker *w, struct px_reader *r, struct px_worker_event *ev)
{
    int err = PX_EPROTO;
    switch (w->op) {
    case PX_WORKER_ADD_TEMP_ROOT:
        ev->kind = PX_WORKER_ROOTED;
        err = skip_u64(r, 1);
        break;
    case PX_WORKER_QUERY_PATH_FROM_HASH_PART:
        ev->kind = PX_WORKER_PATH;
        err = get_str(r, &ev->text);
        break;
    case PX_WORKER_QUERY_PATH_INFO:
        err = reply_info(w, r, ev);
        break;
    }
    if (err == 0)
        set_state(w, PX_WORKER_IDLE);
    return err;
}

/* ---- the machine ---- */

/* An error instead of the end of start-up means a daemon that will not serve us. */
static int step_messages(struct px_worker *w, struct px_reader *r, struct px_worker_event *ev,
                         bool *ret_event)
{
    bool last;
    int err = get_stderr(r, ev, ret_event, &last);
    if (err != 0 || !last)
        return err;
    bool refused = *ret_event;
    if (w->state == PX_WORKER_STARTUP) {
        if (refused)
            return PX_EPERM;
        *ret_event = true;
        ev->kind = PX_WORKER_READY;
        set_state(w, PX_WORKER_IDLE);
        return 0;
    }
    set_state(w, refused ? PX_WORKER_IDLE : PX_WORKER_REPLY);
    return 0;
}

static int step(struct px_worker *w, struct px_reader *r, struct px_worker_event *ev,
                bool *ret_event)
{
    *ret_event = false;
    switch (w->state) {
    case PX_WORKER_HELLO:
        return step_hello(w, r);
    case PX_WORKER_FEATURES:
        return step_features(w, r);
    case PX_WORKER_ABOUT:
        return step_about(w, r);
    case PX_WORKER_STARTUP:
    case PX_WORKER_WORKING:
        return step_messages(w, r, ev, ret_event);
    case PX_WORKER_REPLY:
        *ret_event = true;
        return step_reply(w, r, ev);
    case PX_WORKER_IDLE: /* nobody asked */
        return px_reader_left(r) > 0 ? PX_EPROTO : PX_ETRUNC;
    case PX_WORKER_BROKEN:
        return w->err;
    }
    return PX_EPROTO;
}

static int break_off(struct px_worker *w, int err)
{
    if (w->state != PX_WORKER_BROKEN) {
        set_state(w, PX_WORKER_BROKEN);
        w->err = err;
    }
    return w->err;
}

int px_worker_feed(struct px_worker *w, struct px_slice bytes)
{
    if (w->state == PX_WORKER_BROKEN)
        return w->err;
    px_buf_drop(&w->in, w->consumed);
    w->consumed = 0;
    int err = px_buf_put(&w->in, bytes);
    return err != 0 ? break_off(w, err) : 0;
}

int px_worker_next(struct px_worker *w, struct px_worker_event *ret)
{
    for (;;) {
        struct px_worker_event ev = {0};
        struct px_slice left = px_slice_skip(px_buf_slice(&w->in), w->consumed);
        struct px_reader r = px_reader(left);
        bool have_event;
        int err = step(w, &r, &ev, &have_event);
        if (err == PX_ETRUNC)
            return PX_EAGAIN;
        if (err != 0)
            return break_off(w, err);
        w->consumed += left.len - px_reader_left(&r);
        if (have_event) {
            *ret = ev;
            return 0;
        }
    }
}
