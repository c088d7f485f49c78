/* See pairing_message.h. Keys of the maps are those of docs/spec/pairing.cddl. */
#include "auth/pairing_message.h"

#include <stdio.h>

#include "auth/nix_key.h"
#include "proto/addr.h"
#include "proto/cbor_map.h"

enum { KEY_TYPE, KEY_ID, KEY_PROOF, KEY_NAME, KEY_ADDRS, KEY_NIX_KEY, KEY_GRANTS, KEY_VERIFY };
enum { KEY_CODE = 8 };
enum { GRANTS_MAX = 16, GRANT_TEXT_MAX = 32 };

const char *px_pairing_type_name(enum px_pairing_type t)
{
    switch (t) {
    case PX_PAIRING_MSG_HELLO:
        return "hello";
    case PX_PAIRING_MSG_WELCOME:
        return "welcome";
    case PX_PAIRING_MSG_CONFIRM:
        return "confirm";
    case PX_PAIRING_MSG_DONE:
        return "done";
    case PX_PAIRING_MSG_REFUSE:
        return "refuse";
    }
    return "?";
}

static bool has_card(uint64_t type)
{
    return type == PX_PAIRING_MSG_HELLO || type == PX_PAIRING_MSG_WELCOME;
}

/* ---- writing ---- */

static int put_grants(uint32_t grants, struct px_buf *out)
{
    struct px_buf words;
    px_buf_init(&words, 256);
    int err = grants != 0 ? px_grants_format(grants, &words) : 0;
    struct px_slice rest = px_buf_slice(&words), word;
    size_t count = 0;
    while (words.len > 0 && px_slice_split(&rest, ',', &word))
        count++;
    (void)px_cbor_put_array(out, count);
    rest = px_buf_slice(&words);
    while (words.len > 0 && px_slice_split(&rest, ',', &word))
        (void)px_cbor_put_text(out, word);
    px_buf_deinit(&words);
    return err != 0 ? err : out->err;
}

static int put_card(const struct px_pairing_card *card, size_t addr_count, struct px_buf *out)
{
    (void)px_cbor_put_uint(out, KEY_NAME);
    (void)px_cbor_put_text(out, px_slice_cstr(card->name));
    (void)px_cbor_put_uint(out, KEY_ADDRS);
    (void)px_cbor_put_array(out, addr_count);
    for (size_t i = 0; i < addr_count; i++)
        (void)px_cbor_put_text(out, px_slice_cstr(card->addrs[i]));
    (void)px_cbor_put_uint(out, KEY_NIX_KEY);
    (void)px_cbor_put_text(out, px_slice_cstr(card->nix_key));
    (void)px_cbor_put_uint(out, KEY_GRANTS);
    int err = put_grants(card->grants, out);
    (void)px_cbor_put_uint(out, KEY_VERIFY);
    (void)px_cbor_put_bool(out, card->verify);
    return err != 0 ? err : out->err;
}

static int put_body(const struct px_pairing_message *m, size_t addr_count, struct px_buf *out,
                    size_t *ret_proof_at)
{
    static const uint8_t zeros[PX_HASH_LEN];
    bool hello = m->type == PX_PAIRING_MSG_HELLO, card = has_card(m->type);
    (void)px_cbor_put_map(out, 2 + (size_t)hello + (card ? 5u : 0u));
    (void)px_cbor_put_uint(out, KEY_TYPE);
    (void)px_cbor_put_uint(out, m->type);
    if (m->type == PX_PAIRING_MSG_REFUSE) {
        (void)px_cbor_put_uint(out, KEY_CODE);
        return px_cbor_put_uint(out, m->code);
    }
    if (hello) {
        (void)px_cbor_put_uint(out, KEY_ID);
        (void)px_cbor_put_bytes(out, px_slice(m->id, sizeof(m->id)));
    }
    (void)px_cbor_put_uint(out, KEY_PROOF);
    (void)px_cbor_put_bytes(out, px_slice(zeros, sizeof(zeros)));
    *ret_proof_at = out->len - sizeof(zeros);
    return card ? put_card(&m->card, addr_count, out) : out->err;
}

int px_pairing_message_put(const struct px_pairing_message *m, struct px_buf *out,
                           size_t *ret_proof_at)
{
    size_t addrs = has_card(m->type) ? PX_MIN(m->card.addr_count, (size_t)PX_PAIRING_ADDRS_MAX) : 0;
    for (;;) {
        struct px_buf body;
        size_t at = 0;
        px_buf_init(&body, PX_PAIRING_MESSAGE_MAX);
        int err = put_body(m, addrs, &body, &at);
        if (err == 0 && (err = px_buf_put(out, px_buf_slice(&body))) == 0)
            *ret_proof_at = out->len - body.len + at;
        px_buf_deinit(&body);
        if (err != PX_ELIMIT || addrs == 0)
            return err;
        addrs--;
    }
}

/* ---- reading ---- */

/* Text without NUL bytes of at most cap - 1. */
static int get_text(struct px_cbor *c, char *ret, size_t cap)
{
    struct px_slice s;
    int err = px_cbor_text(c, &s);
    if (err != 0)
        return err;
    if (s.len >= cap || (s.len > 0 && memchr(s.data, 0, s.len) != NULL))
        return PX_EPARSE;
    if (s.len > 0)
        memcpy(ret, s.data, s.len);
    ret[s.len] = '\0';
    return 0;
}

static int get_name(struct px_cbor *c, struct px_pairing_card *card)
{
    int err = get_text(c, card->name, sizeof(card->name));
    if (err == 0 && card->name[0] != '\0' && !px_name_valid(px_slice_cstr(card->name)))
        return PX_EPARSE;
    return err;
}

/* An address given twice is kept once. */
static int get_addrs(struct px_cbor *c, struct px_pairing_card *card)
{
    size_t count;
    int err = px_cbor_array(c, &count);
    if (err == 0 && count > PX_PAIRING_ADDRS_MAX)
        return PX_EPARSE;
    for (size_t i = 0; i < count && err == 0; i++) {
        char *text = card->addrs[card->addr_count];
        struct px_slice host;
        uint16_t port;
        bool known = false;
        err = get_text(c, text, PX_AUTH_ADDR_MAX);
        if (err == 0 && px_hostport_split(px_slice_cstr(text), &host, &port) != 0)
            err = PX_EPARSE;
        for (size_t n = 0; n < card->addr_count; n++)
            known |= strcmp(card->addrs[n], text) == 0;
        card->addr_count += err == 0 && !known;
    }
    return err;
}

static int get_nix_key(struct px_cbor *c, struct px_pairing_card *card)
{
    struct px_nix_public_key key;
    int err = get_text(c, card->nix_key, sizeof(card->nix_key));
    if (err != 0 || card->nix_key[0] == '\0')
        return err;
    err = px_nix_public_key_parse(px_slice_cstr(card->nix_key), &key);
    return err != 0 || !px_nix_key_name_plain(key.name) ? PX_EPARSE : 0;
}

static int get_grants(struct px_cbor *c, struct px_pairing_card *card)
{
    size_t count;
    int err = px_cbor_array(c, &count);
    if (err == 0 && count > GRANTS_MAX)
        return PX_EPARSE;
    for (size_t i = 0; i < count && err == 0; i++) {
        struct px_slice word;
        uint32_t bit;
        err = px_cbor_text(c, &word);
        if (err == 0 && (word.len == 0 || word.len > GRANT_TEXT_MAX))
            return PX_EPARSE;
        if (err == 0 && px_grants_parse(word, &bit) == 0)
            card->grants |= bit; /* others are of a later version */
    }
    return err;
}

static int get_field(struct px_cbor *c, uint64_t key, struct px_pairing_message *m)
{
    uint64_t type;
    switch (key) {
    case KEY_TYPE: {
        int err = px_cbor_uint(c, &type);
        if (err != 0)
            return err;
        if (type < PX_PAIRING_MSG_HELLO || type > PX_PAIRING_MSG_REFUSE)
            return PX_EPARSE;
        m->type = (enum px_pairing_type)type;
        return 0;
    }
    case KEY_ID:
        return px_cbor_fixed(c, m->id, sizeof(m->id));
    case KEY_PROOF:
        return px_cbor_fixed(c, m->proof, sizeof(m->proof));
    case KEY_NAME:
        return get_name(c, &m->card);
    case KEY_ADDRS:
        return get_addrs(c, &m->card);
    case KEY_NIX_KEY:
        return get_nix_key(c, &m->card);
    case KEY_GRANTS:
        return get_grants(c, &m->card);
    case KEY_VERIFY:
        return px_cbor_bool(c, &m->card.verify);
    case KEY_CODE:
        return px_cbor_uint(c, &m->code);
    default: /* of a later version */
        return px_cbor_skip(c);
    }
}

/* The keys each message must have; it may have more. */
static unsigned keys_of(enum px_pairing_type type)
{
#define BIT(k) (1u << (k))
    const unsigned card =
        BIT(KEY_NAME) | BIT(KEY_ADDRS) | BIT(KEY_NIX_KEY) | BIT(KEY_GRANTS) | BIT(KEY_VERIFY);
    switch (type) {
    case PX_PAIRING_MSG_HELLO:
        return BIT(KEY_TYPE) | BIT(KEY_ID) | BIT(KEY_PROOF) | card;
    case PX_PAIRING_MSG_WELCOME:
        return BIT(KEY_TYPE) | BIT(KEY_PROOF) | card;
    case PX_PAIRING_MSG_CONFIRM:
    case PX_PAIRING_MSG_DONE:
        return BIT(KEY_TYPE) | BIT(KEY_PROOF);
    case PX_PAIRING_MSG_REFUSE:
        return BIT(KEY_TYPE) | BIT(KEY_CODE);
    }
    return BIT(KEY_TYPE);
#undef BIT
}

/* SHA-256 of the body, its proof (where the message has one) taken as zeros. */
static int hash_without_proof(struct px_slice body, size_t proof_end, uint8_t ret[PX_HASH_LEN])
{
    struct px_buf copy;
    px_buf_init(&copy, PX_PAIRING_MESSAGE_MAX);
    int err = px_buf_put(&copy, body);
    if (err == 0) {
        if (proof_end >= PX_HASH_LEN)
            memset(copy.data + proof_end - PX_HASH_LEN, 0, PX_HASH_LEN);
        px_sha256(px_buf_slice(&copy), ret);
    }
    px_buf_deinit(&copy);
    return err;
}

int px_pairing_message_get(struct px_slice body, struct px_pairing_message *ret,
                           uint8_t ret_hash[PX_HASH_LEN])
{
    struct px_pairing_message m;
    struct px_cbor c = px_cbor(body);
    struct px_cbor_map map;
    uint64_t key;
    unsigned seen = 0;
    size_t proof_end = 0;
    memset(&m, 0, sizeof(m));
    if (body.len > PX_PAIRING_MESSAGE_MAX)
        return PX_ELIMIT;
    int err = px_cbor_map_open(&c, &map);
    while (err == 0 && (err = px_cbor_map_next(&map, &key)) == 0) {
        seen |= key <= KEY_CODE ? 1u << key : 0;
        err = get_field(&c, key, &m);
        if (key == KEY_PROOF)
            proof_end = body.len - c.rest.len;
    }
    if (err != PX_ENOENT)
        return err;
    if ((seen & 1u << KEY_TYPE) == 0 || (seen & keys_of(m.type)) != keys_of(m.type))
        return PX_EPARSE;
    if (!has_card(m.type)) /* such keys are unknown there */
        memset(&m.card, 0, sizeof(m.card));
    err = px_cbor_end(&c);
    if (err == 0)
        err = hash_without_proof(body, proof_end, ret_hash);
    if (err == 0)
        *ret = m;
    return err;
}
