/* Invites, pairing, rotation, names and the allowlist while one allocation of ours after the other
 * fails: every call says so, leaves no trace and works the next time. */
#include "auth/names.h"
#include "auth/nix_key.h"
#include "auth/noise.h"
#include "auth/pairing_invite.h"
#include "auth/pairing_message.h"
#include "auth/rotation_book.h"
#include "tests/no_memory.h"

#define NIX_KEY "bob-peerix-1:7ksZ3SJGjfwKcKwJZFd5eTxcVmEtxELVhAGQ1NnBnhs="

static struct {
    struct px_peer_id inviter, joiner;
    struct px_pairing_invite invite;
    struct px_invite code;
    struct px_pairing_keys keys;
    struct px_pairing_card card;
    uint8_t binding[PX_PAIRING_BINDING_LEN];
    char text[PX_INVITE_TEXT_MAX];
} w;

static void set_up(void)
{
    struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 3);
    CHECK_OK(px_crypto_init());
    memset(&w, 0, sizeof(w));
    rng.fill(rng.ctx, w.inviter.key, sizeof(w.inviter.key));
    rng.fill(rng.ctx, w.joiner.key, sizeof(w.joiner.key));
    px_pairing_invite_new(&w.inviter, &rng, 1000, &w.invite, &w.code);
    w.code.addr_count = 2;
    snprintf(w.code.addrs[0], sizeof(w.code.addrs[0]), "192.0.2.7:12303");
    snprintf(w.code.addrs[1], sizeof(w.code.addrs[1]), "a-host-of-some-length.example:4001");
    px_pairing_derive(&w.code, &w.keys);
    w.card = (struct px_pairing_card){.name = "bob",
                                      .addr_count = 2,
                                      .addrs = {"192.0.2.7:12303", "[2001:db8::7]:4001"},
                                      .nix_key = NIX_KEY,
                                      .grants = PX_GRANT_CACHE | PX_GRANT_CACHE_OWN};
}

/* --- invite codes --- */

static void print_and_parse(void)
{
    for (int url = 0; url < 2; url++) {
        struct px_buf out;
        struct px_invite got;
        struct px_invite_fault fault = {.why = ""};
        int err;
        px_buf_init(&out, PX_INVITE_TEXT_MAX);
        ARMED(err = url ? px_invite_print_url(&w.code, &out) : px_invite_print(&w.code, &out));
        CHECK_SWEPT(err);
        if (err == 0) {
            ARMED(err = px_invite_parse(px_buf_slice(&out), &got, &fault));
            CHECK_SWEPT(err);
            if (err == 0)
                CHECK(memcmp(got.secret, w.code.secret, sizeof(got.secret)) == 0);
            else
                CHECK(fault.why[0] != '\0');
        }
        px_buf_deinit(&out);
    }
}

TEST(invite_codes_survive_any_lack_of_memory)
{
    set_up();
    sweep(print_and_parse, 2);
}

/* --- pairing --- */

enum { HELLO, READ_HELLO, WELCOME, READ_WELCOME, CONFIRM, READ_CONFIRM, DONE, READ_DONE, STEPS };

static int pair_step(int step, struct px_pairing *a, struct px_pairing *b, struct px_buf *msg)
{
    struct px_pairing_card got;
    int err;
    if (step % 2 == 0)
        px_buf_clear(msg);
    switch (step) {
    case HELLO:
        return px_pairing_write_hello(b, w.code.id, &w.keys.pair, &w.card, msg);
    case READ_HELLO:
        err = px_pairing_read_hello(a, px_buf_slice(msg), &got);
        return err != 0 ? err : px_pairing_check_hello(a, &w.invite.pair);
    case WELCOME:
        return px_pairing_write_welcome(a, &w.card, msg);
    case READ_WELCOME:
        return px_pairing_read_welcome(b, px_buf_slice(msg), &got);
    case CONFIRM:
        return px_pairing_write_confirm(b, msg);
    case READ_CONFIRM:
        return px_pairing_read_confirm(a, px_buf_slice(msg));
    case DONE:
        return px_pairing_write_done(a, msg);
    default:
        return px_pairing_read_done(b, px_buf_slice(msg));
    }
}

/* A step that failed while it wrote sent nothing; the other side then hears of the refusal. */
static void pair(void)
{
    struct px_pairing a, b;
    struct px_buf msg;
    int err = 0;
    px_pairing_init(&a, PX_PAIRING_INVITER, &w.inviter, &w.joiner, w.binding);
    px_pairing_init(&b, PX_PAIRING_JOINER, &w.inviter, &w.joiner, w.binding);
    px_buf_init(&msg, PX_PAIRING_MESSAGE_MAX);
    for (int step = 0; step < STEPS && err == 0; step++)
        ARMED(err = pair_step(step, &a, &b, &msg));
    CHECK_SWEPT(err);
    if (err == 0) {
        CHECK(a.state == PX_PAIRING_DONE && b.state == PX_PAIRING_DONE);
    } else {
        CHECK(b.state != PX_PAIRING_DONE);
        px_buf_deinit(&msg);
        ARMED(err = px_pairing_write_refuse(&a, PX_PAIRING_INTERNAL, &msg));
        CHECK(err == 0 || err == PX_ENOMEM || err == PX_ESTATE);
    }
    px_buf_deinit(&msg);
    px_pairing_deinit(&a);
    px_pairing_deinit(&b);
}

TEST(pairing_survives_any_lack_of_memory)
{
    set_up();
    sweep(pair, 3);
}

/* --- names and the allowlist --- */

static void add_line(struct px_buf *out, unsigned i)
{
    struct px_peer_id id = {.key = {(uint8_t)i, 1}};
    char text[PX_PEER_ID_TEXT_MAX];
    CHECK_OK(
        px_buf_printf(out, "name-%u %s # one\nbad line %u\n", i, px_peer_id_format(&id, text), i));
}

static void edit_names(void)
{
    struct px_buf text, out;
    struct px_names *names = NULL;
    int err;
    px_buf_init(&text, 65536);
    px_buf_init(&out, 65536);
    for (unsigned i = 0; i < 40; i++)
        add_line(&text, i);
    ARMED(err = px_names_parse(px_buf_slice(&text), &names));
    CHECK_SWEPT(err);
    if (err == 0) {
        struct px_name n = *px_names_at(names, 3);
        CHECK_INT(px_names_count(names), 40);
        snprintf(n.comment, sizeof(n.comment), "two");
        ARMED(err = px_names_text_set(px_buf_slice(&text), &n, &out));
        CHECK_SWEPT(err);
        CHECK(err == 0 || out.len == 0);
        px_buf_deinit(&out);
        ARMED(err = px_names_text_remove(px_buf_slice(&text), PX_SLICE_LIT("name-3"), &out));
        CHECK_SWEPT(err);
        CHECK(err == 0 || out.len == 0);
    }
    px_names_free(names);
    px_buf_deinit(&text);
    px_buf_deinit(&out);
}

TEST(names_survive_any_lack_of_memory)
{
    sweep(edit_names, 4);
}

static void add_entry(struct px_buf *out, unsigned i)
{
    struct px_peer_id id = {.key = {(uint8_t)i, 1}};
    char text[PX_PEER_ID_TEXT_MAX];
    CHECK_OK(px_buf_printf(out, "%s name=name-%u addr=10.0.0.1:1 # one\nbad line\n",
                           px_peer_id_format(&id, text), i));
}

static void edit_allowlist(void)
{
    struct px_buf text, out;
    struct px_authorized_keys *keys = NULL;
    int err;
    px_buf_init(&text, 65536);
    px_buf_init(&out, 65536);
    for (unsigned i = 0; i < 40; i++)
        add_entry(&text, i);
    ARMED(err = px_authorized_keys_parse(px_buf_slice(&text), &keys));
    CHECK_SWEPT(err);
    if (err == 0) {
        struct px_authorized_key k = *px_authorized_keys_at(keys, 3);
        CHECK_INT(px_authorized_keys_count(keys), 40);
        k.grants = PX_GRANT_CACHE;
        ARMED(err = px_authorized_keys_text_set(px_buf_slice(&text), &k, &out));
        CHECK_SWEPT(err);
        CHECK(err == 0 || out.len == 0);
        px_buf_deinit(&out);
        ARMED(err = px_authorized_keys_text_remove(px_buf_slice(&text), &k.id, &out));
        CHECK_SWEPT(err);
        CHECK(err == 0 || out.len == 0);
    }
    px_authorized_keys_free(keys);
    px_buf_deinit(&text);
    px_buf_deinit(&out);
}

TEST(the_allowlist_survives_any_lack_of_memory)
{
    sweep(edit_allowlist, 4);
}

/* --- rotation --- */

static void move_lines(bool names)
{
    const struct px_rotation_move m = {.old_id = {.key = {3, 1}}, .new_id = {.key = {200, 1}}};
    struct px_buf text, out;
    int err;
    px_buf_init(&text, 65536);
    px_buf_init(&out, 65536);
    CHECK_OK(px_buf_put_cstr(&out, "# before\n"));
    size_t before = out.len;
    for (unsigned i = 0; i < 10; i++)
        (names ? add_line : add_entry)(&text, i);
    ARMED(err = names ? px_rotation_move_names(px_buf_slice(&text), &m, &out)
                      : px_rotation_move_entry(px_buf_slice(&text), &m, &out));
    CHECK_SWEPT(err);
    CHECK(err == 0 ? out.len > before + text.len / 2 : out.len == before);
    px_buf_deinit(&text);
    px_buf_deinit(&out);
}

static void rotate(void)
{
    static struct px_rotation_message back;
    struct px_rotation_message m = {.type = PX_ROTATION_MSG_ROTATE};
    struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 3);
    struct px_identity old_identity, new_identity;
    struct px_buf out;
    int err;
    px_identity_generate(&rng, &old_identity);
    px_identity_generate(&rng, &new_identity);
    px_buf_init(&out, PX_ROTATION_MESSAGE_MAX);
    ARMED(err = px_rotation_make(&old_identity, &new_identity, "default", &m.record));
    CHECK_SWEPT(err);
    if (err == 0)
        ARMED(err = px_rotation_message_put(&m, &out));
    CHECK_SWEPT(err);
    if (err == 0)
        ARMED(err = px_rotation_message_get(px_buf_slice(&out), &back));
    CHECK_SWEPT(err);
    px_buf_deinit(&out);
    move_lines(false);
    move_lines(true);
}

TEST(rotation_survives_any_lack_of_memory)
{
    CHECK_OK(px_crypto_init());
    sweep(rotate, 5);
}

/* --- keys of nix and of peers --- */

static void format_id(void)
{
    static const struct px_peer_id id = {.key = {7}};
    char text[PX_PEER_ID_TEXT_MAX];
    struct px_peer_id back;
    ARMED(px_peer_id_format(&id, text));
    CHECK_OK(px_peer_id_parse(px_slice_cstr(text), &back));
    CHECK(px_peer_id_eq(&id, &back));
}

TEST(a_peer_id_is_always_printed)
{
    sweep(format_id, 0);
}

static void sign(void)
{
    struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 3);
    struct px_nix_secret_key key;
    struct px_buf out;
    int err;
    px_buf_init(&out, 1024);
    CHECK_OK(px_nix_key_generate("k-1", &rng, &key));
    ARMED(err = px_nix_sign(&key, PX_SLICE_LIT("1;/nix/store/x;sha256:y;5;"), &out));
    CHECK_SWEPT(err);
    px_buf_deinit(&out);
    px_wipe(&key, sizeof(key));
}

TEST(signing_survives_any_lack_of_memory)
{
    CHECK_OK(px_crypto_init());
    sweep(sign, 1);
}
