/* The rotation record and its messages: what one signature says and what no other bytes can say.
 * Also rotation_book: whose record counts, and what it changes in files. */
#include "auth/rotation.h"

#include <stdlib.h>

#include "auth/rotation_book.h"
#include "proto/cbor.h"
#include "tests/test.h"

struct keys {
    struct px_identity a, b, c, d;
};

static void keys_init(struct keys *k)
{
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 7);
    CHECK_OK(px_crypto_init());
    px_identity_generate(&rng, &k->a);
    px_identity_generate(&rng, &k->b);
    px_identity_generate(&rng, &k->c);
    px_identity_generate(&rng, &k->d);
}

static void record(const struct px_rotation *r, struct px_buf *out)
{
    px_buf_init(out, PX_ROTATION_RECORD_MAX);
    CHECK_OK(px_rotation_put(r, out));
}

static int reads(const struct px_rotation *r)
{
    struct px_buf b;
    struct px_rotation back;
    record(r, &b);
    int err = px_rotation_get(px_buf_slice(&b), &back);
    if (err == 0)
        CHECK(memcmp(&back, r, sizeof(back)) == 0);
    px_buf_deinit(&b);
    return err;
}

TEST(a_record_reads_back_as_it_was_made)
{
    struct keys k;
    struct px_rotation r, again;
    keys_init(&k);
    CHECK_OK(px_rotation_make(&k.a, &k.b, "default", &r));
    CHECK_OK(reads(&r));
    CHECK_OK(px_rotation_make(&k.a, &k.b, "default", &again));
    CHECK(memcmp(&r, &again, sizeof(r)) == 0); /* nothing but the keys is in it */
}

TEST(the_longest_network_fits_and_a_longer_one_is_refused)
{
    struct keys k;
    struct px_rotation r;
    char network[PX_ROTATION_NETWORK_MAX + 2];
    keys_init(&k);
    memset(network, 'n', sizeof(network));
    network[PX_ROTATION_NETWORK_MAX + 1] = '\0';
    CHECK_ERR(px_rotation_make(&k.a, &k.b, network, &r), PX_EINVAL);
    network[PX_ROTATION_NETWORK_MAX] = '\0';
    CHECK_OK(px_rotation_make(&k.a, &k.b, network, &r));
    CHECK_OK(reads(&r));
    CHECK_ERR(px_rotation_make(&k.a, &k.b, "", &r), PX_EINVAL);
    CHECK_ERR(px_rotation_make(&k.a, &k.a, "default", &r), PX_EINVAL);
}

TEST(each_bit_of_a_record_is_signed)
{
    struct keys k;
    struct px_rotation r, got;
    struct px_buf b;
    keys_init(&k);
    CHECK_OK(px_rotation_make(&k.a, &k.b, "default", &r));
    record(&r, &b);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= 1;
        CHECK(px_rotation_get(px_buf_slice(&b), &got) != 0);
        b.data[i] ^= 1;
    }
    for (size_t i = 0; i < b.len; i++)
        CHECK(px_rotation_get(px_slice(b.data, i), &got) != 0);
    CHECK_OK(px_rotation_get(px_buf_slice(&b), &got));
    px_buf_deinit(&b);
}

TEST(signatures_of_others_or_of_the_other_role_do_not_stand)
{
    struct keys k;
    struct px_rotation good, other, r;
    keys_init(&k);
    CHECK_OK(px_rotation_make(&k.a, &k.b, "default", &good));

    /* by the new key alone, twice: somebody who has not the old key */
    CHECK_OK(px_rotation_make(&k.c, &k.b, "default", &other));
    r = good;
    memcpy(r.old_sig, other.old_sig, sizeof(r.old_sig));
    CHECK_ERR(reads(&r), PX_ECRYPTO);

    /* somebody with the old key who wants the entry to be another's */
    CHECK_OK(px_rotation_make(&k.a, &k.c, "default", &other));
    r = good;
    memcpy(r.new_sig, other.new_sig, sizeof(r.new_sig));
    CHECK_ERR(reads(&r), PX_ECRYPTO);

    /* swapped signatures */
    r = good;
    memcpy(r.old_sig, good.new_sig, sizeof(r.old_sig));
    memcpy(r.new_sig, good.old_sig, sizeof(r.new_sig));
    CHECK_ERR(reads(&r), PX_ECRYPTO);

    /* swapped roles: a record of a to b is none of b to a */
    r = good;
    r.old_id = good.new_id;
    r.new_id = good.old_id;
    CHECK_ERR(reads(&r), PX_ECRYPTO);
    memcpy(r.old_sig, good.new_sig, sizeof(r.old_sig));
    memcpy(r.new_sig, good.old_sig, sizeof(r.new_sig));
    CHECK_ERR(reads(&r), PX_ECRYPTO);

    /* another network */
    r = good;
    snprintf(r.network, sizeof(r.network), "Default");
    CHECK_ERR(reads(&r), PX_ECRYPTO);
}

TEST(a_record_of_one_key_or_with_more_in_it_is_malformed)
{
    struct keys k;
    struct px_rotation r;
    struct px_buf b;
    keys_init(&k);
    CHECK_OK(px_rotation_make(&k.a, &k.b, "default", &r));
    r.new_id = r.old_id;
    CHECK_ERR(reads(&r), PX_EPARSE);

    CHECK_OK(px_rotation_make(&k.a, &k.b, "default", &r));
    px_buf_init(&b, PX_ROTATION_RECORD_MAX);
    CHECK_OK(px_rotation_put(&r, &b));
    b.data[0]++; /* a map of one more */
    CHECK_OK(px_cbor_put_uint(&b, 6));
    CHECK_OK(px_cbor_put_uint(&b, 0));
    CHECK_ERR(px_rotation_get(px_buf_slice(&b), &r), PX_EPARSE);
    px_buf_deinit(&b);
}

static int message_back(const struct px_rotation_message *m, struct px_rotation_message *ret)
{
    struct px_buf b;
    px_buf_init(&b, PX_ROTATION_MESSAGE_MAX);
    CHECK_OK(px_rotation_message_put(m, &b));
    int err = px_rotation_message_get(px_buf_slice(&b), ret);
    px_buf_deinit(&b);
    return err;
}

TEST(messages_read_back)
{
    struct keys k;
    struct px_rotation_message m = {.type = PX_ROTATION_MSG_ROTATE}, got;
    keys_init(&k);
    CHECK_OK(px_rotation_make(&k.a, &k.b, "n", &m.record));
    CHECK_OK(message_back(&m, &got));
    CHECK_INT(got.type, PX_ROTATION_MSG_ROTATE);
    CHECK(memcmp(&got.record, &m.record, sizeof(m.record)) == 0);
    m.record.old_sig[3] ^= 1;
    CHECK_ERR(message_back(&m, &got), PX_ECRYPTO);
    m = (struct px_rotation_message){.type = PX_ROTATION_MSG_WITHDRAW};
    CHECK_OK(message_back(&m, &got));
    CHECK_INT(got.type, PX_ROTATION_MSG_WITHDRAW);
    m = (struct px_rotation_message){.type = PX_ROTATION_MSG_REFUSE, .code = 7};
    CHECK_OK(message_back(&m, &got));
    CHECK_INT(got.code, 7);
}

TEST(what_is_no_message_is_refused)
{
    static const struct {
        struct px_slice body;
        int err;
    } cases[] = {
        {PX_SLICE_LIT(""), PX_ETRUNC},
        {PX_SLICE_LIT("\xa0"), PX_EPARSE},                     /* no type */
        {PX_SLICE_LIT("\xa1\x00\x00"), PX_EPARSE},             /* type 0 */
        {PX_SLICE_LIT("\xa1\x00\x05"), PX_EPARSE},             /* type 5 */
        {PX_SLICE_LIT("\xa1\x00\x01"), PX_ETRUNC},             /* rotate without a record */
        {PX_SLICE_LIT("\xa1\x00\x04"), PX_EPARSE},             /* refuse without a code */
        {PX_SLICE_LIT("\xa1\x00\x03\x00"), PX_EPARSE},         /* bytes behind it */
        {PX_SLICE_LIT("\xa2\x00\x03\x00\x03"), PX_EPARSE},     /* a key twice */
        {PX_SLICE_LIT("\xa2\x00\x01\x01\x41\x00"), PX_EPARSE}, /* a record that is no map */
    };
    static const uint8_t big[PX_ROTATION_MESSAGE_MAX + 1];
    struct px_rotation_message m;
    CHECK_OK(px_crypto_init());
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++)
        CHECK_ERR(px_rotation_message_get(cases[i].body, &m), cases[i].err);
    CHECK_ERR(px_rotation_message_get(px_slice(big, sizeof(big)), &m), PX_ELIMIT);
    /* a later version may say more */
    CHECK_OK(px_rotation_message_get(PX_SLICE_LIT("\xa2\x00\x03\x07\x61x"), &m));
    CHECK_INT(m.type, PX_ROTATION_MSG_ACK);
}

TEST(codes_and_errors_go_both_ways)
{
    for (uint64_t code = 1; code <= 9; code++)
        CHECK_INT(px_rotation_code(px_rotation_error(code)), code);
    CHECK_INT(px_rotation_error(0), PX_EIO);
    CHECK_INT(px_rotation_error(10), PX_EIO);
    CHECK_INT(px_rotation_error(UINT64_MAX), PX_EIO);
    CHECK_INT(px_rotation_code(PX_ENOMEM), 9);
    CHECK_INT(px_rotation_code(PX_ETRUNC), 1);
}

/* ---- the book ---- */

struct book {
    struct keys k;
    struct px_rotation_book *b;
    struct px_authorized_keys *keys;
    struct px_peer_id self;
};

static void list(struct book *t, const struct px_identity *const *who, size_t count)
{
    struct px_buf text;
    char id[PX_PEER_ID_TEXT_MAX];
    px_buf_init(&text, 4096);
    for (size_t i = 0; i < count; i++)
        CHECK_OK(px_buf_printf(&text, "%s grant=cache\n", px_peer_id_format(&who[i]->id, id)));
    px_authorized_keys_free(t->keys);
    CHECK_OK(px_authorized_keys_parse(px_buf_slice(&text), &t->keys));
    px_buf_deinit(&text);
}

static void book_init(struct book *t)
{
    memset(t, 0, sizeof(*t));
    keys_init(&t->k);
    t->self = (struct px_peer_id){{42}};
    t->b = calloc(1, sizeof(*t->b));
    CHECK(t->b != NULL);
    list(t, (const struct px_identity *[]){&t->k.a, &t->k.d}, 2);
}

static void book_end(struct book *t)
{
    px_authorized_keys_free(t->keys);
    free(t->b);
}

/* Judges as the link of `sender` would, and takes the record in. */
static int take_from(struct book *t, const struct px_identity *sender, const struct px_identity *x,
                     const struct px_identity *y, enum px_rotation_news *ret)
{
    struct px_rotation r;
    const struct px_rotation_scene scene = {&t->self, &sender->id, "default", t->keys};
    CHECK_OK(px_rotation_make(x, y, "default", &r));
    int err = px_rotation_book_judge(t->b, &scene, &r, ret);
    if (err == 0)
        CHECK(px_rotation_book_set(t->b, &r.old_id, &r.new_id));
    return err;
}

static int take(struct book *t, const struct px_identity *x, const struct px_identity *y)
{
    enum px_rotation_news news;
    return take_from(t, x, x, y, &news);
}

TEST(a_record_counts_from_its_old_key_alone)
{
    struct book t;
    enum px_rotation_news news;
    book_init(&t);
    /* a replay by anybody else, the new key's owner included */
    CHECK_ERR(take_from(&t, &t.k.d, &t.k.a, &t.k.b, &news), PX_EWRONGPEER);
    CHECK_ERR(take_from(&t, &t.k.b, &t.k.a, &t.k.b, &news), PX_EWRONGPEER);
    CHECK_OK(take_from(&t, &t.k.a, &t.k.a, &t.k.b, &news));
    CHECK_INT(news, PX_ROTATION_NEW);
    CHECK_OK(take_from(&t, &t.k.a, &t.k.a, &t.k.b, &news));
    CHECK_INT(news, PX_ROTATION_KNOWN);
    CHECK_INT(t.b->count, 1);
    CHECK(px_rotation_book_by_new(t.b, &t.k.b.id) != NULL);
    CHECK(px_rotation_book_by_new(t.b, &t.k.a.id) == NULL);
    book_end(&t);
}

TEST(a_record_of_another_network_or_of_an_unlisted_key_is_refused)
{
    struct book t;
    struct px_rotation r;
    enum px_rotation_news news;
    book_init(&t);
    const struct px_rotation_scene scene = {&t.self, &t.k.a.id, "default", t.keys};
    CHECK_OK(px_rotation_make(&t.k.a, &t.k.b, "other", &r));
    CHECK_ERR(px_rotation_book_judge(t.b, &scene, &r, &news), PX_ENETWORK);
    CHECK_ERR(take(&t, &t.k.c, &t.k.b), PX_EUNLISTED);
    book_end(&t);
}

TEST(of_two_records_of_one_key_the_later_counts)
{
    struct book t;
    enum px_rotation_news news;
    book_init(&t);
    CHECK_OK(take(&t, &t.k.a, &t.k.b));
    CHECK_OK(take_from(&t, &t.k.a, &t.k.a, &t.k.c, &news));
    CHECK_INT(news, PX_ROTATION_REPLACES);
    CHECK_INT(t.b->count, 1);
    CHECK(px_rotation_book_by_new(t.b, &t.k.b.id) == NULL);
    CHECK(px_rotation_book_by_new(t.b, &t.k.c.id) != NULL);
    CHECK(px_rotation_book_drop(t.b, &t.k.a.id));
    CHECK(!px_rotation_book_drop(t.b, &t.k.a.id));
    CHECK(px_rotation_book_by_new(t.b, &t.k.c.id) == NULL);
    book_end(&t);
}

TEST(no_record_leads_to_a_key_that_has_a_meaning_already)
{
    struct book t;
    struct px_identity self;
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 9);
    book_init(&t);
    CHECK_ERR(take(&t, &t.k.a, &t.k.d), PX_EEXIST); /* listed */
    CHECK_OK(take(&t, &t.k.d, &t.k.b));
    CHECK_ERR(take(&t, &t.k.a, &t.k.b), PX_EEXIST); /* two entries to one key */
    px_identity_generate(&rng, &self);
    t.self = self.id;
    CHECK_ERR(take(&t, &t.k.a, &self), PX_EEXIST);
    CHECK_INT(t.b->count, 1);
    book_end(&t);
}

TEST(a_chain_of_keys_works_and_never_comes_back)
{
    struct book t;
    struct px_rotation_move m;
    book_init(&t);
    CHECK_OK(take(&t, &t.k.a, &t.k.b));
    m = *px_rotation_book_by_old(t.b, &t.k.a.id);
    list(&t, (const struct px_identity *[]){&t.k.b}, 1);
    px_rotation_book_retire(t.b, &m, 1);
    CHECK_INT(t.b->count, 0);
    CHECK_ERR(take(&t, &t.k.a, &t.k.b), PX_EUNLISTED); /* the old record once more */
    CHECK_ERR(take(&t, &t.k.b, &t.k.a), PX_EREVOKED);
    CHECK_OK(take(&t, &t.k.b, &t.k.c));
    m = *px_rotation_book_by_old(t.b, &t.k.b.id);
    list(&t, (const struct px_identity *[]){&t.k.c}, 1);
    px_rotation_book_retire(t.b, &m, 2);
    CHECK_ERR(take(&t, &t.k.c, &t.k.a), PX_EREVOKED);
    CHECK_ERR(take(&t, &t.k.c, &t.k.b), PX_EREVOKED);
    CHECK_OK(take(&t, &t.k.c, &t.k.d));
    book_end(&t);
}

TEST(records_and_retired_keys_are_bounded)
{
    struct book t;
    struct px_peer_id old_id = {{1}}, new_id = {{2}};
    book_init(&t);
    for (unsigned i = 0; i < PX_ROTATIONS_MAX; i++) {
        old_id.key[1] = new_id.key[1] = (uint8_t)i;
        CHECK(px_rotation_book_set(t.b, &old_id, &new_id));
    }
    CHECK(!px_rotation_book_set(t.b, &t.k.a.id, &t.k.b.id));
    CHECK_ERR(take(&t, &t.k.a, &t.k.b), PX_EBUSY);
    CHECK(px_rotation_book_set(t.b, &old_id, &t.k.c.id)); /* in place of its first */
    t.b->count = 0;
    for (unsigned i = 0; i < PX_ROTATION_RETIRED_MAX + 1; i++) {
        struct px_rotation_move m = {.old_id = {{3, (uint8_t)i, (uint8_t)(i >> 8)}}};
        px_rotation_book_retire(t.b, &m, i);
    }
    CHECK_INT(t.b->retired_count, PX_ROTATION_RETIRED_MAX);
    CHECK(!px_rotation_book_is_retired(t.b, &(struct px_peer_id){{3, 0, 0}}));
    CHECK(px_rotation_book_is_retired(t.b, &(struct px_peer_id){{3, 1, 0}}));
    CHECK(px_rotation_book_is_retired(t.b, &(struct px_peer_id){{3, 0, 4}}));
    book_end(&t);
}

TEST(the_list_decides_what_becomes_of_a_record)
{
    struct book t;
    book_init(&t);
    const struct px_rotation_move m = {.old_id = t.k.a.id, .new_id = t.k.b.id};
    CHECK_INT(px_rotation_fate(&m, t.keys), PX_ROTATION_WAITS);
    list(&t, (const struct px_identity *[]){&t.k.b}, 1);
    CHECK_INT(px_rotation_fate(&m, t.keys), PX_ROTATION_MOVED);
    list(&t, (const struct px_identity *[]){&t.k.a, &t.k.b}, 2);
    CHECK_INT(px_rotation_fate(&m, t.keys), PX_ROTATION_VOID);
    list(&t, NULL, 0);
    CHECK_INT(px_rotation_fate(&m, t.keys), PX_ROTATION_VOID);
    book_end(&t);
}

/* ---- files ---- */

#define A "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj"
#define B "12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV"
#define C "12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi"

static struct px_rotation_move a_to_b(void)
{
    struct px_rotation_move m = {.at = 0};
    CHECK_OK(px_peer_id_parse(PX_SLICE_LIT(A), &m.old_id));
    CHECK_OK(px_peer_id_parse(PX_SLICE_LIT(B), &m.new_id));
    return m;
}

static void check_move(int (*move)(struct px_slice text, const struct px_rotation_move *m,
                                   struct px_buf *out),
                       const char *text, int want, const char *result)
{
    struct px_rotation_move m = a_to_b();
    struct px_buf out;
    px_buf_init(&out, 65536);
    CHECK_OK(px_buf_put_cstr(&out, "before\n"));
    CHECK_ERR(move(px_slice_cstr(text), &m, &out), want);
    CHECK_SLICE(px_slice_skip(px_buf_slice(&out), 7), px_slice_cstr(result));
    px_buf_deinit(&out);
}

TEST(an_entry_moves_with_name_addresses_grants_and_comment)
{
    check_move(px_rotation_move_entry,
               "# ours\n" C " name=carol\nbad line\n" A
               " name=bob addr=192.0.2.7:12303 addr=bob.example:1 grant=cache,cache-own # shelf\n",
               0,
               "# ours\n" C " name=carol\nbad line\n" B
               " name=bob addr=192.0.2.7:12303 addr=bob.example:1 grant=cache,cache-own # shelf\n");
    check_move(px_rotation_move_entry, A " grant=cache\n" A " grant=cache-own\n", 0,
               B " grant=cache\n");
    /* the line that counts is the one that moves */
    check_move(px_rotation_move_entry, C " name=n\n" A " name=n\n" A " grant=cache\n", 0,
               C " name=n\n" B " grant=cache\n");
    check_move(px_rotation_move_entry, C " name=carol\n", PX_ENOENT, "");
    check_move(px_rotation_move_entry, A "\n" B "\n", PX_EEXIST, "");
    check_move(px_rotation_move_entry, "", PX_ENOENT, "");
}

TEST(only_grants_to_read_the_cache_move_by_themselves)
{
    CHECK_INT(px_rotation_grants(UINT32_MAX), PX_GRANT_CACHE | PX_GRANT_CACHE_OWN);
    CHECK_INT(px_rotation_grants(PX_GRANT_CACHE), PX_GRANT_CACHE);
    CHECK_INT(px_rotation_grants(0), 0);
}

TEST(names_follow)
{
    check_move(px_rotation_move_names, "desk " A " # old\ncarol " C "\n\nlap " A "\n", 0,
               "desk " B " # old\ncarol " C "\n\nlap " B "\n");
    check_move(px_rotation_move_names, "carol " C "\n", PX_ENOENT, "");
}
