/* Peer IDs in all their text forms, against IDs other libp2p implementations published. */
#include "auth/peer_id.h"
#include "proto/base/encoding.h"
#include "tests/test.h"

static const struct vector {
    const char *key, *base58, *base32, *base36;
} vectors[] = {
    /* a conversion by go-ipfs, discuss.ipfs.tech topic 11707 */
    {"cb311166beeedd9fb6af4cc8c2bf4ac471dcdde7a71ff032440747e084cf0cc8",
     "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj",
     "bafzaajaiaejcbszrcftl53w5t63k6tgiyk7uvrdr3to6pjy76azeib2h4ccm6dgi",
     "k51qzi5uqu5dl8wlbw09j1cpr1i456yb3mv0r5wnpx3wz6qq8pnppkvgqdepc8"},
    /* the /p2p addresses in multiaddr's tests */
    {NULL, "12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV",
     "bafzaajaiaejcalj543iwv2d7pkjt7ykvefrkfu7qjfi6sduakhso4lay6abn2d5u",
     "k51qzi5uqu5dhb6l8spkdx7yxafegfkee5by8h7lmjh2ehc2sgg34z7c15vzqs"},
    {NULL, "12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi", NULL,
     "k51qzi5uqu5dhdmj65s7o239pk7w2knayz61k30js9t66wd6h82yw6iinitcuz"},
};

TEST(all_text_forms_of_published_ids_name_the_same_key)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        struct px_peer_id id, other;
        char text[PX_PEER_ID_TEXT_MAX];
        CHECK_OK(px_peer_id_parse(px_slice_cstr(v->base58), &id));
        CHECK_STR(px_peer_id_format(&id, text), v->base58);
        CHECK_OK(px_peer_id_parse(px_slice_cstr(v->base36), &other));
        CHECK(px_peer_id_eq(&id, &other));
        if (v->base32 != NULL) {
            CHECK_OK(px_peer_id_parse(px_slice_cstr(v->base32), &other));
            CHECK(px_peer_id_eq(&id, &other));
        }
        if (v->key != NULL) {
            uint8_t key[32];
            size_t len;
            CHECK_OK(px_hex_decode(px_slice_cstr(v->key), key, sizeof(key), &len));
            CHECK(len == 32 && memcmp(key, id.key, 32) == 0);
        }
    }
}

TEST(a_cid_in_base58_names_the_same_key_as_in_base32)
{
    struct px_peer_id a, b;
    CHECK_OK(px_peer_id_parse(
        PX_SLICE_LIT("z5AanNVJCxnFtEfSEgTFFAm3Ju15ppwZfW3wTJTuoBL6FvHj7kmuKn7"), &a));
    CHECK_OK(px_peer_id_parse(
        PX_SLICE_LIT("bafzaajaiaejcad4ww6rlktrbqfhuhkjx72e6ryft3oo5cxhssz4yrpxsaqiie2aa"), &b));
    CHECK(px_peer_id_eq(&a, &b));
}

TEST(extreme_keys_survive_the_round_trip)
{
    for (unsigned fill = 0; fill < 256; fill += 51) {
        struct px_peer_id id, back;
        char text[PX_PEER_ID_TEXT_MAX];
        memset(id.key, (int)fill, sizeof(id.key));
        CHECK(
            px_slice_starts(px_slice_cstr(px_peer_id_format(&id, text)), PX_SLICE_LIT("12D3KooW")));
        CHECK_INT(strlen(text), 52);
        CHECK_OK(px_peer_id_parse(px_slice_cstr(text), &back));
        CHECK(px_peer_id_eq(&id, &back));
    }
}

/* The base58 text of bytes given in hex. */
static void base58(const char *hex, struct px_buf *out)
{
    uint8_t bytes[64];
    size_t len;
    CHECK_OK(px_hex_decode(px_slice_cstr(hex), bytes, sizeof(bytes), &len));
    CHECK_OK(px_base58_encode(out, px_slice(bytes, len)));
}

#define KEY "cb311166beeedd9fb6af4cc8c2bf4ac471dcdde7a71ff032440747e084cf0cc8"

TEST(other_key_types_are_told_apart_from_garbage)
{
    static const struct {
        const char *hex;
        int err;
    } cases[] = {
        {"002408011220" KEY, 0},
        {"002508021221" KEY "00", PX_EUNSUPPORTED}, /* Secp256k1 */
        {"1220" KEY, PX_EUNSUPPORTED},              /* a hashed key: RSA, ECDSA */
        {"1221" KEY "00", PX_EPARSE},
        {"1220", PX_EPARSE},
        {"002408041220" KEY, PX_EPARSE}, /* no such key type */
        {"002308011220" KEY, PX_EPARSE},
        {"002508011220" KEY "00", PX_EPARSE},
        {"002508011221" KEY "00", PX_EPARSE},
        {"00240801121f" KEY, PX_EPARSE},
        {"002409011220" KEY, PX_EPARSE},
        {"002408011320" KEY, PX_EPARSE},
        {"00a400080112" KEY, PX_EPARSE}, /* a varint longer than it need be */
        {"002408011220", PX_EPARSE},
        {"0000", PX_EPARSE},
        {"00", PX_EPARSE},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_peer_id id;
        struct px_buf b;
        px_buf_init(&b, 256);
        base58(cases[i].hex, &b);
        if (b.data[0] == '1' || b.data[0] == 'Q')
            CHECK_ERR(px_peer_id_parse(px_buf_slice(&b), &id), cases[i].err);
        /* and the same multihash inside a CID */
        px_buf_clear(&b);
        char cid[200];
        snprintf(cid, sizeof(cid), "0172%s", cases[i].hex);
        CHECK_OK(px_buf_put_u8(&b, 'z'));
        base58(cid, &b);
        CHECK_ERR(px_peer_id_parse(px_buf_slice(&b), &id), cases[i].err);
        px_buf_deinit(&b);
    }
}

TEST(cids_of_another_version_or_codec_are_refused)
{
    static const char *const bad[] = {"0272002408011220" KEY, "0170002408011220" KEY,
                                      "0155002408011220" KEY, "01", "0172"};
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        struct px_peer_id id;
        struct px_buf b;
        px_buf_init(&b, 256);
        CHECK_OK(px_buf_put_u8(&b, 'z'));
        base58(bad[i], &b);
        CHECK_ERR(px_peer_id_parse(px_buf_slice(&b), &id), PX_EPARSE);
        px_buf_deinit(&b);
    }
}

TEST(texts_that_are_not_exactly_an_id_are_refused)
{
    static const char *const bad[] = {
        "",
        "1",
        "Q",
        "b",
        "k",
        "z",
        "Qm",
        "hello",
        " 12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj",
        "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj\n",
        "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjC",
        "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCjj",
        "112D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj",
        "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjC0",
        "12d3koowpvykwhpsyd1kpaavnvjoqd4tdzr4vgxvmo9nszwvqjcj",
        "BAFZAAJAIAEJCBSZRCFTL53W5T63K6TGIYK7UVRDR3TO6PJY76AZEIB2H4CCM6DGI",
        "bafzaajaiaejcbszrcftl53w5t63k6tgiyk7uvrdr3to6pjy76azeib2h4ccm6dg",
        "k51qzi5uqu5dl8wlbw09j1cpr1i456yb3mv0r5wnpx3wz6qq8pnppkvgqdepc9x",
        "f01720024080112201234",
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        struct px_peer_id id;
        memset(&id, 7, sizeof(id));
        CHECK_ERR(px_peer_id_parse(px_slice_cstr(bad[i]), &id), PX_EPARSE);
        CHECK_INT(id.key[0], 7);
        CHECK_INT(id.key[31], 7);
    }
    uint8_t huge[4096];
    memset(huge, '1', sizeof(huge));
    struct px_peer_id id;
    CHECK_ERR(px_peer_id_parse(px_slice(huge, sizeof(huge)), &id), PX_EPARSE);
}

TEST(published_rsa_and_secp256k1_ids_are_unsupported)
{
    struct px_peer_id id;
    CHECK_ERR(px_peer_id_parse(PX_SLICE_LIT("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"), &id),
              PX_EUNSUPPORTED);
    CHECK_ERR(px_peer_id_parse(
                  PX_SLICE_LIT("bafzbeigvf25ytwc3akrijfecaotc74udrhcxzh2cx3we5qqnw5vgrei4bm"), &id),
              PX_EUNSUPPORTED);
}
