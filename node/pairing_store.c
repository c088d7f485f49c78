/* See pairing_store.h. Bytes are kept as hex text; columns are numbered as the statements name
 * them. */
#include "node/pairing_store.h"

#include <stdio.h>

#include "proto/base/encoding.h"

enum { HEX_MAX = 64 };

/* One column on its way in. */
struct value {
    bool text;
    struct px_slice s;
    int64_t i;
};

static struct value text_value(struct px_slice s)
{
    return (struct value){.text = true, .s = s};
}

static struct value int_value(int64_t i)
{
    return (struct value){.i = i};
}

/* Runs a statement that gives no rows. */
static int run(struct px_sqlite *db, const char *sql, const struct value *values, size_t count)
{
    struct px_sqlite_stmt *st;
    bool row;
    int err = px_sqlite_prepare(db, sql, &st);
    if (err != 0)
        return err;
    for (size_t n = 0; n < count && err == 0; n++)
        err = values[n].text ? px_sqlite_bind_text(st, (int)n + 1, values[n].s)
                             : px_sqlite_bind_i64(st, (int)n + 1, values[n].i);
    if (err == 0)
        err = px_sqlite_step(st, &row);
    px_sqlite_stmt_free(st);
    return err;
}

static struct value hex_value(char buf[HEX_MAX + 1], const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    px_assert(2 * len <= HEX_MAX);
    for (size_t i = 0; i < len; i++) {
        buf[2 * i] = digits[bytes[i] >> 4];
        buf[2 * i + 1] = digits[bytes[i] & 15];
    }
    return text_value(px_slice(buf, 2 * len));
}

static bool get_hex(struct px_sqlite_stmt *st, int column, uint8_t *ret, size_t len)
{
    size_t got;
    return px_hex_decode(px_sqlite_text(st, column), ret, len, &got) == 0 && got == len;
}

static bool get_text(struct px_sqlite_stmt *st, int column, char *ret, size_t cap)
{
    struct px_slice s = px_sqlite_text(st, column);
    if (s.len >= cap || (s.len > 0 && memchr(s.data, 0, s.len) != NULL))
        return false;
    if (s.len > 0)
        memcpy(ret, s.data, s.len);
    ret[s.len] = '\0';
    return true;
}

/* ---- invites ---- */

int px_pairing_store_invite(struct px_sqlite *db, const struct px_pairing_invite *i)
{
    char id[HEX_MAX + 1], pair[HEX_MAX + 1], joiner[HEX_MAX + 1];
    if (db == NULL)
        return 0;
    const struct value values[] = {
        hex_value(id, i->id, sizeof(i->id)),
        int_value(i->state),
        hex_value(pair, i->pair.bytes, sizeof(i->pair.bytes)),
        hex_value(joiner, i->joiner.key, sizeof(i->joiner.key)),
        int_value(i->failures),
        text_value(px_slice_cstr(i->name)),
        int_value(i->grants),
        int_value(i->verify),
        int_value(i->expires),
        int_value(i->ended),
    };
    int err = run(db, "INSERT OR REPLACE INTO pairing_invite VALUES (?,?,?,?,?,?,?,?,?,?)", values,
                  PX_ARRAY_LEN(values));
    px_wipe(pair, sizeof(pair));
    return err;
}

int px_pairing_forget_invite(struct px_sqlite *db, const uint8_t id[PX_INVITE_ID_LEN])
{
    char hex[HEX_MAX + 1];
    if (db == NULL)
        return 0;
    const struct value value = hex_value(hex, id, PX_INVITE_ID_LEN);
    return run(db, "DELETE FROM pairing_invite WHERE id = ?", &value, 1);
}

static bool read_invite(struct px_sqlite_stmt *st, struct px_pairing_invite *ret)
{
    memset(ret, 0, sizeof(*ret));
    int64_t state = px_sqlite_i64(st, 1);
    ret->state = (enum px_invite_state)state;
    ret->failures = (unsigned)px_sqlite_i64(st, 4);
    ret->grants = (uint32_t)px_sqlite_i64(st, 6);
    ret->verify = px_sqlite_i64(st, 7) != 0;
    ret->expires = px_sqlite_i64(st, 8);
    ret->ended = px_sqlite_i64(st, 9);
    return state >= PX_INVITE_OPEN && state <= PX_INVITE_WITHDRAWN &&
           get_hex(st, 0, ret->id, sizeof(ret->id)) &&
           get_hex(st, 2, ret->pair.bytes, sizeof(ret->pair.bytes)) &&
           get_hex(st, 3, ret->joiner.key, sizeof(ret->joiner.key)) &&
           get_text(st, 5, ret->name, sizeof(ret->name));
}

int px_pairing_each_invite(struct px_sqlite *db,
                           int (*each)(void *ctx, const struct px_pairing_invite *i), void *ctx)
{
    struct px_sqlite_stmt *st;
    struct px_pairing_invite i;
    bool row;
    if (db == NULL)
        return 0;
    int err = px_sqlite_prepare(db,
                                "SELECT id, state, pair, joiner, failures, name, grants, verify,"
                                " expires, ended FROM pairing_invite",
                                &st);
    if (err != 0)
        return err;
    while (err == 0 && (err = px_sqlite_step(st, &row)) == 0 && row)
        if (read_invite(st, &i))
            err = each(ctx, &i);
    px_wipe(&i, sizeof(i));
    px_sqlite_stmt_free(st);
    return err;
}

/* ---- joins ---- */

/* Addresses hold no blanks. */
static void put_addrs(struct px_buf *out, const char (*addrs)[PX_INVITE_ADDR_MAX], size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)px_buf_printf(out, "%s%s", i > 0 ? " " : "", addrs[i]);
}

static bool get_addrs(struct px_sqlite_stmt *st, int column, char (*addrs)[PX_INVITE_ADDR_MAX],
                      size_t *ret_count)
{
    struct px_slice rest = px_sqlite_text(st, column), word;
    *ret_count = 0;
    while (rest.len > 0 && px_slice_split(&rest, ' ', &word)) {
        if (*ret_count == PX_INVITE_ADDRS_MAX || word.len >= PX_INVITE_ADDR_MAX)
            return false;
        memcpy(addrs[*ret_count], word.data, word.len);
        addrs[(*ret_count)++][word.len] = '\0';
    }
    return true;
}

int px_pairing_store_join(struct px_sqlite *db, const struct px_pairing_join *j)
{
    char inviter[HEX_MAX + 1], id[HEX_MAX + 1], pair[HEX_MAX + 1];
    struct px_buf card_addrs, dial_addrs;
    if (db == NULL)
        return 0;
    px_buf_init(&card_addrs, PX_INVITE_ADDRS_MAX * PX_INVITE_ADDR_MAX);
    px_buf_init(&dial_addrs, PX_INVITE_ADDRS_MAX * PX_INVITE_ADDR_MAX);
    put_addrs(&card_addrs, j->card.addrs, j->card.addr_count);
    put_addrs(&dial_addrs, j->addrs, j->addr_count);
    const struct value values[] = {
        hex_value(inviter, j->inviter.key, sizeof(j->inviter.key)),
        hex_value(id, j->id, sizeof(j->id)),
        hex_value(pair, j->pair.bytes, sizeof(j->pair.bytes)),
        text_value(px_slice_cstr(j->name)),
        int_value(j->grants),
        int_value(j->verify),
        text_value(px_slice_cstr(j->card.name)),
        text_value(px_buf_slice(&card_addrs)),
        text_value(px_slice_cstr(j->card.nix_key)),
        text_value(px_buf_slice(&dial_addrs)),
        int_value(j->expires),
    };
    int err = card_addrs.err != 0 ? card_addrs.err : dial_addrs.err;
    if (err == 0)
        err = run(db, "INSERT OR REPLACE INTO pairing_join VALUES (?,?,?,?,?,?,?,?,?,?,?)", values,
                  PX_ARRAY_LEN(values));
    px_wipe(pair, sizeof(pair));
    px_buf_deinit(&card_addrs);
    px_buf_deinit(&dial_addrs);
    return err;
}

int px_pairing_forget_join(struct px_sqlite *db, const struct px_peer_id *inviter)
{
    char hex[HEX_MAX + 1];
    if (db == NULL)
        return 0;
    const struct value value = hex_value(hex, inviter->key, sizeof(inviter->key));
    return run(db, "DELETE FROM pairing_join WHERE inviter = ?", &value, 1);
}

static bool read_join(struct px_sqlite_stmt *st, struct px_pairing_join *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->grants = (uint32_t)px_sqlite_i64(st, 4);
    ret->verify = px_sqlite_i64(st, 5) != 0;
    ret->expires = px_sqlite_i64(st, 10);
    return get_hex(st, 0, ret->inviter.key, sizeof(ret->inviter.key)) &&
           get_hex(st, 1, ret->id, sizeof(ret->id)) &&
           get_hex(st, 2, ret->pair.bytes, sizeof(ret->pair.bytes)) &&
           get_text(st, 3, ret->name, sizeof(ret->name)) &&
           get_text(st, 6, ret->card.name, sizeof(ret->card.name)) &&
           get_addrs(st, 7, ret->card.addrs, &ret->card.addr_count) &&
           get_text(st, 8, ret->card.nix_key, sizeof(ret->card.nix_key)) &&
           get_addrs(st, 9, ret->addrs, &ret->addr_count);
}

int px_pairing_each_join(struct px_sqlite *db,
                         int (*each)(void *ctx, const struct px_pairing_join *j), void *ctx)
{
    struct px_sqlite_stmt *st;
    struct px_pairing_join j;
    bool row;
    if (db == NULL)
        return 0;
    int err = px_sqlite_prepare(db,
                                "SELECT inviter, id, pair, name, grants, verify, card_name,"
                                " card_addrs, card_key, dial_addrs, expires FROM pairing_join",
                                &st);
    if (err != 0)
        return err;
    while (err == 0 && (err = px_sqlite_step(st, &row)) == 0 && row)
        if (read_join(st, &j))
            err = each(ctx, &j);
    px_wipe(&j, sizeof(j));
    px_sqlite_stmt_free(st);
    return err;
}
