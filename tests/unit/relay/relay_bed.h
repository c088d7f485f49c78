/* A relay server and nodes with the production client core, joined by queues in memory and a
 * virtual clock: frames and packets arrive in order, each node at an address of its own. */
#ifndef PX_TESTS_RELAY_BED_H
#define PX_TESTS_RELAY_BED_H

#include <stdlib.h>

#include "relay/client.h"
#include "relay/registry.h"
#include "relay/server.h"
#include "tests/test.h"

#define NODES_MAX 16

struct bed;

struct node {
    struct bed *bed;
    struct px_identity identity;
    struct px_addr addr;
    struct px_relay_client *client;
    struct px_relay_session *session;
    bool joined;
    enum px_close_code closed_with;
    bool closed;
    /* what the client was told */
    enum px_relay_status reserved;
    enum px_relay_class class;
    struct px_relay_leg *leg; /* the last one */
    struct px_peer_id ringing;
    int rings, opens, ends, datas, replies, changes, restarts;
    enum px_relay_status ended, replied;
    struct px_relay_msg reply;
    uint8_t records[4][PX_RELAY_RECORD_MAX];
    size_t record_len[4], record_count, gone_count;
    struct px_peer_id reply_peer;
    struct px_addr observed;
    px_nsec spread;
    char data[64];
    bool consent, silent; /* what it does when rung */
    bool deaf;            /* packets to it are lost */
    bool piped;           /* comes through TCP */
};

/* Kinds of things on their way. */
enum event_kind { TO_SERVER, TO_NODE, PACKET_IN, PACKET_OUT };
struct event {
    struct event *next;
    enum event_kind kind;
    struct node *node;
    size_t len;
    uint8_t data[];
};

/* An item of the store that survives the server. */
struct item {
    struct item *next;
    enum px_relay_item kind;
    size_t key_len, value_len;
    px_nsec until;
    uint8_t key[128], value[1200];
};

struct bed {
    struct px_test_rng rng;
    struct px_relay_server *server;
    struct px_relay_store store;
    bool storing; /* between its begin and end */
    struct px_relay_server_config config;
    struct item *items;
    struct node nodes[NODES_MAX];
    size_t node_count;
    bool member[NODES_MAX];
    unsigned looked_up; /* how often the relay asked whether somebody is one */
    struct event *first, **last;
    px_nsec now;
    int probes, audits;
    bool probes_arrive;
};

static struct node *bed_by_addr(struct bed *b, const struct px_addr *a)
{
    for (size_t i = 0; i < b->node_count; i++)
        if (px_addr_eq(&b->nodes[i].addr, a))
            return &b->nodes[i];
    return NULL;
}

static void bed_queue(struct bed *b, enum event_kind kind, struct node *n, struct px_slice data)
{
    struct event *e = malloc(sizeof(*e) + data.len);
    *e = (struct event){.kind = kind, .node = n, .len = data.len};
    memcpy(e->data, data.data, data.len);
    *b->last = e;
    b->last = &e->next;
}

/* ---- ops of the server ---- */

static void server_send(void *ctx, void *conn, struct px_slice frame)
{
    bed_queue(ctx, TO_NODE, conn, px_slice_skip(frame, 2));
}

static void server_close(void *ctx, void *conn, enum px_close_code code)
{
    struct node *n = conn;
    (void)ctx;
    n->closed = true;
    n->closed_with = code;
}

static void server_probe(void *ctx, const struct px_addr *to, struct px_slice packet)
{
    struct bed *b = ctx;
    b->probes++;
    struct node *n = bed_by_addr(b, to);
    if (n != NULL && b->probes_arrive)
        bed_queue(b, PACKET_OUT, n, packet);
}

static bool server_is_own(void *ctx, const struct px_addr *a)
{
    (void)ctx;
    return a->ip[0] == 192;
}

static bool server_is_member(void *ctx, const struct px_peer_id *id)
{
    struct bed *b = ctx;
    b->looked_up++;
    for (size_t i = 0; i < b->node_count; i++)
        if (px_peer_id_eq(&b->nodes[i].identity.id, id))
            return b->member[i];
    return false;
}

static void server_audit(void *ctx, const struct px_relay_audit *a)
{
    (void)a;
    ((struct bed *)ctx)->audits++;
}

static const struct px_relay_server_ops bed_server_ops = {
    server_send, server_close, server_probe, server_is_own, server_is_member, server_audit};

/* ---- ops of a client ---- */

static void client_send(void *ctx, struct px_slice frame)
{
    struct node *n = ctx;
    bed_queue(n->bed, TO_SERVER, n, px_slice_skip(frame, 2));
}

static void client_packet(void *ctx, struct px_slice packet)
{
    struct node *n = ctx;
    bed_queue(n->bed, PACKET_IN, n, packet);
}

static void client_reserved(void *ctx, enum px_relay_status status, enum px_relay_class class)
{
    struct node *n = ctx;
    n->reserved = status;
    n->class = class;
}

static void client_ring(void *ctx, struct px_relay_leg *leg, const struct px_peer_id *caller)
{
    struct node *n = ctx;
    n->rings++;
    n->ringing = *caller;
    if (n->silent)
        return;
    px_relay_leg_answer(leg, n->consent, n->bed->now);
    n->leg = n->consent ? leg : NULL;
}

static void client_open(void *ctx, struct px_relay_leg *leg)
{
    struct node *n = ctx;
    n->opens++;
    n->leg = leg;
}

static void client_data(void *ctx, struct px_relay_leg *leg, struct px_slice payload)
{
    struct node *n = ctx;
    (void)leg;
    n->datas++;
    snprintf(n->data, sizeof(n->data), "%.*s", (int)payload.len, (const char *)payload.data);
}

static void client_ended(void *ctx, struct px_relay_leg *leg, enum px_relay_status why)
{
    struct node *n = ctx;
    n->ends++;
    n->ended = why;
    if (n->leg == leg)
        n->leg = NULL;
}

static void keep_records(struct node *n, const struct px_relay_msg *m)
{
    n->record_count = 0;
    for (size_t i = 0; i < m->record_count; i++) {
        memcpy(n->records[i], m->records[i].data, m->records[i].len);
        n->record_len[i] = m->records[i].len;
        n->record_count++;
    }
}

static void client_reply(void *ctx, void *token, enum px_relay_status status,
                         const struct px_relay_msg *m)
{
    struct node *n = ctx;
    (void)token;
    n->replies++;
    n->replied = status;
    if (m == NULL)
        return;
    n->reply = *m;
    keep_records(n, m);
}

static void client_observed(void *ctx, const struct px_addr *a)
{
    ((struct node *)ctx)->observed = *a;
}

static void client_changed(void *ctx, const struct px_relay_msg *m)
{
    struct node *n = ctx;
    n->changes++;
    n->gone_count += m->gone_count;
    if (m->record_count > 0)
        keep_records(n, m);
}

static void client_restarting(void *ctx, px_nsec left, px_nsec spread)
{
    struct node *n = ctx;
    (void)left;
    n->restarts++;
    n->spread = spread;
}

static const struct px_relay_client_ops bed_client_ops = {
    client_send,  client_packet, client_reserved, client_ring,    client_open,      client_data,
    client_ended, client_reply,  client_observed, client_changed, client_restarting};

/* ---- a store in memory ---- */

static struct item **bed_item(struct bed *b, enum px_relay_item kind, struct px_slice key)
{
    struct item **at = &b->items;
    while (*at != NULL &&
           ((*at)->kind != kind || !px_slice_eq(px_slice((*at)->key, (*at)->key_len), key)))
        at = &(*at)->next;
    return at;
}

static int store_put(void *ctx, enum px_relay_item kind, struct px_slice key, struct px_slice value,
                     px_nsec ttl)
{
    struct bed *b = ctx;
    struct item **at = bed_item(b, kind, key);
    CHECK(key.len <= sizeof((*at)->key) && value.len <= sizeof((*at)->value));
    if (*at == NULL)
        *at = calloc(1, sizeof(**at));
    (*at)->kind = kind;
    (*at)->key_len = key.len;
    (*at)->value_len = value.len;
    (*at)->until = ttl == PX_NEVER ? PX_NEVER : b->now + ttl;
    memcpy((*at)->key, key.data, key.len);
    memcpy((*at)->value, value.data, value.len);
    return 0;
}

static int store_drop(void *ctx, enum px_relay_item kind, struct px_slice key)
{
    struct item **at = bed_item(ctx, kind, key), *gone = *at;
    if (gone != NULL)
        *at = gone->next;
    free(gone);
    return 0;
}

static int store_begin(void *ctx)
{
    struct bed *b = ctx;
    CHECK(!b->storing);
    b->storing = true;
    return 0;
}

/* It never fails: nothing is to be taken back. */
static int store_end(void *ctx, bool keep)
{
    struct bed *b = ctx;
    CHECK(b->storing && keep);
    b->storing = false;
    return 0;
}

static int store_each(void *ctx, enum px_relay_item kind,
                      void (*fn)(void *fn_ctx, struct px_slice key, struct px_slice value,
                                 px_nsec ttl),
                      void *fn_ctx)
{
    const struct bed *b = ctx;
    for (const struct item *i = b->items; i != NULL; i = i->next)
        if (i->kind == kind && b->now < i->until)
            fn(fn_ctx, px_slice(i->key, i->key_len), px_slice(i->value, i->value_len),
               i->until == PX_NEVER ? PX_NEVER : i->until - b->now);
    return 0;
}

static uint32_t store_day(void *ctx)
{
    return (uint32_t)(((struct bed *)ctx)->now / (24 * 3600 * PX_SEC));
}

static struct px_relay_store bed_store(struct bed *b)
{
    return (struct px_relay_store){.put = store_put,
                                   .drop = store_drop,
                                   .begin = store_begin,
                                   .end = store_end,
                                   .each = store_each,
                                   .day = store_day,
                                   .ctx = b};
}

/* ---- running ---- */

static void deliver(struct bed *b, struct event *e)
{
    struct node *n = e->node;
    struct px_circuits_out out;
    struct px_path path;
    switch (e->kind) {
    case TO_SERVER:
        if (n->session != NULL)
            px_relay_session_input(n->session, px_slice(e->data, e->len), b->now);
        return;
    case TO_NODE:
        if (n->joined)
            CHECK_OK(px_relay_client_input(n->client, px_slice(e->data, e->len), b->now));
        return;
    case PACKET_IN:
        memset(&path, 0, sizeof(path));
        path.remote = n->addr;
        CHECK_INT(px_relay_server_packets(b->server, &path, e->data, e->len, e->len, b->now, &out),
                  e->len);
        if (out.path != NULL && bed_by_addr(b, &out.path->remote) != NULL)
            bed_queue(b, PACKET_OUT, bed_by_addr(b, &out.path->remote), out.data);
        return;
    case PACKET_OUT:
        if (!n->deaf)
            px_relay_client_packet(n->client, px_slice(e->data, e->len), b->now);
        return;
    }
}

static void bed_leave(struct node *n)
{
    if (n->session == NULL)
        return;
    px_relay_session_leave(n->session, n->bed->now);
    n->session = NULL;
    n->joined = false;
    px_relay_client_down(n->client, n->bed->now);
}

/* Everything that is on its way arrives. */
static void bed_settle(struct bed *b)
{
    while (b->first != NULL) {
        struct event *e = b->first;
        b->first = e->next;
        if (b->first == NULL)
            b->last = &b->first;
        deliver(b, e);
        free(e);
        for (size_t i = 0; i < b->node_count; i++)
            if (b->nodes[i].closed)
                bed_leave(&b->nodes[i]);
    }
}

static void bed_step(struct bed *b, px_nsec by)
{
    b->now += by;
    px_relay_server_run(b->server, b->now);
    for (size_t i = 0; i < b->node_count; i++) {
        if (b->nodes[i].closed)
            bed_leave(&b->nodes[i]);
        px_relay_client_run(b->nodes[i].client, b->now);
    }
    bed_settle(b);
}

static void bed_run(struct bed *b, px_nsec time)
{
    for (px_nsec end = b->now + time; b->now < end;)
        bed_step(b, PX_MIN(end - b->now, 50 * PX_MSEC));
}

/* ---- set-up ---- */

static void bed_start(struct bed *b)
{
    CHECK_OK(px_relay_server_new(&b->config, b->now, &b->server));
}

static void bed_init(struct bed *b, bool open)
{
    *b = (struct bed){.now = 5000 * PX_SEC, .probes_arrive = true};
    b->last = &b->first;
    CHECK_OK(px_crypto_init());
    b->store = bed_store(b);
    b->config = (struct px_relay_server_config){.rng = px_test_rng(&b->rng, 11),
                                                .ops = &bed_server_ops,
                                                .ctx = b,
                                                .store = &b->store,
                                                .limits = px_relay_limits_default,
                                                .open = open};
    bed_start(b);
}

static struct node *bed_add(struct bed *b, bool member)
{
    struct node *n = &b->nodes[b->node_count];
    CHECK(b->node_count < NODES_MAX);
    b->member[b->node_count++] = member;
    *n = (struct node){.bed = b, .consent = true};
    struct px_rng rng = {b->config.rng.fill, b->config.rng.ctx};
    const struct px_relay_client_config config = {
        .rng = rng, .ops = &bed_client_ops, .ctx = n, .reserve = true};
    px_identity_generate(&rng, &n->identity);
    memset(&n->addr, 0, sizeof(n->addr));
    n->addr.family = PX_ADDR_IP4;
    n->addr.ip[0] = 10;
    n->addr.ip[3] = (uint8_t)b->node_count;
    n->addr.port = 12303;
    CHECK_OK(px_relay_client_new(&config, &n->client));
    return n;
}

/* False when the relay does not want to hear it. */
static bool bed_join(struct node *n)
{
    struct bed *b = n->bed;
    uint8_t binding[32];
    n->closed = false;
    if (!px_relay_server_hears(b->server, &n->identity.id, b->now))
        return false;
    b->config.rng.fill(b->config.rng.ctx, binding, sizeof(binding));
    CHECK_OK(px_relay_server_join(b->server, n, &n->identity.id, binding, &n->addr, !n->piped,
                                  b->now, &n->session));
    n->joined = true;
    px_relay_session_ready(n->session, b->now);
    px_relay_client_up(n->client, binding, b->now);
    bed_settle(b);
    return true;
}

static struct node *bed_member(struct bed *b)
{
    struct node *n = bed_add(b, true);
    CHECK(bed_join(n));
    CHECK_INT(n->reserved, PX_RELAY_OK);
    return n;
}

/* The relay stops, as by kill -9, and starts again; every node has to join anew. */
static inline void bed_restart(struct bed *b)
{
    for (size_t i = 0; i < b->node_count; i++)
        bed_leave(&b->nodes[i]);
    bed_settle(b);
    px_relay_server_free(b->server);
    bed_start(b);
}

static void bed_end(struct bed *b)
{
    for (size_t i = 0; i < b->node_count; i++)
        bed_leave(&b->nodes[i]);
    bed_settle(b);
    for (size_t i = 0; i < b->node_count; i++)
        px_relay_client_free(b->nodes[i].client);
    px_relay_server_free(b->server);
    while (b->items != NULL)
        (void)!store_drop(b, b->items->kind, px_slice(b->items->key, b->items->key_len));
}

/* ---- what nodes do ---- */

static enum px_relay_status bed_ask(struct node *n, struct px_relay_msg m)
{
    n->replied = (enum px_relay_status)0;
    CHECK_OK(px_relay_client_request(n->client, &m, NULL, n->bed->now));
    bed_settle(n->bed);
    return n->replied;
}

static inline void bed_call(struct node *from, const struct node *to)
{
    CHECK_OK(
        px_relay_client_call(from->client, &to->identity.id, NULL, from->bed->now, &from->leg));
    bed_settle(from->bed);
}

static inline void bed_say(struct node *n, const char *text)
{
    uint8_t packet[PX_RELAY_HEADER_LEN + 64];
    px_relay_leg_header(n->leg, packet);
    memcpy(packet + PX_RELAY_HEADER_LEN, text, strlen(text));
    client_packet(n, px_slice(packet, PX_RELAY_HEADER_LEN + strlen(text)));
    px_relay_leg_sent(n->leg, n->bed->now);
    bed_settle(n->bed);
}

#endif
