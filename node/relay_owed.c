/* See relay_owed.h. Few entries, looked at one after the other, in the order they came. */
#include "node/relay_owed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "auth/list_line.h"
#include "proto/base/encoding.h"

enum kind { INVITE, UNINVITE, VOUCH, KINDS };
enum { MAX = PX_RELAY_OWED_INVITES + PX_RELAY_OWED_VOUCHES };

static const char *const words[KINDS] = {"invite", "uninvite", "vouch"};

struct entry {
    enum kind kind;
    uint32_t ticket;
    uint8_t id[PX_INVITE_ID_LEN];
    struct px_peer_id peer; /* the relay of an invite, else whom we vouch for */
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

/* Of vouches, or of the others, the one that expires first. */
static void make_room(struct px_relay_owed *o, bool vouches)
{
    size_t count = 0, first = 0;
    for (size_t i = 0; i < o->count; i++) {
        if ((o->entries[i].kind == VOUCH) != vouches)
            continue;
        if (count++ == 0 || o->entries[i].expires < o->entries[first].expires)
            first = i;
    }
    if (count >= (vouches ? PX_RELAY_OWED_VOUCHES : PX_RELAY_OWED_INVITES))
        drop(o, first);
}

static void add(struct px_relay_owed *o, const struct entry *e)
{
    make_room(o, e->kind == VOUCH);
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

bool px_relay_owed_unvouch(struct px_relay_owed *o, const struct px_peer_id *peer)
{
    for (size_t i = 0; i < o->count; i++)
        if (o->entries[i].kind == VOUCH && px_peer_id_eq(&o->entries[i].peer, peer)) {
            drop(o, i);
            return true;
        }
    return false;
}

void px_relay_owed_vouch(struct px_relay_owed *o, const struct px_peer_id *peer, int64_t now)
{
    const struct entry e = {.kind = VOUCH, .peer = *peer, .expires = now + PX_RELAY_OWED_TIME};
    (void)px_relay_owed_unvouch(o, peer);
    add(o, &e);
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
        bool due = e->kind == VOUCH || (e->kind == UNINVITE && px_peer_id_eq(&e->peer, relay));
        if (passed && due) {
            *ret = (struct px_relay_order){
                .ticket = e->ticket, .vouch = e->kind == VOUCH, .peer = e->peer};
            memcpy(ret->hash, e->hash, sizeof(ret->hash));
            return true;
        }
        passed = passed || e->ticket == after;
    }
    return false;
}

/* Has the relay heard it? For an invite it does not know there is nothing left to tell. */
static bool is_settled(const struct entry *e, enum px_relay_status status)
{
    return status == PX_RELAY_OK || (e->kind != VOUCH && status == PX_RELAY_NOT_FOUND);
}

bool px_relay_owed_answer(struct px_relay_owed *o, uint32_t ticket, enum px_relay_status status)
{
    for (size_t i = 0; i < o->count; i++)
        if (o->entries[i].ticket == ticket && is_settled(&o->entries[i], status)) {
            drop(o, i);
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
        if (e->kind != VOUCH) {
            (void)px_hex_encode(out, px_slice(e->id, sizeof(e->id)));
            (void)px_buf_put_u8(out, ' ');
        }
        (void)px_buf_put_cstr(out, px_peer_id_format(&e->peer, peer));
        if (e->kind != VOUCH) {
            (void)px_buf_put_u8(out, ' ');
            (void)px_hex_encode(out, px_slice(e->hash, sizeof(e->hash)));
        }
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

static bool read_line(struct px_slice line, int64_t now, struct entry *e)
{
    struct px_slice word;
    uint64_t expires;
    size_t kind = 0;
    if (!px_list_line_word(&line, &word))
        return false;
    while (kind < KINDS && !px_slice_eq_cstr(word, words[kind]))
        kind++;
    e->kind = (enum kind)kind;
    if (kind == KINDS || (e->kind != VOUCH && !take_hex(&line, e->id, sizeof(e->id))) ||
        !px_list_line_word(&line, &word) || px_peer_id_parse(word, &e->peer) != 0 ||
        (e->kind != VOUCH && !take_hex(&line, e->hash, sizeof(e->hash))) ||
        !px_list_line_word(&line, &word) || px_slice_parse_u64(word, &expires) != 0)
        return false;
    /* the clock may have been set back */
    e->expires = (int64_t)PX_MIN(expires, (uint64_t)now + PX_RELAY_OWED_TIME);
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
