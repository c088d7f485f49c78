/* Rendezvous (docs/spec/relay.md §8): registers where this node is, and takes from others' records
 * where listed peers are. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/host_name.h"
#include "node/relays_internal.h"
#include "relay/record.h"

#define TTL_MS       (2 * 3600 * 1000u)
#define TTL_MIN      (60 * PX_SEC) /* SPEC relay §7 */
#define CHANGE_PAUSE PX_SEC        /* changes come in rows */
#define RETRY        (60 * PX_SEC)
#define VOUCH_PAUSE  (5 * PX_SEC) /* from admission to the inviter's word */

static struct px_slice name_space(const struct px_relay *r)
{
    return px_slice_cstr(r->set->config.network);
}

bool px_relay_may_register(const struct px_relay *r)
{
    return r->class == PX_RELAY_MEMBER || r->class == PX_RELAY_VOUCHED;
}

/* ---- our record ---- */

/* The addresses are not what the relay has: others may move what relays see of us as often as they
 * like, and everybody who watches would be told. */
static bool is_news(struct px_relay *r, px_nsec now)
{
    struct px_addr addrs[PX_RECORD_ADDRS_MAX];
    if (now >= r->refresh_at)
        return true;
    size_t n = px_relay_reach_addrs(r, addrs, PX_RECORD_ADDRS_MAX);
    bool same = n == r->told_count;
    for (size_t i = 0; same && i < n; i++)
        same = px_addr_eq(&addrs[i], &r->told[i]);
    return !same;
}

static void next_sequence(struct px_relay *r)
{
    struct timespec t;
    uint64_t wall = 0;
    if (clock_gettime(CLOCK_REALTIME, &t) == 0 && t.tv_sec > 0)
        wall = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    r->sequence = PX_MAX(r->sequence + 1, wall);
}

static void send_record(struct px_relay *r, px_nsec now)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_REGISTER,
                             .name_space = name_space(r),
                             .record_count = 1,
                             .keys = PX_RELAY_BIT(PX_RELAY_K_TTL),
                             .ttl_ms = TTL_MS};
    struct px_record rec = {.name_space = name_space(r)};
    struct px_buf out;
    char name[PX_AUTH_NAME_MAX + 1];
    px_host_name(name);
    if (!r->nameless)
        rec.name = px_slice_cstr(name);
    next_sequence(r);
    r->changed = false;
    rec.sequence = r->sequence;
    rec.addr_count = px_relay_reach_addrs(r, rec.addrs, PX_RECORD_ADDRS_MAX);
    memcpy(r->told, rec.addrs, sizeof(r->told));
    r->told_count = rec.addr_count;
    r->refresh_at = 0; /* until it was taken */
    px_buf_init(&out, PX_RELAY_RECORD_MAX);
    int err = px_record_sign(r->set->config.identity, &rec, &out);
    m.records[0] = px_buf_slice(&out);
    if (err == 0)
        err = px_relay_client_request(r->client, &m, px_relay_token(PX_RELAY_TOKEN_REGISTER), now);
    px_buf_deinit(&out);
    r->register_at = now + RETRY; /* until the answer says more */
    if (err != 0)
        px_log_event(r->set->config.log, PX_LOG_DEBUG, "relay.not_registered",
                     PX_F_STR("relay", r->label), PX_F_ERR(err));
}

px_nsec px_relay_records_deadline(const struct px_relay *r)
{
    return PX_MIN(r->register_at, px_relay_names_relay_deadline(r));
}

void px_relay_records_run(struct px_relay *r, px_nsec now)
{
    px_relay_names_run_relay(r, now);
    if (!px_relay_usable(r) || now < r->register_at)
        return;
    r->register_at = PX_NEVER;
    if (px_relay_may_register(r) && !is_news(r, now)) {
        r->changed = false;
        r->register_at = r->refresh_at;
    } else if (px_relay_may_register(r)) {
        send_record(r, now);
        px_relay_pairing_tell(r); /* what it had no time for before */
    } else {                      /* has somebody vouched for us meanwhile? */
        px_relay_client_set_reserve(r->client, true, now);
        r->register_at = now + RETRY;
    }
}

void px_relay_records_changed(struct px_relay *r, px_nsec now)
{
    if (!px_relay_may_register(r))
        return;
    r->changed = true;
    r->register_at = PX_MIN(r->register_at, now + CHANGE_PAUSE);
}

void px_relay_records_start(struct px_relay *r, px_nsec now)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_WATCH, .name_space = name_space(r), .on = true};
    r->register_at = r->class == PX_RELAY_JOINER ? now + VOUCH_PAUSE : PX_NEVER;
    if (!px_relay_may_register(r))
        return;
    r->register_at = now; /* which also tells what is owed */
    r->refresh_at = 0;
    if (px_relay_client_request(r->client, &m, px_relay_token(PX_RELAY_TOKEN_WATCH), now) != 0)
        return; /* then records are asked for one by one only */
}

/* ---- those of others ---- */

void px_relay_records_ask(struct px_relay *r, const struct px_peer_id *id, px_nsec now)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_DISCOVER,
                             .name_space = name_space(r),
                             .keys = PX_RELAY_BIT(PX_RELAY_K_PEER),
                             .peer = *id};
    if (px_relay_may_register(r) &&
        px_relay_client_request(r->client, &m, px_relay_token(PX_RELAY_TOKEN_PEER), now) != 0)
        return; /* it is only a hint */
}

void px_relay_records_take(struct px_relay *r, struct px_slice bytes)
{
    const struct px_relays_config *c = &r->set->config;
    struct px_record rec;
    if (px_record_verify(bytes, &rec) != 0 || !px_slice_eq(rec.name_space, name_space(r)))
        return;
    px_relay_names_take(r, bytes);
    if (px_peer_id_eq(&rec.peer, &c->identity->id)) {
        r->sequence = PX_MAX(r->sequence, rec.sequence);
        return;
    }
    /* SPEC relay §8: for peers of our own authorized_keys only; px_peers_found sees to that too */
    if (px_authorized_keys_find(px_allowlist_keys(c->allowlist), &rec.peer) == NULL)
        return;
    for (size_t i = 0; i < rec.addr_count; i++)
        if (!px_addr_is_loopback(&rec.addrs[i]))
            px_peers_found(c->peers, &rec.peer, &rec.addrs[i], PX_SOURCE_RECORD);
}

static void take_records(struct px_relay *r, const struct px_relay_msg *m)
{
    for (size_t i = 0; m != NULL && i < m->record_count; i++)
        px_relay_records_take(r, m->records[i]);
}

void px_relay_records_on_changed(void *ctx, const struct px_relay_msg *m)
{
    struct px_relay *r = ctx;
    if (px_token_bucket_try(&r->pushed, m->record_count, px_now_io()))
        take_records(r, m);
    for (size_t i = 0; i < m->gone_count; i++)
        px_relay_names_gone(ctx, &m->gone[i]);
}

static void on_registered(struct px_relay *r, enum px_relay_status status,
                          const struct px_relay_msg *m, px_nsec now)
{
    if (status == PX_RELAY_OK && m != NULL && px_relay_msg_has(m, PX_RELAY_K_TTL)) {
        r->refresh_at = now + PX_MAX(m->ttl_ms * PX_MSEC, (px_nsec)TTL_MIN) / 2;
        if (!r->changed)
            r->register_at = r->refresh_at;
        return;
    }
    px_log_event(r->set->config.log, PX_LOG_WARN, "relay.not_registered",
                 PX_F_STR("relay", r->label), PX_F_STR("status", px_relay_status_name(status)));
    if (status == PX_RELAY_NAME_TAKEN && !r->nameless) {
        r->nameless = true;
        r->register_at = now;
    } else if (status == PX_RELAY_STALE) { /* our clock went back: learn the number, then again */
        px_relay_records_ask(r, &r->set->config.identity->id, now);
        r->register_at = now + PX_SEC;
    }
}

void px_relay_records_on_reply(void *ctx, void *token, enum px_relay_status status,
                               const struct px_relay_msg *m)
{
    struct px_relay *r = ctx;
    if (px_relay_reports_on_reply(r, token, status, m))
        return;
    if (px_relay_names_on_reply(r, token, status, m) || px_relay_owed_on_reply(r, token, status))
        return;
    switch ((enum px_relay_token)(uintptr_t)token) {
    case PX_RELAY_TOKEN_TRANSFER:
    case PX_RELAY_TOKEN_NAMES:
    case PX_RELAY_TOKEN_OWED:
        return;
    case PX_RELAY_TOKEN_REGISTER:
        on_registered(r, status, m, px_now_io());
        return;
    case PX_RELAY_TOKEN_PROBE:
        px_relay_reach_on_reply(r, status);
        return;
    case PX_RELAY_TOKEN_PEER:
        take_records(r, m);
        return;
    case PX_RELAY_TOKEN_WATCH:
        if (status == PX_RELAY_OK)
            px_relay_names_watched(r, px_now_io());
        else
            px_log_event(r->set->config.log, PX_LOG_WARN, "relay.not_watched",
                         PX_F_STR("relay", r->label),
                         PX_F_STR("status", px_relay_status_name(status)));
        return;
    case PX_RELAY_TOKEN_ADMIT:
    case PX_RELAY_TOKEN_INVITE:
        px_relay_pairing_on_reply(r, (enum px_relay_token)(uintptr_t)token, status);
        return;
    }
}
