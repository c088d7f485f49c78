/* The inviter's side of the pairing service over a link in memory: what peers are told, and every
 * limit there is for those nobody knows yet. Also pairing, pairing_guest and pairing_wire. */
#include <stdlib.h>
#include <unistd.h>

#include "node/pairing_internal.h"
#include "node/relays.h"
#include "tests/test.h"
#define FAKE_IDS_MAX 64
#include "tests/unit/node/fake_link.c"

struct world {
    uv_loop_t loop;
    struct px_home home;
    struct px_identity self;
    struct px_allowlist *allowlist;
    int reloads;
    struct px_pairings *p;
    struct fake_net *nets[8]; /* a link for each joiner */
    size_t net_count;
    const struct px_pairing_invite *invite;
    struct px_invite code;
    struct px_pairing_keys keys;
    bool closed;
};

struct joiner {
    struct fake_net net;
    struct px_pairing core;
    struct px_pairing_wire wire;
    int answer; /* what the inviter said: 0 welcome or done, or the error of a refusal */
    unsigned answers;
    bool ended;
    int err;
    struct px_peer_id id;
    struct world *w;
};

/* ---- what the service asks of the rest of the node ---- */

static const struct px_peer_id joiner_id = {{2}};
static uint8_t binding_seen_by_inviter;

const struct px_peer_id *px_link_peer(const struct px_link *l)
{
    const struct joiner *j = l->route_ctx;
    return &j->id;
}

bool px_link_is_early(const struct px_link *l)
{
    (void)l;
    return false;
}

void px_link_binding(const struct px_link *l, uint8_t ret[PX_LINK_BINDING_LEN])
{
    memset(ret, l->quic_client ? 7 : binding_seen_by_inviter, PX_LINK_BINDING_LEN);
}

void px_link_path(const struct px_link *l, struct px_path *ret)
{
    (void)l;
    memset(ret, 0, sizeof(*ret));
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("192.0.2.7:5"), &ret->remote));
}

/* The control API is not there; the real one would bring the whole overlay with it. */
int px_control_add(struct px_control *c, const struct px_control_route *routes, size_t count,
                   void *ctx)
{
    (void)c, (void)routes, (void)count, (void)ctx;
    return 0;
}

void px_control_reply(struct px_control_call *call, unsigned status, json_t *owned_reply)
{
    (void)call, (void)status;
    json_decref(owned_reply);
}

void px_control_fail(struct px_control_call *call, int err, const char *fmt, ...)
{
    (void)call, (void)err, (void)fmt;
}

void px_control_line(struct px_control_call *call, json_t *owned_line)
{
    (void)call;
    json_decref(owned_line);
}

void px_control_begin_lines(struct px_control_call *call)
{
    (void)call;
}

void px_control_end(struct px_control_call *call)
{
    (void)call;
}

void px_control_on_gone(struct px_control_call *call, void (*gone)(void *ctx), void *ctx)
{
    (void)call, (void)gone, (void)ctx;
}

const char *px_control_param(const struct px_control_call *call, const char *name)
{
    (void)call, (void)name;
    return NULL;
}

const json_t *px_control_body(const struct px_control_call *call)
{
    (void)call;
    return NULL;
}

const struct px_addr *px_peers_local(const struct px_peers *p)
{
    static const struct px_addr a = {.ip = {127, 0, 0, 1}, .port = 4001, .family = PX_ADDR_IP4};
    (void)p;
    return &a;
}

int px_peers_add_handler(struct px_peers *p, const struct px_peer_handler *handler)
{
    (void)p;
    CHECK_INT(handler->type, PX_STREAM_PAIRING);
    CHECK(handler->guests);
    return 0;
}

int px_peers_dial_guest(struct px_peers *p, const struct px_peer_id *id, const char *const *addrs,
                        size_t addr_count, const struct px_guest_ops *ops, void *ctx)
{
    (void)p, (void)id, (void)addrs, (void)addr_count, (void)ops, (void)ctx;
    return PX_EOFFLINE;
}

void px_peers_end_guest(struct px_peers *p, void *ctx)
{
    (void)p, (void)ctx;
}

static bool is_member;

bool px_peers_is_member(struct px_peers *p, const struct px_peer_id *id)
{
    (void)p, (void)id;
    return is_member;
}

void px_peers_renew(struct px_peers *p, const struct px_peer_id *id)
{
    (void)p, (void)id;
}

int px_peers_ping(struct px_peers *p, const struct px_peer_id *id, px_nsec timeout,
                  void (*done)(void *ctx, int err, px_nsec rtt), void *ctx)
{
    (void)p, (void)id, (void)timeout, (void)done, (void)ctx;
    return PX_EOFFLINE;
}

void px_peers_ping_cancel(struct px_peers *p, void *ctx)
{
    (void)p, (void)ctx;
}

void px_peers_keep_guest(struct px_peers *p, const struct px_peer_id *id, px_nsec time)
{
    (void)p, (void)id, (void)time;
}

/* No relays here; the real ones would bring the overlay. */
int px_relays_invite(struct px_relays *r, const uint8_t id[PX_INVITE_ID_LEN],
                     const uint8_t hash[PX_RELAY_SECRET_LEN], px_nsec ttl,
                     struct px_relay_entry *ret)
{
    (void)r, (void)id, (void)hash, (void)ttl, (void)ret;
    return PX_EOFFLINE;
}

void px_relays_uninvite(struct px_relays *r, const uint8_t id[PX_INVITE_ID_LEN])
{
    (void)r, (void)id;
}

void px_relays_check_invites(struct px_relays *r,
                             bool (*is_open)(void *ctx, const uint8_t id[PX_INVITE_ID_LEN]),
                             void *ctx)
{
    (void)r, (void)is_open, (void)ctx;
}

void px_relays_vouch(struct px_relays *r, const struct px_peer_id *id)
{
    (void)r, (void)id;
}

int px_relays_join(struct px_relays *r, const struct px_relay_entry *relay,
                   const uint8_t secret[PX_RELAY_SECRET_LEN], char ret_route[PX_AUTH_ADDR_MAX])
{
    (void)r, (void)relay, (void)secret, (void)ret_route;
    return PX_ELIMIT;
}

int px_relays_keep(struct px_relays *r, const struct px_relay_entry *relay)
{
    (void)r, (void)relay;
    return 0;
}

void px_relays_part(struct px_relays *r, const struct px_peer_id *relay)
{
    (void)r, (void)relay;
}

size_t px_relays_routes(const struct px_relays *r, char (*ret)[PX_AUTH_ADDR_MAX], size_t cap)
{
    (void)r, (void)ret, (void)cap;
    return 0;
}

/* ---- a node that invites, and joiners who speak as the test says ---- */

static const struct px_stream_ops *route(void *ctx, int64_t id, uint8_t type, void **ret_ctx)
{
    struct joiner *j = ctx;
    CHECK_INT(type, PX_STREAM_PAIRING);
    return px_pairing_guest_stream(j->w->p, &j->net.b, id, ret_ctx);
}

static void on_list_changed(void *ctx)
{
    ((struct world *)ctx)->reloads++;
}

static void world_init(struct world *w)
{
    char path[PX_HOME_FILE_MAX];
    memset(w, 0, sizeof(*w));
    CHECK_OK(px_crypto_init());
    CHECK_INT(uv_loop_init(&w->loop), 0);
    snprintf(w->home.config_dir, sizeof(w->home.config_dir), "/tmp/px-guest.XXXXXX");
    CHECK(mkdtemp(w->home.config_dir) != NULL);
    px_identity_generate(&px_system_rng, &w->self);
    binding_seen_by_inviter = 7;
    is_member = false;
    px_home_config_path(&w->home, "authorized_keys", path);
    CHECK_OK(px_allowlist_new(&w->loop, path, NULL, on_list_changed, w, &w->allowlist));
    const struct px_pairings_config c = {.loop = &w->loop,
                                         .home = &w->home,
                                         .identity = &w->self,
                                         .network = "default",
                                         .allowlist = w->allowlist};
    CHECK_OK(px_pairings_new(&c, &w->p));
}

static void invite(struct world *w, bool verify)
{
    const struct px_pairing_wish wish = {
        .ttl = 60, .name = "", .grants = PX_GRANT_CACHE, .verify = verify};
    CHECK_OK(px_pairings_invite(w->p, &wish, &w->invite, &w->code));
    px_pairing_derive(&w->code, &w->keys);
}

static void turn(struct world *w)
{
    for (int i = 0; i < 5; i++) {
        for (size_t n = 0; n < w->net_count; n++)
            fake_run(w->nets[n]);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void world_end(struct world *w)
{
    static const char *const names[] = {"authorized_keys", "authorized_keys.lock", "trusted-keys",
                                        "trusted-keys.lock"};
    char path[PX_HOME_FILE_MAX];
    px_pairings_close(w->p, on_closed, &w->closed);
    turn(w);
    CHECK(w->closed);
    px_allowlist_close(w->allowlist);
    CHECK_INT(w->net_count, 0);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&w->loop), 0);
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++)
        (void)unlink(px_home_config_path(&w->home, names[i], path));
    CHECK_INT(rmdir(w->home.config_dir), 0);
}

static void on_message(void *ctx, struct px_slice body)
{
    struct joiner *j = ctx;
    struct px_pairing_card card;
    j->answers++;
    j->answer = j->core.state == PX_PAIRING_HELLO ? px_pairing_read_welcome(&j->core, body, &card)
                : j->core.state == PX_PAIRING_CONFIRM ? px_pairing_read_done(&j->core, body)
                                                      : px_pairing_read_refusal(&j->core, body);
}

static void on_ended(void *ctx, int err)
{
    struct joiner *j = ctx;
    j->ended = true;
    j->err = err;
}

static const struct px_pairing_wire_ops ops = {.message = on_message, .ended = on_ended};

static void come_as(struct world *w, struct joiner *j, uint8_t who)
{
    uint8_t binding[PX_LINK_BINDING_LEN];
    memset(j, 0, sizeof(*j));
    j->w = w;
    j->id.key[0] = who;
    fake_net_init(&j->net);
    j->net.b.route = route;
    j->net.b.route_ctx = j;
    w->nets[w->net_count++] = &j->net;
    px_link_binding(&j->net.a, binding);
    px_pairing_init(&j->core, PX_PAIRING_JOINER, &w->self.id, &j->id, binding);
    CHECK_OK(px_pairing_wire_open(&j->wire, &w->loop, &j->net.a, PX_STREAM_PAIRING, &ops, j));
}

static void come(struct world *w, struct joiner *j)
{
    come_as(w, j, joiner_id.key[0]);
}

static void say_hello(struct world *w, struct joiner *j)
{
    const struct px_pairing_card card = {.name = "bob"};
    struct px_buf out;
    px_buf_init(&out, PX_PAIRING_MESSAGE_MAX);
    CHECK_OK(px_pairing_write_hello(&j->core, w->code.id, &w->keys.pair, &card, &out));
    CHECK_OK(px_pairing_wire_send(&j->wire, px_buf_slice(&out)));
    px_buf_deinit(&out);
    turn(w);
}

static void say_confirm(struct world *w, struct joiner *j)
{
    struct px_buf out;
    px_buf_init(&out, PX_PAIRING_MESSAGE_MAX);
    CHECK_OK(px_pairing_write_confirm(&j->core, &out));
    CHECK_OK(px_pairing_wire_send(&j->wire, px_buf_slice(&out)));
    px_buf_deinit(&out);
    turn(w);
}

static void leave(struct world *w, struct joiner *j)
{
    if (!j->ended)
        px_pairing_wire_end(&j->wire);
    turn(w);
    CHECK(j->ended);
    size_t at = 0;
    while (w->nets[at] != &j->net)
        at++;
    w->nets[at] = w->nets[--w->net_count];
    fake_net_deinit(&j->net);
    turn(w);
}

static bool is_written(struct world *w)
{
    char path[PX_HOME_FILE_MAX];
    return access(px_home_config_path(&w->home, "authorized_keys", path), F_OK) == 0;
}

TEST(a_joiner_with_the_code_is_written_down_only_after_confirm)
{
    struct world w;
    struct joiner j;
    world_init(&w);
    CHECK(!px_pairings_guest(w.p, &joiner_id));
    invite(&w, false);
    CHECK(px_pairings_guest(w.p, &joiner_id));
    come(&w, &j);
    say_hello(&w, &j);
    CHECK_ERR(j.answer, 0);
    CHECK_INT(w.invite->state, PX_INVITE_PENDING);
    CHECK(!is_written(&w));
    say_confirm(&w, &j);
    CHECK_INT(j.core.state, PX_PAIRING_DONE);
    CHECK_INT(w.invite->state, PX_INVITE_USED);
    CHECK(is_written(&w));
    CHECK_INT(w.reloads, 1); /* at once: the joiner comes back before a watch would tell */
    CHECK_INT(px_allowlist_grants(w.allowlist, &j.id), PX_GRANT_CACHE);
    leave(&w, &j);
    CHECK(w.p->guests == NULL);
    world_end(&w);
}

TEST(who_waits_for_an_invite_hears_of_its_use_once_the_joiner_is_a_peer)
{
    struct world w;
    struct joiner j;
    const struct px_peer_id other = {.key = {99}};
    for (int late = 0; late < 2; late++) {
        world_init(&w);
        invite(&w, false);
        come(&w, &j);
        say_hello(&w, &j);
        say_confirm(&w, &j);
        CHECK_INT(w.invite->state, PX_INVITE_USED);
        CHECK(px_pairings_is_settling(w.p, w.invite));
        px_pairings_peer_up(w.p, &other);
        CHECK(px_pairings_is_settling(w.p, w.invite));
        is_member = late == 0;
        if (late == 0)
            px_pairings_peer_up(w.p, &j.id);
        (void)uv_timer_set_repeat(&w.p->tick, 1);
        (void)uv_timer_again(&w.p->tick);
        while (late == 1 && px_pairings_is_settling(w.p, w.invite))
            (void)uv_run(&w.loop, UV_RUN_ONCE);
        CHECK(!px_pairings_is_settling(w.p, w.invite));
        CHECK_INT(w.p->last.connected, late == 0);
        leave(&w, &j);
        world_end(&w);
    }
}

/* `auth remove` must hold, whatever code the peer still has. */
TEST(who_was_taken_off_the_list_does_not_come_back_by_the_invite_it_used)
{
    struct world w;
    struct joiner j;
    char path[PX_HOME_FILE_MAX];
    world_init(&w);
    invite(&w, false);
    px_home_config_path(&w.home, "authorized_keys", path);
    for (int i = 0; i < 2; i++) { /* paired; then again, having missed `done` perhaps */
        come(&w, &j);
        say_hello(&w, &j);
        say_confirm(&w, &j);
        CHECK_INT(j.core.state, PX_PAIRING_DONE);
        leave(&w, &j);
    }
    come(&w, &j);
    say_hello(&w, &j);
    CHECK_ERR(j.answer, 0);
    CHECK_INT(unlink(path), 0); /* taken off in this moment */
    say_confirm(&w, &j);
    CHECK_ERR(j.answer, PX_EINVITE_USED);
    CHECK(!is_written(&w));
    leave(&w, &j);
    come(&w, &j);
    say_hello(&w, &j);
    CHECK_ERR(j.answer, PX_EINVITE_USED);
    CHECK(!is_written(&w));
    leave(&w, &j);
    world_end(&w);
}

/* Somebody in the middle ends both links: the proof was made for another one. */
TEST(a_proof_relayed_from_another_link_is_refused_and_counts)
{
    struct world w;
    struct joiner j;
    world_init(&w);
    invite(&w, false);
    binding_seen_by_inviter = 8;
    come(&w, &j);
    say_hello(&w, &j);
    CHECK_ERR(j.answer, PX_EINVITE_TOKEN);
    CHECK_INT(w.invite->failures, 1);
    CHECK_INT(w.invite->state, PX_INVITE_OPEN);
    CHECK(!is_written(&w));
    leave(&w, &j);
    world_end(&w);
}

/* Both wait for people; they came with an invite each. */
static void two_pair(struct world *w, struct joiner two[PX_PAIRING_GUESTS_MAX])
{
    for (uint8_t i = 0; i < PX_PAIRING_GUESTS_MAX; i++) {
        invite(w, true);
        come_as(w, &two[i], (uint8_t)(20 + i));
        say_hello(w, &two[i]);
        CHECK_ERR(two[i].answer, 0);
    }
}

TEST(two_pair_at_once_and_further_ones_are_told_to_wait)
{
    struct world w;
    struct joiner two[PX_PAIRING_GUESTS_MAX], third;
    world_init(&w);
    two_pair(&w, two);
    invite(&w, false);
    come(&w, &third);
    say_hello(&w, &third);
    CHECK_ERR(third.answer, PX_EINVITE_BUSY);
    CHECK_INT(w.invite->state, PX_INVITE_OPEN);
    leave(&w, &third);
    for (size_t i = 0; i < PX_PAIRING_GUESTS_MAX; i++)
        leave(&w, &two[i]);
    CHECK(w.p->guests == NULL);
    come(&w, &third);
    say_hello(&w, &third);
    CHECK_ERR(third.answer, 0);
    leave(&w, &third);
    world_end(&w);
}

/* Who knows our ID, but no invite, must not be able to prevent a pairing. */
TEST(strangers_that_hold_streams_keep_nobody_out)
{
    struct world w;
    struct joiner strangers[5], j;
    world_init(&w);
    invite(&w, false);
    for (uint8_t i = 0; i < PX_ARRAY_LEN(strangers); i++) {
        come_as(&w, &strangers[i], (uint8_t)(50 + i));
        turn(&w); /* and says nothing */
        CHECK(!strangers[i].ended);
    }
    come(&w, &j);
    say_hello(&w, &j);
    CHECK_ERR(j.answer, 0);
    say_confirm(&w, &j);
    CHECK_INT(j.core.state, PX_PAIRING_DONE);
    leave(&w, &j);
    for (size_t i = 0; i < PX_ARRAY_LEN(strangers); i++)
        leave(&w, &strangers[i]);
    world_end(&w);
}

TEST(a_peer_has_so_many_streams_and_all_have_so_many)
{
    struct world w;
    struct joiner j, third;
    struct px_pairing_guest filler[PX_PAIRING_STREAMS_MAX];
    world_init(&w);
    invite(&w, false);
    come(&w, &j);
    turn(&w);
    memset(filler, 0, sizeof(filler));
    filler[0].core.joiner = j.id;
    filler[0].next = w.p->guests; /* a second one of the same peer */
    w.p->guests = &filler[0];
    come(&w, &third);
    turn(&w);
    CHECK(third.ended);
    CHECK_ERR(third.err, PX_ECANCELED);
    w.p->guests = filler[0].next;
    leave(&w, &third);
    for (size_t i = 1; i < PX_ARRAY_LEN(filler); i++) { /* as many as there may be, with j */
        filler[i].next = w.p->guests;
        w.p->guests = &filler[i];
    }
    come_as(&w, &third, 99);
    turn(&w);
    CHECK(third.ended);
    w.p->guests = filler[1].next;
    leave(&w, &third);
    leave(&w, &j);
    world_end(&w);
}

/* Ids have three bytes: trying them all must neither find an invite nor burn it. */
TEST(guesses_are_told_and_counted_only_so_often)
{
    struct world w;
    struct joiner j;
    world_init(&w);
    invite(&w, false);
    uint8_t first = w.code.id[0];
    w.code.id[0] ^= 1;
    for (int i = 0; i < PX_PAIRING_WRONG_BURST + 1; i++) {
        come(&w, &j);
        say_hello(&w, &j);
        CHECK_ERR(j.answer, i < PX_PAIRING_WRONG_BURST ? PX_EINVITE_UNKNOWN : PX_EINVITE_BUSY);
        leave(&w, &j);
    }
    w.code.id[0] = first;
    binding_seen_by_inviter = 8; /* wrong proofs */
    for (int i = 0; i < PX_PAIRING_BURN; i++) {
        come(&w, &j);
        say_hello(&w, &j);
        CHECK_ERR(j.answer, PX_EINVITE_BUSY);
        leave(&w, &j);
    }
    CHECK_INT(w.invite->failures, 0);
    binding_seen_by_inviter = 7;
    come(&w, &j);
    say_hello(&w, &j);
    CHECK_ERR(j.answer, 0); /* who knows the invite is not kept out */
    leave(&w, &j);
    world_end(&w);
}

TEST(nothing_is_written_before_people_have_compared)
{
    struct world w;
    struct joiner j;
    world_init(&w);
    invite(&w, true);
    come(&w, &j);
    CHECK_ERR(px_pairing_guest_answer(w.p, w.code.id, true), PX_ESTATE);
    say_hello(&w, &j);
    say_confirm(&w, &j);
    CHECK_INT(j.answers, 1);
    CHECK(!is_written(&w));
    CHECK_OK(px_pairing_guest_answer(w.p, w.code.id, true));
    turn(&w);
    CHECK_INT(j.core.state, PX_PAIRING_DONE);
    CHECK(is_written(&w));
    CHECK_ERR(px_pairing_guest_answer(w.p, w.code.id, true), PX_ESTATE);
    leave(&w, &j);
    world_end(&w);
}

TEST(a_no_withdraws_the_invite)
{
    struct world w;
    struct joiner j;
    world_init(&w);
    invite(&w, true);
    come(&w, &j);
    say_hello(&w, &j);
    say_confirm(&w, &j);
    CHECK_OK(px_pairing_guest_answer(w.p, w.code.id, false));
    turn(&w);
    CHECK_ERR(j.answer, PX_EPAIR_REJECTED);
    CHECK_INT(w.invite->state, PX_INVITE_WITHDRAWN);
    CHECK(!is_written(&w));
    leave(&w, &j);
    world_end(&w);
}

TEST(a_guest_may_send_so_much_and_take_so_long)
{
    static const uint8_t junk[PX_PAIRING_STREAM_MAX + 1] = {0};
    struct world w;
    struct joiner j;
    world_init(&w);
    invite(&w, false);

    come(&w, &j); /* a message that is none */
    CHECK_OK(px_pairing_wire_send(&j.wire, PX_SLICE_LIT("hello")));
    turn(&w);
    CHECK_ERR(j.answer, PX_EPROTO);
    leave(&w, &j);

    come(&w, &j); /* a frame beyond 1 KiB */
    struct px_chunk *big = px_chunk_copy(PX_SLICE_LIT("\x04\x01"));
    CHECK_OK(px_stream_write(j.wire.stream, big));
    turn(&w);
    CHECK(j.ended);
    CHECK_ERR(j.err, PX_ECANCELED);
    leave(&w, &j);

    come(&w, &j); /* too much altogether */
    big = px_chunk_copy(px_slice(junk, sizeof(junk)));
    CHECK_OK(px_stream_write(j.wire.stream, big));
    turn(&w);
    CHECK(j.ended);
    CHECK_ERR(j.err, PX_ECANCELED);
    leave(&w, &j);

    come(&w, &j); /* silence */
    turn(&w);
    CHECK(w.p->guests != NULL);
    uint64_t left = uv_timer_get_due_in(&w.p->guests->wire.timer);
    CHECK(left > 0 && left <= PX_PAIRING_TIME / PX_MSEC);
    leave(&w, &j);

    come(&w, &j); /* the link goes */
    say_hello(&w, &j);
    fake_net_cut(&j.net);
    turn(&w);
    CHECK(j.ended);
    CHECK_ERR(j.err, PX_ECLOSED);
    leave(&w, &j);
    CHECK(w.p->guests == NULL);
    CHECK_INT(w.invite->state, PX_INVITE_PENDING);
    CHECK_INT(w.invite->failures, 0);
    world_end(&w);
}

TEST(invites_are_limited_and_ended_ones_make_room)
{
    const struct px_pairing_wish wish = {.ttl = 60, .name = ""};
    const struct px_pairing_invite *i;
    struct px_invite code;
    struct world w;
    world_init(&w);
    for (size_t n = 0; n < PX_PAIRING_INVITES_MAX; n++)
        CHECK_OK(px_pairings_invite(w.p, &wish, &i, &code));
    CHECK_ERR(px_pairings_invite(w.p, &wish, &i, &code), PX_ELIMIT);
    CHECK_OK(px_pairings_withdraw(w.p, &w.p->invites[3]));
    CHECK_OK(px_pairings_invite(w.p, &wish, &i, &code));
    CHECK_INT(w.p->invite_count, PX_PAIRING_INVITES_MAX);
    world_end(&w);
}

static bool ticks(const struct world *w)
{
    return uv_is_active((const uv_handle_t *)&w->p->tick) != 0;
}

TEST(time_is_looked_at_only_while_something_waits_for_it)
{
    struct world w;
    world_init(&w);
    CHECK(ticks(&w)); /* stored joins are yet to be looked at */
    w.p->ticks = PX_PAIRING_JOIN_PAUSE * 4 - 1;
    for (int i = 0; i < 8 && ticks(&w); i++)
        (void)uv_run(&w.loop, UV_RUN_ONCE);
    CHECK(!ticks(&w));
    invite(&w, false);
    CHECK(ticks(&w));
    world_end(&w);
}
