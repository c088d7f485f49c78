/* The inviter's side: peers that open a pairing stream (docs/spec/pairing.md §4 to §6). */
#include <stdlib.h>

#include "auth/authorized_keys_io.h"
#include "node/fault_point.h"
#include "node/pairing_internal.h"

/* ---- answers ---- */

static void log_refused(const struct px_pairing_guest *g, int err)
{
    char id[PX_PEER_ID_TEXT_MAX];
    px_log_event(g->p->config.log, PX_LOG_INFO, "pairing.refused",
                 PX_F_STR("peer", px_peer_id_format(&g->core.joiner, id)), PX_F_ERR(err));
}

static void refuse(struct px_pairing_guest *g, int why)
{
    struct px_buf out;
    px_buf_init(&out, PX_PAIRING_MESSAGE_MAX);
    int err = px_pairing_write_refuse(&g->core, px_pairing_refusal_for(why), &out);
    if (err == 0)
        err = px_pairing_wire_send(&g->wire, px_buf_slice(&out));
    px_buf_deinit(&out);
    log_refused(g, why);
    if (err == 0)
        px_pairing_wire_end(&g->wire);
    else
        px_pairing_wire_abort(&g->wire, err);
}

/* Sends what `write` appended, or refuses. */
static int send_out(struct px_pairing_guest *g, int err, struct px_buf *out)
{
    if (err == 0)
        err = px_pairing_wire_send(&g->wire, px_buf_slice(out));
    px_buf_deinit(out);
    return err;
}

static void send_welcome(struct px_pairing_guest *g, const struct px_pairing_invite *i)
{
    struct px_pairing_card card;
    struct px_buf out;
    px_pairings_card(g->p, i->grants, g->verify, &card);
    px_buf_init(&out, PX_PAIRING_MESSAGE_MAX);
    int err = send_out(g, px_pairing_write_welcome(&g->core, &card, &out), &out);
    if (err != 0)
        refuse(g, err);
}

static void send_done(struct px_pairing_guest *g)
{
    struct px_buf out;
    px_buf_init(&out, PX_PAIRING_MESSAGE_MAX);
    int err = send_out(g, px_pairing_write_done(&g->core, &out), &out);
    if (err == 0)
        px_pairing_wire_end(&g->wire);
    else
        px_pairing_wire_abort(&g->wire, err);
}

/* ---- hello ---- */

/* Those who say hello are strangers as yet. Guessing ids must neither find nor burn an invite: what
 * comes too often is answered the same whatever it names. */
static int wrong_hello(struct px_pairings *p, struct px_pairing_invite *i)
{
    if (p->wrong >= PX_PAIRING_WRONG_BURST)
        return PX_EINVITE_BUSY;
    p->wrong++;
    px_pairings_wake(p);
    if (i == NULL)
        return PX_EINVITE_UNKNOWN;
    int err = px_pairing_invite_fail(i, px_pairing_now());
    int stored = px_pairings_changed(p, i);
    return stored != 0 ? stored : err;
}

/* Taken off the list, a peer does not come back by the invite it has used: that invite is
 * remembered for those who did not hear `done`. The file is asked, as the list in memory may be
 * older. */
static bool was_removed(const struct px_pairing_guest *g, const struct px_pairing_invite *i)
{
    struct px_authorized_keys *keys = NULL;
    char path[PX_HOME_FILE_MAX];
    if (i->state != PX_INVITE_USED)
        return false;
    px_home_config_path(g->p->config.home, PX_HOME_AUTHORIZED_KEYS, path);
    int err = px_authorized_keys_load(path, &keys);
    bool listed = err == 0 && px_authorized_keys_find(keys, &g->core.joiner) != NULL;
    px_authorized_keys_free(keys);
    return !listed;
}

/* Counts those alone who know an invite: who does not keeps nobody out. */
static bool has_room(const struct px_pairing_guest *g)
{
    size_t others = 0;
    for (const struct px_pairing_guest *o = g->p->guests; o != NULL; o = o->next)
        others += o->proved && !px_peer_id_eq(&o->core.joiner, &g->core.joiner);
    return others < PX_PAIRING_GUESTS_MAX;
}

/* May this peer have the invite it names? Stores what that changes. */
static int take_invite(struct px_pairing_guest *g, struct px_pairing_invite **ret)
{
    struct px_pairing_invite *i = px_pairings_find(g->p, g->core.id);
    if (i == NULL)
        return wrong_hello(g->p, NULL);
    if (px_pairing_invite_tick(i, px_pairing_now()))
        (void)px_pairings_changed(g->p, i);
    int err = px_pairing_invite_usable(i);
    if (err != 0)
        return err;
    if (px_pairing_check_hello(&g->core, &i->pair) != 0)
        return wrong_hello(g->p, i);
    if (!has_room(g))
        return PX_EINVITE_BUSY;
    if (was_removed(g, i))
        return PX_EINVITE_USED;
    err = px_pairing_invite_take(i, &g->core.joiner);
    if (err == 0) /* SPEC pairing §4: pending is stored before `welcome` */
        err = px_pairings_changed(g->p, i);
    *ret = i;
    return err;
}

static void on_hello(struct px_pairing_guest *g, struct px_slice body)
{
    struct px_pairing_invite *i = NULL;
    int err = px_pairing_read_hello(&g->core, body, &g->card);
    px_fault_point("inviter-hello");
    if (err == 0)
        err = take_invite(g, &i);
    if (err != 0) {
        refuse(g, err);
        return;
    }
    px_fault_point("inviter-pending");
    g->proved = true;
    g->verify = i->verify || g->card.verify;
    if (g->verify)
        px_pairing_wire_set_time(&g->wire, PX_PAIRING_VERIFY_TIME);
    px_peers_keep_guest(g->p->config.peers, &g->core.joiner,
                        g->verify ? PX_PAIRING_VERIFY_TIME : PX_PAIRING_TIME);
    send_welcome(g, i);
    if (g->verify)
        px_pairing_watchers_tell(g->p, i); /* they show the string now */
}

/* ---- confirm ---- */

/* Writes the joiner down; only then the invite is used, and only then it hears `done`. */
static void promote(struct px_pairing_guest *g)
{
    struct px_pairing_invite *i = px_pairings_find(g->p, g->core.id);
    struct px_pairing_written written;
    int err = i == NULL ? PX_EINVITE_UNKNOWN : px_pairing_invite_usable(i);
    if (err == 0 && !px_peer_id_eq(&i->joiner, &g->core.joiner))
        err = PX_EINVITE_BUSY;
    if (err == 0 && was_removed(g, i))
        err = PX_EINVITE_USED;
    px_fault_point("inviter-confirmed");
    if (err == 0)
        err = px_pairings_commit(g->p, &g->core.joiner, i->name, &g->card, g->seen, i->grants,
                                 &written);
    px_fault_point("inviter-written");
    if (err == 0)
        err = px_pairing_invite_promote(i, &g->core.joiner);
    if (err != 0) {
        refuse(g, err);
        return;
    }
    snprintf(i->name, sizeof(i->name), "%s", written.name);
    if (g->p->config.relays != NULL) /* first: once the invite is used nobody asks for it again */
        px_relays_vouch(g->p->config.relays, &g->core.joiner);
    px_pairings_used(g->p, i, &g->card, &written);
    px_fault_point("inviter-used");
    send_done(g);
}

static void on_confirm(struct px_pairing_guest *g, struct px_slice body)
{
    struct px_pairing_invite *i = px_pairings_find(g->p, g->core.id);
    int err = px_pairing_read_confirm(&g->core, body);
    if (err == PX_EPAIR_REJECTED && i != NULL)
        (void)px_pairings_withdraw(g->p, i); /* somebody else may know the code */
    if (err != 0)
        refuse(g, err);
    else if (!g->verify || g->approved)
        promote(g);
}

static void on_message(void *ctx, struct px_slice body)
{
    struct px_pairing_guest *g = ctx;
    switch (g->core.state) {
    case PX_PAIRING_START:
        on_hello(g, body);
        return;
    case PX_PAIRING_WELCOME:
        on_confirm(g, body);
        return;
    case PX_PAIRING_HELLO:
    case PX_PAIRING_CONFIRM:
    case PX_PAIRING_DONE:
    case PX_PAIRING_FAILED:
        break;
    }
    refuse(g, PX_EPROTO);
}

static void on_ended(void *ctx, int err)
{
    struct px_pairing_guest *g = ctx;
    struct px_pairings *p = g->p;
    struct px_pairing_guest **at = &p->guests;
    if (g->core.state != PX_PAIRING_DONE && g->core.state != PX_PAIRING_FAILED)
        log_refused(g, err != 0 ? err : PX_EPAIR_HALF);
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    const struct px_pairing_invite *i = g->verify ? px_pairings_find(p, g->core.id) : NULL;
    px_pairing_deinit(&g->core);
    free(g);
    if (i != NULL)
        px_pairing_watchers_tell(p, i); /* nothing to compare any more */
    px_pairings_check_closed(p);
}

static const struct px_pairing_wire_ops wire_ops = {.message = on_message, .ended = on_ended};

/* ---- coming ---- */

static struct px_pairing_guest *guest_new(struct px_pairings *p, struct px_link *link)
{
    uint8_t binding[PX_LINK_BINDING_LEN];
    struct px_pairing_guest *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return NULL;
    g->p = p;
    px_link_binding(link, binding);
    px_pairing_init(&g->core, PX_PAIRING_INVITER, &p->config.identity->id, px_link_peer(link),
                    binding);
    px_wipe(binding, sizeof(binding));
    px_pairings_seen(link, g->seen);
    return g;
}

const struct px_stream_ops *px_pairing_guest_stream(void *pairings, struct px_link *link,
                                                    int64_t id, void **ret_ctx)
{
    struct px_pairings *p = pairings;
    size_t all = 0, of_peer = 0;
    for (const struct px_pairing_guest *g = p->guests; g != NULL; g = g->next) {
        all++;
        of_peer += px_peer_id_eq(&g->core.joiner, px_link_peer(link));
    }
    if (p->closing || all >= PX_PAIRING_STREAMS_MAX || of_peer >= PX_PAIRING_PEER_STREAMS)
        return NULL;
    struct px_pairing_guest *g = guest_new(p, link);
    if (g == NULL || px_pairing_wire_adopt(&g->wire, p->config.loop, link, id, &wire_ops, g) != 0) {
        free(g);
        return NULL;
    }
    g->next = p->guests;
    p->guests = g;
    if (g->wire.stream == NULL)
        return NULL;
    *ret_ctx = g->wire.stream;
    return &px_stream_link_ops;
}

/* ---- the short authentication string ---- */

struct px_pairing_guest *px_pairing_guest_asking(struct px_pairings *p,
                                                 const uint8_t id[PX_INVITE_ID_LEN])
{
    for (struct px_pairing_guest *g = p->guests; g != NULL; g = g->next)
        if (g->verify && !g->approved && memcmp(g->core.id, id, PX_INVITE_ID_LEN) == 0 &&
            (g->core.state == PX_PAIRING_WELCOME || g->core.state == PX_PAIRING_CONFIRM))
            return g;
    return NULL;
}

int px_pairing_guest_answer(struct px_pairings *p, const uint8_t id[PX_INVITE_ID_LEN], bool yes)
{
    struct px_pairing_guest *g = px_pairing_guest_asking(p, id);
    struct px_pairing_invite *i = px_pairings_find(p, id);
    if (i == NULL)
        return PX_ENOENT;
    if (g == NULL)
        return PX_ESTATE;
    g->approved = yes;
    if (!yes) {
        refuse(g, PX_EPAIR_REJECTED);
        return px_pairings_withdraw(p, i);
    }
    if (g->core.state == PX_PAIRING_CONFIRM)
        promote(g);
    return 0;
}

void px_pairing_guests_abort(struct px_pairings *p)
{
    for (struct px_pairing_guest *g = p->guests; g != NULL; g = g->next)
        px_pairing_wire_abort(&g->wire, PX_ECLOSED);
}
