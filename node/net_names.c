/* See net_names.h. Few entries, looked at one after the other. */
#include "node/net_names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/list_line.h"
#include "proto/base/encoding.h"
#include "relay/record.h"

struct entry {
    struct px_net_name name;
    uint64_t sequence;
    uint8_t *record;
    size_t len;
};

struct px_net_names {
    struct entry entries[PX_NET_NAMES_MAX];
    size_t count;
};

int px_net_names_new(struct px_net_names **ret)
{
    *ret = calloc(1, sizeof(**ret));
    return *ret != NULL ? 0 : PX_ENOMEM;
}

void px_net_names_free(struct px_net_names *n)
{
    for (size_t i = 0; n != NULL && i < n->count; i++)
        free(n->entries[i].record);
    free(n);
}

bool px_net_name_valid(struct px_slice word)
{
    struct px_slice name;
    return word.len < PX_NET_NAME_TEXT_MAX && px_slice_split(&word, '.', &name) &&
           word.data != NULL && word.len > 0 && px_name_valid(name);
}

/* ---- entries ---- */

static const char *network_of(const struct px_net_name *n)
{
    return strchr(n->text, '.') + 1;
}

static void drop(struct px_net_names *n, size_t at)
{
    free(n->entries[at].record);
    memmove(&n->entries[at], &n->entries[at + 1], (--n->count - at) * sizeof(n->entries[0]));
}

static struct entry *of_peer(struct px_net_names *n, const struct px_peer_id *peer,
                             struct px_slice network)
{
    for (size_t i = 0; i < n->count; i++)
        if (px_peer_id_eq(&n->entries[i].name.peer, peer) &&
            px_slice_eq_cstr(network, network_of(&n->entries[i].name)))
            return &n->entries[i];
    return NULL;
}

/* The entry seen longest ago, of that relay or (NULL) of all; counts them. */
static size_t oldest(const struct px_net_names *n, const struct px_peer_id *relay,
                     size_t *ret_count)
{
    size_t at = 0;
    *ret_count = 0;
    for (size_t i = 0; i < n->count; i++) {
        if (relay != NULL && !px_peer_id_eq(&n->entries[i].name.relay, relay))
            continue;
        if (*ret_count == 0 || n->entries[i].name.seen < n->entries[at].name.seen)
            at = i;
        ++*ret_count;
    }
    return at;
}

static void make_room(struct px_net_names *n, const struct px_peer_id *relay)
{
    size_t count, at = oldest(n, relay, &count);
    if (count >= PX_NET_NAMES_PER_RELAY)
        drop(n, at);
    at = oldest(n, NULL, &count);
    if (count >= PX_NET_NAMES_MAX)
        drop(n, at);
}

/* A relay lets one peer hold a name: what it told of another one before is over. */
static void drop_rivals(struct px_net_names *n, const struct px_net_name *name)
{
    for (size_t i = n->count; i-- > 0;) {
        const struct px_net_name *other = &n->entries[i].name;
        if (strcmp(other->text, name->text) == 0 && px_peer_id_eq(&other->relay, &name->relay) &&
            !px_peer_id_eq(&other->peer, &name->peer))
            drop(n, i);
    }
}

static bool is_plain(struct px_slice network)
{
    for (size_t i = 0; i < network.len; i++)
        if (network.data[i] <= ' ' || network.data[i] >= 0x7f)
            return false;
    return network.len > 0 && network.len <= PX_RELAY_NAMESPACE_MAX;
}

/* Takes ownership of the copy. */
static void keep(struct px_net_names *n, const struct px_net_name *name,
                 const struct px_record *rec, uint8_t *owned_record, size_t len)
{
    struct entry *e = of_peer(n, &rec->peer, rec->name_space);
    if (e != NULL)
        drop(n, (size_t)(e - n->entries));
    drop_rivals(n, name);
    make_room(n, &name->relay);
    n->entries[n->count++] = (struct entry){*name, rec->sequence, owned_record, len};
}

int px_net_names_take(struct px_net_names *n, const struct px_peer_id *relay,
                      struct px_slice record, int64_t now)
{
    struct px_net_name name = {.relay = *relay, .seen = now};
    struct px_record rec;
    int err = px_record_verify(record, &rec);
    if (err != 0)
        return err;
    if (!is_plain(rec.name_space))
        return PX_EPARSE;
    struct entry *e = of_peer(n, &rec.peer, rec.name_space);
    if (e != NULL && rec.sequence < e->sequence)
        return PX_ESTATE;
    if (rec.name.len == 0) {
        if (e == NULL)
            return PX_ENOENT;
        drop(n, (size_t)(e - n->entries));
        return 0;
    }
    uint8_t *copy = malloc(record.len);
    if (copy == NULL)
        return PX_ENOMEM;
    memcpy(copy, record.data, record.len);
    name.peer = rec.peer;
    snprintf(name.text, sizeof(name.text), "%.*s.%.*s", (int)rec.name.len,
             (const char *)rec.name.data, (int)rec.name_space.len,
             (const char *)rec.name_space.data);
    bool again =
        e != NULL && strcmp(e->name.text, name.text) == 0 && px_peer_id_eq(&e->name.relay, relay);
    keep(n, &name, &rec, copy, record.len);
    return again ? PX_EEXIST : 0;
}

void px_net_names_gone(struct px_net_names *n, const struct px_peer_id *relay,
                       const struct px_peer_id *peer)
{
    for (size_t i = 0; i < n->count; i++)
        if (px_peer_id_eq(&n->entries[i].name.peer, peer) &&
            px_peer_id_eq(&n->entries[i].name.relay, relay))
            n->entries[i].name.gone = true;
}

/* ---- looking ---- */

int px_net_names_find(const struct px_net_names *n, struct px_slice word, int64_t now,
                      const struct px_net_name **ret)
{
    const struct px_net_name *found = NULL;
    for (size_t i = 0; i < n->count; i++) {
        const struct px_net_name *name = &n->entries[i].name;
        if (!px_slice_eq_cstr(word, name->text) || now - name->seen > PX_NET_NAMES_AGE)
            continue;
        if (found != NULL && !px_peer_id_eq(&found->peer, &name->peer))
            return PX_EEXIST;
        found = name;
    }
    if (found == NULL)
        return PX_ENOENT;
    *ret = found;
    return 0;
}

size_t px_net_names_count(const struct px_net_names *n)
{
    return n->count;
}

const struct px_net_name *px_net_names_at(const struct px_net_names *n, size_t i)
{
    px_assert(i < n->count);
    return &n->entries[i].name;
}

/* ---- text ---- */

int px_net_names_write(const struct px_net_names *n, int64_t now, struct px_buf *out)
{
    for (size_t i = 0; i < n->count; i++) {
        const struct entry *e = &n->entries[i];
        char relay[PX_PEER_ID_TEXT_MAX];
        if (now - e->name.seen > PX_NET_NAMES_AGE)
            continue;
        (void)px_buf_printf(out, "%" PRId64 " %s ", e->name.seen,
                            px_peer_id_format(&e->name.relay, relay));
        (void)px_base64_encode(out, px_slice(e->record, e->len));
        (void)px_buf_put_u8(out, '\n');
    }
    return out->err;
}

static int read_line(struct px_net_names *n, struct px_slice line, int64_t now)
{
    struct px_slice seen_text, relay_text;
    struct px_peer_id relay;
    uint8_t record[PX_RELAY_RECORD_MAX];
    uint64_t seen;
    size_t len;
    if (!px_slice_split(&line, ' ', &seen_text) || !px_slice_split(&line, ' ', &relay_text) ||
        px_slice_parse_u64(seen_text, &seen) != 0 || seen > INT64_MAX / 2 ||
        px_peer_id_parse(relay_text, &relay) != 0 ||
        px_base64_decode(line, record, sizeof(record), &len) != 0)
        return PX_EPARSE;
    int64_t at = PX_MIN((int64_t)seen, now); /* the clock may have been set back */
    if (now - at > PX_NET_NAMES_AGE)
        return PX_EPARSE;
    return px_net_names_take(n, &relay, px_slice(record, len), at);
}

int px_net_names_read(struct px_net_names *n, struct px_slice text, int64_t now, size_t *ret_bad)
{
    struct px_slice line;
    *ret_bad = 0;
    while (px_list_next_line(&text, &line)) {
        int err = read_line(n, line, now);
        if (err == PX_ENOMEM)
            return err;
        *ret_bad += err != 0 && err != PX_EEXIST;
    }
    return 0;
}
