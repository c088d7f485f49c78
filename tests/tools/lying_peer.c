/* A peer that lies, for the end-to-end tests: it serves narinfos and NARs from a directory over the
 * real link and spoils NARs as told.
 *
 * usage: lying_peer IDENTITY.pem DIR
 * DIR/<hash>.narinfo is served as it stands. DIR/nar is the NAR, DIR/fault says how it is spoilt,
 * read anew for each request: `none`, or `<kind> <offset>` with kind short (ends cleanly there),
 * reset, stall, corrupt (one byte flipped there), long (goes on with zeros for offset bytes). It
 * trusts everybody. While there is a DIR/quiet, narinfos are not answered. Prints `ready <addr>
 * <peer id>`, then `asked <microseconds> <path>` for each request, by the machine's monotonic
 * clock; ends on SIGTERM. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "auth/identity_io.h"
#include "node/h3.h"
#include "transport/overlay_io.h"

#define NARINFO_READ_MAX (64u << 20) /* lies may be large */
#define NAR_READ_MAX     (512u << 20)
#define PIECE            (64u * 1024)

enum fault { FAULT_NONE, FAULT_SHORT, FAULT_RESET, FAULT_STALL, FAULT_CORRUPT, FAULT_LONG };
static const char *const fault_names[] = {"none", "short", "reset", "stall", "corrupt", "long"};

struct liar {
    const char *dir;
    struct px_overlay_io *io;
    uv_loop_t loop;
};

struct peer {
    struct liar *liar;
    struct px_h3 *h3;
};

struct body {
    struct px_buf data;
    size_t at;
    enum fault fault;
    uint64_t offset;
};

static int body_next(void *ctx, struct px_slice *ret, bool *ret_fin)
{
    struct body *b = ctx;
    size_t end = b->data.len;
    if (b->fault == FAULT_STALL || b->fault == FAULT_RESET || b->fault == FAULT_SHORT)
        end = PX_MIN(end, (size_t)b->offset);
    if (b->at == end && b->fault == FAULT_STALL)
        return PX_EAGAIN;
    if (b->at == end && b->fault == FAULT_RESET)
        return PX_EIO;
    size_t n = PX_MIN(end - b->at, (size_t)PIECE);
    *ret = px_slice(b->data.data + b->at, n);
    b->at += n;
    *ret_fin = b->at == end && b->fault != FAULT_STALL && b->fault != FAULT_RESET;
    return 0;
}

static void body_acked(void *ctx, uint64_t n)
{
    (void)ctx;
    (void)n;
}

static void body_closed(void *ctx)
{
    struct body *b = ctx;
    px_buf_deinit(&b->data);
    free(b);
}

static const struct px_h3_body_ops body_ops = {body_next, body_acked, body_closed};

static void read_fault(const char *dir, struct body *b)
{
    char path[600], kind[16] = "none";
    snprintf(path, sizeof(path), "%s/fault", dir);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return;
    if (fscanf(f, "%15s %" SCNu64, kind, &b->offset) < 1)
        snprintf(kind, sizeof(kind), "none");
    fclose(f);
    for (size_t i = 0; i < PX_ARRAY_LEN(fault_names); i++)
        if (strcmp(kind, fault_names[i]) == 0)
            b->fault = (enum fault)i;
}

static void spoil(struct body *b)
{
    if (b->fault == FAULT_CORRUPT && b->offset < b->data.len)
        b->data.data[b->offset] ^= 1;
    if (b->fault == FAULT_LONG) {
        uint8_t *more = px_buf_reserve(&b->data, (size_t)b->offset);
        if (more != NULL) {
            memset(more, 0, (size_t)b->offset);
            px_buf_commit(&b->data, (size_t)b->offset);
        }
    }
}

static void respond(struct px_h3_exchange *x, const struct px_h3_request *req, struct body *b,
                    uint64_t claimed, unsigned status)
{
    struct px_h3_answer a = {.status = status, .content_length = claimed};
    if (status == 200 && !req->head) {
        a.body = &body_ops;
        a.body_ctx = b;
    }
    int err = px_h3_respond(x, &a);
    if (err != 0 || a.body == NULL)
        body_closed(b);
}

static bool is_quiet(const struct liar *l)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/quiet", l->dir);
    return access(path, F_OK) == 0;
}

static void on_request(void *ctx, struct px_h3_exchange *x, const struct px_h3_request *req)
{
    struct peer *p = ctx;
    printf("asked %" PRIu64 " %.*s\n", px_now_io() / PX_USEC, (int)req->path.len,
           (const char *)req->path.data);
    fflush(stdout);
    if (!px_slice_starts(req->path, PX_SLICE_LIT("/nar/")) && is_quiet(p->liar))
        return;
    struct body *b = calloc(1, sizeof(*b));
    char path[800];
    if (b == NULL)
        abort();
    px_buf_init(&b->data, NAR_READ_MAX);
    bool nar = px_slice_starts(req->path, PX_SLICE_LIT("/nar/"));
    if (nar)
        snprintf(path, sizeof(path), "%s/nar", p->liar->dir);
    else
        snprintf(path, sizeof(path), "%s%.*s", p->liar->dir, (int)req->path.len,
                 (const char *)req->path.data);
    int err = px_file_read(path, nar ? NAR_READ_MAX : NARINFO_READ_MAX, &b->data);
    uint64_t claimed = b->data.len; /* the lie comes after the length */
    if (nar)
        read_fault(p->liar->dir, b);
    spoil(b);
    if (b->fault == FAULT_SHORT || b->fault == FAULT_LONG)
        claimed = PX_H3_NO_LENGTH;
    respond(x, req, b, claimed, err == 0 ? 200 : 404);
}

static const struct px_h3_server_ops server_ops = {on_request};

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx;
    (void)id;
    return 0;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct peer *p = calloc(1, sizeof(*p));
    if (p == NULL)
        abort();
    p->liar = ctx;
    if (px_h3_new(link, &server_ops, p, &p->h3) != 0)
        abort();
    px_link_set_user(link, p);
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct peer *p = px_link_user(link);
    (void)ctx;
    (void)err;
    (void)by_peer;
    if (!was_up || p == NULL)
        return;
    px_h3_free(p->h3);
    free(p);
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx;
    (void)remote;
    (void)id;
    fprintf(stderr, "refused: %s%s\n", px_errname(err), by_peer ? " by the peer" : "");
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct peer *p = px_link_user(link);
    (void)ctx;
    return p != NULL ? px_h3_stream(p->h3, id, type, ret_ctx) : NULL;
}

int main(int argc, char **argv)
{
    static const struct px_overlay_ops ops = {.authorize = on_authorize,
                                              .up = on_up,
                                              .down = on_down,
                                              .refused = on_refused,
                                              .stream = on_stream};
    struct liar liar = {0};
    struct px_identity identity;
    struct px_addr any;
    char hint[256], addr[PX_ADDR_TEXT_MAX], id[PX_PEER_ID_TEXT_MAX];
    if (argc != 3 || px_crypto_init() != 0 ||
        px_identity_load(argv[1], &identity, hint, sizeof(hint)) != 0 ||
        px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &any) != 0)
        return 2;
    liar.dir = argv[2];
    struct px_overlay_config config = {
        .identity = &identity,
        .network = PX_SLICE_LIT("default"),
        .agent = PX_SLICE_LIT("liar/1"),
        .ops = &ops,
        .ops_ctx = &liar,
        .listen = true,
    };
    if (uv_loop_init(&liar.loop) != 0 ||
        px_overlay_io_new(&liar.loop, &any, &config, &liar.io) != 0)
        return 1;
    printf("ready %s %s\n", px_addr_format(px_udp_local(px_overlay_io_udp(liar.io)), addr),
           px_peer_id_format(&identity.id, id));
    fflush(stdout);
    return uv_run(&liar.loop, UV_RUN_DEFAULT);
}
