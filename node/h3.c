/* Both HTTP/3 sessions of one link: the public calls, and what an exchange goes through
 * (docs/spec/http3.md). How bytes travel is in h3_link.c. */
#include "node/h3.h"

#include <stdlib.h>

#include "node/h3_internal.h"

#define BIT(state) (1u << (state))

static void set_state(struct px_h3_exchange *x, enum px_h3_state to)
{
    static const unsigned allowed[] = {
        [PX_H3_CRITICAL] = 0,
        [PX_H3_ASKED] = BIT(PX_H3_ANSWER) | BIT(PX_H3_OVER),
        [PX_H3_ANSWER] = BIT(PX_H3_OVER),
        [PX_H3_RECEIVING] = BIT(PX_H3_PENDING) | BIT(PX_H3_OVER),
        [PX_H3_PENDING] = BIT(PX_H3_ANSWERED) | BIT(PX_H3_OVER),
        [PX_H3_ANSWERED] = BIT(PX_H3_OVER),
        [PX_H3_OVER] = 0,
    };
    px_assert((allowed[x->state] & BIT(to)) != 0);
    x->state = to;
    if (to == PX_H3_OVER)
        px_list_remove(&x->in_live);
}

/* --- streams by id --- */

static struct px_slice id_key(const int64_t *id)
{
    return px_slice(id, sizeof(*id));
}

struct px_h3_exchange *px_h3_find(const struct px_h3 *h, int64_t id)
{
    struct px_map_node *n = px_map_find(&h->streams, id_key(&id));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct px_h3_exchange, by_id);
}

void px_h3_exchange_insert(struct px_h3_exchange *x, int64_t id)
{
    x->id = id;
    px_map_insert(&x->s->h->streams, &x->by_id, id_key(&x->id));
    px_list_push_back(&x->s->streams, &x->in_session);
}

/* --- an exchange's life --- */

struct px_h3_exchange *px_h3_exchange_new(struct px_h3_session *s, enum px_h3_state state)
{
    struct px_h3_exchange *x = calloc(1, sizeof(*x));
    if (x == NULL)
        return NULL;
    x->s = s;
    x->id = -1;
    x->state = state;
    x->res.content_length = PX_H3_NO_LENGTH;
    px_list_init(&x->in_session);
    px_list_init(&x->in_live);
    px_list_init(&x->in_hungry);
    if (state != PX_H3_CRITICAL)
        px_list_push_back(&s->live, &x->in_live);
    if (state != PX_H3_CRITICAL)
        s->requests++;
    return x;
}

static void give_back(struct px_h3_exchange *x, uint64_t n)
{
    struct px_link *link = x->s->h->link;
    if (n > 0 && link != NULL && px_link_is_up(link))
        px_link_consume(link, x->id, n);
}

void px_h3_exchange_over(struct px_h3_exchange *x, int err)
{
    enum px_h3_state was = x->state;
    if (was == PX_H3_CRITICAL || was == PX_H3_OVER)
        return;
    set_state(x, PX_H3_OVER);
    x->read_shut = true;
    give_back(x, x->unconsumed);
    x->unconsumed = 0;
    if ((was == PX_H3_ASKED || was == PX_H3_ANSWER) && x->client != NULL)
        x->client->end(x->client_ctx, err);
    else if (was == PX_H3_PENDING && x->gone != NULL)
        x->gone(x->gone_ctx);
}

void px_h3_exchange_free(struct px_h3_exchange *x, int err)
{
    px_h3_exchange_over(x, err);
    if (x->body != NULL)
        x->body->closed(x->body_ctx);
    px_list_remove(&x->in_hungry);
    if (x->s->h->run.x == x)
        x->s->h->run.x = NULL;
    if (x->id >= 0)
        px_map_remove(&x->s->h->streams, &x->by_id);
    px_list_remove(&x->in_session);
    if (x->state != PX_H3_CRITICAL)
        x->s->requests--;
    free(x->path);
    free(x);
}

void px_h3_exchange_shut_write(struct px_h3_exchange *x, uint64_t code)
{
    if (x->write_shut)
        return;
    px_h3_end_run(x->s->h);
    x->write_shut = true;
    px_list_remove(&x->in_hungry);
    if (!x->s->dead)
        nghttp3_conn_shutdown_stream_write(px_h3_conn(x->s), x->id ^ x->s->flip);
    px_link_stream_reset(x->s->h->link, x->id, code);
}

void px_h3_exchange_abort(struct px_h3_exchange *x, uint64_t code)
{
    px_h3_exchange_shut_write(x, code);
    if (!x->read_shut) {
        x->read_shut = true;
        px_link_stream_stop(x->s->h->link, x->id, code);
    }
}

/* --- serving --- */

static void refuse(struct px_h3_exchange *x, unsigned status)
{
    const struct px_h3_answer a = {.status = status};
    (void)(px_h3_respond(x, &a) == 0); /* on failure the stream has been reset: refused as well */
}

static void dispatch(struct px_h3_exchange *x)
{
    struct px_h3 *h = x->s->h;
    set_state(x, PX_H3_PENDING);
    if (x->bad_request || !x->known_method || x->path == NULL) {
        refuse(x, 400);
        return;
    }
    if (h->server == NULL) {
        refuse(x, 404);
        return;
    }
    const struct px_h3_request req = {.head = x->head,
                                      .path = px_slice(x->path, x->path_len),
                                      .has_range = x->has_range,
                                      .range_first = x->range_first,
                                      .range_last = x->range_last};
    h->server->request(h->server_ctx, x, &req);
}

static void act_serving(struct px_h3_exchange *x)
{
    struct px_h3_session *s = x->s;
    for (size_t i = 0; i < s->piece_count; i++) {
        give_back(x, s->pieces[i].data.len);
        x->abort_code = NGHTTP3_H3_MESSAGE_ERROR; /* SPEC http3 §4: requests have no body */
    }
    if (x->abort_code != 0) {
        px_h3_exchange_abort(x, x->abort_code);
        px_h3_exchange_over(x, PX_EPROTO);
    } else if (x->message_done && x->state == PX_H3_RECEIVING) {
        dispatch(x);
    }
}

int px_h3_respond(struct px_h3_exchange *x, const struct px_h3_answer *a)
{
    if (x->state != PX_H3_PENDING)
        return PX_ESTATE;
    px_assert(a->status >= 200 && a->status <= 599);
    px_assert(a->body == NULL || !x->head);
    px_assert(a->status != 206 || (a->content_length > 0 && a->range_first < a->total &&
                                   a->content_length <= a->total - a->range_first));
    x->gone = NULL;
    int err = px_h3_submit_answer(x, a);
    if (err != 0) {
        px_h3_exchange_abort(x, NGHTTP3_H3_INTERNAL_ERROR);
        px_h3_exchange_over(x, err);
        return err;
    }
    set_state(x, PX_H3_ANSWERED);
    x->body = a->body;
    x->body_ctx = a->body_ctx;
    if (a->body != NULL) /* so that headers and first bytes leave together */
        px_list_push_back(&x->s->h->hungry, &x->in_hungry);
    px_link_wake(x->s->h->link, &x->s->h->producer);
    return 0;
}

void px_h3_body_resume(struct px_h3_exchange *x)
{
    struct px_h3 *h = x->s->h;
    if (x->body == NULL || x->write_shut || x->s->dead || h->link == NULL || x->piece.len > 0 ||
        x->piece_fin)
        return;
    x->waiting = false;
    if (px_list_empty(&x->in_hungry))
        px_list_push_back(&h->hungry, &x->in_hungry);
    px_link_wake(h->link, &h->producer);
}

void px_h3_on_gone(struct px_h3_exchange *x, void (*gone)(void *ctx), void *ctx)
{
    x->gone = gone;
    x->gone_ctx = ctx;
}

static void feed_one(struct px_h3_exchange *x)
{
    struct px_slice piece = px_slice(NULL, 0);
    bool fin = false;
    if (x->blocked)
        return; /* until the stream is writable */
    if (x->piece.len == 0 && !x->piece_fin) {
        x->waiting = false;
        int err = x->body->next(x->body_ctx, &piece, &fin);
        if (x->write_shut || x->s->dead)
            return;
        if (err == PX_EAGAIN || (err == 0 && piece.len == 0 && !fin)) {
            x->waiting = true;
            return;
        }
        if (err != 0) {
            px_h3_exchange_abort(x, NGHTTP3_H3_INTERNAL_ERROR);
            px_h3_exchange_over(x, err);
            return;
        }
        x->piece = piece;
        x->piece_fin = fin;
    }
    x->starving = false;
    int rv = nghttp3_conn_resume_stream(px_h3_conn(x->s), x->id ^ x->s->flip);
    if (rv != 0)
        px_h3_session_fatal(x->s, rv);
}

void px_h3_feed(struct px_h3 *h)
{
    struct px_list batch; /* a body that resumes itself is asked again in the next turn */
    px_list_init(&batch);
    if (!px_list_empty(&h->hungry)) {
        batch = h->hungry;
        batch.next->prev = batch.prev->next = &batch;
        px_list_init(&h->hungry);
    }
    while (!px_list_empty(&batch)) {
        struct px_h3_exchange *x = PX_CONTAINER_OF(batch.next, struct px_h3_exchange, in_hungry);
        px_list_remove(&x->in_hungry);
        if (!x->write_shut && !x->s->dead)
            feed_one(x);
    }
}

/* --- asking --- */

/* A 206 must be the part that was asked for. */
static bool range_fits(const struct px_h3_exchange *x)
{
    if (x->res.status != 206)
        return true;
    return x->asked_from > 0 && x->has_content_range && x->range_first == x->asked_from &&
           (x->res.content_length == PX_H3_NO_LENGTH ||
            x->res.content_length == x->range_last - x->range_first + 1);
}

static void act_asking(struct px_h3_exchange *x)
{
    struct px_h3_session *s = x->s;
    if (x->headers_done && x->state == PX_H3_ASKED && x->abort_code == 0) {
        if (range_fits(x)) {
            x->res.total = x->res.status == 206 ? x->range_total : 0;
            set_state(x, PX_H3_ANSWER);
            x->client->response(x->client_ctx, &x->res);
        } else {
            x->abort_code = NGHTTP3_H3_MESSAGE_ERROR;
        }
    }
    for (size_t i = 0; i < s->piece_count; i++) {
        struct px_slice piece = s->pieces[i].data;
        if (x->state == PX_H3_ANSWER) {
            x->unconsumed += piece.len;
            x->client->data(x->client_ctx, piece);
        } else {
            give_back(x, piece.len);
        }
    }
    if (x->abort_code != 0) {
        px_h3_exchange_abort(x, x->abort_code);
        px_h3_exchange_over(x, PX_EPROTO);
    } else if (x->message_done && x->state == PX_H3_ANSWER) {
        px_h3_exchange_over(x, 0);
    }
}

void px_h3_exchange_act(struct px_h3_exchange *x)
{
    if (x->state == PX_H3_CRITICAL) {
        if (x->abort_code != 0)
            px_h3_exchange_abort(x, x->abort_code);
        if (x->s->going_away && !x->s->serving)
            px_h3_session_goaway(x->s);
    } else if (x->s->serving) {
        act_serving(x);
    } else {
        act_asking(x);
    }
}

int px_h3_get(struct px_h3 *h, bool head, struct px_slice path, uint64_t range_first,
              const struct px_h3_client_ops *ops, void *ctx, struct px_h3_exchange **ret)
{
    struct px_h3_session *s = &h->asking;
    if (s->dead || s->going_away || h->link == NULL || !px_link_is_up(h->link))
        return PX_ECLOSED;
    if (path.len == 0 || path.len > PX_H3_PATH_MAX || path.data[0] != '/')
        return PX_EINVAL;
    if (s->requests >= PX_H3_ASKED_MAX)
        return PX_EAGAIN;
    struct px_h3_exchange *x = px_h3_exchange_new(s, PX_H3_ASKED);
    if (x == NULL)
        return PX_ENOMEM;
    int64_t id;
    int err = px_link_stream_open(h->link, false, &px_h3_stream_ops, x, &id);
    if (err != 0) {
        px_h3_exchange_free(x, err);
        return err == PX_ESTATE ? PX_ECLOSED : err;
    }
    x->type_unsent = x->type_unacked = true;
    x->asked_from = range_first;
    px_h3_exchange_insert(x, id);
    err = px_h3_submit_request(x, head, path, range_first);
    if (err != 0) {
        px_link_stream_set_owner(h->link, id, &px_h3_orphan_ops, NULL);
        px_link_stream_reset(h->link, id, NGHTTP3_H3_INTERNAL_ERROR);
        px_link_stream_stop(h->link, id, NGHTTP3_H3_INTERNAL_ERROR);
        (void)nghttp3_conn_close_stream(px_h3_conn(s), id ^ s->flip, NGHTTP3_H3_INTERNAL_ERROR);
        px_h3_exchange_free(x, err);
        return err;
    }
    x->client = ops;
    x->client_ctx = ctx;
    px_link_wake(h->link, &h->producer);
    *ret = x;
    return 0;
}

void px_h3_consume(struct px_h3_exchange *x, uint64_t n)
{
    px_assert(n <= x->unconsumed);
    x->unconsumed -= n;
    give_back(x, n);
}

void px_h3_cancel(struct px_h3_exchange *x)
{
    px_assert(x->state == PX_H3_ASKED || x->state == PX_H3_ANSWER);
    x->client = NULL;
    px_h3_exchange_abort(x, NGHTTP3_H3_REQUEST_CANCELLED);
    px_h3_exchange_over(x, PX_ECANCELED);
}

/* --- both sessions --- */

static void session_free(struct px_h3_session *s)
{
    while (!px_list_empty(&s->streams))
        px_h3_exchange_free(PX_CONTAINER_OF(s->streams.next, struct px_h3_exchange, in_session),
                            PX_ECLOSED);
    px_h3_session_deinit(s);
}

int px_h3_new(struct px_link *link, const struct px_h3_server_ops *server, void *server_ctx,
              struct px_h3 **ret)
{
    struct px_h3 *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return PX_ENOMEM;
    h->link = link;
    h->server = server;
    h->server_ctx = server_ctx;
    h->producer = (struct px_producer){.ops = &px_h3_producer_ops, .ctx = h};
    px_list_init(&h->hungry);
    int err = px_map_init(&h->streams, &px_system_rng);
    if (err != 0) {
        free(h);
        return err;
    }
    px_h3_session_prepare(&h->asking, h, false);
    px_h3_session_prepare(&h->serving, h, true);
    err = px_h3_session_start(&h->asking);
    if (err == 0)
        err = px_h3_session_start(&h->serving);
    if (err != 0) {
        px_h3_session_disown(&h->asking);
        px_h3_session_disown(&h->serving);
        px_h3_free(h);
        return err;
    }
    px_link_add_producer(link, &h->producer);
    px_link_wake(link, &h->producer);
    *ret = h;
    return 0;
}

void px_h3_free(struct px_h3 *h)
{
    if (h == NULL)
        return;
    if (h->producer.ring_next != NULL)
        px_link_remove_producer(h->link, &h->producer);
    h->link = NULL;
    h->asking.dead = h->serving.dead = true;
    session_free(&h->asking);
    session_free(&h->serving);
    px_map_deinit(&h->streams);
    free(h);
}

size_t px_h3_serving(const struct px_h3 *h)
{
    return h->serving.dead ? 0 : h->serving.requests;
}

void px_h3_shutdown(struct px_h3 *h)
{
    struct px_h3_session *s = &h->serving;
    /* Only once: nghttp3 asserts that ids do not grow, and refused requests would make them. */
    if (s->dead || s->going_away)
        return;
    s->going_away = true;
    int rv = nghttp3_conn_shutdown(px_h3_conn(s));
    if (rv != 0)
        px_h3_session_fatal(s, rv);
    else
        px_link_wake(h->link, &h->producer);
}
