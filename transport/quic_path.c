/* The paths of a connection under the numbers that ngtcp2 knows them by (docs/spec/paths.md §7).
 *
 * ngtcp2's client can only migrate to another local address, and whoever validated a path would go
 * on sending if its addresses stood for another one later. So it sees made-up IPv4 addresses, both
 * with the path's number as IP; the table says what a number stands for, and what it no longer
 * says is not sent. */
#include "transport/quic_internal.h"

#define LOCAL_PORT  1
#define REMOTE_PORT 2

static void fill(union px_sockaddr *sa, ngtcp2_addr *ret, uint32_t number, uint16_t port)
{
    memset(sa, 0, sizeof(*sa));
    sa->in.sin_family = AF_INET;
    sa->in.sin_port = htons(port);
    sa->in.sin_addr.s_addr = htonl(number);
    ret->addr = &sa->sa;
    ret->addrlen = sizeof(sa->in);
}

void px_quic_ngpath_init(struct px_quic_ngpath *p, uint32_t number)
{
    fill(&p->local, &p->path.local, number, LOCAL_PORT);
    fill(&p->remote, &p->path.remote, number, REMOTE_PORT);
    p->path.user_data = NULL;
}

uint32_t px_quic_number_from_ng(const ngtcp2_path *path)
{
    union px_sockaddr sa;
    if (path->remote.addrlen != sizeof(sa.in))
        return 0;
    memcpy(&sa.in, path->remote.addr, sizeof(sa.in));
    return ntohl(sa.in.sin_addr.s_addr);
}

const struct px_path *px_quic_paths_get(const struct px_quic_paths *t, uint32_t number)
{
    for (size_t i = 0; i < PX_QUIC_PATHS_MAX; i++)
        if (t->of[i].number == number && number != 0)
            return &t->of[i].real;
    return NULL;
}

/* Dialled from "any address": which one the kernel chose is known with the first packet. It is
 * fixed then; before, the kernel chose it for each packet. */
static bool settles(struct px_quic_known *k, const struct px_path *path)
{
    if (!px_addr_is_wildcard(&k->real.local) || !px_addr_eq(&k->real.remote, &path->remote) ||
        k->real.local.port != path->local.port)
        return false;
    k->real.local = path->local;
    return true;
}

static bool is_old(const struct px_quic_known *k, px_nsec now)
{
    return now > k->used_at && now - k->used_at > PX_QUIC_PATH_TIME;
}

const struct px_path *px_quic_paths_at(const struct px_quic_paths *t, size_t i, px_nsec now)
{
    return t->of[i].number == 0 || is_old(&t->of[i], now) ? NULL : &t->of[i].real;
}

uint32_t px_quic_paths_find(struct px_quic_paths *t, const struct px_path *path, uint32_t current,
                            px_nsec now)
{
    struct px_quic_known *best = NULL; /* the newest: one path may have had several numbers */
    for (size_t i = 0; i < PX_QUIC_PATHS_MAX; i++) {
        struct px_quic_known *k = &t->of[i];
        /* SPEC paths §4: somebody else may have the address by now */
        bool old = k->number != current && is_old(k, now);
        if (k->number != 0 && !old && (px_path_eq(&k->real, path) || settles(k, path)) &&
            (best == NULL || k->number > best->number))
            best = k;
    }
    if (best == NULL)
        return 0;
    if (best->number == current)
        best->used_at = now;
    return best->number;
}

uint32_t px_quic_paths_add(struct px_quic_paths *t, const struct px_path *path, uint32_t keep,
                           px_nsec now)
{
    struct px_quic_known *victim = NULL;
    for (size_t i = 0; i < PX_QUIC_PATHS_MAX; i++) {
        struct px_quic_known *k = &t->of[i];
        if (k->number == keep && keep != 0)
            continue;
        if (victim == NULL || k->number == 0 ||
            (victim->number != 0 && k->used_at < victim->used_at))
            victim = k;
    }
    px_assert(t->last < UINT32_MAX); /* a path a second for a century */
    *victim = (struct px_quic_known){.number = ++t->last, .real = *path, .used_at = now};
    return victim->number;
}

void px_quic_paths_remove(struct px_quic_paths *t, uint32_t number)
{
    for (size_t i = 0; i < PX_QUIC_PATHS_MAX; i++)
        if (t->of[i].number == number)
            t->of[i] = (struct px_quic_known){0};
}
