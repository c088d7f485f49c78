/* Noise_XX_25519_ChaChaPoly_SHA256 after "The Noise Protocol Framework", revision 34.
 *
 * Each token of the pattern is one function. A step works on a copy of the handshake's state and
 * puts it in place when everything went well; the copy is wiped either way. No I/O, no transport
 * messages, no PSK, no fallback. */
#include "auth/noise.h"

#include <stdlib.h>

#include "proto/base/reader.h"

static const char protocol_name[] = "Noise_XX_25519_ChaChaPoly_SHA256";

enum token { TOKEN_END, TOKEN_E, TOKEN_S, TOKEN_EE, TOKEN_ES, TOKEN_SE };

/* §7.5:  XX:  -> e
 *             <- e, ee, s, es
 *             -> s, se        */
static const struct message {
    enum px_noise_role sender;
    enum token tokens[5];
} messages[] = {
    {PX_NOISE_INITIATOR, {TOKEN_E}},
    {PX_NOISE_RESPONDER, {TOKEN_E, TOKEN_EE, TOKEN_S, TOKEN_ES}},
    {PX_NOISE_INITIATOR, {TOKEN_S, TOKEN_SE}},
};

/* What a step may change: the spec's SymmetricState with its CipherState, and the keys. */
struct state {
    size_t done; /* messages behind us */
    uint8_t ck[PX_HASH_LEN], h[PX_HASH_LEN];
    struct px_aead_key k;
    bool has_k;
    uint64_t n;
    struct px_x25519_secret e;
    uint8_t e_pk[PX_X25519_LEN], re[PX_X25519_LEN], rs[PX_X25519_LEN];
    bool has_rs;
    struct px_noise_keys split; /* once done */
};

struct px_noise {
    enum px_noise_role role;
    const struct px_rng *rng;
    struct px_x25519_secret s;
    uint8_t s_pk[PX_X25519_LEN];
    struct state st;
};

/* §5.2 MixHash(data): "Sets h = HASH(h || data)." */
static void mix_hash(struct state *st, struct px_slice data)
{
    px_sha256_2(px_slice(st->h, sizeof(st->h)), data, st->h);
}

/* §4.3 HKDF with two outputs: RFC 5869 with chaining_key as the salt and "zero-length HKDF
 * info". */
static void hkdf2(const uint8_t ck[PX_HASH_LEN], struct px_slice ikm, uint8_t ret[2 * PX_HASH_LEN])
{
    px_hkdf_sha256(px_slice(ck, PX_HASH_LEN), ikm, px_slice(NULL, 0), ret, 2 * PX_HASH_LEN);
}

/* §5.2 MixKey: "Sets ck, temp_k = HKDF(ck, input_key_material, 2). … Calls InitializeKey(temp_k)",
 * which is "Sets k = key. Sets n = 0." */
static void mix_key(struct state *st, struct px_slice ikm)
{
    uint8_t out[2 * PX_HASH_LEN];
    hkdf2(st->ck, ikm, out);
    memcpy(st->ck, out, sizeof(st->ck));
    memcpy(st->k.bytes, out + PX_HASH_LEN, sizeof(st->k.bytes));
    st->has_k = true;
    st->n = 0;
    px_wipe(out, sizeof(out));
}

/* §5.2 EncryptAndHash: "Sets ciphertext = EncryptWithAd(h, plaintext), calls MixHash(ciphertext)".
 * §5.1: "If k is non-empty returns ENCRYPT(k, n++, ad, plaintext). Otherwise returns plaintext." */
static int encrypt_and_hash(struct state *st, struct px_slice text, struct px_buf *out)
{
    size_t start = out->len;
    struct px_slice h = px_slice(st->h, sizeof(st->h));
    int err = st->has_k ? px_aead_seal(&st->k, st->n++, h, text, out) : px_buf_put(out, text);
    if (err == 0)
        mix_hash(st, px_slice_skip(px_buf_slice(out), start));
    return err;
}

/* §5.2 DecryptAndHash: "Sets plaintext = DecryptWithAd(h, ciphertext), calls MixHash(ciphertext)".
 * Without a key whatever comes is taken; the hash binds it. */
static int decrypt_and_hash(struct state *st, struct px_slice sealed, struct px_buf *out)
{
    struct px_slice h = px_slice(st->h, sizeof(st->h));
    if (st->has_k && sealed.len < PX_AEAD_TAG_LEN)
        return PX_ETRUNC;
    int err = st->has_k ? px_aead_open(&st->k, st->n++, h, sealed, out) : px_buf_put(out, sealed);
    if (err == 0)
        mix_hash(st, sealed);
    return err;
}

/* §5.3, "e": "Sets e (which must be empty) to GENERATE_KEYPAIR(). Appends e.public_key to the
 * buffer. Calls MixHash(e.public_key)." */
static int write_e(struct state *st, const struct px_rng *rng, struct px_buf *out)
{
    px_x25519_generate(rng, &st->e, st->e_pk);
    struct px_slice pk = px_slice(st->e_pk, sizeof(st->e_pk));
    mix_hash(st, pk);
    return px_buf_put(out, pk);
}

/* §5.3, "e": "Sets re (which must be empty) to the next DHLEN bytes from the message. Calls
 * MixHash(re.public_key)." */
static int read_e(struct state *st, struct px_reader *msg)
{
    int err = px_reader_copy(msg, st->re, sizeof(st->re));
    if (err == 0)
        mix_hash(st, px_slice(st->re, sizeof(st->re)));
    return err;
}

/* §5.3, "s": "Appends EncryptAndHash(s.public_key) to the buffer." */
static int write_s(struct state *st, const uint8_t s_pk[PX_X25519_LEN], struct px_buf *out)
{
    return encrypt_and_hash(st, px_slice(s_pk, PX_X25519_LEN), out);
}

/* §5.3, "s": "Sets temp to the next DHLEN + 16 bytes of the message if HasKey() == True, or to the
 * next DHLEN bytes otherwise. Sets rs (which must be empty) to DecryptAndHash(temp)." */
static int read_s(struct state *st, struct px_reader *msg)
{
    struct px_slice temp;
    struct px_buf rs;
    int err = px_reader_take(msg, PX_X25519_LEN + (st->has_k ? PX_AEAD_TAG_LEN : 0), &temp);
    if (err != 0)
        return err;
    px_buf_init(&rs, PX_X25519_LEN);
    err = decrypt_and_hash(st, temp, &rs);
    if (err == 0) {
        memcpy(st->rs, rs.data, sizeof(st->rs));
        st->has_rs = true;
    }
    px_buf_deinit(&rs);
    return err;
}

/* Calls MixKey(DH(secret, public)). */
static int mix_dh(struct state *st, const struct px_x25519_secret *sk,
                  const uint8_t pk[PX_X25519_LEN])
{
    uint8_t shared[PX_X25519_LEN];
    int err = px_x25519(sk, pk, shared);
    if (err == 0)
        mix_key(st, px_slice(shared, sizeof(shared)));
    px_wipe(shared, sizeof(shared));
    return err;
}

/* §5.3, "ee", "es", "se": the first letter names the initiator's key, the second the responder's;
 * "es": "Calls MixKey(DH(e, rs)) if initiator, MixKey(DH(s, re)) if responder", and so on. */
static int do_dh(const struct px_noise *hs, struct state *st, enum token t)
{
    bool initiator = hs->role == PX_NOISE_INITIATOR;
    if (t == TOKEN_EE)
        return mix_dh(st, &st->e, st->re);
    if ((t == TOKEN_ES) == initiator)
        return mix_dh(st, &st->e, st->rs);
    return mix_dh(st, &hs->s, st->re);
}

static int write_token(const struct px_noise *hs, struct state *st, enum token t,
                       struct px_buf *out)
{
    switch (t) {
    case TOKEN_E:
        return write_e(st, hs->rng, out);
    case TOKEN_S:
        return write_s(st, hs->s_pk, out);
    case TOKEN_EE:
    case TOKEN_ES:
    case TOKEN_SE:
        return do_dh(hs, st, t);
    case TOKEN_END:
        break;
    }
    return 0;
}

static int read_token(const struct px_noise *hs, struct state *st, enum token t,
                      struct px_reader *msg)
{
    switch (t) {
    case TOKEN_E:
        return read_e(st, msg);
    case TOKEN_S:
        return read_s(st, msg);
    case TOKEN_EE:
    case TOKEN_ES:
    case TOKEN_SE:
        return do_dh(hs, st, t);
    case TOKEN_END:
        break;
    }
    return 0;
}

/* §5.2 Split(): "Sets temp_k1, temp_k2 = HKDF(ck, zerolen, 2)." The first is the initiator's to
 * send with. What is not needed any more goes. */
static void finish(struct state *st)
{
    uint8_t out[2 * PX_HASH_LEN];
    hkdf2(st->ck, px_slice(NULL, 0), out);
    memcpy(st->split.initiator_to_responder.bytes, out, PX_AEAD_KEY_LEN);
    memcpy(st->split.responder_to_initiator.bytes, out + PX_HASH_LEN, PX_AEAD_KEY_LEN);
    px_wipe(out, sizeof(out));
    px_wipe(st->ck, sizeof(st->ck));
    px_wipe(&st->k, sizeof(st->k));
    px_wipe(&st->e, sizeof(st->e));
}

/* The only place that changes hs->st. */
static void commit(struct px_noise *hs, struct state *work)
{
    work->done++;
    if (work->done == PX_ARRAY_LEN(messages)) {
        finish(work);
        px_wipe(&hs->s, sizeof(hs->s));
    }
    memcpy(&hs->st, work, sizeof(*work));
}

int px_noise_new(enum px_noise_role role, struct px_slice prologue,
                 const struct px_x25519_secret *static_key, const struct px_rng *rng,
                 struct px_noise **ret)
{
    struct px_noise *hs = calloc(1, sizeof(*hs));
    if (hs == NULL)
        return PX_ENOMEM;
    hs->role = role;
    hs->rng = rng;
    memcpy(&hs->s, static_key, sizeof(hs->s));
    px_x25519_public(&hs->s, hs->s_pk);
    /* §5.2 InitializeSymmetric: "If protocol_name is less than or equal to HASHLEN bytes in length,
     * sets h equal to protocol_name with zero bytes appended to make HASHLEN bytes. … Sets ck = h."
     * Ours has exactly HASHLEN. */
    _Static_assert(sizeof(protocol_name) - 1 == PX_HASH_LEN, "protocol name");
    memcpy(hs->st.h, protocol_name, PX_HASH_LEN);
    memcpy(hs->st.ck, protocol_name, PX_HASH_LEN);
    mix_hash(&hs->st, prologue);
    *ret = hs;
    return 0;
}

void px_noise_free(struct px_noise *n)
{
    if (n == NULL)
        return;
    px_wipe(n, sizeof(*n));
    free(n);
}

/* §5.3 WriteMessage on a copy of the state. */
static int write_message(const struct px_noise *hs, struct state *st, struct px_slice payload,
                         struct px_buf *out)
{
    size_t start = out->len;
    int err = 0;
    for (const enum token *t = messages[st->done].tokens; err == 0 && *t != TOKEN_END; t++)
        err = write_token(hs, st, *t, out);
    if (err != 0)
        return err;
    /* §3: "All Noise messages are less than or equal to 65535 bytes in length." */
    size_t sealed = payload.len + (st->has_k ? PX_AEAD_TAG_LEN : 0);
    if (sealed > PX_NOISE_MSG_MAX - (out->len - start))
        return PX_ELIMIT;
    return encrypt_and_hash(st, payload, out);
}

int px_noise_write(struct px_noise *n, struct px_slice payload, struct px_buf *out)
{
    if (px_noise_done(n) || messages[n->st.done].sender != n->role)
        return PX_ESTATE;
    if (payload.len > PX_NOISE_MSG_MAX)
        return PX_ELIMIT;
    struct state work;
    size_t start = out->len;
    memcpy(&work, &n->st, sizeof(work));
    int err = write_message(n, &work, payload, out);
    if (err == 0)
        commit(n, &work);
    else
        out->len = start;
    px_wipe(&work, sizeof(work));
    return err;
}

/* §5.3 ReadMessage on a copy of the state. The payload comes last, so nothing unauthenticated is
 * handed out and nothing can fail behind it. */
static int read_message(const struct px_noise *hs, struct state *st, struct px_slice msg,
                        struct px_buf *ret_payload)
{
    struct px_reader r = px_reader(msg);
    int err = 0;
    for (const enum token *t = messages[st->done].tokens; err == 0 && *t != TOKEN_END; t++)
        err = read_token(hs, st, *t, &r);
    return err != 0 ? err : decrypt_and_hash(st, r.rest, ret_payload);
}

int px_noise_read(struct px_noise *n, struct px_slice msg, struct px_buf *ret_payload)
{
    if (px_noise_done(n) || messages[n->st.done].sender == n->role)
        return PX_ESTATE;
    if (msg.len > PX_NOISE_MSG_MAX)
        return PX_ELIMIT;
    struct state work;
    memcpy(&work, &n->st, sizeof(work));
    int err = read_message(n, &work, msg, ret_payload);
    if (err == 0)
        commit(n, &work);
    px_wipe(&work, sizeof(work));
    return err;
}

bool px_noise_done(const struct px_noise *n)
{
    return n->st.done == PX_ARRAY_LEN(messages);
}

int px_noise_next_message(const struct px_noise *n)
{
    return (int)n->st.done + 1;
}

const uint8_t *px_noise_hash(const struct px_noise *n)
{
    return n->st.h;
}

const uint8_t *px_noise_remote_static(const struct px_noise *n)
{
    return n->st.has_rs ? n->st.rs : NULL;
}

int px_noise_split(const struct px_noise *n, struct px_noise_keys *ret)
{
    if (!px_noise_done(n))
        return PX_ESTATE;
    memcpy(ret, &n->st.split, sizeof(*ret));
    return 0;
}
