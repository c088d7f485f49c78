/* PKCS#8 for ed25519: strict DER of RFC 5958 OneAsymmetricKey as RFC 8410 §7 profiles it, in the
 * PEM of RFC 7468 (strict form, nothing before or after).
 *
 * Written: version 1, what OpenSSL writes. Read: also version 2 with the public key attached, which
 * must then belong to the seed, and attributes, which are skipped. */
#include "auth/identity.h"

#include "proto/base/encoding.h"
#include "proto/base/reader.h"

enum {
    SEED_LEN = 32,
    PEM_MAX = 8192, /* a 4096-bit RSA key, so that it gets its own error, is 3.3 KB */
    DER_MAX = PEM_MAX / 4 * 3,
    TAG_INTEGER = 0x02,
    TAG_OCTET_STRING = 0x04,
    TAG_OID = 0x06,
    TAG_SEQUENCE = 0x30,
    TAG_ATTRIBUTES = 0xa0, /* [0] IMPLICIT SET */
    TAG_PUBLIC_KEY = 0x81, /* [1] IMPLICIT BIT STRING */
};

/* RFC 8410 §3: id-Ed25519 OBJECT IDENTIFIER ::= { 1 3 101 112 } */
static const uint8_t oid_ed25519[] = {0x2b, 0x65, 0x70};

/* everything up to the seed in a version 1 key */
static const uint8_t v1_prefix[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                    0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

#define PEM_LABEL_END "PRIVATE KEY-----"
#define PEM_BEGIN     "-----BEGIN " PEM_LABEL_END
#define PEM_END       "-----END " PEM_LABEL_END

static void set_seed(struct px_identity *i, const uint8_t seed[SEED_LEN])
{
    px_ed25519_from_seed(seed, &i->secret, i->id.key);
}

void px_identity_generate(const struct px_rng *rng, struct px_identity *ret)
{
    uint8_t seed[SEED_LEN];
    rng->fill(rng->ctx, seed, sizeof(seed));
    set_seed(ret, seed);
    px_wipe(seed, sizeof(seed));
}

void px_identity_wipe(struct px_identity *i)
{
    if (i != NULL)
        px_wipe(i, sizeof(*i));
}

int px_identity_to_pem(const struct px_identity *i, struct px_buf *out)
{
    uint8_t der[sizeof(v1_prefix) + SEED_LEN];
    size_t start = out->len;
    memcpy(der, v1_prefix, sizeof(v1_prefix));
    memcpy(der + sizeof(v1_prefix), i->secret.bytes, SEED_LEN);
    /* one reservation, so that no smaller block with half the secret is left behind by realloc */
    if (px_buf_reserve(out, sizeof(PEM_BEGIN) + sizeof(PEM_END) + 2 * sizeof(der)) != NULL) {
        px_buf_put_cstr(out, PEM_BEGIN "\n");
        px_base64_encode(out, px_slice(der, sizeof(der)));
        px_buf_put_cstr(out, "\n" PEM_END "\n");
    }
    px_wipe(der, sizeof(der));
    if (out->err != 0 && out->len > start) {
        px_wipe(out->data + start, out->len - start);
        out->len = start;
    }
    return out->err;
}

/* Takes one element of this tag. X.690 §10.1: DER lengths are definite and of the fewest bytes. */
static int der_take(struct px_reader *r, uint8_t tag, struct px_slice *ret)
{
    struct px_reader at = *r;
    uint8_t found, first, hi, lo;
    size_t len;
    if (px_reader_u8(&at, &found) != 0 || found != tag || px_reader_u8(&at, &first) != 0)
        return PX_EPARSE;
    if (first < 0x80) {
        len = first;
    } else if (first == 0x81) {
        if (px_reader_u8(&at, &lo) != 0 || lo < 0x80)
            return PX_EPARSE;
        len = lo;
    } else if (first == 0x82) {
        if (px_reader_u8(&at, &hi) != 0 || px_reader_u8(&at, &lo) != 0 || hi == 0)
            return PX_EPARSE;
        len = (size_t)hi << 8 | lo;
    } else {
        return PX_EPARSE;
    }
    if (px_reader_take(&at, len, ret) != 0)
        return PX_EPARSE;
    *r = at;
    return 0;
}

static bool next_is(const struct px_reader *r, uint8_t tag)
{
    return px_reader_left(r) > 0 && r->rest.data[0] == tag;
}

/* RFC 8410 §3: for these algorithms "the parameters component of the AlgorithmIdentifier MUST be
 * absent". */
static int check_algorithm(struct px_slice alg)
{
    struct px_reader r = px_reader(alg);
    struct px_slice oid;
    if (der_take(&r, TAG_OID, &oid) != 0 || oid.len == 0)
        return PX_EPARSE;
    if (!px_slice_eq(oid, px_slice(oid_ed25519, sizeof(oid_ed25519))))
        return PX_EUNSUPPORTED;
    return px_reader_left(&r) == 0 ? 0 : PX_EPARSE;
}

/* RFC 8410 §7: the privateKey OCTET STRING holds "CurvePrivateKey ::= OCTET STRING". */
static int take_seed(struct px_reader *r, struct px_slice *ret)
{
    struct px_slice outer;
    if (der_take(r, TAG_OCTET_STRING, &outer) != 0)
        return PX_EPARSE;
    struct px_reader inner = px_reader(outer);
    if (der_take(&inner, TAG_OCTET_STRING, ret) != 0 || px_reader_left(&inner) != 0)
        return PX_EPARSE;
    return ret->len == SEED_LEN ? 0 : PX_EPARSE;
}

/* A BIT STRING: its first byte counts unused bits. */
static int check_public_key(struct px_slice bits, const struct px_peer_id *id)
{
    if (bits.len != 1 + sizeof(id->key) || bits.data[0] != 0)
        return PX_EPARSE;
    return memcmp(bits.data + 1, id->key, sizeof(id->key)) == 0 ? 0 : PX_EPARSE;
}

static int from_der(struct px_slice der, struct px_identity *ret)
{
    struct px_reader file = px_reader(der);
    struct px_slice key, version, alg, seed, skipped, pk;
    if (der_take(&file, TAG_SEQUENCE, &key) != 0 || px_reader_left(&file) != 0)
        return PX_EPARSE;
    struct px_reader r = px_reader(key);
    if (der_take(&r, TAG_INTEGER, &version) != 0 || version.len != 1 || version.data[0] > 1)
        return PX_EPARSE;
    if (der_take(&r, TAG_SEQUENCE, &alg) != 0)
        return PX_EPARSE;
    int err = check_algorithm(alg);
    if (err == 0)
        err = take_seed(&r, &seed);
    if (err != 0)
        return err;
    if (next_is(&r, TAG_ATTRIBUTES) && der_take(&r, TAG_ATTRIBUTES, &skipped) != 0)
        return PX_EPARSE;
    set_seed(ret, seed.data);
    /* RFC 5958 §2: version 2 (encoded 1) if and only if a public key is there */
    if (version.data[0] == 1) {
        if (der_take(&r, TAG_PUBLIC_KEY, &pk) != 0)
            return PX_EPARSE;
        err = check_public_key(pk, &ret->id);
    }
    if (err == 0 && px_reader_left(&r) > 0)
        err = PX_EPARSE;
    return err;
}

/* Another kind of private key is worth another word than garbage. */
static int bad_first_line(struct px_slice line)
{
    struct px_slice tail = PX_SLICE_LIT(PEM_LABEL_END);
    bool private_key = px_slice_starts(line, PX_SLICE_LIT("-----BEGIN ")) && line.len > tail.len &&
                       px_slice_eq(px_slice_skip(line, line.len - tail.len), tail);
    return private_key ? PX_EUNSUPPORTED : PX_EPARSE;
}

/* Joins the base64 lines between the two boundaries. RFC 7468 §2: lines of exactly 64 characters
 * but for the last. */
static int pem_body(struct px_slice pem, uint8_t body[PEM_MAX], size_t *ret_len)
{
    struct px_slice line;
    size_t len = 0;
    bool last = false;
    if (!px_slice_split(&pem, '\n', &line))
        return PX_EPARSE;
    if (!px_slice_eq_cstr(line, PEM_BEGIN))
        return bad_first_line(line);
    while (px_slice_split(&pem, '\n', &line) && !px_slice_eq_cstr(line, PEM_END)) {
        if (last || line.len == 0 || line.len > 64 || line.len > PEM_MAX - len)
            return PX_EPARSE;
        memcpy(body + len, line.data, line.len);
        len += line.len;
        last = line.len < 64;
    }
    /* behind the end boundary: nothing, or the newline that ends it */
    if (!px_slice_eq_cstr(line, PEM_END) || pem.len > 0)
        return PX_EPARSE;
    *ret_len = len;
    return 0;
}

int px_identity_from_pem(struct px_slice pem, struct px_identity *ret)
{
    uint8_t body[PEM_MAX], der[DER_MAX];
    size_t body_len = 0, der_len = 0;
    struct px_identity found = {0};
    if (pem.len == 0 || pem.len > PEM_MAX)
        return PX_EPARSE;
    int err = pem_body(pem, body, &body_len);
    if (err == 0 && px_base64_decode(px_slice(body, body_len), der, sizeof(der), &der_len) != 0)
        err = PX_EPARSE;
    if (err == 0)
        err = from_der(px_slice(der, der_len), &found);
    if (err == 0)
        memcpy(ret, &found, sizeof(found));
    px_wipe(body, sizeof(body));
    px_wipe(der, sizeof(der));
    px_identity_wipe(&found);
    return err;
}
