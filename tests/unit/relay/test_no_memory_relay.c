/* Relay server and clients while one allocation of ours after the other fails: reservations, calls,
 * the registry, invites, accounts. Requests are answered or refused, legs and requests end once,
 * and with memory back the relay serves as before. */
#include "tests/no_memory.h"

/* The bed's own memory never fails; it must not be what the sweep counts. Of its functions those
 * that expect all to go well have no use here. */
#pragma GCC diagnostic ignored "-Wunused-function"
#define malloc __real_malloc
#define calloc __real_calloc
#include "tests/unit/relay/relay_bed.h"
#undef malloc
#undef calloc

#include "relay/accounts.h"
#include "relay/admission.h"
#include "relay/record.h"

#define PEERS 2

static struct bed bed;

static void node_new(struct node *n)
{
    const struct px_relay_client_config config = {
        .rng = bed.config.rng, .ops = &bed_client_ops, .ctx = n, .reserve = true};
    *n = (struct node){.bed = &bed, .consent = true};
    px_identity_generate(&config.rng, &n->identity);
    n->addr = (struct px_addr){
        .family = PX_ADDR_IP4, .ip = {10, 0, 0, (uint8_t)bed.node_count}, .port = 12303};
    int err;
    ARMED(err = px_relay_client_new(&config, &n->client));
    CHECK_SWEPT(err);
    if (err != 0)
        n->client = NULL;
}

static void join(struct node *n)
{
    uint8_t binding[32] = {(uint8_t)(n - bed.nodes)};
    int err;
    if (n->client == NULL)
        return;
    n->closed = false;
    ARMED(err = px_relay_server_join(bed.server, n, &n->identity.id, binding, &n->addr, true,
                                     bed.now, &n->session));
    CHECK_SWEPT(err);
    if (err != 0)
        return;
    n->joined = true;
    ARMED({
        px_relay_session_ready(n->session, bed.now);
        px_relay_client_up(n->client, binding, bed.now);
        bed_settle(&bed);
    });
}

static struct px_relay_msg msg(enum px_relay_msg_type type)
{
    return (struct px_relay_msg){.type = type, .name_space = PX_SLICE_LIT("default")};
}

/* A request is answered, or did not begin. */
static void ask(struct node *n, struct px_relay_msg m)
{
    int before = n->replies, err;
    if (!n->joined)
        return;
    ARMED({
        err = px_relay_client_request(n->client, &m, NULL, bed.now);
        bed_settle(&bed);
    });
    CHECK(err == 0 || err == PX_ENOMEM);
    if (heap_was_whole())
        CHECK(err == 0 && (n->replied == PX_RELAY_OK || m.type == PX_RELAY_MSG_OBSERVE));
    if (err == 0 && n->replies == before)
        ARMED(bed_run(&bed, PX_RELAY_REQUEST_TIME + PX_SEC)); /* its answer had no memory */
    CHECK(err != 0 || n->replies == before + 1);
}

static void use_registry(struct node *n)
{
    struct px_buf signed_record;
    struct px_relay_msg m = msg(PX_RELAY_MSG_REGISTER);
    const struct px_record r = {.sequence = bed.now,
                                .name_space = m.name_space,
                                .name = PX_SLICE_LIT("ann"),
                                .addrs = {n->addr},
                                .addr_count = 1};
    int err;
    px_buf_init(&signed_record, PX_RELAY_RECORD_MAX);
    ARMED(err = px_record_sign(&n->identity, &r, &signed_record));
    CHECK_SWEPT(err);
    if (err == 0) {
        m.records[0] = px_buf_slice(&signed_record);
        m.record_count = 1;
        ask(n, m);
        m = msg(PX_RELAY_MSG_WATCH);
        m.on = true;
        ask(n, m);
        if (heap_was_whole())
            ask(n, msg(PX_RELAY_MSG_DISCOVER));
        ask(n, msg(PX_RELAY_MSG_OBSERVE));
    }
    px_buf_deinit(&signed_record);
}

static void use_admission(struct node *n)
{
    struct px_relay_msg m = msg(PX_RELAY_MSG_INVITE);
    m.ttl_ms = 60000;
    m.secret[0] = (uint8_t)(n - bed.nodes);
    ask(n, m);
    m = msg(PX_RELAY_MSG_VOUCH);
    m.peer.key[0] = 9;
    m.on = true;
    ask(n, m);
}

static void report(struct node *n, const struct node *other)
{
    struct px_relay_msg m = msg(PX_RELAY_MSG_REPORT);
    struct px_transfer t = {
        .sender = n->identity.id, .receiver = other->identity.id, .bytes = 1000};
    m.peer = other->identity.id;
    m.bytes = t.bytes;
    m.direction = PX_RELAY_SENT;
    px_transfer_sign(&n->identity, &t, m.signature);
    ask(n, m);
    m = msg(PX_RELAY_MSG_TOTALS);
    m.peer = other->identity.id;
    if (heap_was_whole())
        ask(n, m);
}

/* A call opens or ends, at both sides. */
static void call(struct node *a, struct node *c)
{
    int err;
    if (!a->joined || !c->joined)
        return;
    ARMED(err = px_relay_client_call(a->client, &c->identity.id, NULL, bed.now, &a->leg));
    CHECK(err == 0 || err == PX_ENOMEM);
    if (err != 0)
        a->leg = NULL;
    ARMED({
        bed_settle(&bed);
        bed_run(&bed, 12 * PX_SEC);
    });
    if (heap_was_whole())
        CHECK(a->opens == 1 && c->opens == 1);
    CHECK(a->leg == NULL || px_relay_leg_is_open(a->leg));
    if (a->leg != NULL)
        ARMED(px_relay_leg_end(a->leg));
    a->leg = NULL;
    ARMED({
        bed_settle(&bed);
        bed_run(&bed, 90 * PX_SEC);
    });
    CHECK(!a->joined || px_relay_client_legs(a->client) == 0);
    CHECK(!c->joined || px_relay_client_legs(c->client) == 0);
}

static void leave(struct node *n)
{
    if (n->session != NULL)
        ARMED(bed_leave(n));
    n->leg = NULL;
}

/* There is memory again: they join anew and call each other. */
static void recover(struct node *a, struct node *c)
{
    bed.config.rng = px_test_rng(&bed.rng, 77);
    for (size_t i = 0; i < bed.node_count; i++) {
        uint8_t binding[32] = {(uint8_t)i};
        struct node *n = &bed.nodes[i];
        leave(n);
        bed_settle(&bed);
        bed_run(&bed, 5 * PX_SEC);
        n->closed = false;
        CHECK_OK(px_relay_server_join(bed.server, n, &n->identity.id, binding, &n->addr, true,
                                      bed.now, &n->session));
        n->joined = true;
        px_relay_session_ready(n->session, bed.now);
        px_relay_client_up(n->client, binding, bed.now);
        bed_settle(&bed);
        CHECK_INT(n->reserved, PX_RELAY_OK);
        n->opens = 0;
    }
    bed_call(a, c);
    CHECK(a->opens == 1 && c->opens == 1);
    bed_say(a, "hello");
    CHECK_STR(c->data, "hello");
    px_relay_leg_end(a->leg);
    bed_settle(&bed);
}

/* The relay starts again and reads its store. */
static void restart(void)
{
    int err;
    for (size_t i = 0; i < bed.node_count; i++)
        leave(&bed.nodes[i]);
    bed_settle(&bed);
    px_relay_server_free(bed.server);
    ARMED(err = px_relay_server_new(&bed.config, bed.now, &bed.server));
    CHECK_SWEPT(err);
    if (err != 0)
        CHECK_OK(px_relay_server_new(&bed.config, bed.now, &bed.server));
}

static void live(void)
{
    struct node *a = &bed.nodes[0], *c = &bed.nodes[1];
    join(a);
    join(c);
    use_registry(a);
    use_admission(a);
    report(a, c);
    call(a, c);
    ARMED(px_relay_server_recheck(bed.server, true, bed.now));
    restart();
    if (a->client != NULL && c->client != NULL)
        recover(a, c);
}

static void serve(void)
{
    int err;
    bed = (struct bed){.now = 5000 * PX_SEC, .probes_arrive = true};
    bed.last = &bed.first;
    bed.store = bed_store(&bed);
    bed.config = (struct px_relay_server_config){.rng = px_test_rng(&bed.rng, 11),
                                                 .ops = &bed_server_ops,
                                                 .ctx = &bed,
                                                 .store = &bed.store,
                                                 .limits = px_relay_limits_default};
    ARMED(err = px_relay_server_new(&bed.config, bed.now, &bed.server));
    CHECK_SWEPT(err);
    if (err != 0)
        return;
    for (size_t i = 0; i < PEERS; i++) {
        bed.member[i] = true;
        bed.node_count++;
        node_new(&bed.nodes[i]);
    }
    live();
    bed_end(&bed);
}

TEST(the_relay_and_its_clients_survive_any_lack_of_memory)
{
    CHECK_OK(px_crypto_init());
    sweep(serve, 10);
}

static void count_sources(void)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 1);
    struct px_asn_table *table = NULL;
    struct px_asn_error bad;
    struct px_sources *s = NULL;
    struct px_source source;
    struct px_addr a;
    int err;
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("10.1.2.3:1"), &a));
    ARMED(err = px_asn_table_parse(PX_SLICE_LIT("10.0.0.0/8 1\n10.1.0.0/16 2\n10.1.2.0/24 3\n"),
                                   &table, &bad));
    CHECK_SWEPT(err);
    ARMED(err = px_sources_new(&rng, &s));
    CHECK_SWEPT(err);
    if (err == 0) {
        px_source_of(table, &a, &source);
        ARMED(err = px_sources_add(s, &source, 2, 2));
        CHECK_SWEPT(err);
        CHECK(err == 0 || px_sources_count(s) == 0);
        if (err == 0)
            px_sources_remove(s, &source);
        CHECK_INT(px_sources_count(s), 0);
    }
    px_sources_free(s);
    px_asn_table_free(table);
}

TEST(counting_of_sources_survives_any_lack_of_memory)
{
    sweep(count_sources, 4);
}
