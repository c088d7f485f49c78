/* See pairing_invite.h. */
#include "auth/pairing_invite.h"

const char *px_invite_state_name(enum px_invite_state s)
{
    switch (s) {
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        PX_PAIRING_INVITE_TABLE(X)
#undef X
    }
    return "?";
}

/* SPEC pairing §5 */
static void set_state(struct px_pairing_invite *i, enum px_invite_state next)
{
#define BIT(s) (1u << (s))
    static const unsigned allowed[] = {
        [PX_INVITE_OPEN] = BIT(PX_INVITE_PENDING) | BIT(PX_INVITE_EXPIRED) | BIT(PX_INVITE_BURNT) |
                           BIT(PX_INVITE_WITHDRAWN),
        [PX_INVITE_PENDING] = BIT(PX_INVITE_USED) | BIT(PX_INVITE_EXPIRED) | BIT(PX_INVITE_BURNT) |
                              BIT(PX_INVITE_WITHDRAWN),
        [PX_INVITE_USED] = 0,
        [PX_INVITE_EXPIRED] = 0,
        [PX_INVITE_BURNT] = 0,
        [PX_INVITE_WITHDRAWN] = 0,
    };
    px_assert((allowed[i->state] & BIT(next)) != 0);
#undef BIT
    i->state = next;
}

static void end(struct px_pairing_invite *i, enum px_invite_state how, int64_t now)
{
    set_state(i, how);
    i->ended = now;
    px_wipe(&i->pair, sizeof(i->pair));
    memset(&i->joiner, 0, sizeof(i->joiner));
}

void px_pairing_invite_new(const struct px_peer_id *self, const struct px_rng *rng, int64_t expires,
                           struct px_pairing_invite *ret, struct px_invite *ret_code)
{
    struct px_pairing_keys keys;
    memset(ret, 0, sizeof(*ret));
    memset(ret_code, 0, sizeof(*ret_code));
    memcpy(ret_code->key, self->key, sizeof(self->key));
    rng->fill(rng->ctx, ret_code->id, sizeof(ret_code->id));
    rng->fill(rng->ctx, ret_code->secret, sizeof(ret_code->secret));
    px_pairing_derive(ret_code, &keys);
    memcpy(ret->id, ret_code->id, sizeof(ret->id));
    memcpy(&ret->pair, &keys.pair, sizeof(ret->pair));
    ret->state = PX_INVITE_OPEN;
    ret->expires = expires;
    px_wipe(&keys, sizeof(keys));
}

static bool is_live(const struct px_pairing_invite *i)
{
    return i->state == PX_INVITE_OPEN || i->state == PX_INVITE_PENDING;
}

bool px_pairing_invite_tick(struct px_pairing_invite *i, int64_t now)
{
    if (!is_live(i) || now < i->expires)
        return false;
    end(i, PX_INVITE_EXPIRED, now);
    return true;
}

bool px_pairing_invite_is_over(const struct px_pairing_invite *i, int64_t now)
{
    int64_t end_of_use = i->state == PX_INVITE_USED ? i->expires : i->ended;
    return !is_live(i) && now - end_of_use >= PX_PAIRING_AFTERLIFE;
}

int px_pairing_invite_usable(const struct px_pairing_invite *i)
{
    switch (i->state) {
    case PX_INVITE_OPEN:
    case PX_INVITE_PENDING:
    case PX_INVITE_USED:
        return 0;
    case PX_INVITE_EXPIRED:
        return PX_EINVITE_EXPIRED;
    case PX_INVITE_BURNT:
        return PX_EINVITE_BURNT;
    case PX_INVITE_WITHDRAWN:
        return PX_EINVITE_WITHDRAWN;
    }
    return PX_EINVITE_UNKNOWN;
}

int px_pairing_invite_fail(struct px_pairing_invite *i, int64_t now)
{
    if (!is_live(i) || ++i->failures < PX_PAIRING_BURN)
        return PX_EINVITE_TOKEN;
    end(i, PX_INVITE_BURNT, now);
    return PX_EINVITE_BURNT;
}

int px_pairing_invite_take(struct px_pairing_invite *i, const struct px_peer_id *joiner)
{
    int err = px_pairing_invite_usable(i);
    if (err != 0)
        return err;
    if (i->state == PX_INVITE_OPEN) {
        set_state(i, PX_INVITE_PENDING);
        i->joiner = *joiner;
        return 0;
    }
    if (px_peer_id_eq(&i->joiner, joiner))
        return 0;
    return i->state == PX_INVITE_USED ? PX_EINVITE_USED : PX_EINVITE_BUSY;
}

int px_pairing_invite_promote(struct px_pairing_invite *i, const struct px_peer_id *joiner)
{
    bool taken = i->state == PX_INVITE_PENDING || i->state == PX_INVITE_USED;
    if (!taken || !px_peer_id_eq(&i->joiner, joiner))
        return PX_ESTATE;
    if (i->state == PX_INVITE_PENDING)
        set_state(i, PX_INVITE_USED);
    return 0;
}

int px_pairing_invite_withdraw(struct px_pairing_invite *i, int64_t now)
{
    if (!is_live(i))
        return PX_ESTATE;
    end(i, PX_INVITE_WITHDRAWN, now);
    return 0;
}
