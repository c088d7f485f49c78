/* See relay_names.h. A lookup asks one relay after the other, in the order of the file; the first
 * that knows the name is believed, and when none does the copy answers. */
#include "node/relay_names.h"

#include <stdlib.h>
#include <string.h>

#include "node/net_names_io.h"
#include "node/relays_internal.h"
#include "relay/record.h"

enum { TICKET_LIST, TICKET_LOOKUP /* and those after it */ };

struct lookup {
    bool used;
    char word[PX_NET_NAME_TEXT_MAX];
    struct px_peer_id relay; /* that is being asked */
    struct px_peer_id asked[PX_RELAY_LIST_MAX];
    size_t asked_count;
    px_nsec deadline;
    void (*done)(void *ctx, int err, const struct px_relays_name *name);
    void *ctx;
};

struct px_relay_names {
    struct px_relays *set;
    const char *path; /* borrowed, may be NULL */
    struct px_net_names *copy;
    px_nsec save_at; /* PX_NEVER: all is written */
    struct lookup lookups[PX_RELAY_LOOKUPS_MAX];
};

static void *token(uintptr_t ticket)
{
    return (void *)(ticket << PX_RELAY_TOKEN_BITS | PX_RELAY_TOKEN_NAMES);
}

/* ---- the file ---- */

int px_relay_names_new(struct px_relays *set, const char *path, struct px_relay_names **ret)
{
    struct px_relay_names *n = calloc(1, sizeof(*n));
    size_t bad = 0;
    if (n == NULL)
        return PX_ENOMEM;
    n->set = set;
    n->path = path;
    n->save_at = PX_NEVER;
    int err = path != NULL ? px_net_names_load(path, &n->copy, &bad) : PX_ENOENT;
    if (path != NULL && (err != 0 || bad > 0))
        px_log_event(set->config.log, PX_LOG_WARN, "network_names.not_read", PX_F_STR("file", path),
                     PX_F_U64("bad_lines", bad), PX_F_ERR(err));
    if (err != 0)
        err = px_net_names_new(&n->copy);
    if (err != 0) {
        free(n);
        return err;
    }
    *ret = n;
    return 0;
}

static void save(struct px_relay_names *n)
{
    n->save_at = PX_NEVER;
    int err = n->path != NULL ? px_net_names_save(n->path, n->copy) : 0;
    if (err != 0)
        px_log_event(n->set->config.log, PX_LOG_WARN, "network_names.not_written",
                     PX_F_STR("file", n->path), PX_F_ERR(err));
}

static void finish(struct lookup *l, int err, const struct px_relays_name *name);

void px_relay_names_free(struct px_relay_names *n)
{
    if (n == NULL)
        return;
    for (size_t i = 0; i < PX_RELAY_LOOKUPS_MAX; i++)
        if (n->lookups[i].used)
            finish(&n->lookups[i], PX_ECANCELED, NULL);
    if (n->save_at != PX_NEVER)
        save(n);
    px_net_names_free(n->copy);
    free(n);
}

/* ---- what relays tell ---- */

void px_relay_names_take(struct px_relay *r, struct px_slice record)
{
    struct px_relay_names *n = r->set->names;
    int err = px_net_names_take(n->copy, &r->entry.id, record, px_net_names_now());
    px_nsec wait = err == 0 ? PX_RELAY_NAMES_SAVE_WAIT : PX_RELAY_NAMES_SAVE_SEEN;
    if (err == 0 || err == PX_EEXIST)
        n->save_at = PX_MIN(n->save_at, px_now_io() + wait);
}

void px_relay_names_gone(struct px_relay *r, const struct px_peer_id *peer)
{
    px_net_names_gone(r->set->names->copy, &r->entry.id, peer);
}

void px_relay_names_watched(struct px_relay *r, px_nsec now)
{
    r->listing = (struct px_relay_listing){.next_at = now, .since = px_net_names_now()};
}

static void ask_page(struct px_relay *r, px_nsec now)
{
    struct px_relay_listing *l = &r->listing;
    struct px_relay_msg m = {.type = PX_RELAY_MSG_DISCOVER,
                             .name_space = px_slice_cstr(r->set->config.network)};
    l->next_at = PX_NEVER;
    if (l->cookie_len > 0) {
        m.keys = PX_RELAY_BIT(PX_RELAY_K_COOKIE);
        m.cookie = px_slice(l->cookie, l->cookie_len);
    }
    if (px_relay_client_request(r->client, &m, token(TICKET_LIST), now) != 0)
        return; /* then names are asked for one by one only */
}

static void take_page(struct px_relay *r, const struct px_relay_msg *m)
{
    struct px_relay_listing *l = &r->listing;
    for (size_t i = 0; i < m->record_count; i++)
        px_relay_records_take(r, m->records[i]);
    l->records += m->record_count;
    if (!px_relay_msg_has(m, PX_RELAY_K_COOKIE) || m->record_count == 0 ||
        m->cookie.len > sizeof(l->cookie) || l->records >= PX_NET_NAMES_PER_RELAY)
        return;
    memcpy(l->cookie, m->cookie.data, m->cookie.len);
    l->cookie_len = m->cookie.len;
    l->next_at = px_now_io() + PX_RELAY_LIST_PAUSE;
}

/* ---- lookups ---- */

static const struct px_relay *find_relay(const struct px_relays *set, const struct px_peer_id *id)
{
    PX_LIST_EACH(it, &set->all)
        if (!px_relay_at(it)->gone && px_peer_id_eq(&px_relay_at(it)->entry.id, id))
            return px_relay_at(it);
    return NULL;
}

/* Is it what a relay says now, or what one said once? */
static void describe(const struct px_relays *set, const struct px_net_name *name,
                     struct px_relays_name *ret)
{
    const struct px_relay *r = find_relay(set, &name->relay);
    *ret = (struct px_relays_name){.text = name->text,
                                   .peer = name->peer,
                                   .relay = r != NULL ? r->label : NULL,
                                   .age = PX_MAX(px_net_names_now() - name->seen, (int64_t)0)};
    ret->live = r != NULL && px_relay_usable(r) && px_relay_may_register(r) && !name->gone &&
                r->listing.since != 0 && name->seen >= r->listing.since;
}

static void finish(struct lookup *l, int err, const struct px_relays_name *name)
{
    l->used = false;
    if (l->done != NULL)
        l->done(l->ctx, err, name);
}

static void answer_from_copy(struct px_relay_names *n, struct lookup *l)
{
    const struct px_net_name *name;
    struct px_relays_name told = {.text = l->word};
    int err = px_net_names_find(n->copy, px_slice_cstr(l->word), px_net_names_now(), &name);
    if (err == 0)
        describe(n->set, name, &told);
    told.live = false; /* nobody who was asked says so */
    finish(l, err, err == 0 ? &told : NULL);
}

static bool was_asked(const struct lookup *l, const struct px_peer_id *id)
{
    for (size_t i = 0; i < l->asked_count; i++)
        if (px_peer_id_eq(&l->asked[i], id))
            return true;
    return false;
}

static bool ask_relay(struct px_relay_names *n, struct lookup *l, struct px_relay *r)
{
    struct px_slice name, word = px_slice_cstr(l->word);
    (void)px_slice_split(&word, '.', &name);
    struct px_relay_msg m = {.type = PX_RELAY_MSG_DISCOVER,
                             .name_space = word,
                             .keys = PX_RELAY_BIT(PX_RELAY_K_NAME),
                             .name = name};
    uintptr_t ticket = TICKET_LOOKUP + (uintptr_t)(l - n->lookups);
    l->relay = r->entry.id;
    l->asked[l->asked_count++] = r->entry.id;
    return px_relay_client_request(r->client, &m, token(ticket), px_now_io()) == 0;
}

/* Of another network relays hold nothing for us. */
static bool is_ours(const struct px_relay_names *n, const char *word)
{
    return strcmp(strchr(word, '.') + 1, n->set->config.network) == 0;
}

static void ask_next(struct px_relay_names *n, struct lookup *l)
{
    PX_LIST_EACH(it, &n->set->all) {
        struct px_relay *r = px_relay_at(it);
        if (l->asked_count == PX_RELAY_LIST_MAX)
            break;
        if (is_ours(n, l->word) && px_relay_usable(r) && px_relay_may_register(r) &&
            !was_asked(l, &r->entry.id) && ask_relay(n, l, r))
            return;
    }
    answer_from_copy(n, l);
}

void px_relays_lookup(struct px_relays *set, struct px_slice word,
                      void (*done)(void *ctx, int err, const struct px_relays_name *name),
                      void *ctx)
{
    struct px_relay_names *n = set->names;
    struct lookup once = {.used = true, .done = done, .ctx = ctx}, *l = &once;
    for (size_t i = 0; i < PX_RELAY_LOOKUPS_MAX && l == &once; i++)
        if (!n->lookups[i].used)
            l = &n->lookups[i];
    bool valid = px_net_name_valid(word);
    if (valid)
        memcpy(once.word, word.data, word.len);
    once.deadline = px_now_io() + PX_RELAY_LOOKUP_TIME;
    if (l != &once)
        *l = once;
    if (!valid)
        finish(l, PX_ENOENT, NULL);
    else if (l == &once) /* too many ask */
        answer_from_copy(n, l);
    else
        ask_next(n, l);
}

void px_relays_lookup_cancel(struct px_relays *set, void *ctx)
{
    for (size_t i = 0; i < PX_RELAY_LOOKUPS_MAX; i++)
        if (set->names->lookups[i].used && set->names->lookups[i].ctx == ctx)
            set->names->lookups[i].used = false;
}

/* The record must say what was asked for: relays may be wrong. */
static bool take_answer(struct px_relay *r, struct lookup *l, struct px_slice record)
{
    struct px_slice name, word = px_slice_cstr(l->word);
    struct px_record rec;
    (void)px_slice_split(&word, '.', &name);
    if (px_record_verify(record, &rec) != 0 || !px_slice_eq(rec.name, name) ||
        !px_slice_eq(rec.name_space, word))
        return false;
    px_relay_records_take(r, record);
    const struct px_relays_name told = {
        .text = l->word, .peer = rec.peer, .relay = r->label, .live = true};
    finish(l, 0, &told);
    return true;
}

static void on_looked_up(struct px_relay *r, uintptr_t slot, bool found,
                         const struct px_relay_msg *m)
{
    struct px_relay_names *n = r->set->names;
    if (slot >= PX_RELAY_LOOKUPS_MAX)
        return;
    struct lookup *l = &n->lookups[slot];
    if (!l->used || !px_peer_id_eq(&l->relay, &r->entry.id))
        return; /* it was answered meanwhile */
    if (!found || m->record_count == 0 || !take_answer(r, l, m->records[0]))
        ask_next(n, l);
}

bool px_relay_names_on_reply(struct px_relay *r, void *reply_token, enum px_relay_status status,
                             const struct px_relay_msg *m)
{
    uintptr_t t = (uintptr_t)reply_token;
    bool found = status == PX_RELAY_OK && m != NULL && m->type == PX_RELAY_MSG_FOUND;
    if ((t & ((1u << PX_RELAY_TOKEN_BITS) - 1)) != PX_RELAY_TOKEN_NAMES)
        return false;
    t >>= PX_RELAY_TOKEN_BITS;
    if (t >= TICKET_LOOKUP)
        on_looked_up(r, t - TICKET_LOOKUP, found, m);
    else if (found)
        take_page(r, m);
    return true;
}

void px_relays_names_each(struct px_relays *set,
                          void (*each)(void *ctx, const struct px_relays_name *name), void *ctx)
{
    const struct px_net_names *copy = set->names->copy;
    for (size_t i = 0; i < px_net_names_count(copy); i++) {
        struct px_relays_name told;
        describe(set, px_net_names_at(copy, i), &told);
        if (told.age <= PX_NET_NAMES_AGE)
            each(ctx, &told);
    }
}

/* ---- time ---- */

px_nsec px_relay_names_relay_deadline(const struct px_relay *r)
{
    return r->listing.since != 0 && px_relay_usable(r) ? r->listing.next_at : PX_NEVER;
}

void px_relay_names_run_relay(struct px_relay *r, px_nsec now)
{
    if (now >= px_relay_names_relay_deadline(r))
        ask_page(r, now);
}

void px_relay_names_run(struct px_relay_names *n, px_nsec now)
{
    if (now >= n->save_at)
        save(n);
    for (size_t i = 0; i < PX_RELAY_LOOKUPS_MAX; i++)
        if (n->lookups[i].used && now >= n->lookups[i].deadline)
            answer_from_copy(n, &n->lookups[i]);
}

px_nsec px_relay_names_deadline(const struct px_relay_names *n)
{
    px_nsec at = n->save_at;
    for (size_t i = 0; i < PX_RELAY_LOOKUPS_MAX; i++)
        if (n->lookups[i].used)
            at = PX_MIN(at, n->lookups[i].deadline);
    return at;
}
