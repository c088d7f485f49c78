/* Many nodes at one relay, in one process, each with a socket and identity of its own: they
 * register, call each other, send a little, hang up, now and then leave and come back. Identities
 * follow from their number, so that the relay can be told of them first. relay_swarm ids COUNT
 *   relay_swarm run COUNT SECONDS IP:PORT RELAY-ID [idle|hammer]
 * idle: they connect, as many at a time as a relay takes without asking for a Retry, register and
 * do nothing more; each GROUP of them in a process of its own. hammer: other identities, which the
 * relay refuses, dial again and again, HAMMER_RATE times a second in all. Ends with one line of
 * counts; exit code 1 if anything came that should not. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/record.h"
#include "tests/relay_node.h"

#define TICK_MS     20
#define DIALS_TICK  8
#define HAMMER_RATE 1000
#define STRANGERS   1000000      /* the number of the first identity that hammers */
#define HOLD        (2 * PX_SEC) /* a circuit is used for so long */
#define WATCHERS    20           /* one in so many watches who comes and goes */
#define LEAVERS     50           /* one act in so many is to leave */
#define GROUP       500          /* also below what a namespace holds */
#define PENDING     3            /* dials of a group under way */

struct member {
    struct relay_node node;
    struct px_relay_leg *called; /* the circuit it made */
    px_nsec hang_up_at;
    uint64_t number;
    bool up, away;
};

static struct member *members;
static size_t first, count, started; /* the number of the first; how many */
static char name_space[PX_RELAY_NAMESPACE_MAX + 1] = "default";
static bool idle, hammer;
static uv_loop_t loop;
static uv_timer_t tick;
static px_nsec end_at;
static uint64_t random_state = 12345;
static struct {
    size_t up, reserved, calls, opens, packets, ended_early, downs, dials, registered, changes, bad;
} stats;

static uint64_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 33;
}

static void fill(void *ctx, void *buf, size_t len)
{
    uint64_t *n = ctx;
    memset(buf, 0x5e, len);
    if (len >= sizeof(*n))
        memcpy(buf, n, sizeof(*n));
}

static void identity_of(size_t i, struct px_identity *ret)
{
    uint64_t n = i + 1;
    const struct px_rng rng = {fill, &n};
    px_identity_generate(&rng, ret);
}

static void on_link(struct relay_node *n, bool up, int err)
{
    struct member *m = n->user;
    (void)err;
    stats.bad += up && hammer;
    stats.up += up ? 1 : 0;
    stats.up -= !up && m->up ? 1 : 0;
    stats.downs += !up;
    m->up = up;
    m->away = !up;
}

static void do_register(struct member *m)
{
    struct px_record r = {.name_space = px_slice_cstr(name_space), .sequence = ++m->number};
    struct px_relay_msg msg = {
        .type = PX_RELAY_MSG_REGISTER, .name_space = r.name_space, .record_count = 1};
    struct px_buf out;
    r.addrs[r.addr_count++] = m->node.path.local;
    px_buf_init(&out, PX_RELAY_RECORD_MAX);
    if (px_record_sign(&m->node.identity, &r, &out) == 0) {
        msg.records[0] = px_buf_slice(&out);
        (void)!px_relay_client_request(m->node.client, &msg, NULL, px_now_io());
    }
    px_buf_deinit(&out);
}

static void do_watch(struct member *m)
{
    struct px_relay_msg msg = {
        .type = PX_RELAY_MSG_WATCH, .name_space = px_slice_cstr(name_space), .on = true};
    (void)!px_relay_client_request(m->node.client, &msg, NULL, px_now_io());
}

static void on_changed(void *ctx, const struct px_relay_msg *m)
{
    (void)ctx;
    (void)m;
    stats.changes++;
}

static void on_reserved(void *ctx, enum px_relay_status status, enum px_relay_class class)
{
    struct relay_node *n = ctx;
    struct member *m = n->user;
    (void)class;
    if (status != PX_RELAY_OK && status != PX_RELAY_NO_RESERVATION)
        stats.bad++;
    if (status != PX_RELAY_OK)
        return;
    stats.reserved++;
    do_register(m);
    if (!idle && (size_t)(m - members) % WATCHERS == 0)
        do_watch(m);
}

static void on_open(void *ctx, struct px_relay_leg *leg)
{
    struct relay_node *n = ctx;
    stats.opens++;
    relay_node_send(n, leg, PX_SLICE_LIT("hello from the swarm"));
}

static void on_data(void *ctx, struct px_relay_leg *leg, struct px_slice payload)
{
    (void)ctx;
    (void)leg;
    stats.packets++;
    stats.bad += !px_slice_eq_cstr(payload, "hello from the swarm");
}

static void on_ended(void *ctx, struct px_relay_leg *leg, enum px_relay_status why)
{
    struct member *m = ((struct relay_node *)ctx)->user;
    stats.ended_early += m->called == leg;
    if (m->called == leg)
        m->called = NULL;
    /* a callee that is busy or away just now is the swarm's own doing */
    stats.bad += why == PX_RELAY_MALFORMED_MESSAGE || why == PX_RELAY_INTERNAL;
}

static void on_reply(void *ctx, void *token, enum px_relay_status status,
                     const struct px_relay_msg *m)
{
    (void)ctx;
    (void)token;
    (void)m;
    stats.registered += status == PX_RELAY_OK;
    stats.bad += status != PX_RELAY_OK && status != PX_RELAY_NO_ANSWER;
}

static const struct px_relay_client_ops ops = {.reserved = on_reserved,
                                               .open = on_open,
                                               .data = on_data,
                                               .ended = on_ended,
                                               .reply = on_reply,
                                               .changed = on_changed};

static void act(struct member *m, px_nsec now)
{
    struct member *other = &members[next_random() % count];
    if (m->away && !m->up) {
        m->away = false;
        stats.dials++;
        stats.bad += relay_node_dial(&m->node) != 0;
        return;
    }
    if (!m->up)
        return;
    if (m->called != NULL && now >= m->hang_up_at) {
        px_relay_leg_end(m->called);
        m->called = NULL;
    } else if (m->called == NULL && other != m) {
        stats.calls++;
        m->hang_up_at = now + HOLD;
        if (px_relay_client_call(m->node.client, &other->node.identity.id, NULL, now, &m->called))
            m->called = NULL;
    }
    if (next_random() % LEAVERS == 0 && m->called == NULL) /* leaves, and comes back later */
        px_link_close(m->node.link, PX_CLOSE_SHUTDOWN);
}

/* As many dials as are due. */
static void hammer_on(px_nsec now)
{
    static px_nsec began;
    began = began == 0 ? now : began;
    uint64_t due = (now - began) * HAMMER_RATE / PX_SEC;
    for (size_t i = 0; i < count && stats.dials < due; i++)
        if (members[i].away) {
            members[i].away = false;
            stats.dials++;
            stats.bad += relay_node_dial(&members[i].node) != 0;
        }
}

/* What timed out on a busy machine. */
static void dial_again(void)
{
    for (size_t i = 0; i < started; i++)
        if (members[i].away) {
            members[i].away = false;
            stats.dials++;
            stats.bad += relay_node_dial(&members[i].node) != 0;
        }
}

static void stop(void)
{
    uv_close((uv_handle_t *)&tick, NULL);
    printf("up=%zu reserved=%zu registered=%zu changes=%zu calls=%zu opens=%zu packets=%zu "
           "downs=%zu bad=%zu\n",
           stats.up, stats.reserved, stats.registered, stats.changes, stats.calls, stats.opens,
           stats.packets, stats.downs, stats.bad);
    fflush(stdout);
    for (size_t i = 0; i < started; i++) {
        members[i].node.link_changed = NULL;
        relay_node_close(&members[i].node);
    }
}

static void on_tick(uv_timer_t *t)
{
    static struct px_peer_id relay;
    static struct px_addr addr;
    const char *const *argv = t->data;
    px_nsec now = px_now_io();
    if (started == 0 && (px_peer_id_parse(px_slice_cstr(argv[5]), &relay) != 0 ||
                         px_addr_parse(px_slice_cstr(argv[4]), &addr) != 0))
        exit(2);
    for (int i = 0; i < DIALS_TICK && started < count; i++) {
        if (idle && started - stats.up >= PENDING)
            break;
        struct member *m = &members[started++];
        m->node.user = m;
        m->node.link_changed = on_link;
        if (relay_node_start(&m->node, &loop, &relay, &addr, "default", &ops, true) != 0) {
            fprintf(stderr, "cannot start node %zu\n", started);
            exit(1);
        }
    }
    if (now >= end_at) {
        stop();
        return;
    }
    if (hammer && started == count)
        hammer_on(now);
    if (idle && stats.up < started)
        dial_again();
    if (idle && started == count)
        uv_timer_set_repeat(t, 100 * TICK_MS); /* what is left to do can wait */
    /* every node about every four seconds */
    for (size_t i = 0; !idle && !hammer && started == count && i <= count * TICK_MS / 4000; i++)
        act(&members[next_random() % count], now);
}

static int run(const char **argv, uint64_t seconds)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024); /* receive buffers: untouched, not resident */
    members = calloc(count, sizeof(*members));
    if (members == NULL)
        return 1;
    for (size_t i = 0; i < count; i++)
        identity_of((hammer ? STRANGERS : first) + i, &members[i].node.identity);
    uv_loop_init(&loop);
    uv_timer_init(&loop, &tick);
    tick.data = argv;
    end_at = px_now_io() + seconds * PX_SEC;
    uv_timer_start(&tick, on_tick, 0, hammer || idle ? 2 : TICK_MS);
    uv_run(&loop, UV_RUN_DEFAULT);
    px_assert(uv_loop_close(&loop) == 0);
    free(members);
    return stats.bad > 0;
}

/* A loop asks each of its nodes at every turn: with all of them in one that would be all it does.
 */
static int run_in_groups(const char **argv, uint64_t seconds)
{
    size_t all = count, left = 0;
    int bad = 0, status;
    for (first = 0; first < all; first += GROUP, left++) {
        count = PX_MIN(all - first, (size_t)GROUP);
        snprintf(name_space, sizeof(name_space), "n%zu", first / GROUP);
        pid_t child = fork();
        if (child == 0)
            exit(run(argv, seconds));
        if (child < 0)
            return 1;
    }
    for (; left > 0; left--)
        bad |= wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return bad;
}

static void print_ids(void)
{
    struct px_identity identity;
    char id[PX_PEER_ID_TEXT_MAX];
    for (size_t i = 0; i < count; i++) {
        identity_of(i, &identity);
        puts(px_peer_id_format(&identity.id, id));
    }
}

int main(int argc, const char **argv)
{
    uint64_t n, seconds;
    if (argc < 3 || px_crypto_init() != 0 || px_slice_parse_u64(px_slice_cstr(argv[2]), &n) != 0)
        return 2;
    count = (size_t)n;
    if (strcmp(argv[1], "ids") == 0) {
        print_ids();
        return 0;
    }
    if (argc < 6 || px_slice_parse_u64(px_slice_cstr(argv[3]), &seconds) != 0)
        return 2;
    idle = argc > 6 && strcmp(argv[6], "idle") == 0;
    hammer = argc > 6 && strcmp(argv[6], "hammer") == 0;
    return idle ? run_in_groups(argv, seconds) : run(argv, seconds);
}
