/* See tls_pipes_io.h. */
#include "transport/tls_pipes_io.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/crypto.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "transport/sockaddr.h"

#define BACKLOG  128
#define PAUSE_MS 200 /* of accepting when there are no descriptors left */

struct px_tls_pipes {
    uv_loop_t *loop;
    struct px_overlay_io *overlay;
    const struct px_log *log;
    struct px_map by_number;
    struct px_list proved, unproved; /* the latter that others opened, oldest first */
    struct px_list dialled;          /* by us, and not proved */
    struct px_list pending;          /* to be flushed */
    uint64_t last_number;
    size_t memory_max, memory; /* memory: of all queues, or more than that */
    struct px_tls_pipes_numbers numbers;
    uv_idle_t flush; /* active while any is pending */
    struct px_tls_pipe_tls *client_tls, *server_tls;
    int listen_fd; /* -1: none */
    struct px_addr local;
    struct px_tls_pipes_door door;
    void *door_ctx;
    uv_poll_t listen;
    uv_timer_t pause;
    unsigned handles; /* not yet closed */
};

struct pipe {
    struct px_tls_pipes *set;
    struct px_map_node by_number;
    struct px_list node, pending;
    uint64_t number;
    struct px_addr addr, peer;
    struct px_tls_pipe_io *io;
    bool ours, was_proved;
    unsigned links;                     /* authenticated ones on it */
    size_t memory;                      /* as far as it is counted in the set's */
    const struct px_tls_pipes_ops *ops; /* of those we opened */
    void *ctx;
};

static struct pipe *from_node(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct pipe, node);
}

static struct pipe *find(const struct px_tls_pipes *set, const struct px_addr *addr)
{
    uint64_t number = px_addr_pipe_number(addr);
    struct px_map_node *n =
        number == 0 ? NULL : px_map_find(&set->by_number, px_slice(&number, sizeof(number)));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct pipe, by_number);
}

/* ---- their lives ---- */

static struct pipe *pipe_new(struct px_tls_pipes *set, const struct px_addr *peer)
{
    struct pipe *p = set->by_number.count >= PX_TLS_PIPES_MAX ? NULL : calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    p->set = set;
    p->peer = *peer;
    p->number = ++set->last_number;
    px_addr_pipe(p->number, &p->addr);
    px_map_insert(&set->by_number, &p->by_number, px_slice(&p->number, sizeof(p->number)));
    px_list_init(&p->node);
    px_list_init(&p->pending);
    return p;
}

static void forget(struct pipe *p)
{
    px_map_remove(&p->set->by_number, &p->by_number);
    px_list_remove(&p->node);
    px_list_remove(&p->pending);
    free(p);
}

static void count_memory(struct pipe *p, size_t memory)
{
    p->set->memory += memory - p->memory;
    p->memory = memory;
}

static void note_end(struct pipe *p, int err)
{
    count_memory(p, 0);
    char peer[PX_ADDR_TEXT_MAX], addr[PX_ADDR_TEXT_MAX];
    const struct px_tls_pipe_stats *s = px_tls_pipe_io_stats(p->io);
    p->set->numbers.dropped += s->dropped;
    if (!p->ours && !p->was_proved && p->set->door.left != NULL)
        p->set->door.left(p->set->door_ctx, &p->peer);
    px_log_event(
        p->set->log, PX_LOG_DEBUG, "pipe.closed", PX_F_STR("pipe", px_addr_format(&p->addr, addr)),
        PX_F_STR("peer", px_addr_format(&p->peer, peer)), PX_F_ERR(err), PX_F_U64("sent", s->sent),
        PX_F_U64("received", s->received), PX_F_U64("dropped", s->dropped));
}

static void hang_up(struct pipe *p, int err)
{
    note_end(p, err);
    px_tls_pipe_io_close(p->io);
    forget(p);
}

static void on_open(void *ctx)
{
    struct pipe *p = ctx;
    char peer[PX_ADDR_TEXT_MAX], addr[PX_ADDR_TEXT_MAX];
    px_log_event(p->set->log, PX_LOG_DEBUG, "pipe.open",
                 PX_F_STR("pipe", px_addr_format(&p->addr, addr)),
                 PX_F_STR("peer", px_addr_format(&p->peer, peer)));
    if (p->ops != NULL)
        p->ops->open(p->ctx);
}

static void on_closed(void *ctx, int err)
{
    struct pipe *p = ctx;
    const struct px_tls_pipes_ops *ops = p->ops;
    void *ops_ctx = p->ctx;
    note_end(p, err);
    forget(p);
    if (ops != NULL)
        ops->closed(ops_ctx, err);
}

/* ---- datagrams ---- */

static void on_datagram(void *ctx, uint8_t *data, size_t len)
{
    const struct pipe *p = ctx;
    px_overlay_io_received(p->set->overlay, &p->addr, data, len);
}

static void on_batch_end(void *ctx)
{
    px_overlay_io_received_all(((const struct pipe *)ctx)->set->overlay);
}

/* Not sent at once: what one turn of the loop has to say goes into few records. */
static void on_flush(uv_idle_t *idle)
{
    struct px_tls_pipes *set = idle->data;
    (void)uv_idle_stop(idle);
    while (!px_list_empty(&set->pending)) {
        struct pipe *p = PX_CONTAINER_OF(set->pending.next, struct pipe, pending);
        px_list_remove(&p->pending);
        px_tls_pipe_io_flush(p->io); /* p may be gone */
    }
}

static void on_pending(void *ctx)
{
    struct pipe *p = ctx;
    if (px_list_empty(&p->pending))
        px_list_push_back(&p->set->pending, &p->pending);
    (void)uv_idle_start(&p->set->flush, on_flush);
}

static const struct px_tls_pipe_io_ops pipe_ops = {.open = on_open,
                                                   .datagram = on_datagram,
                                                   .batch_end = on_batch_end,
                                                   .closed = on_closed,
                                                   .pending = on_pending};

/* Counts anew, without what empty queues still hold; returns the fullest. */
static struct pipe *count_all(struct px_tls_pipes *set)
{
    struct px_list *lists[] = {&set->proved, &set->unproved, &set->dialled};
    struct pipe *fullest = NULL;
    for (size_t i = 0; i < PX_ARRAY_LEN(lists); i++)
        PX_LIST_EACH(it, lists[i]) {
            struct pipe *p = from_node(it);
            if (px_tls_pipe_io_is_empty(p->io))
                px_tls_pipe_io_shrink(p->io);
            count_memory(p, px_tls_pipe_io_memory(p->io));
            if (fullest == NULL || p->memory > fullest->memory)
                fullest = p;
        }
    return fullest;
}

/* SPEC relay-tls §5: all queues together */
static void make_room(struct px_tls_pipes *set)
{
    while (set->memory > set->memory_max) {
        struct pipe *fullest = count_all(set);
        if (set->memory <= set->memory_max || fullest == NULL)
            return;
        size_t before = fullest->memory;
        px_tls_pipe_io_shrink(fullest->io);
        count_memory(fullest, px_tls_pipe_io_memory(fullest->io));
        if (fullest->memory >= before) /* out of memory for a smaller one */
            return;
    }
}

/* Fits px_overlay_io_set_pipes. A queue that is full drops; TCP has no ECN to pass on. */
static int on_send(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                   size_t segment)
{
    struct pipe *p = find(ctx, &path->remote);
    (void)ecn;
    if (p == NULL)
        return 0;
    px_tls_pipe_io_send(p->io, data, segment);
    count_memory(p, px_tls_pipe_io_memory(p->io));
    make_room(p->set);
    return 0;
}

/* ---- those that others open ---- */

/* SPEC relay-tls §5: an IPv4 address, an IPv6 /56 */
static bool same_source(const struct px_addr *a, const struct px_addr *b)
{
    size_t len = a->family == PX_ADDR_IP4 ? 4 : 7;
    return a->family == b->family && memcmp(a->ip, b->ip, len) == 0;
}

static size_t count_unproved(const struct px_tls_pipes *set, const struct px_addr *source,
                             size_t *ret_all)
{
    size_t same = 0, all = 0;
    PX_LIST_EACH(it, &set->unproved) {
        same += same_source(&from_node(it)->peer, source);
        all++;
    }
    *ret_all = all;
    return same;
}

static void take_in(struct px_tls_pipes *set, int fd, const struct px_addr *peer)
{
    size_t all;
    struct pipe *p = NULL;
    bool admitted = set->door.admits == NULL || set->door.admits(set->door_ctx, peer);
    if (admitted && count_unproved(set, peer, &all) < PX_TLS_PIPES_UNPROVED_PER_SOURCE) {
        if (all >= PX_TLS_PIPES_UNPROVED)
            hang_up(from_node(set->unproved.next), PX_EBUSY);
        p = pipe_new(set, peer);
    }
    if (p == NULL) {
        set->numbers.refused++;
        close(fd);
        return;
    }
    set->numbers.accepted++;
    if (px_tls_pipe_io_accept(set->loop, fd, set->server_tls, &pipe_ops, p, &p->io) != 0)
        forget(p);
    else
        px_list_push_back(&set->unproved, &p->node);
}

static void on_listen(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *t)
{
    struct px_tls_pipes *set = t->data;
    (void)uv_poll_start(&set->listen, UV_READABLE, on_listen);
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
    struct px_tls_pipes *set = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < PX_TLS_PIPES_ACCEPTS; i++) {
        union px_sockaddr sa;
        socklen_t len = sizeof(sa);
        struct px_addr peer;
        int fd = accept4(set->listen_fd, &sa.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            px_sockaddr_to_addr(&sa.sa, &peer);
            take_in(set, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            (void)uv_poll_stop(&set->listen); /* it would be told again and again */
            (void)uv_timer_start(&set->pause, on_pause_over, PAUSE_MS, 0);
            return;
        } else {
            return; /* no more, or one that has gone again */
        }
    }
}

static int listen_on(const struct px_addr *addr, struct px_addr *ret_local, int *ret_fd)
{
    static const int yes = 1;
    union px_sockaddr sa;
    socklen_t len = px_sockaddr_from_addr(addr, &sa);
    if (len == 0)
        return PX_EADDR;
    int fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return px_err_from_errno(errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (addr->family == PX_ADDR_IP6) {
        const int only = px_addr_is_wildcard(addr) ? 0 : 1;
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    }
    if (bind(fd, &sa.sa, len) < 0 || listen(fd, BACKLOG) < 0 || getsockname(fd, &sa.sa, &len) < 0) {
        int err = px_err_from_errno(errno);
        close(fd);
        return err;
    }
    px_sockaddr_to_addr(&sa.sa, ret_local);
    *ret_fd = fd;
    return 0;
}

/* The IPv6 wildcard means "everything there is", also on a kernel without IPv6. */
static int listen_on_any(const struct px_addr *addr, struct px_addr *ret_local, int *ret_fd)
{
    const struct px_addr any4 = {.family = PX_ADDR_IP4, .port = addr->port};
    int err = listen_on(addr, ret_local, ret_fd);
    bool without = err == PX_EADDR && addr->family == PX_ADDR_IP6 && px_addr_is_wildcard(addr);
    return without ? listen_on(&any4, ret_local, ret_fd) : err;
}

int px_tls_pipes_listen(struct px_tls_pipes *set, const struct px_addr *addr,
                        const struct px_tls_pipes_door *door, void *ctx)
{
    px_assert(set->listen_fd < 0);
    if (door != NULL)
        set->door = *door;
    set->door_ctx = ctx;
    int err = px_tls_pipe_tls_new(true, &set->server_tls);
    if (err == 0)
        err = listen_on_any(addr, &set->local, &set->listen_fd);
    if (err != 0)
        return err;
    if (uv_poll_init(set->loop, &set->listen, set->listen_fd) != 0) {
        close(set->listen_fd);
        set->listen_fd = -1;
        return PX_EIO;
    }
    set->listen.data = set;
    set->handles++;
    (void)uv_poll_start(&set->listen, UV_READABLE, on_listen);
    return 0;
}

const struct px_addr *px_tls_pipes_local(const struct px_tls_pipes *set)
{
    return set->listen_fd >= 0 ? &set->local : NULL;
}

/* ---- those that we open ---- */

int px_tls_pipes_dial(struct px_tls_pipes *set, const struct px_addr *to, const char *name,
                      const struct px_tls_pipes_ops *ops, void *ctx, struct px_addr *ret)
{
    int err = set->client_tls != NULL ? 0 : px_tls_pipe_tls_new(false, &set->client_tls);
    if (err != 0)
        return err;
    struct pipe *p = pipe_new(set, to);
    if (p == NULL)
        return set->by_number.count >= PX_TLS_PIPES_MAX ? PX_ELIMIT : PX_ENOMEM;
    p->ours = true;
    p->ops = ops;
    p->ctx = ctx;
    err = px_tls_pipe_io_connect(set->loop, to, name, set->client_tls, &pipe_ops, p, &p->io);
    if (err != 0) {
        forget(p);
        return err;
    }
    px_list_push_back(&set->dialled, &p->node);
    *ret = p->addr;
    return 0;
}

void px_tls_pipes_hang_up(struct px_tls_pipes *set, const struct px_addr *pipe)
{
    struct pipe *p = find(set, pipe);
    if (p != NULL)
        hang_up(p, 0);
}

/* ---- what is known of them ---- */

void px_tls_pipes_set_proved(struct px_tls_pipes *set, const struct px_addr *pipe, bool proved)
{
    struct pipe *p = find(set, pipe);
    if (p == NULL)
        return;
    px_assert(proved || p->links > 0);
    if (proved)
        p->links++;
    else
        p->links--;
    if (p->links != (proved ? 1 : 0)) /* another one is on it */
        return;
    p->was_proved = true;
    px_tls_pipe_io_set_proved(p->io, proved);
    px_list_remove(&p->node);
    px_list_push_back(proved ? &set->proved : p->ours ? &set->dialled : &set->unproved, &p->node);
}

bool px_tls_pipes_peer(const struct px_tls_pipes *set, const struct px_addr *pipe,
                       struct px_addr *ret)
{
    const struct pipe *p = find(set, pipe);
    if (p != NULL)
        *ret = p->peer;
    return p != NULL;
}

static uint64_t dropped_of(const struct px_list *list)
{
    uint64_t n = 0;
    PX_LIST_EACH(it, list)
        n += px_tls_pipe_io_stats(from_node(it)->io)->dropped;
    return n;
}

void px_tls_pipes_numbers(const struct px_tls_pipes *set, struct px_tls_pipes_numbers *ret)
{
    static const struct px_addr nobody;
    *ret = set->numbers;
    ret->open = set->by_number.count;
    ret->memory = set->memory;
    (void)count_unproved(set, &nobody, &ret->unproved);
    ret->dropped += dropped_of(&set->proved) + dropped_of(&set->unproved);
}

/* ---- the set ---- */

int px_tls_pipes_new(uv_loop_t *loop, struct px_overlay_io *overlay, const struct px_log *log,
                     struct px_tls_pipes **ret)
{
    struct px_tls_pipes *set = calloc(1, sizeof(*set));
    if (set == NULL || px_map_init(&set->by_number, &px_system_rng) != 0) {
        free(set);
        return PX_ENOMEM;
    }
    set->loop = loop;
    set->overlay = overlay;
    set->log = log;
    set->listen_fd = -1;
    set->memory_max = PX_TLS_PIPES_MEMORY;
    px_list_init(&set->proved);
    px_list_init(&set->unproved);
    px_list_init(&set->dialled);
    px_list_init(&set->pending);
    (void)uv_idle_init(loop, &set->flush); /* these cannot fail */
    (void)uv_timer_init(loop, &set->pause);
    set->flush.data = set->pause.data = set;
    set->handles = 2;
    px_overlay_io_set_pipes(overlay, on_send, set);
    *ret = set;
    return 0;
}

void px_tls_pipes_limit_memory(struct px_tls_pipes *set, size_t bytes)
{
    set->memory_max = bytes;
    make_room(set);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct px_tls_pipes *set = h->data;
    if (--set->handles == 0)
        free(set);
}

static void hang_up_all(struct px_list *list)
{
    while (!px_list_empty(list))
        hang_up(from_node(list->next), 0);
}

void px_tls_pipes_close(struct px_tls_pipes *set)
{
    if (set == NULL)
        return;
    hang_up_all(&set->proved);
    hang_up_all(&set->unproved);
    hang_up_all(&set->dialled);
    px_tls_pipe_tls_free(set->client_tls);
    px_tls_pipe_tls_free(set->server_tls);
    px_map_deinit(&set->by_number);
    if (set->listen_fd >= 0) {
        uv_close((uv_handle_t *)&set->listen, on_handle_closed);
        close(set->listen_fd);
    }
    uv_close((uv_handle_t *)&set->flush, on_handle_closed);
    uv_close((uv_handle_t *)&set->pause, on_handle_closed);
}
