/* See file_watch.h. */
#include "node/file_watch.h"

#include <stdlib.h>
#include <string.h>

/* Editors write in several steps: wait until they are through. */
#define SETTLE_MS 50

struct px_file_watch {
    uv_fs_event_t watch;
    uv_timer_t settle;
    char *dir, *base_name;
    void (*changed)(void *ctx); /* NULL once closed */
    void *ctx;
    int open_handles;
};

static void on_settled(uv_timer_t *t)
{
    struct px_file_watch *w = t->data;
    if (w->changed != NULL)
        w->changed(w->ctx);
}

static void on_event(uv_fs_event_t *e, const char *file, int events, int status)
{
    struct px_file_watch *w = e->data;
    (void)events;
    if (status == 0 && file != NULL && strcmp(file, w->base_name) != 0)
        return;
    (void)uv_timer_start(&w->settle, on_settled, SETTLE_MS, 0);
}

static void free_now(struct px_file_watch *w)
{
    free(w->dir);
    free(w->base_name);
    free(w);
}

static void on_closed(uv_handle_t *h)
{
    struct px_file_watch *w = h->data;
    if (--w->open_handles == 0)
        free_now(w);
}

static int set_paths(struct px_file_watch *w, const char *path)
{
    const char *slash = strrchr(path, '/');
    w->dir = slash == NULL   ? strdup(".")
             : slash == path ? strdup("/")
                             : strndup(path, (size_t)(slash - path));
    w->base_name = strdup(slash == NULL ? path : slash + 1);
    return w->dir != NULL && w->base_name != NULL ? 0 : PX_ENOMEM;
}

int px_file_watch_new(uv_loop_t *loop, const char *path, const struct px_log *log,
                      void (*changed)(void *ctx), void *ctx, struct px_file_watch **ret)
{
    struct px_file_watch *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return PX_ENOMEM;
    w->changed = changed;
    w->ctx = ctx;
    int err = set_paths(w, path);
    if (err == 0 && uv_fs_event_init(loop, &w->watch) != 0)
        err = PX_EIO;
    if (err != 0) {
        free_now(w);
        return err;
    }
    (void)uv_timer_init(loop, &w->settle); /* cannot fail */
    w->watch.data = w->settle.data = w;
    w->open_handles = 2;
    if (uv_fs_event_start(&w->watch, on_event, w->dir, 0) != 0)
        px_log_event(log, PX_LOG_WARN, "file.not_watched", PX_F_STR("file", path));
    *ret = w;
    return 0;
}

void px_file_watch_close(struct px_file_watch *w)
{
    if (w == NULL || w->changed == NULL)
        return;
    w->changed = NULL;
    uv_close((uv_handle_t *)&w->watch, on_closed);
    uv_close((uv_handle_t *)&w->settle, on_closed);
}
