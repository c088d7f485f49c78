/* See pairing.h. The bytes of messages are pairing_message.c's. */
#include "auth/pairing.h"

#include <stdio.h>

#include "auth/pairing_message.h"

#define INPUT_MAX 256 /* of anything hashed or derived here */

/* ---- keys ---- */

/* What is hashed here is of fixed size and fits: a stack buffer that cannot fail. */
struct input {
    size_t len;
    uint8_t data[INPUT_MAX];
};

static void add(struct input *in, const void *data, size_t len)
{
    px_assert(len <= sizeof(in->data) - in->len);
    memcpy(in->data + in->len, data, len);
    in->len += len;
}

/* lp(x) of the specification */
static void add_lp(struct input *in, const char *text)
{
    size_t len = strlen(text);
    const uint8_t head[2] = {(uint8_t)(len >> 8), (uint8_t)len};
    add(in, head, sizeof(head));
    add(in, text, len);
}

static struct px_slice input_slice(const struct input *in)
{
    return px_slice(in->data, in->len);
}

/* SPEC pairing §2: HKDF("", secret, lp(label) ‖ id ‖ inviter, 32) */
static void derive_one(const struct px_invite *invite, const char *label,
                       struct px_pairing_key *ret)
{
    struct input info = {.len = 0};
    add_lp(&info, label);
    add(&info, invite->id, sizeof(invite->id));
    add(&info, invite->key, sizeof(invite->key));
    px_hkdf_sha256(px_slice(NULL, 0), px_slice(invite->secret, sizeof(invite->secret)),
                   input_slice(&info), ret->bytes, sizeof(ret->bytes));
}

void px_pairing_derive(const struct px_invite *invite, struct px_pairing_keys *ret)
{
    derive_one(invite, "peerix/1 invite pair", &ret->pair);
    derive_one(invite, "peerix/1 invite admission", &ret->admission);
}

/* SPEC pairing §2: K(role) */
static void derive_role(const struct px_pairing *p, const struct px_pairing_key *pair,
                        const char *role, struct px_pairing_key *ret)
{
    struct input info = {.len = 0};
    add_lp(&info, "peerix/1 pairing ");
    add_lp(&info, role);
    px_hkdf_sha256(px_slice(p->binding, sizeof(p->binding)),
                   px_slice(pair->bytes, sizeof(pair->bytes)), input_slice(&info), ret->bytes,
                   sizeof(ret->bytes));
}

static void derive_roles(struct px_pairing *p, const struct px_pairing_key *pair)
{
    bool inviter = p->role == PX_PAIRING_INVITER;
    derive_role(p, pair, inviter ? "inviter" : "joiner", &p->own);
    derive_role(p, pair, inviter ? "joiner" : "inviter", &p->other);
    derive_role(p, pair, "sas", &p->sas);
}

static void add_context(const struct px_pairing *p, struct input *in)
{
    add(in, p->binding, sizeof(p->binding));
    add(in, p->inviter.key, sizeof(p->inviter.key));
    add(in, p->joiner.key, sizeof(p->joiner.key));
    add(in, p->id, sizeof(p->id));
}

/* SPEC pairing §2: HMAC(K(role), lp(name) ‖ context ‖ SHA-256(body without proof)) */
static void prove(const struct px_pairing *p, const struct px_pairing_key *key,
                  enum px_pairing_type type, const uint8_t hash[PX_HASH_LEN],
                  uint8_t ret[PX_HASH_LEN])
{
    struct input in = {.len = 0};
    add_lp(&in, px_pairing_type_name(type));
    add_context(p, &in);
    add(&in, hash, PX_HASH_LEN);
    px_hmac_sha256(px_slice(key->bytes, sizeof(key->bytes)), input_slice(&in), ret);
}

const char *px_pairing_sas(const struct px_pairing *p, char out[PX_PAIRING_SAS_MAX])
{
    uint8_t mac[PX_HASH_LEN];
    uint64_t v = 0;
    struct input in = {.len = 0};
    add_context(p, &in);
    px_hmac_sha256(px_slice(p->sas.bytes, sizeof(p->sas.bytes)), input_slice(&in), mac);
    for (size_t i = 0; i < 8; i++)
        v = v << 8 | mac[i];
    v %= 1000000;
    snprintf(out, PX_PAIRING_SAS_MAX, "%03u %03u", (unsigned)(v / 1000), (unsigned)(v % 1000));
    return out;
}

/* ---- refusals ---- */

int px_pairing_refusal_error(uint64_t code)
{
#define X(name, value, err)                                                                        \
    if (code == (value))                                                                           \
        return err;
    PX_PAIRING_REFUSAL_TABLE(X)
#undef X
    return PX_EREFUSED;
}

enum px_pairing_refusal px_pairing_refusal_for(int err)
{
#define X(name, value, e)                                                                          \
    if (err == (e))                                                                                \
        return name;
    PX_PAIRING_REFUSAL_TABLE(X)
#undef X
    return PX_PAIRING_INTERNAL;
}

/* ---- states ---- */

static void set_state(struct px_pairing *p, enum px_pairing_state next)
{
    static const enum px_pairing_state after[] = {
        [PX_PAIRING_START] = PX_PAIRING_HELLO,     [PX_PAIRING_HELLO] = PX_PAIRING_WELCOME,
        [PX_PAIRING_WELCOME] = PX_PAIRING_CONFIRM, [PX_PAIRING_CONFIRM] = PX_PAIRING_DONE,
        [PX_PAIRING_DONE] = PX_PAIRING_FAILED,     [PX_PAIRING_FAILED] = PX_PAIRING_FAILED,
    };
    px_assert(next == after[p->state] || next == PX_PAIRING_FAILED);
    p->state = next;
}

void px_pairing_init(struct px_pairing *p, enum px_pairing_role role,
                     const struct px_peer_id *inviter, const struct px_peer_id *joiner,
                     const uint8_t binding[PX_PAIRING_BINDING_LEN])
{
    memset(p, 0, sizeof(*p));
    p->role = role;
    p->inviter = *inviter;
    p->joiner = *joiner;
    memcpy(p->binding, binding, sizeof(p->binding));
}

void px_pairing_deinit(struct px_pairing *p)
{
    px_wipe(p, sizeof(*p));
}

/* ---- messages ---- */

static bool may(const struct px_pairing *p, enum px_pairing_role role, enum px_pairing_state state)
{
    return p->role == role && p->state == state;
}

/* Encodes, proves, and enters the state of the message. */
static int write_proved(struct px_pairing *p, struct px_pairing_message *m,
                        enum px_pairing_state next, struct px_buf *out)
{
    uint8_t hash[PX_HASH_LEN];
    struct px_buf body;
    size_t proof_at;
    px_buf_init(&body, PX_PAIRING_MESSAGE_MAX);
    int err = px_pairing_message_put(m, &body, &proof_at);
    if (err == 0) {
        px_sha256(px_buf_slice(&body), hash);
        prove(p, &p->own, m->type, hash, body.data + proof_at);
        err = px_buf_put(out, px_buf_slice(&body));
    }
    if (err == 0)
        set_state(p, next);
    px_buf_deinit(&body);
    return err;
}

/* Decodes what must be of one type; a refusal gives its error. */
static int read_message(struct px_slice body, enum px_pairing_type want,
                        struct px_pairing_message *ret, uint8_t ret_hash[PX_HASH_LEN])
{
    int err = px_pairing_message_get(body, ret, ret_hash);
    if (err != 0)
        return err == PX_ENOMEM ? err : PX_EPROTO;
    if (ret->type == PX_PAIRING_MSG_REFUSE)
        return px_pairing_refusal_error(ret->code);
    return ret->type == want ? 0 : PX_EPROTO;
}

static int check_proof(const struct px_pairing *p, enum px_pairing_type type,
                       const uint8_t hash[PX_HASH_LEN], const uint8_t proof[PX_HASH_LEN])
{
    uint8_t want[PX_HASH_LEN];
    prove(p, &p->other, type, hash, want);
    int err = px_ct_equal(want, proof, sizeof(want)) ? 0 : PX_ECRYPTO;
    px_wipe(want, sizeof(want));
    return err;
}

/* Reads and checks in one step, for all but hello. `wrong` is what a wrong proof means. */
static int read_proved(struct px_pairing *p, struct px_slice body, enum px_pairing_type type,
                       enum px_pairing_state next, int wrong, struct px_pairing_card *ret_card)
{
    struct px_pairing_message m;
    uint8_t hash[PX_HASH_LEN];
    int err = read_message(body, type, &m, hash);
    if (err == 0 && check_proof(p, type, hash, m.proof) != 0)
        err = wrong;
    set_state(p, err == 0 ? next : PX_PAIRING_FAILED);
    if (err == 0 && ret_card != NULL)
        *ret_card = m.card;
    return err;
}

int px_pairing_write_hello(struct px_pairing *p, const uint8_t id[PX_INVITE_ID_LEN],
                           const struct px_pairing_key *pair, const struct px_pairing_card *card,
                           struct px_buf *out)
{
    if (!may(p, PX_PAIRING_JOINER, PX_PAIRING_START))
        return PX_ESTATE;
    struct px_pairing_message m = {.type = PX_PAIRING_MSG_HELLO, .card = *card};
    memcpy(m.id, id, sizeof(m.id));
    memcpy(p->id, id, sizeof(p->id));
    derive_roles(p, pair);
    return write_proved(p, &m, PX_PAIRING_HELLO, out);
}

int px_pairing_read_welcome(struct px_pairing *p, struct px_slice body, struct px_pairing_card *ret)
{
    if (!may(p, PX_PAIRING_JOINER, PX_PAIRING_HELLO))
        return PX_ESTATE;
    return read_proved(p, body, PX_PAIRING_MSG_WELCOME, PX_PAIRING_WELCOME, PX_EPAIR_IMPOSTOR, ret);
}

int px_pairing_write_confirm(struct px_pairing *p, struct px_buf *out)
{
    struct px_pairing_message m = {.type = PX_PAIRING_MSG_CONFIRM};
    if (!may(p, PX_PAIRING_JOINER, PX_PAIRING_WELCOME))
        return PX_ESTATE;
    return write_proved(p, &m, PX_PAIRING_CONFIRM, out);
}

int px_pairing_read_done(struct px_pairing *p, struct px_slice body)
{
    if (!may(p, PX_PAIRING_JOINER, PX_PAIRING_CONFIRM))
        return PX_ESTATE;
    return read_proved(p, body, PX_PAIRING_MSG_DONE, PX_PAIRING_DONE, PX_EPAIR_IMPOSTOR, NULL);
}

int px_pairing_read_refusal(struct px_pairing *p, struct px_slice body)
{
    struct px_pairing_message m;
    uint8_t hash[PX_HASH_LEN];
    int err = read_message(body, PX_PAIRING_MSG_REFUSE, &m, hash);
    if (p->state != PX_PAIRING_FAILED)
        set_state(p, PX_PAIRING_FAILED);
    return err;
}

int px_pairing_read_hello(struct px_pairing *p, struct px_slice body, struct px_pairing_card *ret)
{
    struct px_pairing_message m;
    if (!may(p, PX_PAIRING_INVITER, PX_PAIRING_START))
        return PX_ESTATE;
    int err = read_message(body, PX_PAIRING_MSG_HELLO, &m, p->hello_hash);
    if (err != 0) {
        set_state(p, PX_PAIRING_FAILED);
        return err;
    }
    memcpy(p->id, m.id, sizeof(p->id));
    memcpy(p->hello_proof, m.proof, sizeof(p->hello_proof));
    *ret = m.card;
    set_state(p, PX_PAIRING_HELLO);
    return 0;
}

int px_pairing_check_hello(struct px_pairing *p, const struct px_pairing_key *pair)
{
    if (!may(p, PX_PAIRING_INVITER, PX_PAIRING_HELLO))
        return PX_ESTATE;
    derive_roles(p, pair);
    if (check_proof(p, PX_PAIRING_MSG_HELLO, p->hello_hash, p->hello_proof) == 0)
        return 0;
    set_state(p, PX_PAIRING_FAILED);
    return PX_EINVITE_TOKEN;
}

int px_pairing_write_welcome(struct px_pairing *p, const struct px_pairing_card *card,
                             struct px_buf *out)
{
    if (!may(p, PX_PAIRING_INVITER, PX_PAIRING_HELLO))
        return PX_ESTATE;
    struct px_pairing_message m = {.type = PX_PAIRING_MSG_WELCOME, .card = *card};
    return write_proved(p, &m, PX_PAIRING_WELCOME, out);
}

int px_pairing_read_confirm(struct px_pairing *p, struct px_slice body)
{
    if (!may(p, PX_PAIRING_INVITER, PX_PAIRING_WELCOME))
        return PX_ESTATE;
    return read_proved(p, body, PX_PAIRING_MSG_CONFIRM, PX_PAIRING_CONFIRM, PX_EINVITE_TOKEN, NULL);
}

int px_pairing_write_done(struct px_pairing *p, struct px_buf *out)
{
    struct px_pairing_message m = {.type = PX_PAIRING_MSG_DONE};
    if (!may(p, PX_PAIRING_INVITER, PX_PAIRING_CONFIRM))
        return PX_ESTATE;
    return write_proved(p, &m, PX_PAIRING_DONE, out);
}

int px_pairing_write_refuse(struct px_pairing *p, enum px_pairing_refusal why, struct px_buf *out)
{
    struct px_pairing_message m = {.type = PX_PAIRING_MSG_REFUSE, .code = why};
    size_t proof_at;
    if (p->state == PX_PAIRING_DONE)
        return PX_ESTATE;
    int err = px_pairing_message_put(&m, out, &proof_at);
    if (err == 0 && p->state != PX_PAIRING_FAILED)
        set_state(p, PX_PAIRING_FAILED);
    return err;
}
