/* What a listed peer can ask of the rotation service over a link in memory: records that count and
 * that do not, and every limit there is for it. Also rotation, rotation_follow. */
#include <stdlib.h>
#include <unistd.h>

#include "auth/authorized_keys_io.h"
#include "node/rotation_internal.h"
#include "node/state_db.h"
#include "tests/test.h"
#define FAKE_IDS_MAX 64
#include "tests/unit/node/fake_link.c"

/* ---- what the service asks of the rest of the node ---- */

static struct px_peer_id sender;
static px_nsec now = 1000 * PX_SEC;

px_nsec px_now_io(void)
{
    return now;
}

const struct px_peer_id *px_link_peer(const struct px_link *l)
{
    (void)l;
    return &sender;
}

bool px_link_is_early(const struct px_link *l)
{
    (void)l;
    return false;
}

void px_link_close(struct px_link *l, enum px_close_code code)
{
    (void)l, (void)code;
}

/* The control API is not there; the real one would bring the whole overlay with it. */
int px_rotation_control_routes(struct px_rotations *p)
{
    (void)p;
    return 0;
}

int px_peers_add_handler(struct px_peers *p, const struct px_peer_handler *handler)
{
    (void)p;
    CHECK_INT(handler->type, PX_STREAM_ROTATION);
    CHECK(!handler->guests); /* a guest gets nothing */
    return 0;
}

int px_peers_info(struct px_peers *p, const struct px_peer_id *id, struct px_peer_info *ret)
{
    (void)p, (void)id, (void)ret;
    return PX_ENOENT;
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

static char relays; /* somewhere to point to */
static size_t follow_count, check_count;
static struct px_peer_id followed_old, followed_next;

void px_relays_follow(struct px_relays *r, const struct px_peer_id *old,
                      const struct px_peer_id *next)
{
    CHECK(r == (void *)&relays);
    follow_count++;
    followed_old = *old;
    followed_next = *next;
}

void px_relays_check_listed(struct px_relays *r)
{
    CHECK(r == (void *)&relays);
    check_count++;
}

/* ---- a listener, and a peer that speaks as the test says ---- */

struct world {
    uv_loop_t loop;
    struct px_home home;
    struct px_identity self, peer, next, other;
    struct px_allowlist *allowlist;
    struct px_sqlite *db;
    struct px_rotations *p;
    struct fake_net *nets[2 * PX_ROTATION_GUESTS_MAX]; /* one for each asker: it holds one stream */
    size_t net_count;
    bool closed;
};

struct asker {
    struct world *w;
    struct fake_net net;
    struct px_pairing_wire wire;
    bool ended, answered;
    struct px_rotation_message answer;
};

static const struct px_stream_ops *route(void *ctx, int64_t id, uint8_t type, void **ret_ctx)
{
    struct asker *a = ctx;
    CHECK_INT(type, PX_STREAM_ROTATION);
    return px_rotation_listen_stream(a->w->p, &a->net.b, id, ret_ctx);
}

static void on_list_changed(void *ctx)
{
    (void)ctx;
}

static void world_init(struct world *w, bool with_db)
{
    const struct px_authorized_key entry = {.name = "bob"};
    struct px_authorized_key k = entry;
    char path[PX_HOME_FILE_MAX];
    memset(w, 0, sizeof(*w));
    CHECK_OK(px_crypto_init());
    CHECK_INT(uv_loop_init(&w->loop), 0);
    snprintf(w->home.config_dir, sizeof(w->home.config_dir), "/tmp/px-rotlisten.XXXXXX");
    CHECK(mkdtemp(w->home.config_dir) != NULL);
    memcpy(w->home.state_dir, w->home.config_dir, sizeof(w->home.state_dir));
    px_identity_generate(&px_system_rng, &w->self);
    px_identity_generate(&px_system_rng, &w->peer);
    px_identity_generate(&px_system_rng, &w->next);
    px_identity_generate(&px_system_rng, &w->other);
    k.id = sender = w->peer.id;
    px_home_config_path(&w->home, "authorized_keys", path);
    CHECK_OK(px_authorized_keys_file_set(path, &k));
    CHECK_OK(px_allowlist_new(&w->loop, path, NULL, on_list_changed, w, &w->allowlist));
    if (with_db)
        CHECK_OK(px_state_db_open(&w->home, NULL, &w->db));
    const struct px_rotations_config c = {.loop = &w->loop,
                                          .home = &w->home,
                                          .identity = &w->self,
                                          .network = "default",
                                          .allowlist = w->allowlist,
                                          .relays = (void *)&relays,
                                          .state = w->db};
    follow_count = check_count = 0;
    CHECK_OK(px_rotations_new(&c, &w->p));
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
    static const char *const names[] = {"authorized_keys", "authorized_keys.lock", "state.db"};
    char path[PX_HOME_FILE_MAX];
    px_rotations_close(w->p, on_closed, &w->closed);
    turn(w);
    CHECK(w->closed);
    px_allowlist_close(w->allowlist);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&w->loop), 0);
    px_sqlite_close(w->db);
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++)
        (void)unlink(px_home_config_path(&w->home, names[i], path));
    CHECK_INT(rmdir(w->home.config_dir), 0);
}

static void on_message(void *ctx, struct px_slice body)
{
    struct asker *a = ctx;
    CHECK_OK(px_rotation_message_get(body, &a->answer));
    a->answered = true;
    px_pairing_wire_end(&a->wire);
}

static void on_ended(void *ctx, int err)
{
    (void)err;
    ((struct asker *)ctx)->ended = true;
}

static const struct px_pairing_wire_ops ops = {.message = on_message, .ended = on_ended};

static void come(struct world *w, struct asker *a)
{
    memset(a, 0, sizeof(*a));
    a->w = w;
    fake_net_init(&a->net);
    a->net.b.route = route;
    a->net.b.route_ctx = a;
    CHECK(w->net_count < PX_ARRAY_LEN(w->nets));
    w->nets[w->net_count++] = &a->net;
    CHECK_OK(px_pairing_wire_open(&a->wire, &w->loop, &a->net.a, PX_STREAM_ROTATION, &ops, a));
    turn(w);
}

static void leave(struct world *w, struct asker *a)
{
    size_t at = 0;
    if (!a->ended)
        px_pairing_wire_end(&a->wire);
    turn(w);
    CHECK(a->ended);
    while (w->nets[at] != &a->net)
        at++;
    w->nets[at] = w->nets[--w->net_count];
    fake_net_deinit(&a->net);
}

/* 0 for an ack, else the code of the refusal. */
static uint64_t ask(struct world *w, const struct px_rotation_message *m)
{
    struct asker a;
    struct px_buf out;
    come(w, &a);
    px_buf_init(&out, PX_ROTATION_MESSAGE_MAX);
    CHECK_OK(px_rotation_message_put(m, &out));
    CHECK_OK(px_pairing_wire_send(&a.wire, px_buf_slice(&out)));
    px_buf_deinit(&out);
    turn(w);
    CHECK(a.answered);
    leave(w, &a);
    return a.answer.type == PX_ROTATION_MSG_ACK ? 0 : a.answer.code;
}

static uint64_t rotate(struct world *w, const struct px_identity *from,
                       const struct px_identity *to)
{
    struct px_rotation_message m = {.type = PX_ROTATION_MSG_ROTATE};
    CHECK_OK(px_rotation_make(from, to, "default", &m.record));
    return ask(w, &m);
}

TEST(a_record_is_stored_before_it_is_acked_and_lets_the_new_key_in)
{
    struct world w;
    struct px_rotation_book *book = calloc(1, sizeof(*book));
    CHECK(book != NULL);
    world_init(&w, true);
    CHECK(!px_rotations_guest(w.p, &w.next.id));
    CHECK_INT(rotate(&w, &w.peer, &w.next), 0);
    CHECK_OK(px_rotation_store_load(w.db, "default", book));
    CHECK(px_rotation_book_by_new(book, &w.next.id) != NULL);
    CHECK(px_rotations_guest(w.p, &w.next.id));
    CHECK(!px_rotations_guest(w.p, &w.other.id));
    CHECK_INT(rotate(&w, &w.peer, &w.next), 0); /* once more */
    CHECK_INT(ask(&w, &(struct px_rotation_message){.type = PX_ROTATION_MSG_WITHDRAW}), 0);
    CHECK(!px_rotations_guest(w.p, &w.next.id));
    world_end(&w);
    free(book);
}

TEST(records_of_others_and_bad_ones_get_their_codes)
{
    struct world w;
    struct px_rotation_message m = {.type = PX_ROTATION_MSG_ROTATE};
    world_init(&w, true);
    CHECK_INT(rotate(&w, &w.other, &w.next), 3);
    CHECK_INT(rotate(&w, &w.peer, &w.self), 6);
    CHECK_OK(px_rotation_make(&w.peer, &w.next, "default", &m.record));
    m.record.new_sig[0] ^= 1;
    CHECK_INT(ask(&w, &m), 2);
    CHECK_INT(ask(&w, &(struct px_rotation_message){.type = PX_ROTATION_MSG_ACK}), 1);
    CHECK(!px_rotations_guest(w.p, &w.next.id));
    world_end(&w);
}

TEST(what_cannot_be_stored_is_not_acked)
{
    struct world w;
    world_init(&w, false);
    CHECK_INT(rotate(&w, &w.peer, &w.next), 9);
    CHECK(!px_rotations_guest(w.p, &w.next.id));
    world_end(&w);
}

TEST(a_peer_that_is_taken_off_the_list_takes_its_record_along)
{
    struct world w;
    char path[PX_HOME_FILE_MAX];
    world_init(&w, true);
    CHECK_INT(rotate(&w, &w.peer, &w.next), 0);
    px_home_config_path(&w.home, "authorized_keys", path);
    CHECK_OK(px_authorized_keys_file_remove(path, &w.peer.id));
    CHECK_OK(px_allowlist_reload(w.allowlist));
    CHECK(!px_rotations_guest(w.p, &w.next.id)); /* at once */
    px_rotation_follow_tick(w.p, 1);
    CHECK_INT(w.p->book->count, 0);
    world_end(&w);
}

TEST(relays_hear_of_a_key_while_it_is_waited_for)
{
    struct world w;
    world_init(&w, true);
    CHECK_INT(rotate(&w, &w.peer, &w.next), 0);
    px_rotation_follow_tick(w.p, now);
    px_rotation_follow_tick(w.p, now);
    CHECK_INT(follow_count, 1);
    CHECK(px_peer_id_eq(&followed_old, &w.peer.id) && px_peer_id_eq(&followed_next, &w.next.id));
    CHECK_INT(check_count, 0);
    CHECK_INT(ask(&w, &(struct px_rotation_message){.type = PX_ROTATION_MSG_WITHDRAW}), 0);
    px_rotation_follow_tick(w.p, now);
    CHECK_INT(check_count, 1);
    world_end(&w);
}

TEST(changes_are_few_in_a_minute)
{
    struct world w;
    world_init(&w, true);
    for (unsigned i = 0; i < PX_ROTATION_CHANGES_MAX; i++)
        CHECK_INT(rotate(&w, &w.peer, i % 2 == 0 ? &w.next : &w.other), 0);
    CHECK_INT(rotate(&w, &w.peer, &w.next), 8);
    CHECK_INT(rotate(&w, &w.peer, &w.other), 0); /* which is no change */
    CHECK_INT(ask(&w, &(struct px_rotation_message){.type = PX_ROTATION_MSG_WITHDRAW}), 8);
    now += PX_ROTATION_WINDOW;
    CHECK_INT(rotate(&w, &w.peer, &w.next), 0);
    world_end(&w);
}

TEST(streams_are_few_for_a_peer_and_in_all)
{
    struct world w;
    struct asker a[PX_ROTATION_GUESTS_MAX + 1];
    world_init(&w, true);
    for (size_t i = 0; i < PX_ROTATION_GUESTS_MAX; i++) {
        sender.key[0] = (uint8_t)(i / PX_ROTATION_GUESTS_OF_PEER);
        come(&w, &a[i]);
        CHECK(!a[i].ended);
        if ((i + 1) % PX_ROTATION_GUESTS_OF_PEER != 0)
            continue;
        struct asker more;
        come(&w, &more);
        turn(&w);
        CHECK(more.ended && !more.answered);
        leave(&w, &more);
    }
    sender.key[0] = 200;
    come(&w, &a[PX_ROTATION_GUESTS_MAX]);
    CHECK(a[PX_ROTATION_GUESTS_MAX].ended);
    for (size_t i = 0; i < PX_ARRAY_LEN(a); i++)
        leave(&w, &a[i]);
    turn(&w);
    CHECK_INT(w.p->guest_count, 0);
    world_end(&w);
}
