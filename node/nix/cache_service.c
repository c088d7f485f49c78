/* Answers peers' requests for narinfos and NARs (docs/spec/cache.md): looks the path up, asks the
 * policy (share.h), renders or streams. */
#include "node/nix/cache_service.h"

#include <stdlib.h>

#include "auth/authorized_keys.h"
#include "node/nix/cache_nar.h"
#include "node/nix/http_path.h"
#include "node/nix/narinfo_check.h"
#include "node/nix/share.h"

struct px_cache_service {
    struct px_store *store;
    struct px_share *share;
    uint32_t (*grants)(void *ctx, const struct px_peer_id *peer);
    void *grants_ctx;
    const struct px_log *log;
    size_t sessions;
    struct px_cache_service_stats stats;
};

struct px_cache_session {
    struct px_cache_service *service;
    struct px_peer_id peer;
    size_t asks; /* under way, in whatever stage */
    size_t nars; /* being streamed */
    uint64_t sent;
};

/* One request, from its arrival until its answer is acked. */
struct ask {
    struct px_cache_session *session;
    struct px_h3_exchange *x;
    struct px_store_query *query; /* NULL once it has answered */
    struct px_http_target target;
    bool head, has_range;
    uint64_t range_first, range_last;
    struct px_buf text; /* a narinfo */
    bool text_sent;
};

int px_cache_service_new(const struct px_cache_service_config *config,
                         struct px_cache_service **ret)
{
    struct px_cache_service *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    int err = px_share_new(config->share_keys, config->share_key_count, config->own_key, &s->share);
    if (err != 0) {
        free(s);
        return err;
    }
    s->store = config->store;
    s->grants = config->grants;
    s->grants_ctx = config->grants_ctx;
    s->log = config->log;
    *ret = s;
    return 0;
}

void px_cache_service_free(struct px_cache_service *s)
{
    if (s == NULL)
        return;
    px_assert(s->sessions == 0);
    px_share_free(s->share);
    free(s);
}

void px_cache_service_stats(const struct px_cache_service *s, struct px_cache_service_stats *ret)
{
    *ret = s->stats;
}

int px_cache_session_new(struct px_cache_service *s, const struct px_peer_id *peer,
                         struct px_cache_session **ret)
{
    struct px_cache_session *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return PX_ENOMEM;
    c->service = s;
    c->peer = *peer;
    s->sessions++;
    *ret = c;
    return 0;
}

void px_cache_session_free(struct px_cache_session *c)
{
    if (c == NULL)
        return;
    px_assert(c->asks == 0);
    c->service->sessions--;
    free(c);
}

uint64_t px_cache_session_sent(const struct px_cache_session *c)
{
    return c->sent;
}

static void ask_free(struct ask *a)
{
    a->session->asks--;
    px_buf_deinit(&a->text);
    free(a);
}

static void log_failure(const struct px_cache_session *c, const char *event, int err)
{
    char peer[PX_PEER_ID_TEXT_MAX];
    px_log_event(c->service->log, PX_LOG_WARN, event,
                 PX_F_STR("peer", px_peer_id_format(&c->peer, peer)), PX_F_ERR(err));
}

/* --- answers --- */

/* Without a body; `unknown` and `not shared` are one and the same 404 (SPEC cache §3). */
static void answer_status(struct px_cache_service *s, struct px_h3_exchange *x, unsigned status)
{
    const struct px_h3_answer answer = {.status = status};
    s->stats.unknown += status == 404;
    s->stats.busy += status == 503;
    int err = px_h3_respond(x, &answer);
    (void)err; /* the stream was reset then: an answer of a kind */
}

static void ask_refuse(struct ask *a, unsigned status)
{
    answer_status(a->session->service, a->x, status);
    ask_free(a);
}

static int text_next(void *ctx, struct px_slice *ret, bool *ret_fin)
{
    struct ask *a = ctx;
    *ret = a->text_sent ? px_slice(NULL, 0) : px_buf_slice(&a->text);
    *ret_fin = true;
    a->text_sent = true;
    return 0;
}

static void text_acked(void *ctx, uint64_t n)
{
    (void)ctx, (void)n;
}

static void text_closed(void *ctx)
{
    ask_free(ctx);
}

static const struct px_h3_body_ops text_ops = {
    .next = text_next,
    .acked = text_acked,
    .closed = text_closed,
};

static int render(struct ask *a, struct px_path_info *info)
{
    int err = px_narinfo_set_nar_url(info);
    return err != 0 ? err : px_narinfo_format(info, &a->text);
}

static void answer_narinfo(struct ask *a, struct px_path_info *info)
{
    int err = render(a, info);
    if (err != 0) {
        log_failure(a->session, "narinfo.failed", err);
        ask_refuse(a, 503);
        return;
    }
    a->session->service->stats.narinfos++;
    const struct px_h3_answer answer = {.status = 200,
                                        .content_length = a->text.len,
                                        .content_type = "text/x-nix-narinfo",
                                        .body = a->head ? NULL : &text_ops,
                                        .body_ctx = a};
    if (px_h3_respond(a->x, &answer) != 0 || a->head)
        ask_free(a);
}

static void on_nar_acked(void *ctx, uint64_t n)
{
    struct ask *a = ctx;
    a->session->sent += n;
}

static void on_nar_closed(void *ctx, int err)
{
    struct ask *a = ctx;
    a->session->nars--;
    a->session->service->stats.nars_cut += err != 0;
    if (err != 0)
        log_failure(a->session, "nar.failed", err);
    ask_free(a);
}

static const struct px_cache_nar_events nar_ops = {on_nar_acked, on_nar_closed};

static void stream_nar(struct ask *a, const struct px_path_info *info,
                       const struct px_h3_answer *head)
{
    struct px_cache_session *c = a->session;
    struct px_cache_nar *nar;
    if (c->nars >= PX_CACHE_PEER_NARS_MAX) {
        ask_refuse(a, 503);
        return;
    }
    int err = px_cache_nar_new(c->service->store, info, head, a->x, &nar_ops, a, &nar);
    if (err != 0) {
        if (err != PX_EBUSY)
            log_failure(c, "nar.failed", err);
        ask_refuse(a, 503);
        return;
    }
    c->nars++;
    c->service->stats.nars++;
    struct px_h3_answer answer = *head;
    answer.body = &px_cache_nar_ops;
    answer.body_ctx = nar;
    if (px_h3_respond(a->x, &answer) != 0)
        px_cache_nar_free(nar);
}

static void answer_nar(struct ask *a, const struct px_path_info *info)
{
    struct px_h3_answer answer = {.status = 200,
                                  .content_length = info->nar_size,
                                  .content_type = "application/x-nix-nar",
                                  .total = info->nar_size};
    if (a->head) { /* RFC 9110 §14.2: Range is for GET alone */
        int err = px_h3_respond(a->x, &answer);
        (void)err;
        ask_free(a);
        return;
    }
    if (a->has_range) {
        if (a->range_first >= info->nar_size) {
            ask_refuse(a, 416);
            return;
        }
        uint64_t last = PX_MIN(a->range_last, info->nar_size - 1);
        answer.status = 206;
        answer.range_first = a->range_first;
        answer.content_length = last - a->range_first + 1;
    }
    stream_nar(a, info, &answer);
}

/* --- the decision --- */

/* Whether the asker may have it; PX_ENOENT when not, as if the path did not exist. */
static int admit(const struct ask *a, struct px_path_info *info)
{
    struct px_cache_service *s = a->session->service;
    uint32_t grants = s->grants(s->grants_ctx, &a->session->peer);
    struct px_buf fingerprint;
    px_buf_init(&fingerprint, 2 * PX_NARINFO_MAX); /* refs are full paths in it */
    int err = px_path_info_fingerprint(info, &fingerprint);
    if (err == 0) {
        switch (px_share_decide(s->share, grants, info, px_buf_slice(&fingerprint))) {
        case PX_SHARE_DENIED:
            err = PX_ENOENT;
            break;
        case PX_SHARE_SIGNED:
            break;
        case PX_SHARE_OWN:
            if (a->target.kind == PX_HTTP_NARINFO)
                err = px_share_sign(s->share, info, px_buf_slice(&fingerprint));
            break;
        }
    }
    px_buf_deinit(&fingerprint);
    return err;
}

static void on_info(void *ctx, int err, struct px_path_info *owned_info)
{
    struct ask *a = ctx;
    struct px_path_info *info = owned_info;
    a->query = NULL;
    if (err == 0)
        err = admit(a, info);
    if (err == 0 && a->target.kind == PX_HTTP_NAR &&
        memcmp(a->target.nar_hash, info->nar_hash, sizeof(info->nar_hash)) != 0)
        err = PX_ENOENT; /* another content than the asker was told of */
    if (err != 0) {
        if (err != PX_ENOENT && err != PX_ECANCELED)
            log_failure(a->session, "store.failed", err);
        ask_refuse(a, err == PX_ENOENT ? 404 : 503);
    } else if (a->target.kind == PX_HTTP_NARINFO) {
        answer_narinfo(a, info);
    } else {
        answer_nar(a, info);
    }
    px_path_info_free(owned_info);
}

/* --- requests --- */

static void on_gone(void *ctx)
{
    struct ask *a = ctx;
    if (a->query != NULL)
        px_store_query_cancel(a->query);
    ask_free(a);
}

static int ask_new(struct px_cache_session *c, struct px_h3_exchange *x,
                   const struct px_h3_request *req, const struct px_http_target *target)
{
    struct ask *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return PX_ENOMEM;
    a->session = c;
    a->x = x;
    a->target = *target;
    a->head = req->head;
    a->has_range = req->has_range;
    a->range_first = req->range_first;
    a->range_last = req->range_last;
    px_buf_init(&a->text, PX_NARINFO_MAX);
    c->asks++;
    int err = px_store_query(c->service->store,
                             px_slice(a->target.store_hash, sizeof(a->target.store_hash)), on_info,
                             a, &a->query);
    if (err != 0)
        ask_free(a);
    else
        px_h3_on_gone(x, on_gone, a);
    return err;
}

static void on_request(void *ctx, struct px_h3_exchange *x, const struct px_h3_request *req)
{
    struct px_cache_session *c = ctx;
    struct px_cache_service *s = c->service;
    struct px_http_target target;
    if (px_http_target_parse(req->path, &target) != 0) {
        answer_status(s, x, 400);
        return;
    }
    bool known = target.kind == PX_HTTP_NARINFO || target.kind == PX_HTTP_NAR;
    uint32_t grants = s->grants(s->grants_ctx, &c->peer) & (PX_GRANT_CACHE | PX_GRANT_CACHE_OWN);
    /* Without a grant the store is not even asked: every path is equally unknown. */
    if (!known || grants == 0) {
        answer_status(s, x, 404);
        return;
    }
    if (ask_new(c, x, req, &target) != 0)
        answer_status(s, x, 503);
}

const struct px_h3_server_ops px_cache_session_ops = {.request = on_request};
