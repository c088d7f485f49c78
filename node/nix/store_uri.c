/* Store URIs as Nix writes them, as far as they name a store we can read on this machine.
 *
 * Defaults follow Nix: under root=DIR the files are in DIR/nix/store whatever the logical store
 * directory, without it they are where the logical directory says. */
#include <stdio.h>
#include <stdlib.h>

#include "node/nix/store.h"
#include "proto/base/encoding.h"

#define DEFAULT_STORE "/nix/store"
#define DEFAULT_STATE "/nix/var/nix"
#define SOCKET_NAME   "/daemon-socket/socket"
#define HINT                                                                                       \
    "a store is one of: auto, daemon, unix:///path/to/socket, local, local?root=/dir "             \
    "(parameters: root, store, state, real; absolute paths)"

/* "" where a parameter is not given. */
struct params {
    char root[512], store[256], state[512], real[512];
};

static int percent_decode(struct px_slice in, char *dst, size_t cap)
{
    size_t at = 0;
    while (in.len > 0) {
        char c = (char)in.data[0];
        size_t step = 1, len;
        if (c == '%') {
            if (in.len < 3 || px_hex_decode(px_slice(in.data + 1, 2), &c, 1, &len) != 0)
                return PX_EPARSE;
            step = 3;
        }
        if (c == '\0' || at + 1 >= cap)
            return PX_EPARSE;
        dst[at++] = c;
        in = px_slice_skip(in, step);
    }
    dst[at] = '\0';
    return 0;
}

/* Absolute, without trailing slashes, not the root directory itself unless allowed. */
static int decode_dir(struct px_slice in, char *dst, size_t cap)
{
    int err = percent_decode(in, dst, cap);
    if (err != 0)
        return err;
    size_t len = strlen(dst);
    while (len > 1 && dst[len - 1] == '/')
        dst[--len] = '\0';
    return dst[0] == '/' ? 0 : PX_EPARSE;
}

static int set_param(struct params *p, struct px_slice key, struct px_slice value)
{
    const struct {
        const char *name;
        char *at;
        size_t cap;
    } table[] = {
        {"root", p->root, sizeof(p->root)},
        {"store", p->store, sizeof(p->store)},
        {"state", p->state, sizeof(p->state)},
        {"real", p->real, sizeof(p->real)},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(table); i++) {
        if (!px_slice_eq_cstr(key, table[i].name))
            continue;
        return table[i].at[0] != '\0' ? PX_EPARSE : decode_dir(value, table[i].at, table[i].cap);
    }
    return PX_EPARSE;
}

static int parse_params(struct px_slice query, struct params *ret)
{
    struct px_slice pair, key;
    *ret = (struct params){0};
    while (px_slice_split(&query, '&', &pair)) {
        if (!px_slice_split(&pair, '=', &key) || pair.data == NULL)
            return PX_EPARSE;
        int err = set_param(ret, key, pair);
        if (err != 0)
            return err;
    }
    /* root=/ is the same as none */
    if (strcmp(ret->root, "/") == 0)
        ret->root[0] = '\0';
    return strcmp(ret->store, "/") == 0 ? PX_EPARSE : 0;
}

static int join(char *dst, size_t cap, const char *a, const char *b)
{
    int n = snprintf(dst, cap, "%s%s", a, b);
    return n < 0 || (size_t)n >= cap ? PX_EPARSE : 0;
}

static int fill_dirs(const struct params *p, struct px_store_uri *u)
{
    const char *store = p->store[0] != '\0' ? p->store : DEFAULT_STORE;
    bool root = p->root[0] != '\0';
    int err = join(u->store_dir, sizeof(u->store_dir), store, "");
    if (err == 0 && p->real[0] != '\0')
        err = join(u->real_dir, sizeof(u->real_dir), p->real, "");
    else if (err == 0)
        err = join(u->real_dir, sizeof(u->real_dir), p->root, root ? DEFAULT_STORE : store);
    if (err == 0 && p->state[0] != '\0')
        err = join(u->state_dir, sizeof(u->state_dir), p->state, "");
    else if (err == 0)
        err = join(u->state_dir, sizeof(u->state_dir), p->root, DEFAULT_STATE);
    return err;
}

/* The environment speaks of this machine's own store only. */
static int fill_default_socket(const struct params *p, struct px_store_uri *u)
{
    const char *env = getenv("NIX_DAEMON_SOCKET_PATH");
    if (env != NULL && env[0] == '/' && p->root[0] == '\0' && p->state[0] == '\0')
        return join(u->socket, sizeof(u->socket), env, "");
    int err = join(u->socket, sizeof(u->socket), u->state_dir, SOCKET_NAME);
    /* A state directory too deep for a socket matters only where a socket is meant. */
    if (err != 0)
        u->socket[0] = '\0';
    return err != 0 && u->kind == PX_STORE_DAEMON ? err : 0;
}

static int parse(struct px_slice text, struct px_store_uri *u)
{
    static const struct px_slice unix_scheme = {(const uint8_t *)"unix://", 7};
    struct px_slice head;
    struct params p;
    bool socket_given = false;
    if (!px_slice_split(&text, '?', &head) || parse_params(text, &p) != 0)
        return PX_EPARSE;
    if (px_slice_eq_cstr(head, "auto")) {
        u->kind = PX_STORE_AUTO;
    } else if (px_slice_eq_cstr(head, "daemon")) {
        u->kind = PX_STORE_DAEMON;
    } else if (px_slice_eq_cstr(head, "local")) {
        u->kind = PX_STORE_LOCAL;
    } else if (px_slice_starts(head, unix_scheme)) {
        u->kind = PX_STORE_DAEMON;
        socket_given = true;
        if (decode_dir(px_slice_skip(head, unix_scheme.len), u->socket, sizeof(u->socket)) != 0)
            return PX_EPARSE;
    } else {
        return PX_EPARSE;
    }
    int err = fill_dirs(&p, u);
    return err != 0 || socket_given ? err : fill_default_socket(&p, u);
}

int px_store_uri_parse(const char *text, struct px_store_uri *ret, char *ret_hint, size_t hint_size)
{
    struct px_store_uri u = {0};
    int err = parse(px_slice_cstr(text), &u);
    if (err == 0)
        *ret = u;
    else if (ret_hint != NULL)
        snprintf(ret_hint, hint_size, "%s", HINT);
    return err;
}
