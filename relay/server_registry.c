/* The registry as nodes ask for it (docs/spec/relay.md §8): register, discover, watch, pushes. */
#include <stdlib.h>

#include "proto/base/reader.h"
#include "relay/server_internal.h"

#define COOKIE_LEN 8 /* the serial listed last */

void px_relay_on_register(struct px_relay_session *n, const struct px_relay_msg *m)
{
    px_nsec ttl = px_relay_msg_has(m, PX_RELAY_K_TTL) ? m->ttl_ms * PX_MSEC : 0;
    struct px_relay_msg out = {.type = PX_RELAY_MSG_STATUS, .request = m->request};
    if (m->record_count != 1) {
        px_relay_reply(n, m, PX_RELAY_MALFORMED_MESSAGE);
        return;
    }
    out.status = px_registry_register(n->server->registry, &n->peer, m->name_space, m->records[0],
                                      ttl, n->server->now, &ttl);
    if (out.status == PX_RELAY_OK) {
        out.keys = PX_RELAY_BIT(PX_RELAY_K_TTL);
        out.ttl_ms = ttl / PX_MSEC;
    }
    if (out.status == PX_RELAY_RESOURCE_LIMIT_EXCEEDED)
        px_relay_hit(n->server, PX_RELAY_LIMIT_RECORDS);
    px_relay_send(n, &out);
}

void px_relay_on_unregister(struct px_relay_session *n, const struct px_relay_msg *m)
{
    bool had = px_registry_unregister(n->server->registry, &n->peer, m->name_space);
    px_relay_reply(n, m, had ? PX_RELAY_OK : PX_RELAY_NOT_FOUND);
}

/* ---- discover ---- */

/* As many records after `serial` as fit. Returns the last one's serial; *ret_more tells whether
 * there are others. */
static uint64_t fill_records(const struct px_registry *r, struct px_slice name_space,
                             uint64_t serial, struct px_relay_msg *out, bool *ret_more)
{
    const struct px_registry_entry *e;
    while ((e = px_registry_after(r, name_space, serial)) != NULL &&
           out->record_count < PX_RELAY_RECORDS_MAX) {
        out->records[out->record_count++] = e->bytes;
        serial = e->serial;
    }
    *ret_more = e != NULL;
    return serial;
}

static void discover_one(const struct px_relay_session *n, const struct px_relay_msg *m,
                         struct px_relay_msg *out)
{
    const struct px_registry *r = n->server->registry;
    const struct px_registry_entry *e = px_relay_msg_has(m, PX_RELAY_K_PEER)
                                            ? px_registry_find(r, m->name_space, &m->peer)
                                            : px_registry_by_name(r, m->name_space, m->name);
    out->status = e == NULL ? PX_RELAY_NOT_FOUND : PX_RELAY_OK;
    if (e != NULL)
        out->records[out->record_count++] = e->bytes;
}

void px_relay_on_discover(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_relay_msg out = {
        .type = PX_RELAY_MSG_FOUND, .request = m->request, .status = PX_RELAY_OK};
    uint8_t cookie[COOKIE_LEN];
    uint64_t serial = 0;
    bool more;
    if (px_relay_msg_has(m, PX_RELAY_K_PEER) || px_relay_msg_has(m, PX_RELAY_K_NAME)) {
        discover_one(n, m, &out);
        px_relay_send(n, &out);
        return;
    }
    if (px_relay_msg_has(m, PX_RELAY_K_COOKIE)) {
        struct px_reader r = px_reader(m->cookie);
        if (px_reader_be64(&r, &serial) != 0) {
            px_relay_reply(n, m, PX_RELAY_MALFORMED_MESSAGE);
            return;
        }
    }
    serial = fill_records(n->server->registry, m->name_space, serial, &out, &more);
    if (more) {
        for (int i = 0; i < COOKIE_LEN; i++)
            cookie[i] = (uint8_t)(serial >> (56 - 8 * i));
        out.keys = PX_RELAY_BIT(PX_RELAY_K_COOKIE);
        out.cookie = px_slice(cookie, sizeof(cookie));
    }
    px_relay_send(n, &out);
}

/* ---- watch ---- */

static struct px_slice watched(const struct px_relay_watch *w)
{
    return px_slice(w->name_space, w->len);
}

/* The watch of that namespace; an unused one for an empty name. NULL if there is none. */
static struct px_relay_watch *find_watch(const struct px_relay_session *n,
                                         struct px_slice name_space)
{
    for (size_t i = 0; n->watches != NULL && i < PX_RELAY_WATCHES_MAX; i++)
        if (px_slice_eq(watched(&n->watches[i]), name_space))
            return &n->watches[i];
    return NULL;
}

static enum px_relay_status watch(struct px_relay_session *n, struct px_slice name_space)
{
    if (find_watch(n, name_space) != NULL)
        return PX_RELAY_OK;
    if (n->watches == NULL)
        n->watches = calloc(PX_RELAY_WATCHES_MAX, sizeof(*n->watches));
    if (n->watches == NULL)
        return PX_RELAY_INTERNAL;
    struct px_relay_watch *w = find_watch(n, px_slice(NULL, 0));
    if (w == NULL) {
        px_relay_hit(n->server, PX_RELAY_LIMIT_WATCHES);
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    }
    memcpy(w->name_space, name_space.data, name_space.len);
    w->len = name_space.len;
    w->gone_count = 0;
    w->pushed = px_registry_serial(n->server->registry);
    n->watch_count++;
    n->server->watches++;
    return PX_RELAY_OK;
}

void px_relay_on_watch(struct px_relay_session *n, const struct px_relay_msg *m)
{
    if (m->on) {
        px_relay_reply(n, m, watch(n, m->name_space));
        return;
    }
    struct px_relay_watch *w = find_watch(n, m->name_space);
    if (w != NULL) {
        w->len = 0;
        n->watch_count--;
        n->server->watches--;
    }
    px_relay_reply(n, m, w != NULL ? PX_RELAY_OK : PX_RELAY_NOT_FOUND);
}

/* ---- pushes ---- */

static void push_gone(struct px_relay_session *n, struct px_relay_watch *w)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_CHANGED, .name_space = watched(w)};
    if (w->gone_count == 0)
        return;
    memcpy(m.gone, w->gone, w->gone_count * sizeof(w->gone[0]));
    m.gone_count = w->gone_count;
    w->gone_count = 0;
    px_relay_send(n, &m);
}

static void push_records(struct px_relay_session *n, struct px_relay_watch *w)
{
    for (bool more = true; more && !n->closing;) {
        struct px_relay_msg m = {.type = PX_RELAY_MSG_CHANGED, .name_space = watched(w)};
        w->pushed = fill_records(n->server->registry, m.name_space, w->pushed, &m, &more);
        if (m.record_count > 0)
            px_relay_send(n, &m);
    }
}

void px_relay_push(struct px_relay_session *n)
{
    n->push_at = PX_NEVER;
    n->push_from = n->server->now + PX_RELAY_PUSH_GAP;
    for (size_t i = 0; n->watches != NULL && i < PX_RELAY_WATCHES_MAX; i++)
        if (n->watches[i].len > 0) {
            push_gone(n, &n->watches[i]);
            push_records(n, &n->watches[i]);
        }
}

static void note(struct px_relay_session *n, const struct px_registry_entry *e, bool gone)
{
    struct px_relay_watch *w = find_watch(n, e->name_space);
    if (w == NULL)
        return;
    if (gone) {
        if (w->gone_count == PX_RELAY_GONE_MAX)
            push_gone(n, w);
        w->gone[w->gone_count++] = e->peer;
    }
    if (n->push_at == PX_NEVER) {
        n->push_at = PX_MAX(n->server->now + PX_RELAY_PUSH_DELAY, n->push_from);
        px_relay_wake_at(n, n->push_at);
    }
}

void px_relay_on_changed(void *server, const struct px_registry_entry *e, bool gone)
{
    struct px_relay_server *s = server;
    if (s->watches == 0)
        return;
    PX_LIST_EACH(it, &s->all) {
        struct px_relay_session *n = PX_CONTAINER_OF(it, struct px_relay_session, all);
        if (n->watch_count > 0 && !n->closing)
            note(n, e, gone);
    }
}
