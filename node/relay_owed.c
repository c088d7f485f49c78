/* See relay_owed.h. Few entries, looked at one after the other, in the order they came. */
#include "node/relay_owed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "auth/list_line.h"
#include "proto/base/encoding.h"

#define VOUCHED_TIME ((int64_t)10 * 365 * 24 * 3600) /* as good as for ever, at the relay */

enum kind { INVITE, UNINVITE, VOUCH, VOUCHED, UNVOUCH, TAKEN, KINDS }; /* TAKEN: back, everywhere */
enum {
    MAX = PX_RELAY_OWED_INVITES + PX_RELAY_OWED_VOUCHES + 2 * PX_RELAY_OWED_VOUCHED +
          PX_RELAY_OWED_UNVOUCHES
};

static const char *const words[KINDS] = {"invite",  "uninvite", "vouch",
                                         "vouched", "unvouch",  "taken"};

struct entry {
    enum kind kind;
    uint32_t ticket;
    uint8_t id[PX_INVITE_ID_LEN];
    struct px_peer_id peer; /* the relay of an invite or unvouch, else whom we vouch for */
    struct px_peer_id whom; /* of an unvouch */
    uint8_t hash[PX_RELAY_SECRET_LEN];
    int64_t expires;
};

struct px_relay_owed {
    struct entry entries[MAX];
    size_t count;
    uint32_t tickets; /* given so far */
};

int px_relay_owed_new(struct px_relay_owed **ret)
{
    *ret = calloc(1, sizeof(**ret));
    return *ret != NULL ? 0 : PX_ENOMEM;
}

void px_relay_owed_free(struct px_relay_owed *o)
{
    free(o);
}

/* ---- entries ---- */

static void drop(struct px_relay_owed *o, size_t at)
{
    memmove(&o->entries[at], &o->entries[at + 1], (--o->count - at) * sizeof(o->entries[0]));
}

static bool is_invite(enum kind kind)
{
    return kind == INVITE || kind == UNINVITE;
}

/* Of its kind, the one that expires first. */
static void make_room(struct px_relay_owed *o, enum kind kind)
{
    static const size_t max[KINDS] = {PX_RELAY_OWED_INVITES,   PX_RELAY_OWED_INVITES,
                                      PX_RELAY_OWED_VOUCHES,   PX_RELAY_OWED_VOUCHED,
                                      PX_RELAY_OWED_UNVOUCHES, PX_RELAY_OWED_VOUCHED};
    size_t count = 0, first = 0;
    for (size_t i = 0; i < o->count; i++) {
        const struct entry *e = &o->entries[i];
        if (e->kind != kind && !(is_invite(e->kind) && is_invite(kind)))
            continue;
        if (count++ == 0 || e->expires < o->entries[first].expires)
            first = i;
    }
    if (count >= max[kind])
        drop(o, first);
}

static void add(struct px_relay_owed *o, const struct entry *e)
{
    make_room(o, e->kind);
    o->entries[o->count] = *e;
    o->tickets = o->tickets == UINT32_MAX >> 8 ? 1 : o->tickets + 1;
    o->entries[o->count++].ticket = o->tickets;
}

static struct entry *find_invite(struct px_relay_owed *o, const uint8_t id[PX_INVITE_ID_LEN])
{
    for (size_t i = 0; i < o->count; i++)
        if (o->entries[i].kind == INVITE &&
            memcmp(o->entries[i].id, id, sizeof(o->entries[i].id)) == 0)
            return &o->entries[i];
    return NULL;
}

void px_relay_owed_invited(struct px_relay_owed *o, const uint8_t id[PX_INVITE_ID_LEN],
                           const struct px_peer_id *relay, const uint8_t hash[PX_RELAY_SECRET_LEN],
                           int64_t expires)
{
    struct entry e = {.kind = INVITE, .peer = *relay, .expires = expires};
    memcpy(e.id, id, sizeof(e.id));
    memcpy(e.hash, hash, sizeof(e.hash));
    add(o, &e);
}

bool px_relay_owed_uninvite(struct px_relay_owed *o, const uint8_t id[PX_INVITE_ID_LEN])
{
    struct entry *e = find_invite(o, id);
    if (e != NULL)
        e->kind = UNINVITE;
    return e != NULL;
}

bool px_relay_owed_check(struct px_relay_owed *o,
                         bool (*is_open)(void *ctx, const uint8_t id[PX_INVITE_ID_LEN]), void *ctx)
{
    bool changed = false;
    for (size_t i = 0; i < o->count; i++) {
        if (o->entries[i].kind != INVITE || is_open(ctx, o->entries[i].id))
            continue;
        o->entries[i].kind = UNINVITE;
        changed = true;
    }
    return changed;
}

static const struct px_peer_id *peer_of(const struct entry *e)
{
    return e->kind == UNVOUCH ? &e->whom : &e->peer;
}

/* Whatever there is about vouching for this peer. */
static void forget(struct px_relay_owed *o, const struct px_peer_id *peer)
{
    for (size_t i = o->count; i-- > 0;)
        if (!is_invite(o->entries[i].kind) && px_peer_id_eq(peer_of(&o->entries[i]), peer))
            drop(o, i);
}

void px_relay_owed_vouch(struct px_relay_owed *o, const struct px_peer_id *peer, int64_t now)
{
    const struct entry e = {.kind = VOUCH, .peer = *peer, .expires = now + PX_RELAY_OWED_TIME};
    forget(o, peer);
    add(o, &e);
}

static bool is_vouched(const struct px_relay_owed *o, const struct px_peer_id *peer)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct entry *e = &o->entries[i];
        if ((e->kind == VOUCH || e->kind == VOUCHED) && px_peer_id_eq(&e->peer, peer))
            return true;
    }
    return false;
}

bool px_relay_owed_follow(struct px_relay_owed *o, const struct px_peer_id *old,
                          const struct px_peer_id *next, int64_t now)
{
    if (!is_vouched(o, old) || is_vouched(o, next))
        return false;
    px_relay_owed_vouch(o, next, now);
    return true;
}

/* One that is not as the list says: whom we may have vouched for (a relay's answer may have been
 * lost), or whom we took back. */
static const struct entry *next_wrong(const struct px_relay_owed *o,
                                      bool (*listed)(void *ctx, const struct px_peer_id *peer),
                                      void *ctx)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct entry *e = &o->entries[i];
        bool on = e->kind == VOUCH || e->kind == VOUCHED;
        if (!is_invite(e->kind) && listed(ctx, peer_of(e)) != on)
            return e;
    }
    return NULL;
}

bool px_relay_owed_unvouch(struct px_relay_owed *o,
                           bool (*listed)(void *ctx, const struct px_peer_id *peer), void *ctx,
                           const struct px_peer_id *relays, size_t relay_count, int64_t now)
{
    const struct entry *wrong;
    bool any = false;
    while ((wrong = next_wrong(o, listed, ctx)) != NULL) {
        bool on = wrong->kind == VOUCH || wrong->kind == VOUCHED;
        struct entry e = {
            .kind = UNVOUCH, .whom = *peer_of(wrong), .expires = now + PX_RELAY_OWED_TIME};
        any = true;
        if (!on) {
            px_relay_owed_vouch(o, &e.whom, now);
            continue;
        }
        forget(o, &e.whom);
        for (size_t i = 0; i < relay_count; i++) {
            e.peer = relays[i];
            add(o, &e);
        }
    }
    return any;
}

/* ---- telling ---- */

bool px_relay_owed_next(struct px_relay_owed *o, const struct px_peer_id *relay, uint32_t after,
                        int64_t now, struct px_relay_order *ret)
{
    bool passed = after == 0;
    for (size_t i = 0; i < o->count;) {
        const struct entry *e = &o->entries[i];
        if (e->expires <= now) { /* the relay forgot the invite, too */
            passed = passed || e->ticket == after;
            drop(o, i);
            continue;
        }
        i++;
        bool due = e->kind == VOUCH ||
                   ((e->kind == UNINVITE || e->kind == UNVOUCH) && px_peer_id_eq(&e->peer, relay));
        if (passed && due) {
            *ret = (struct px_relay_order){.ticket = e->ticket,
                                           .vouch = !is_invite(e->kind),
                                           .on = e->kind == VOUCH,
                                           .peer = e->kind == UNVOUCH ? e->whom : e->peer};
            memcpy(ret->hash, e->hash, sizeof(ret->hash));
            return true;
        }
        passed = passed || e->ticket == after;
    }
    return false;
}

/* Has the relay heard it? What it does not know it need not be told to forget. */
static bool is_settled(const struct entry *e, enum px_relay_status status)
{
    return status == PX_RELAY_OK || (e->kind != VOUCH && status == PX_RELAY_NOT_FOUND);
}

static bool has_taken(const struct px_relay_owed *o, const struct px_peer_id *peer)
{
    for (size_t i = 0; i < o->count; i++)
        if (o->entries[i].kind == TAKEN && px_peer_id_eq(&o->entries[i].peer, peer))
            return true;
    return false;
}

bool px_relay_owed_answer(struct px_relay_owed *o, uint32_t ticket, enum px_relay_status status)
{
    for (size_t i = 0; i < o->count; i++) {
        struct entry e = o->entries[i];
        if (e.ticket != ticket || e.kind == VOUCHED || e.kind == TAKEN || !is_settled(&e, status))
            continue;
        drop(o, i);
        if (e.kind == VOUCH) { /* to be taken back one day */
            e.kind = VOUCHED;
            e.expires += VOUCHED_TIME;
            add(o, &e);
        } else if (e.kind == UNVOUCH && !has_taken(o, &e.whom)) {
            e.kind = TAKEN;
            e.peer = e.whom;
            add(o, &e);
        }
        return true;
    }
    return false;
}

/* ---- text ---- */

int px_relay_owed_write(const struct px_relay_owed *o, struct px_buf *out)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct entry *e = &o->entries[i];
        char peer[PX_PEER_ID_TEXT_MAX];
        (void)px_buf_printf(out, "%s ", words[e->kind]);
        if (is_invite(e->kind)) {
            (void)px_hex_encode(out, px_slice(e->id, sizeof(e->id)));
            (void)px_buf_put_u8(out, ' ');
        }
        (void)px_buf_put_cstr(out, px_peer_id_format(&e->peer, peer));
        if (is_invite(e->kind)) {
            (void)px_buf_put_u8(out, ' ');
            (void)px_hex_encode(out, px_slice(e->hash, sizeof(e->hash)));
        }
        if (e->kind == UNVOUCH)
            (void)px_buf_printf(out, " %s", px_peer_id_format(&e->whom, peer));
        (void)px_buf_printf(out, " %" PRId64 "\n", e->expires);
    }
    return out->err;
}

static bool take_hex(struct px_slice *line, uint8_t *ret, size_t size)
{
    struct px_slice word;
    size_t len;
    return px_list_line_word(line, &word) && px_hex_decode(word, ret, size, &len) == 0 &&
           len == size;
}

static bool take_peer(struct px_slice *line, struct px_peer_id *ret)
{
    struct px_slice word;
    return px_list_line_word(line, &word) && px_peer_id_parse(word, ret) == 0;
}

static bool read_line(struct px_slice line, int64_t now, struct entry *e)
{
    struct px_slice word;
    uint64_t expires, longest = PX_RELAY_OWED_TIME;
    size_t kind = 0;
    if (!px_list_line_word(&line, &word))
        return false;
    while (kind < KINDS && !px_slice_eq_cstr(word, words[kind]))
        kind++;
    e->kind = (enum kind)kind;
    if (kind == KINDS || (is_invite(e->kind) && !take_hex(&line, e->id, sizeof(e->id))) ||
        !take_peer(&line, &e->peer) ||
        (is_invite(e->kind) && !take_hex(&line, e->hash, sizeof(e->hash))) ||
        (e->kind == UNVOUCH && !take_peer(&line, &e->whom)) || !px_list_line_word(&line, &word) ||
        px_slice_parse_u64(word, &expires) != 0)
        return false;
    /* the clock may have been set back */
    if (e->kind == VOUCHED)
        longest += VOUCHED_TIME;
    e->expires = (int64_t)PX_MIN(expires, (uint64_t)now + longest);
    return !px_list_line_word(&line, &word);
}

void px_relay_owed_read(struct px_relay_owed *o, struct px_slice text, int64_t now, size_t *ret_bad)
{
    struct px_slice line;
    *ret_bad = 0;
    while (px_list_next_line(&text, &line)) {
        struct entry e = {.kind = VOUCH};
        if (!read_line(line, now, &e))
            ++*ret_bad;
        else if (e.expires > now)
            add(o, &e);
    }
}
