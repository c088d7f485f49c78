/* A peer for tests of the substituter's parts: answers from a small table of store paths, honestly
 * or not, when the test pumps it. Respects credit as a QUIC stream would. */
#ifndef PX_TESTS_FAKE_PEER_H
#define PX_TESTS_FAKE_PEER_H

#include <stdio.h>
#include <stdlib.h>

#include "auth/nix_key.h"
#include "node/nix/cache_peer.h"
#include "proto/base/encoding.h"
#include "proto/base/list.h"
#include "proto/path_info.h"

#define FAKE_WINDOW (256u * 1024)
#define FAKE_CHUNK  (16u * 1024)

enum fake_mode {
    FAKE_HONEST,
    FAKE_MANUAL,  /* the test calls response, data, end itself */
    FAKE_SILENT,  /* never answers */
    FAKE_MISSING, /* has no NARs: 404 */
    FAKE_LYING,   /* one byte at `at` is wrong */
    FAKE_SHORT,   /* ends well, but at `at` */
    FAKE_LONG,    /* goes on after the end, without a length */
    FAKE_STALL,   /* silent from `at` on */
    FAKE_RESET,   /* breaks off at `at` */
    FAKE_LENGTH,  /* announces another length */
};

struct fake_path {
    char hash_part[PX_STORE_HASH_LEN + 1];
    struct px_buf narinfo;
    uint8_t *nar;
    size_t nar_size;
    uint8_t nar_hash[32];
};

struct px_cache_fetch {
    struct px_list link;
    struct fake_peer *peer;
    const struct px_h3_client_ops *ops;
    void *ctx;
    char path[PX_H3_PATH_MAX];
    const struct fake_path *found;
    bool is_nar, responded;
    uint64_t sent, credit;
};

struct fake_peer {
    struct px_cache_peer pub;
    enum fake_mode mode; /* for NARs; FAKE_MANUAL and FAKE_SILENT for narinfos, too */
    uint64_t at;
    struct fake_path *const *paths;
    size_t path_count;
    struct px_list fetches;
    unsigned gets, nar_gets, cancels;
    unsigned busy;     /* so many gets are PX_EAGAIN first */
    unsigned refusals; /* so many NARs are 503 first */
    uint64_t window;
    bool instant; /* answers from inside get */
};

static inline bool fake_step(struct px_cache_fetch *f);

static inline const struct fake_path *fake_find(const struct fake_peer *p, const char *path,
                                                bool *ret_nar)
{
    const char *hash = strstr(path, "?hash=");
    *ret_nar = hash != NULL;
    hash = hash != NULL ? hash + 6 : path + 1;
    for (size_t i = 0; i < p->path_count; i++)
        if (strncmp(hash, p->paths[i]->hash_part, PX_STORE_HASH_LEN) == 0)
            return p->paths[i];
    return NULL;
}

static inline int fake_get(struct px_cache_peer *pub, struct px_slice path, uint64_t range_first,
                           const struct px_h3_client_ops *ops, void *ctx,
                           struct px_cache_fetch **ret)
{
    struct fake_peer *p = PX_CONTAINER_OF(pub, struct fake_peer, pub);
    if (p->busy > 0) {
        p->busy--;
        return PX_EAGAIN;
    }
    struct px_cache_fetch *f = calloc(1, sizeof(*f));
    if (f == NULL || range_first != 0 || path.len >= sizeof(f->path))
        abort();
    f->peer = p;
    f->ops = ops;
    f->ctx = ctx;
    f->credit = p->window;
    memcpy(f->path, path.data, path.len);
    f->found = fake_find(p, f->path, &f->is_nar);
    p->gets++;
    p->nar_gets += f->is_nar;
    px_list_push_back(&p->fetches, &f->link);
    *ret = f;
    while (p->instant && p->fetches.prev == &f->link && fake_step(f))
        continue;
    return 0;
}

static inline void fake_consume(struct px_cache_peer *pub, struct px_cache_fetch *f, uint64_t n)
{
    (void)pub;
    f->credit += n;
}

static inline void fake_forget(struct px_cache_fetch *f)
{
    px_list_remove(&f->link);
    free(f);
}

static inline void fake_cancel(struct px_cache_peer *pub, struct px_cache_fetch *f)
{
    PX_CONTAINER_OF(pub, struct fake_peer, pub)->cancels++;
    fake_forget(f);
}

static const struct px_cache_peer_ops fake_ops = {fake_get, fake_consume, fake_cancel};

static inline void fake_init(struct fake_peer *p, uint8_t id, struct fake_path *const *paths,
                             size_t count)
{
    static const char *const names[] = {"ann", "bob", "cyd", "dan"};
    *p = (struct fake_peer){.paths = paths, .path_count = count, .window = FAKE_WINDOW};
    p->pub.ops = &fake_ops;
    p->pub.name = names[id % 4];
    memset(p->pub.id.key, id + 1, sizeof(p->pub.id.key));
    px_list_init(&p->fetches);
}

static inline struct px_cache_fetch *fake_first(struct fake_peer *p)
{
    if (px_list_empty(&p->fetches))
        abort();
    return PX_CONTAINER_OF(p->fetches.next, struct px_cache_fetch, link);
}

static inline void fake_respond(struct px_cache_fetch *f, unsigned status, uint64_t length)
{
    f->responded = true;
    f->ops->response(f->ctx, &(struct px_h3_response){.status = status, .content_length = length});
}

static inline void fake_data(struct px_cache_fetch *f, struct px_slice data)
{
    f->sent += data.len;
    f->ops->data(f->ctx, data);
}

/* The last word: f is gone. */
static inline void fake_end(struct px_cache_fetch *f, int err)
{
    const struct px_h3_client_ops *ops = f->ops;
    void *ctx = f->ctx;
    fake_forget(f);
    ops->end(ctx, err);
}

/* A whole answer at once. */
static inline void fake_answer(struct px_cache_fetch *f, unsigned status, struct px_slice body)
{
    fake_respond(f, status, body.len);
    if (body.len > 0)
        fake_data(f, body);
    fake_end(f, 0);
}

/* Ends all fetches, as when the link breaks. */
static inline void fake_break(struct fake_peer *p, int err)
{
    while (!px_list_empty(&p->fetches))
        fake_end(fake_first(p), err);
}

static inline bool fake_step_nar(struct px_cache_fetch *f)
{
    struct fake_peer *p = f->peer;
    const struct fake_path *path = f->found;
    uint8_t chunk[FAKE_CHUNK];
    uint64_t end = path->nar_size;
    if (!f->responded && p->refusals > 0) {
        p->refusals--;
        fake_answer(f, 503, px_slice(NULL, 0));
        return true;
    }
    if (!f->responded) {
        fake_respond(f, p->mode == FAKE_MISSING ? 404 : 200,
                     p->mode == FAKE_LENGTH                          ? end + 1
                     : p->mode == FAKE_LONG || p->mode == FAKE_SHORT ? PX_H3_NO_LENGTH
                                                                     : end);
        if (p->mode == FAKE_MISSING)
            fake_end(f, 0);
        return true;
    }
    if (p->mode == FAKE_SHORT || p->mode == FAKE_STALL || p->mode == FAKE_RESET)
        end = PX_MIN(end, p->at);
    if (p->mode == FAKE_LONG)
        end += 1000;
    if (f->sent < end) {
        size_t n = (size_t)PX_MIN(PX_MIN(end - f->sent, f->credit - f->sent), (uint64_t)FAKE_CHUNK);
        if (n == 0)
            return false;
        if (p->mode == FAKE_HONEST) {
            fake_data(f, px_slice(path->nar + f->sent, n));
            return true;
        }
        for (size_t i = 0; i < n; i++)
            chunk[i] = f->sent + i < path->nar_size ? path->nar[f->sent + i] : 0;
        if (p->mode == FAKE_LYING && p->at >= f->sent && p->at - f->sent < n)
            chunk[p->at - f->sent] ^= 1;
        fake_data(f, px_slice(chunk, n));
        return true;
    }
    if (p->mode == FAKE_STALL)
        return false;
    fake_end(f, p->mode == FAKE_RESET ? PX_ECLOSED : 0);
    return true;
}

/* One thing a fetch does by itself; false when it has nothing to do. */
static inline bool fake_step(struct px_cache_fetch *f)
{
    enum fake_mode mode = f->peer->mode;
    if (mode == FAKE_MANUAL || mode == FAKE_SILENT)
        return false;
    if (f->is_nar && f->found != NULL)
        return fake_step_nar(f);
    fake_answer(f, f->found != NULL ? 200 : 404,
                f->found != NULL ? px_buf_slice(&f->found->narinfo) : px_slice(NULL, 0));
    return true;
}

/* Lets every fetch do one thing; true if any did. */
static inline bool fake_pump(struct fake_peer *p)
{
    bool any = false;
    PX_LIST_EACH(it, &p->fetches)
        any = fake_step(PX_CONTAINER_OF(it, struct px_cache_fetch, link)) || any;
    return any;
}

/* A store path with `size` bytes of made-up NAR, signed by key (NULL: not at all). `tag` makes it
 * differ from others. */
static inline void fake_path_init(struct fake_path *p, uint8_t tag, size_t size,
                                  const struct px_nix_secret_key *key)
{
    struct px_buf text;
    struct px_path_info *info = px_path_info_new();
    memset(p, 0, sizeof(*p));
    memset(p->hash_part, '0', PX_STORE_HASH_LEN);
    p->hash_part[0] = "0123456789abcdfghijklmnpqrsvwxyz"[tag % 32];
    p->hash_part[1] = "0123456789abcdfghijklmnpqrsvwxyz"[tag / 32 % 32];
    p->nar = malloc(size);
    p->nar_size = size;
    if (info == NULL || p->nar == NULL)
        abort();
    for (size_t i = 0; i < size; i++)
        p->nar[i] = (uint8_t)(i * 31 + i / 251 + tag);
    px_sha256(px_slice(p->nar, size), p->nar_hash);

    px_buf_init(&text, 4096);
    (void)px_buf_printf(&text, "/nix/store/%s-thing", p->hash_part);
    if (px_path_info_set_str(info, &info->store_path, px_buf_slice(&text)) != 0)
        abort();
    memcpy(info->nar_hash, p->nar_hash, 32);
    info->nar_size = size;
    if (key != NULL) {
        struct px_buf sig;
        px_buf_init(&sig, 1024);
        px_buf_clear(&text);
        if (px_path_info_fingerprint(info, &text) != 0 ||
            px_nix_sign(key, px_buf_slice(&text), &sig) != 0 ||
            px_path_info_add_sig(info, px_buf_slice(&sig)) != 0)
            abort();
        px_buf_deinit(&sig);
    }
    px_buf_init(&p->narinfo, PX_NARINFO_MAX);
    if (px_path_info_set_str(info, &info->url, PX_SLICE_LIT("nar/x.nar")) != 0 ||
        px_path_info_set_str(info, &info->compression, PX_SLICE_LIT("none")) != 0 ||
        px_narinfo_format(info, &p->narinfo) != 0)
        abort();
    px_buf_deinit(&text);
    px_path_info_free(info);
}

static inline void fake_path_deinit(struct fake_path *p)
{
    px_buf_deinit(&p->narinfo);
    free(p->nar);
}

#endif
