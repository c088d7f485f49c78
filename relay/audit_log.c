/* See audit_log.h. */
#include "relay/audit_log.h"

#include <stdlib.h>

#include "relay/token_bucket.h"

struct px_audit_log {
    const struct px_log *log;
    struct px_token_bucket friends, others;
    uint64_t left_out, told;
    px_nsec tell_at; /* PX_NEVER while there is nothing to tell */
};

int px_audit_log_new(const struct px_log *log, px_nsec now, struct px_audit_log **ret)
{
    struct px_audit_log *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return PX_ENOMEM;
    l->log = log;
    l->tell_at = PX_NEVER;
    px_token_bucket_init(&l->friends, PX_AUDIT_LOG_FRIEND_RATE, PX_AUDIT_LOG_FRIEND_BURST, now);
    px_token_bucket_init(&l->others, PX_AUDIT_LOG_RATE, PX_AUDIT_LOG_BURST, now);
    *ret = l;
    return 0;
}

static void tell(struct px_audit_log *l)
{
    if (l->left_out == l->told)
        return;
    px_log_event(l->log, PX_LOG_WARN, "audit.left_out", PX_F_U64("lines", l->left_out - l->told),
                 PX_F_U64("total", l->left_out));
    l->told = l->left_out;
    l->tell_at = PX_NEVER;
}

void px_audit_log_free(struct px_audit_log *l)
{
    if (l == NULL)
        return;
    tell(l);
    free(l);
}

/* A line nobody would see costs nothing. */
static bool may_write(struct px_audit_log *l, enum px_log_level level, bool friend, px_nsec now)
{
    if (l->log == NULL || level > l->log->level)
        return false;
    if (px_token_bucket_try(friend ? &l->friends : &l->others, 1, now))
        return true;
    l->left_out++;
    l->tell_at = PX_MIN(l->tell_at, now + PX_AUDIT_LOG_TELL);
    return false;
}

/* That a circuit ends is no warning, whatever ended it. */
static enum px_log_level level_of(const struct px_relay_audit *a)
{
    bool quiet = a->status == PX_RELAY_OK || strcmp(a->event, "circuit.ended") == 0;
    return quiet ? PX_LOG_INFO : PX_LOG_WARN;
}

void px_audit_log_put(struct px_audit_log *l, const struct px_relay_audit *a, px_nsec now)
{
    char peer[PX_PEER_ID_TEXT_MAX], other[PX_PEER_ID_TEXT_MAX] = "-", addr[PX_ADDR_TEXT_MAX] = "-";
    bool friend = a->class == PX_RELAY_MEMBER || a->class == PX_RELAY_VOUCHED;
    if (!may_write(l, level_of(a), friend, now))
        return;
    if (a->other != NULL)
        px_peer_id_format(a->other, other);
    if (a->addr != NULL)
        px_addr_format(a->addr, addr);
    px_log_event(l->log, level_of(a), a->event, PX_F_STR("peer", px_peer_id_format(a->peer, peer)),
                 PX_F_STR("other", other), PX_F_STR("addr", addr),
                 PX_F_STR("class", px_relay_class_name(a->class)),
                 PX_F_STR("status", px_relay_status_name(a->status)), PX_F_U64("bytes", a->bytes));
}

void px_audit_log_refused(struct px_audit_log *l, const struct px_peer_id *id,
                          const struct px_addr *from, int err, bool by_peer, px_nsec now)
{
    char peer[PX_PEER_ID_TEXT_MAX] = "-", addr[PX_ADDR_TEXT_MAX];
    if (!may_write(l, PX_LOG_WARN, false, now))
        return;
    if (id != NULL)
        px_peer_id_format(id, peer);
    px_log_event(l->log, PX_LOG_WARN, "link.refused", PX_F_STR("peer", peer),
                 PX_F_STR("addr", px_addr_format(from, addr)), PX_F_ERR(err),
                 PX_F_STR("by", by_peer ? "peer" : "us"));
}

void px_audit_log_run(struct px_audit_log *l, px_nsec now)
{
    if (now >= l->tell_at)
        tell(l);
}

px_nsec px_audit_log_deadline(const struct px_audit_log *l)
{
    return l->tell_at;
}

uint64_t px_audit_log_left_out(const struct px_audit_log *l)
{
    return l->left_out;
}
