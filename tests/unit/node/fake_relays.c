/* See fake_relays.h. */
#include "tests/unit/node/fake_relays.h"

#include <stdlib.h>
#include <unistd.h>

#include "node/relay_list_io.h"
#include "tests/test.h"

static struct fake *fake;

struct px_control_stream {
    const struct px_control_stream_ops *ops;
    void *ctx;
    struct px_link *link;
};

struct px_relay_client {
    struct px_relay_client_config config;
    struct px_relay *relay;
    bool up;
    size_t legs;
};

px_nsec px_now_io(void)
{
    return fake->now;
}

/* ---- links to relays ---- */

int px_peers_dial_relay(struct px_peers *p, const struct px_peer_id *id, const struct px_addr *addr,
                        const struct px_relay_link_ops *ops, void *ctx, struct px_link **ret)
{
    (void)p, (void)id;
    CHECK(fake->link_count < FAKE_LINKS);
    struct px_link *l = &fake->links[fake->link_count++];
    *l = (struct px_link){.ops = ops, .relay = ctx, .addr = *addr, .dialled_at = fake->now};
    *ret = l;
    return 0;
}

static void link_down(struct px_link *l, int err)
{
    if (l->dead)
        return;
    l->dead = true;
    struct px_control_stream *s = l->stream;
    l->stream = NULL;
    if (s != NULL)
        s->ops->closed(s->ctx);
    free(s);
    if (l->ops != NULL)
        l->ops->down(l->relay, err);
}

void px_peers_forget_relay(struct px_peers *p, void *ctx)
{
    (void)p;
    for (size_t i = 0; i < fake->link_count; i++)
        if (fake->links[i].relay == ctx && fake->links[i].ops != NULL) {
            fake->links[i].ops = NULL;
            fake->links[i].closed = true;
        }
}

void px_link_close(struct px_link *l, enum px_close_code code)
{
    (void)code;
    l->closed = true;
}

void px_link_path(const struct px_link *l, struct px_path *ret)
{
    *ret = (struct px_path){.remote = l->addr};
}

void px_link_binding(const struct px_link *l, uint8_t ret[PX_LINK_BINDING_LEN])
{
    (void)l;
    memset(ret, 7, PX_LINK_BINDING_LEN);
}

void px_link_prefer(struct px_link *l, const struct px_addr *remote)
{
    (void)l, (void)remote;
}

int px_link_ping(struct px_link *l, uint64_t *ret_nonce)
{
    *ret_nonce = ++l->pings;
    return 0;
}

static void answer_pings(struct px_link *l)
{
    if (l->up && !l->dead && !l->closed && !l->mute && l->pings > 0 && l->ops != NULL) {
        l->pings = 0;
        l->ops->pong(l->relay, 10 * PX_MSEC);
    }
}

int px_control_stream_open(struct px_link *l, const struct px_control_stream_ops *ops, void *ctx,
                           struct px_control_stream **ret)
{
    struct px_control_stream *s = malloc(sizeof(*s));
    CHECK(s != NULL);
    *s = (struct px_control_stream){ops, ctx, l};
    l->stream = *ret = s;
    return 0;
}

void px_control_stream_send(struct px_control_stream *c, struct px_slice frame)
{
    (void)c, (void)frame;
}

int px_peers_open_pipe(struct px_peers *p, const struct px_addr *tcp, const char *name,
                       const struct px_tls_pipes_ops *ops, void *ctx, struct px_addr *ret)
{
    (void)p, (void)tcp, (void)name, (void)ops, (void)ctx, (void)ret;
    return PX_EOFFLINK;
}

void px_peers_pipe_proved(struct px_peers *p, const struct px_addr *pipe)
{
    (void)p, (void)pipe;
}

void px_peers_close_pipe(struct px_peers *p, const struct px_addr *pipe)
{
    (void)p, (void)pipe;
}

/* ---- the client core ---- */

int px_relay_client_new(const struct px_relay_client_config *config, struct px_relay_client **ret)
{
    struct px_relay_client *c = calloc(1, sizeof(*c));
    CHECK(c != NULL);
    c->config = *config;
    c->relay = config->ctx;
    *ret = c;
    return 0;
}

void px_relay_client_free(struct px_relay_client *c)
{
    free(c);
}

void px_relay_client_up(struct px_relay_client *c,
                        const uint8_t binding[PX_RELAY_CLIENT_BINDING_LEN], px_nsec now)
{
    (void)binding, (void)now;
    c->up = true;
}

void px_relay_client_set_reserve(struct px_relay_client *c, bool reserve, px_nsec now)
{
    (void)c, (void)now;
    fake->reserve_count += reserve;
}

/* As relay/client_legs: an open leg outlives the control stream, the others do not. */
void px_relay_client_down(struct px_relay_client *c, px_nsec now)
{
    (void)now;
    c->up = false;
    for (size_t i = 0; i < fake->leg_count; i++)
        if (fake->legs[i].client == c && !fake->legs[i].open)
            fake_refuse(fake, &fake->legs[i], PX_RELAY_NO_ANSWER);
}

int px_relay_client_input(struct px_relay_client *c, struct px_slice body, px_nsec now)
{
    (void)c, (void)body, (void)now;
    return 0;
}

bool px_relay_client_packet(struct px_relay_client *c, struct px_slice packet, px_nsec now)
{
    (void)c, (void)packet, (void)now;
    fake->packet_count++;
    return false;
}

void px_relay_client_network_changed(struct px_relay_client *c, px_nsec now)
{
    (void)c, (void)now;
}

int px_relay_client_request(struct px_relay_client *c, struct px_relay_msg *m, void *token,
                            px_nsec now)
{
    if (!c->up)
        return PX_ESTATE;
    if (fake->request_count == FAKE_ASKED)
        return 0;
    struct fake_request *q = &fake->requests[fake->request_count++];
    *q = (struct fake_request){.relay = c->relay, .token = token, .at = now};
    m->request = (uint32_t)fake->request_count;
    px_buf_init(&q->bytes, PX_RELAY_FRAME_MAX);
    CHECK_OK(px_relay_msg_put(&q->bytes, m)); /* what could not be sent is no request */
    CHECK_OK(px_relay_msg_decode(px_buf_slice(&q->bytes), &q->m));
    return 0;
}

static bool is_asked(struct fake *f, const struct fake_request *q, size_t number,
                     enum px_relay_msg_type type)
{
    return q->relay == fake_relay(f, number) && q->m.type == type;
}

struct fake_request *fake_asked(struct fake *f, size_t number, enum px_relay_msg_type type)
{
    for (size_t i = 0; i < f->request_count; i++)
        if (!f->requests[i].answered && is_asked(f, &f->requests[i], number, type))
            return &f->requests[i];
    return NULL;
}

size_t fake_asked_count(struct fake *f, size_t number, enum px_relay_msg_type type)
{
    size_t n = 0;
    for (size_t i = 0; i < f->request_count; i++)
        n += is_asked(f, &f->requests[i], number, type);
    return n;
}

void fake_answer(struct fake *f, struct fake_request *q, enum px_relay_status status,
                 const struct px_relay_msg *m)
{
    (void)f;
    CHECK(q != NULL && !q->answered);
    q->answered = true;
    q->relay->client->config.ops->reply(q->relay, q->token, status, m);
}

int px_relay_client_probe(struct px_relay_client *c, const struct px_addr *a, bool pays,
                          void *token, px_nsec now)
{
    (void)now;
    if (!c->up || fake->probe_count == PX_ARRAY_LEN(fake->probes))
        return PX_EBUSY;
    fake->probes[fake->probe_count++] = (struct fake_probe){c->relay, *a, token, pays, false};
    return 0;
}

bool fake_answer_probe(struct fake *f, size_t i, enum px_relay_status status)
{
    struct fake_probe *p = &f->probes[i];
    CHECK(i < f->probe_count && !p->answered);
    p->answered = status != PX_RELAY_DATA_NEEDED || !p->pays;
    p->relay->client->config.ops->reply(p->relay, p->token, status, NULL);
    return !p->answered;
}

static struct px_relay_leg *leg_new(struct px_relay_client *c, const struct px_peer_id *peer)
{
    CHECK(fake->leg_count < FAKE_EVENTS);
    struct px_relay_leg *l = &fake->legs[fake->leg_count++];
    *l = (struct px_relay_leg){.client = c, .peer = *peer, .used = true};
    c->legs++;
    return l;
}

static void leg_gone(struct px_relay_leg *l)
{
    CHECK(l->used);
    l->used = false;
    l->client->legs--;
}

int px_relay_client_call(struct px_relay_client *c, const struct px_peer_id *peer, void *user,
                         px_nsec now, struct px_relay_leg **ret)
{
    (void)now;
    if (!c->up)
        return PX_ESTATE;
    *ret = leg_new(c, peer);
    (*ret)->user = user;
    (*ret)->ours = true;
    return 0;
}

void px_relay_leg_answer(struct px_relay_leg *l, bool consent, px_nsec now)
{
    (void)now;
    if (consent)
        return;
    fake->declined++;
    leg_gone(l);
}

void px_relay_leg_end(struct px_relay_leg *l)
{
    l->ended = true;
    leg_gone(l);
}

uint64_t px_relay_leg_rate(const struct px_relay_leg *l, uint64_t *ret_burst)
{
    (void)l;
    return *ret_burst = 0;
}

void px_relay_leg_header(const struct px_relay_leg *l, uint8_t out[PX_RELAY_HEADER_LEN])
{
    (void)l;
    memset(out, 0, PX_RELAY_HEADER_LEN);
}

void px_relay_leg_sent(struct px_relay_leg *l, px_nsec now)
{
    (void)l, (void)now;
}

void *px_relay_leg_user(const struct px_relay_leg *l)
{
    return l->user;
}

void px_relay_leg_set_user(struct px_relay_leg *l, void *user)
{
    l->user = user;
}

void px_relay_client_run(struct px_relay_client *c, px_nsec now)
{
    (void)c, (void)now;
}

px_nsec px_relay_client_deadline(const struct px_relay_client *c)
{
    (void)c;
    return PX_NEVER;
}

size_t px_relay_client_legs(const struct px_relay_client *c)
{
    return c->legs;
}

/* ---- peers ---- */

static struct fake_peer *peer_of(const struct px_peer_id *id)
{
    for (size_t i = 0; i < FAKE_PEERS; i++)
        if (px_peer_id_eq(&fake->peers[i].id, id))
            return &fake->peers[i];
    CHECK(false); /* not one of the test */
    return NULL;
}

void px_peers_set_circuits(struct px_peers *p, const struct px_circuit_ops *ops, void *ctx)
{
    (void)p, (void)ctx;
    fake->circuits = ops != NULL ? *ops : (struct px_circuit_ops){0};
}

void px_peers_set_relays(struct px_peers *p, const char *const *names, size_t count)
{
    (void)p;
    CHECK(count <= PX_PEER_RELAYS_MAX);
    fake->usable_count = count;
    for (size_t i = 0; i < count; i++)
        snprintf(fake->usable[i], sizeof(fake->usable[i]), "%s", names[i]);
}

void px_peers_circuit(struct px_peers *p, const struct px_peer_id *id, uint64_t token,
                      const struct px_addr *circuit, int err)
{
    struct fake_peer *x = peer_of(id);
    (void)p;
    x->answers++;
    x->token = token;
    x->circuit = circuit != NULL ? *circuit : (struct px_addr){0};
    x->err = err;
}

bool px_peers_may_come(struct px_peers *p, const struct px_peer_id *id)
{
    (void)p;
    return !peer_of(id)->stranger;
}

bool px_peers_expects(const struct px_peers *p, const struct px_peer_id *id)
{
    (void)p;
    return peer_of(id)->expected;
}

bool px_peers_is_connected(struct px_peers *p, const struct px_peer_id *id)
{
    (void)p;
    return peer_of(id)->remote.family != PX_ADDR_NONE;
}

bool px_peers_link_remote(struct px_peers *p, const struct px_peer_id *id, struct px_addr *ret)
{
    *ret = peer_of(id)->remote;
    return px_peers_is_connected(p, id);
}

bool px_peers_link_on(struct px_peers *p, const struct px_peer_id *id,
                      const struct px_addr *circuit)
{
    struct px_addr remote;
    return px_peers_link_remote(p, id, &remote) && px_addr_eq(&remote, circuit);
}

bool px_peers_in_doubt(struct px_peers *p, const struct px_peer_id *id)
{
    return px_peers_is_connected(p, id) && peer_of(id)->lost;
}

void px_peers_suggest(struct px_peers *p, const struct px_peer_id *id, const struct px_addr *addr)
{
    struct fake_peer *x = peer_of(id);
    (void)p;
    x->suggested = *addr;
    x->suggested_count++;
}

void px_peers_prefer(struct px_peers *p, const struct px_peer_id *id, const struct px_addr *addr)
{
    struct fake_peer *x = peer_of(id);
    (void)p;
    x->preferred = *addr;
    x->preferred_count++;
}

void px_peers_leave_circuits(struct px_peers *p)
{
    (void)p;
}

void px_peers_carried(struct px_peers *p, const struct px_addr *circuit, unsigned ecn,
                      struct px_slice datagram)
{
    (void)p, (void)circuit, (void)ecn, (void)datagram;
}

int px_peers_send(struct px_peers *p, const struct px_path *path, unsigned ecn,
                  struct px_slice data, size_t segment)
{
    (void)p, (void)path, (void)ecn, (void)data, (void)segment;
    return 0;
}

void px_peers_found(void *peers, const struct px_peer_id *id, const struct px_addr *addr,
                    enum px_source source)
{
    (void)peers;
    if (source != PX_SOURCE_RECORD || fake->found_count == PX_ARRAY_LEN(fake->found))
        return;
    fake->found[fake->found_count].id = *id;
    fake->found[fake->found_count++].addr = *addr;
}

void px_peers_each_traffic(struct px_peers *p,
                           void (*each)(void *ctx, const struct px_peer_traffic *t), void *ctx)
{
    (void)p;
    fake->looks++;
    each(ctx, &fake->traffic);
}

uint64_t px_peers_moved(const struct px_peers *p)
{
    (void)p;
    return fake->traffic.sent + fake->traffic.received;
}

const struct px_authorized_keys *px_allowlist_keys(const struct px_allowlist *a)
{
    (void)a;
    return fake->keys;
}

const struct px_addr *px_peers_local(const struct px_peers *p)
{
    static const struct px_addr any = {.family = PX_ADDR_IP4, .port = 12304};
    (void)p;
    return &any;
}

/* ---- what tests use ---- */

static void write_file(struct fake *f, size_t relays)
{
    for (size_t i = 1; i <= relays; i++) {
        struct px_relay_entry e = {.addr_count = 1};
        struct px_ed25519_secret secret;
        uint8_t seed[32] = {(uint8_t)i, 42};
        px_ed25519_from_seed(seed, &secret, e.id.key);
        snprintf(e.name, sizeof(e.name), "r%zu", i);
        snprintf(e.addrs[0], sizeof(e.addrs[0]), "203.0.113.%zu:12307", i);
        CHECK_OK(px_relay_file_set(f->path, &e));
    }
}

static void open_set(struct fake *f)
{
    const struct px_relays_config c = {.loop = &f->loop,
                                       .path = f->path,
                                       .names_path = f->names_path,
                                       .owed_path = f->owed_path,
                                       .identity = &f->identity,
                                       .network = "default",
                                       .report_transfers = true};
    f->closed = false;
    CHECK_OK(px_relays_new(&c, &f->set));
}

struct fake *fake_start(size_t relays)
{
    struct fake *f = fake = calloc(1, sizeof(*f));
    CHECK(f != NULL);
    f->now = FAKE_FOREVER;
    snprintf(f->dir, sizeof(f->dir), "/tmp/px-relays-XXXXXX");
    CHECK(mkdtemp(f->dir) != NULL);
    snprintf(f->path, sizeof(f->path), "%s/relays", f->dir);
    write_file(f, relays);
    for (size_t i = 0; i < FAKE_PEERS; i++) {
        f->peers[i].id.key[0] = (uint8_t)(i + 1);
        f->peers[i].id.key[1] = (uint8_t)((i + 1) >> 8);
    }
    CHECK_INT(uv_loop_init(&f->loop), 0);
    snprintf(f->owed_path, sizeof(f->owed_path), "%s/relay-owed", f->dir);
    snprintf(f->names_path, sizeof(f->names_path), "%s/network-names", f->dir);
    CHECK_OK(px_crypto_init());
    px_identity_generate(&px_system_rng, &f->identity);
    open_set(f);
    return f;
}

static void on_closed(void *ctx)
{
    ((struct fake *)ctx)->closed = true;
}

static void settle(struct fake *f)
{
    for (size_t i = 0; i < f->link_count; i++) {
        if (f->links[i].closed)
            link_down(&f->links[i], PX_ECLOSED);
        answer_pings(&f->links[i]);
    }
}

static void close_set(struct fake *f)
{
    px_relays_close(f->set, on_closed, f);
    while (!f->closed || uv_loop_alive(&f->loop)) {
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
        settle(f);
    }
}

void fake_restart(struct fake *f)
{
    close_set(f);
    for (size_t i = 0; i < f->request_count; i++)
        px_buf_deinit(&f->requests[i].bytes);
    f->request_count = 0;
    open_set(f);
}

void fake_end(struct fake *f)
{
    close_set(f);
    for (size_t i = 0; i < f->request_count; i++)
        px_buf_deinit(&f->requests[i].bytes);
    px_authorized_keys_free(f->keys);
    CHECK_INT(uv_loop_close(&f->loop), 0);
    char lock[sizeof(f->path) + 8];
    snprintf(lock, sizeof(lock), "%s.lock", f->path);
    (void)unlink(lock);
    (void)unlink(f->path);
    (void)unlink(f->owed_path);
    (void)unlink(f->names_path);
    CHECK_INT(rmdir(f->dir), 0);
    free(f);
    fake = NULL;
}

void fake_run(struct fake *f, px_nsec until)
{
    px_nsec at;
    settle(f);
    while ((at = px_relays_deadline(f->set)) <= until) {
        f->now = PX_MAX(f->now, at);
        px_relays_run(f->set, f->now);
        settle(f);
    }
    f->now = until;
}

void fake_wait(struct fake *f, px_nsec time)
{
    fake_run(f, f->now + time);
}

struct px_relay *fake_relay(struct fake *f, size_t number)
{
    PX_LIST_EACH(it, &f->set->all)
        if (--number == 0)
            return px_relay_at(it);
    CHECK(false); /* no such relay */
    return NULL;
}

void fake_up(struct fake *f, size_t number)
{
    struct px_relay *r = fake_relay(f, number);
    CHECK(r->link != NULL && !r->link->up);
    r->link->up = true;
    r->link->ops->up(r, r->link);
}

void fake_reserve_as(struct fake *f, size_t number, enum px_relay_class class)
{
    struct px_relay *r = fake_relay(f, number);
    fake_up(f, number);
    r->client->config.ops->reserved(r, PX_RELAY_OK, class);
}

void fake_reserve(struct fake *f, size_t number)
{
    fake_reserve_as(f, number, PX_RELAY_STRANGER);
}

void fake_reserve_all(struct fake *f)
{
    size_t n = 0;
    PX_LIST_EACH(it, &f->set->all)
        n++;
    fake_wait(f, 0);
    for (size_t i = 1; i <= n; i++)
        fake_reserve(f, i);
    fake_wait(f, 0);
}

void fake_down(struct fake *f, size_t number, int err)
{
    struct px_relay *r = fake_relay(f, number);
    CHECK(r->link != NULL);
    link_down(r->link, err);
}

void fake_kill(struct fake *f, size_t number)
{
    fake_relay(f, number)->link->mute = true;
}

size_t fake_dials(const struct fake *f, size_t number)
{
    const struct px_relay *r = fake_relay((struct fake *)(uintptr_t)f, number);
    size_t n = 0;
    for (size_t i = 0; i < f->link_count; i++)
        n += f->links[i].relay == r;
    return n;
}

struct px_relay_leg *fake_call_at(struct fake *f, size_t number)
{
    const struct px_relay *r = fake_relay(f, number);
    for (size_t i = f->leg_count; i-- > 0;) {
        struct px_relay_leg *l = &f->legs[i];
        if (l->client == r->client && l->ours && l->used && !l->open)
            return l;
    }
    return NULL;
}

size_t fake_calls(const struct fake *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->leg_count; i++)
        n += f->legs[i].ours;
    return n;
}

void fake_open(struct fake *f, struct px_relay_leg *leg)
{
    (void)f;
    CHECK(leg != NULL && leg->used && !leg->open);
    leg->open = true;
    leg->client->config.ops->open(leg->client->relay, leg);
}

void fake_refuse(struct fake *f, struct px_relay_leg *leg, enum px_relay_status why)
{
    (void)f;
    CHECK(leg != NULL);
    if (!leg->used)
        return;
    leg->client->config.ops->ended(leg->client->relay, leg, why);
    leg_gone(leg);
}

struct px_relay_leg *fake_ring(struct fake *f, size_t number, const struct px_peer_id *caller)
{
    struct px_relay_client *c = fake_relay(f, number)->client;
    struct px_relay_leg *l = leg_new(c, caller);
    c->config.ops->ring(c->relay, l, caller);
    return l->used ? l : NULL;
}

struct px_circuit *fake_circuit(const struct px_relay_leg *leg)
{
    CHECK(leg != NULL && leg->used);
    return leg->user;
}
