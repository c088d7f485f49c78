/* Implements docs/spec/lan.md §3 (limits, pauses) and the schedule of §4. */
#include "node/lan_announce.h"

#include <stdlib.h>

/* A bucket that empties at a steady rate, kept as the time at which it will be empty. */
struct bucket {
    px_nsec empty_at;
};

struct source {
    struct px_addr addr; /* port 0 */
    struct bucket packets;
};

struct waiting { /* a found peer and when it may be told */
    struct px_peer_id id;
    struct px_addr addr;
    px_nsec at;
};

struct px_lan_announce {
    struct px_lan_keys *keys;
    struct px_lan_config config;
    bool deriving; /* keys are missing: nothing is sent until they are there */
    /* sending */
    unsigned step;      /* announcements since the start */
    px_nsec next_send;  /* PX_NEVER */
    px_nsec restart_at; /* PX_NEVER */
    px_nsec answer_at;  /* PX_NEVER: nobody waits for one */
    px_nsec last_answer, last_send;
    struct bucket restarts;
    uint8_t own[PX_LAN_OWN_MAX][PX_LAN_NONCE_LEN];
    size_t own_next;
    /* receiving */
    struct bucket packets, tags;
    struct source sources[PX_LAN_SOURCES_MAX];
    struct waiting waiting[PX_LAN_FOUND_MAX];
    size_t waiting_count;
    struct px_lan_stats stats;
};

/* ---- limits ---- */

/* Takes `n` of what comes at `rate` a second, `burst` at once. */
static bool take(struct bucket *b, uint64_t n, uint64_t rate, uint64_t burst, px_nsec now)
{
    px_nsec start = PX_MAX(b->empty_at, now);
    if (start + n * PX_SEC / rate - now > burst * PX_SEC / rate)
        return false;
    b->empty_at = start + n * PX_SEC / rate;
    return true;
}

/* The one idle longest makes room. */
static struct source *source_of(struct px_lan_announce *a, const struct px_addr *addr)
{
    struct source *oldest = &a->sources[0];
    for (size_t i = 0; i < PX_LAN_SOURCES_MAX; i++) {
        if (px_addr_eq(&a->sources[i].addr, addr))
            return &a->sources[i];
        if (a->sources[i].packets.empty_at < oldest->packets.empty_at)
            oldest = &a->sources[i];
    }
    *oldest = (struct source){.addr = *addr};
    return oldest;
}

px_nsec px_lan_announce_deaf_until(const struct px_lan_announce *a, px_nsec now)
{
    const px_nsec one = PX_SEC / PX_LAN_PACKET_RATE, burst = PX_LAN_PACKET_BURST * one;
    if (a->packets.empty_at + one <= now + burst)
        return now;
    /* Not for one packet alone: waking up costs more than reading it. */
    return a->packets.empty_at + one - burst + 100 * one;
}

/* ---- sending ---- */

static px_nsec random_below(struct px_lan_announce *a, px_nsec limit)
{
    uint64_t r;
    a->config.rng.fill(a->config.rng.ctx, &r, sizeof(r));
    return r % limit;
}

/* Interfaces of containers come and go all day: soon, but not without end. */
static px_nsec restart_time(struct px_lan_announce *a, px_nsec now)
{
    const px_nsec burst = PX_LAN_RESTART_BURST * PX_LAN_RESTART_GAP;
    a->restarts.empty_at = PX_MAX(a->restarts.empty_at, now) + PX_LAN_RESTART_GAP;
    return PX_MAX(now, a->restarts.empty_at > burst ? a->restarts.empty_at - burst : 0);
}

static void start_over(struct px_lan_announce *a, px_nsec now)
{
    bool about_to = a->restart_at != PX_NEVER || (a->step == 0 && a->next_send != PX_NEVER);
    if (about_to)
        return;
    px_nsec at = PX_MAX(restart_time(a, now), a->last_send + PX_LAN_SEND_GAP);
    a->restart_at = at + random_below(a, 100 * PX_MSEC);
}

/* SPEC lan §4: 0, 1, 3, 7, 15, 31 … seconds after the start, then every 60 seconds, each interval
 * varied by ±20 % */
static px_nsec interval(struct px_lan_announce *a)
{
    px_nsec base = a->step < 7 ? PX_SEC << (a->step - 1) : PX_LAN_PERIOD;
    base = PX_MIN(base, PX_LAN_PERIOD);
    return base - base / 5 + random_below(a, 2 * base / 5);
}

static void send_now(struct px_lan_announce *a, enum px_lan_kind kind, px_nsec now)
{
    px_lan_keys_shuffle(a->keys, &a->config.rng);
    a->last_send = now;
    a->answer_at = PX_NEVER;
    a->stats.sent++;
    a->config.ops->send(a->config.ctx, kind);
}

static void run_schedule(struct px_lan_announce *a, px_nsec now)
{
    if (a->restart_at <= now) {
        a->restart_at = PX_NEVER;
        a->step = 0;
        a->next_send = now;
    }
    if (a->next_send > now)
        return;
    enum px_lan_kind kind = a->step < 3 && !a->config.once ? PX_LAN_HELLO : PX_LAN_ANNOUNCE;
    a->step++;
    a->next_send = a->config.once ? PX_NEVER : now + interval(a);
    send_now(a, kind, now);
}

static void run_answer(struct px_lan_announce *a, px_nsec now)
{
    if (a->answer_at > now)
        return;
    a->last_answer = now;
    send_now(a, PX_LAN_ANNOUNCE, now);
}

static void plan_answer(struct px_lan_announce *a, px_nsec now)
{
    if (a->config.once || a->answer_at != PX_NEVER)
        return;
    px_nsec earliest = a->last_answer == 0 ? now : a->last_answer + PX_LAN_ANSWER_GAP;
    a->answer_at = PX_MAX(now, earliest) + random_below(a, PX_LAN_ANSWER_JITTER);
}

size_t px_lan_announce_packets(const struct px_lan_announce *a)
{
    return px_lan_packet_count(a->keys);
}

size_t px_lan_announce_write(struct px_lan_announce *a, size_t nth, enum px_lan_kind kind,
                             const struct px_addr *source, uint8_t ret[PX_LAN_PACKET_MAX])
{
    size_t len =
        px_lan_packet_write(a->keys, nth, kind, source, a->config.port, &a->config.rng, ret);
    memcpy(a->own[a->own_next], ret + 4, PX_LAN_NONCE_LEN);
    a->own_next = (a->own_next + 1) % PX_LAN_OWN_MAX;
    return len;
}

/* ---- receiving ---- */

/* Multicast comes back to its sender. */
static bool is_own(const struct px_lan_announce *a, const struct px_lan_packet *p)
{
    for (size_t i = 0; i < PX_LAN_OWN_MAX; i++)
        if (memcmp(a->own[i], p->nonce, sizeof(p->nonce)) == 0)
            return true;
    return false;
}

/* SPEC lan §3: The sender is then dialled … after a random pause of at most 200 ms. */
static void remember_found(struct px_lan_announce *a, const struct px_peer_id *id,
                           const struct px_addr *addr, px_nsec now)
{
    for (size_t i = 0; i < a->waiting_count; i++)
        if (px_peer_id_eq(&a->waiting[i].id, id) && px_addr_eq(&a->waiting[i].addr, addr))
            return;
    if (a->waiting_count == PX_LAN_FOUND_MAX) {
        a->stats.limited++;
        return;
    }
    a->waiting[a->waiting_count++] = (struct waiting){
        .id = *id, .addr = *addr, .at = now + random_below(a, PX_LAN_FOUND_JITTER)};
}

static void run_found(struct px_lan_announce *a, px_nsec now)
{
    for (size_t i = 0; i < a->waiting_count;) {
        if (a->waiting[i].at > now) {
            i++;
            continue;
        }
        struct waiting w = a->waiting[i];
        a->waiting[i] = a->waiting[--a->waiting_count];
        a->stats.found++;
        a->config.ops->found(a->config.ctx, &w.id, &w.addr);
    }
}

void px_lan_announce_input(struct px_lan_announce *a, struct px_slice datagram,
                           const struct px_addr *source, px_nsec now)
{
    struct px_lan_packet p;
    struct px_addr addr = *source;
    uint64_t tags;
    addr.port = 0;
    a->stats.received++;
    if (!take(&a->packets, 1, PX_LAN_PACKET_RATE, PX_LAN_PACKET_BURST, now)) {
        a->stats.limited++;
        return;
    }
    if (px_lan_packet_read(datagram, &p) != 0) {
        a->stats.malformed++;
        return;
    }
    if (is_own(a, &p))
        return;
    if (!take(&source_of(a, &addr)->packets, 1, PX_LAN_SOURCE_RATE, PX_LAN_SOURCE_BURST, now) ||
        !take(&a->tags, px_lan_keys_count(a->keys), PX_LAN_TAG_RATE, PX_LAN_TAG_BURST, now)) {
        a->stats.limited++;
        return;
    }
    const struct px_lan_key *sender = px_lan_packet_sender(a->keys, &p, &addr, &tags);
    a->stats.tags += tags;
    if (sender == NULL)
        return;
    a->stats.recognised++;
    addr.port = p.port;
    remember_found(a, &sender->id, &addr, now);
    if (p.kind == PX_LAN_HELLO)
        plan_answer(a, now);
}

/* ---- the whole ---- */

int px_lan_announce_new(const struct px_lan_config *config, px_nsec now,
                        struct px_lan_announce **ret)
{
    struct px_lan_announce *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return PX_ENOMEM;
    a->config = *config;
    a->answer_at = a->restart_at = PX_NEVER;
    a->next_send = now;
    /* Zeroed nonces would match a packet whose nonce is zero. */
    config->rng.fill(config->rng.ctx, a->own, sizeof(a->own));
    int err = px_lan_keys_new(config->identity, config->network, &a->keys);
    if (err != 0) {
        free(a);
        return err;
    }
    *ret = a;
    return 0;
}

void px_lan_announce_free(struct px_lan_announce *a)
{
    if (a == NULL)
        return;
    px_lan_keys_free(a->keys);
    free(a);
}

/* Whom the list no longer has is not told as found either. */
static void forget_unlisted(struct px_lan_announce *a, const struct px_authorized_keys *list)
{
    for (size_t i = a->waiting_count; i-- > 0;)
        if (px_authorized_keys_find(list, &a->waiting[i].id) == NULL)
            a->waiting[i] = a->waiting[--a->waiting_count];
}

int px_lan_announce_set_peers(struct px_lan_announce *a, const struct px_authorized_keys *list,
                              px_nsec now)
{
    bool added;
    int err = px_lan_keys_update(a->keys, list, &added);
    if (err != 0)
        return err;
    forget_unlisted(a, list);
    a->deriving = true;
    /* Said once, it has to be said again for those who went as well. */
    if (added || a->config.once)
        start_over(a, now);
    return 0;
}

void px_lan_announce_refresh(struct px_lan_announce *a, px_nsec now)
{
    start_over(a, now);
}

void px_lan_announce_run(struct px_lan_announce *a, px_nsec now)
{
    if (a->deriving)
        a->deriving = !px_lan_keys_derive(a->keys, PX_LAN_DERIVE_SLICE);
    run_found(a, now);
    if (a->deriving)
        return;
    if (px_lan_keys_count(a->keys) == 0 && !a->config.once)
        return; /* there is nobody to announce to */
    run_schedule(a, now);
    run_answer(a, now);
}

px_nsec px_lan_announce_deadline(const struct px_lan_announce *a)
{
    px_nsec at = PX_NEVER;
    if (a->deriving)
        return 0;
    for (size_t i = 0; i < a->waiting_count; i++)
        at = PX_MIN(at, a->waiting[i].at);
    if (px_lan_keys_count(a->keys) > 0 || a->config.once)
        at = PX_MIN(PX_MIN(at, a->restart_at), PX_MIN(a->next_send, a->answer_at));
    return at;
}

void px_lan_announce_stats(const struct px_lan_announce *a, struct px_lan_stats *ret)
{
    *ret = a->stats;
}

void px_lan_announce_each_stat(const struct px_lan_announce *a,
                               void (*each)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    const struct px_lan_stats *s = &a->stats;
    each(ctx, "sent", s->sent);
    each(ctx, "received", s->received);
    each(ctx, "malformed", s->malformed);
    each(ctx, "limited", s->limited);
    each(ctx, "recognised", s->recognised);
    each(ctx, "tags", s->tags);
    each(ctx, "found", s->found);
}
