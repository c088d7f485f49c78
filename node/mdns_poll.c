/* AvahiPoll on libuv: watches are uv_poll, timeouts uv_timer. Handles close after the turn in which
 * Avahi frees them, so both may be freed from within their own callbacks. */
#include "node/mdns_poll.h"

#include <avahi-common/timeval.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct AvahiWatch {
    uv_poll_t poll;
    int fd; /* our duplicate: libdbus watches one descriptor twice, libuv does not */
    AvahiWatchEvent happened;
    AvahiWatchCallback callback;
    void *userdata;
    bool freed;
};

struct AvahiTimeout {
    uv_timer_t timer;
    AvahiTimeoutCallback callback;
    void *userdata;
    bool freed;
};

static int to_uv(AvahiWatchEvent e)
{
    return ((e & AVAHI_WATCH_IN) != 0 ? UV_READABLE : 0) |
           ((e & AVAHI_WATCH_OUT) != 0 ? UV_WRITABLE : 0) |
           ((e & AVAHI_WATCH_HUP) != 0 ? UV_DISCONNECT : 0);
}

static unsigned from_uv(int status, int events)
{
    if (status < 0)
        return AVAHI_WATCH_ERR | AVAHI_WATCH_HUP;
    return ((events & UV_READABLE) != 0 ? (unsigned)AVAHI_WATCH_IN : 0u) |
           ((events & UV_WRITABLE) != 0 ? (unsigned)AVAHI_WATCH_OUT : 0u) |
           ((events & UV_DISCONNECT) != 0 ? (unsigned)AVAHI_WATCH_HUP : 0u);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    AvahiWatch *w = poll->data;
    if (w->freed)
        return;
    w->happened = (AvahiWatchEvent)from_uv(status, events);
    w->callback(w, w->fd, w->happened, w->userdata);
    w->happened = (AvahiWatchEvent)0;
}

static void watch_update(AvahiWatch *w, AvahiWatchEvent e)
{
    if (to_uv(e) == 0)
        (void)uv_poll_stop(&w->poll);
    else
        (void)uv_poll_start(&w->poll, to_uv(e), on_poll);
}

static AvahiWatch *watch_new(const AvahiPoll *api, int fd, AvahiWatchEvent e,
                             AvahiWatchCallback callback, void *userdata)
{
    AvahiWatch *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return NULL;
    w->callback = callback;
    w->userdata = userdata;
    w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (w->fd < 0 || uv_poll_init(api->userdata, &w->poll, w->fd) != 0) {
        if (w->fd >= 0)
            close(w->fd);
        free(w);
        return NULL;
    }
    w->poll.data = w;
    watch_update(w, e);
    return w;
}

static AvahiWatchEvent watch_get_events(AvahiWatch *w)
{
    return w->happened;
}

static void on_watch_closed(uv_handle_t *h)
{
    AvahiWatch *w = h->data;
    close(w->fd);
    free(w);
}

static void watch_free(AvahiWatch *w)
{
    w->freed = true;
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void on_timer(uv_timer_t *t)
{
    AvahiTimeout *timeout = t->data;
    if (!timeout->freed)
        timeout->callback(timeout, timeout->userdata);
}

/* `at` is a time of the wall clock, NULL: never. */
static void timeout_update(AvahiTimeout *t, const struct timeval *at)
{
    if (at == NULL) {
        (void)uv_timer_stop(&t->timer);
        return;
    }
    AvahiUsec age = avahi_age(at);
    uv_update_time(t->timer.loop);
    (void)uv_timer_start(&t->timer, on_timer, age >= 0 ? 0 : (uint64_t)(-age / 1000) + 1, 0);
}

static AvahiTimeout *timeout_new(const AvahiPoll *api, const struct timeval *at,
                                 AvahiTimeoutCallback callback, void *userdata)
{
    AvahiTimeout *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return NULL;
    t->callback = callback;
    t->userdata = userdata;
    (void)uv_timer_init(api->userdata, &t->timer); /* cannot fail */
    t->timer.data = t;
    timeout_update(t, at);
    return t;
}

static void on_timeout_closed(uv_handle_t *h)
{
    free(h->data);
}

static void timeout_free(AvahiTimeout *t)
{
    t->freed = true;
    uv_close((uv_handle_t *)&t->timer, on_timeout_closed);
}

void px_mdns_poll_init(AvahiPoll *ret, uv_loop_t *loop)
{
    *ret = (AvahiPoll){.userdata = loop,
                       .watch_new = watch_new,
                       .watch_update = watch_update,
                       .watch_get_events = watch_get_events,
                       .watch_free = watch_free,
                       .timeout_new = timeout_new,
                       .timeout_update = timeout_update,
                       .timeout_free = timeout_free};
}
