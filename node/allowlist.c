/* Watches the directory, since editors and our own tools replace the file by a rename. */
#include "node/allowlist.h"

#include <stdlib.h>
#include <string.h>

#include "auth/authorized_keys_io.h"

/* Editors write in several steps: wait until they are through. */
#define RELOAD_DELAY_MS 50

struct px_allowlist {
    char *path;
    char *dir;
    const char *base_name; /* within path */
    const struct px_log *log;
    void (*changed)(void *ctx);
    void *ctx;
    struct px_authorized_keys *keys;
    uv_fs_event_t watch;
    uv_timer_t settle;
    int open_handles;
};

static void report_bad_lines(const struct px_allowlist *a, const struct px_authorized_keys *keys)
{
    for (size_t i = 0; i < px_authorized_keys_error_count(keys); i++) {
        const struct px_auth_error *e = px_authorized_keys_error_at(keys, i);
        px_log_event(a->log, PX_LOG_WARN, "authorized_keys.bad_line", PX_F_STR("file", a->path),
                     PX_F_U64("line", e->line), PX_F_STR("why", e->message));
    }
}

static int load(struct px_allowlist *a)
{
    struct px_authorized_keys *keys;
    int err = px_authorized_keys_load(a->path, &keys);
    if (err != 0) {
        px_log_event(a->log, PX_LOG_ERROR, "authorized_keys.unreadable", PX_F_STR("file", a->path),
                     PX_F_ERR(err));
        return err;
    }
    report_bad_lines(a, keys);
    px_authorized_keys_free(a->keys);
    a->keys = keys;
    px_log_event(a->log, PX_LOG_INFO, "authorized_keys.loaded", PX_F_STR("file", a->path),
                 PX_F_U64("peers", px_authorized_keys_count(keys)),
                 PX_F_U64("bad_lines", px_authorized_keys_error_count(keys)));
    return 0;
}

int px_allowlist_reload(struct px_allowlist *a)
{
    int err = load(a);
    if (err == 0)
        a->changed(a->ctx);
    return err;
}

static void on_settled(uv_timer_t *t)
{
    struct px_allowlist *a = t->data;
    if (px_allowlist_reload(a) != 0)
        return; /* it has been logged */
}

static void on_event(uv_fs_event_t *w, const char *file, int events, int status)
{
    struct px_allowlist *a = w->data;
    (void)events;
    if (status == 0 && file != NULL && strcmp(file, a->base_name) != 0)
        return;
    (void)uv_timer_start(&a->settle, on_settled, RELOAD_DELAY_MS, 0);
}

static void free_now(struct px_allowlist *a)
{
    px_authorized_keys_free(a->keys);
    free(a->path);
    free(a->dir);
    free(a);
}

static void on_closed(uv_handle_t *h)
{
    struct px_allowlist *a = h->data;
    if (--a->open_handles == 0)
        free_now(a);
}

static int set_paths(struct px_allowlist *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    a->path = strdup(path);
    a->dir = slash == NULL   ? strdup(".")
             : slash == path ? strdup("/")
                             : strndup(path, (size_t)(slash - path));
    if (a->path == NULL || a->dir == NULL)
        return PX_ENOMEM;
    a->base_name = slash == NULL ? a->path : a->path + (slash - path) + 1;
    return 0;
}

static int start_watch(struct px_allowlist *a, uv_loop_t *loop)
{
    if (uv_fs_event_init(loop, &a->watch) != 0)
        return PX_EIO;
    a->watch.data = a;
    a->open_handles++;
    if (uv_timer_init(loop, &a->settle) != 0)
        return PX_EIO;
    a->settle.data = a;
    a->open_handles++;
    if (uv_fs_event_start(&a->watch, on_event, a->dir, 0) != 0) {
        /* no directory yet, or no inotify watches left: the list stays as loaded */
        px_log_event(a->log, PX_LOG_WARN, "authorized_keys.not_watched",
                     PX_F_STR("directory", a->dir));
    }
    return 0;
}

int px_allowlist_new(uv_loop_t *loop, const char *path, const struct px_log *log,
                     void (*changed)(void *ctx), void *ctx, struct px_allowlist **ret)
{
    struct px_allowlist *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return PX_ENOMEM;
    a->log = log;
    a->changed = changed;
    a->ctx = ctx;
    int err = set_paths(a, path);
    if (err == 0)
        err = load(a);
    if (err == 0)
        err = start_watch(a, loop);
    if (err != 0) {
        px_allowlist_close(a);
        return err;
    }
    *ret = a;
    return 0;
}

void px_allowlist_close(struct px_allowlist *a)
{
    if (a == NULL)
        return;
    if (a->open_handles == 0) {
        free_now(a);
        return;
    }
    if (a->open_handles > 1)
        uv_close((uv_handle_t *)&a->settle, on_closed);
    uv_close((uv_handle_t *)&a->watch, on_closed);
}

const struct px_authorized_keys *px_allowlist_keys(const struct px_allowlist *a)
{
    return a->keys;
}

uint32_t px_allowlist_grants(void *allowlist, const struct px_peer_id *id)
{
    const struct px_allowlist *a = allowlist;
    const struct px_authorized_key *k = px_authorized_keys_find(a->keys, id);
    return k != NULL ? k->grants : 0;
}
