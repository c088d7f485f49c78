/* The Avahi thread: a loop of its own, a client that is made anew whenever it fails, one entry
 * group for each instance (the daemon limits records in a group), one browser, a bounded number of
 * resolvers. */
#include "node/mdns_worker.h"

#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <pthread.h>
#include <stdlib.h>

#include "node/mdns_poll.h"
#include "node/mdns_txt.h"

#define RETRY_NO_BUS_MS 30000
#define RETRY_FAILED_MS 1000
#define PATIENCE_MS     1000 /* with a thread that waits for a daemon that does not answer */
#define THREAD_STACK    (256u * 1024)

struct px_mdns_worker {
    /* of the node's loop */
    const struct px_mdns_worker_ops *ops;
    void *ctx;
    uv_async_t to_node;
    uv_timer_t patience;
    int open_handles;
    uv_thread_t thread;
    void (*closed)(void *ctx);
    void *closed_ctx;
    enum px_mdns_status told;

    /* crosses over, under the mutex */
    uv_mutex_t mutex;
    struct px_mdns_instances *wanted; /* what to publish; taken by the thread */
    bool wanted_changed, browse_again, stop, ended;
    bool abandoned; /* the node is gone, to_node with it */
    int owners;     /* the node and the thread; the last one frees */
    enum px_mdns_status status;
    struct px_mdns_seen seen[PX_MDNS_SEEN_MAX];
    size_t seen_count;
    uint64_t dropped;

    /* of the thread */
    uv_loop_t loop;
    uv_async_t to_thread;
    uv_timer_t retry;
    AvahiPoll poll;
    AvahiClient *client;
    AvahiServiceBrowser *browser;
    AvahiEntryGroup *groups[PX_MDNS_INSTANCES_MAX];
    struct px_mdns_instances *published;
    unsigned resolvers;
    bool client_failed;
};

/* ---- the thread: towards the node ---- */

/* With the mutex held. */
static void wake_node(struct px_mdns_worker *w)
{
    if (!w->abandoned)
        (void)uv_async_send(&w->to_node);
}

static void tell_status(struct px_mdns_worker *w, enum px_mdns_status status)
{
    uv_mutex_lock(&w->mutex);
    w->status = status;
    wake_node(w);
    uv_mutex_unlock(&w->mutex);
}

static void tell_seen(struct px_mdns_worker *w, const struct px_addr *addr, AvahiStringList *txt)
{
    struct px_mdns_seen s = {.addr = *addr};
    if (px_mdns_txt_read(txt, s.packet, &s.len) != 0)
        return;
    uv_mutex_lock(&w->mutex);
    if (w->seen_count < PX_MDNS_SEEN_MAX)
        w->seen[w->seen_count++] = s;
    else
        w->dropped++;
    wake_node(w);
    uv_mutex_unlock(&w->mutex);
}

static void count_dropped(struct px_mdns_worker *w)
{
    uv_mutex_lock(&w->mutex);
    w->dropped++;
    uv_mutex_unlock(&w->mutex);
}

/* ---- the thread: looking ---- */

static void to_addr(const AvahiAddress *from, AvahiIfIndex ifindex, struct px_addr *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (from->proto == AVAHI_PROTO_INET) {
        ret->family = PX_ADDR_IP4;
        memcpy(ret->ip, &from->data.ipv4.address, 4);
        return;
    }
    ret->family = PX_ADDR_IP6;
    memcpy(ret->ip, from->data.ipv6.address, 16);
    px_addr_unmap(ret);
    if (ret->family == PX_ADDR_IP6 && px_addr_is_link_local(ret) && ifindex > 0)
        ret->scope = (uint32_t)ifindex;
}

static void on_resolved(AvahiServiceResolver *r, AvahiIfIndex ifindex, AvahiProtocol protocol,
                        AvahiResolverEvent event, const char *name, const char *type,
                        const char *domain, const char *host, const AvahiAddress *a, uint16_t port,
                        AvahiStringList *txt, AvahiLookupResultFlags flags, void *userdata)
{
    struct px_mdns_worker *w = userdata;
    struct px_addr addr;
    (void)protocol, (void)name, (void)type, (void)domain, (void)host, (void)port, (void)flags;
    if (event == AVAHI_RESOLVER_FOUND && a != NULL) {
        to_addr(a, ifindex, &addr);
        tell_seen(w, &addr, txt);
    }
    w->resolvers--;
    avahi_service_resolver_free(r); /* Avahi allows it here */
}

static bool is_ours(const struct px_mdns_worker *w, const char *name)
{
    for (size_t i = 0; w->published != NULL && i < w->published->count; i++)
        if (strcmp(w->published->all[i].name, name) == 0)
            return true;
    return false;
}

static void on_browsed(AvahiServiceBrowser *b, AvahiIfIndex ifindex, AvahiProtocol protocol,
                       AvahiBrowserEvent event, const char *name, const char *type,
                       const char *domain, AvahiLookupResultFlags flags, void *userdata)
{
    struct px_mdns_worker *w = userdata;
    (void)b, (void)flags;
    if (event != AVAHI_BROWSER_NEW || is_ours(w, name))
        return; /* a failed browser ends with its client */
    if (w->resolvers == PX_MDNS_RESOLVERS_MAX) {
        count_dropped(w);
        return;
    }
    if (avahi_service_resolver_new(w->client, ifindex, protocol, name, type, domain, protocol,
                                   (AvahiLookupFlags)0, on_resolved, w) != NULL)
        w->resolvers++;
}

static void browse(struct px_mdns_worker *w)
{
    if (w->browser != NULL)
        avahi_service_browser_free(w->browser);
    w->browser = avahi_service_browser_new(w->client, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC,
                                           PX_MDNS_TYPE, NULL, (AvahiLookupFlags)0, on_browsed, w);
}

/* ---- the thread: publishing ---- */

static void on_group(AvahiEntryGroup *g, AvahiEntryGroupState state, void *userdata)
{
    (void)g, (void)state, (void)userdata; /* names are random: there is no collision to mend */
}

static void withdraw(struct px_mdns_worker *w)
{
    for (size_t i = 0; i < PX_MDNS_INSTANCES_MAX; i++) {
        if (w->groups[i] != NULL)
            (void)avahi_entry_group_free(w->groups[i]);
        w->groups[i] = NULL;
    }
}

static void to_avahi(const struct px_addr *a, AvahiAddress *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->proto = a->family == PX_ADDR_IP4 ? AVAHI_PROTO_INET : AVAHI_PROTO_INET6;
    if (a->family == PX_ADDR_IP4)
        memcpy(&ret->data.ipv4.address, a->ip, 4);
    else
        memcpy(ret->data.ipv6.address, a->ip, 16);
}

/* SPEC lan §4.2: For each source address one instance, registered on that address's interface and
 * protocol only */
static AvahiEntryGroup *publish_one(struct px_mdns_worker *w, const struct px_mdns_instance *i)
{
    AvahiEntryGroup *g = avahi_entry_group_new(w->client, on_group, w);
    AvahiStringList *txt = px_mdns_txt_write(px_slice(i->packet, i->len));
    AvahiAddress a;
    to_avahi(&i->addr, &a);
    bool ok = g != NULL && txt != NULL &&
              avahi_entry_group_add_address(g, (AvahiIfIndex)i->ifindex, a.proto,
                                            AVAHI_PUBLISH_NO_REVERSE, i->host, &a) >= 0 &&
              avahi_entry_group_add_service_strlst(g, (AvahiIfIndex)i->ifindex, a.proto,
                                                   (AvahiPublishFlags)0, i->name, PX_MDNS_TYPE,
                                                   NULL, i->host, i->port, txt) >= 0 &&
              avahi_entry_group_commit(g) >= 0;
    avahi_string_list_free(txt);
    if (ok)
        return g;
    if (g != NULL)
        (void)avahi_entry_group_free(g);
    return NULL;
}

static void publish(struct px_mdns_worker *w)
{
    withdraw(w);
    for (size_t i = 0;
         w->published != NULL && i < PX_MIN(w->published->count, PX_ARRAY_LEN(w->groups)); i++)
        w->groups[i] = publish_one(w, &w->published->all[i]);
}

/* ---- the thread: the client and its daemon ---- */

static void on_retry(uv_timer_t *t);

static void on_client(AvahiClient *c, AvahiClientState state, void *userdata)
{
    struct px_mdns_worker *w = userdata;
    w->client = c; /* called before avahi_client_new returns, too */
    switch (state) {
    case AVAHI_CLIENT_S_RUNNING:
        tell_status(w, PX_MDNS_RUNNING);
        publish(w);
        if (w->browser == NULL)
            browse(w);
        break;
    case AVAHI_CLIENT_S_REGISTERING:
    case AVAHI_CLIENT_S_COLLISION: /* the machine's own name; then it runs again */
        withdraw(w);
        break;
    case AVAHI_CLIENT_CONNECTING:
        tell_status(w, PX_MDNS_NO_DAEMON);
        break;
    case AVAHI_CLIENT_FAILURE: /* the daemon went, or the bus */
        tell_status(w, PX_MDNS_NO_DAEMON);
        w->client_failed = true;
        (void)uv_timer_start(&w->retry, on_retry, RETRY_FAILED_MS, 0);
        break;
    }
}

static void drop_client(struct px_mdns_worker *w)
{
    if (w->client != NULL)
        avahi_client_free(w->client); /* with its groups, browsers and resolvers */
    w->client = NULL;
    w->browser = NULL;
    memset(w->groups, 0, sizeof(w->groups));
    w->resolvers = 0;
    w->client_failed = false;
}

static void connect_client(struct px_mdns_worker *w)
{
    int error = 0;
    drop_client(w);
    AvahiClient *c = avahi_client_new(&w->poll, AVAHI_CLIENT_NO_FAIL, on_client, w, &error);
    if (c != NULL && !w->client_failed)
        return;
    if (c == NULL) {
        w->client = NULL; /* freed by Avahi, whatever the callback said */
        tell_status(w, PX_MDNS_NO_BUS);
    }
    (void)uv_timer_start(&w->retry, on_retry, c == NULL ? RETRY_NO_BUS_MS : RETRY_FAILED_MS, 0);
}

static void on_retry(uv_timer_t *t)
{
    connect_client(t->data);
}

static bool is_running(const struct px_mdns_worker *w)
{
    return w->client != NULL && !w->client_failed &&
           avahi_client_get_state(w->client) == AVAHI_CLIENT_S_RUNNING;
}

static void end_thread(struct px_mdns_worker *w)
{
    drop_client(w);
    uv_close((uv_handle_t *)&w->retry, NULL);
    uv_close((uv_handle_t *)&w->to_thread, NULL);
}

static void on_order(uv_async_t *a)
{
    struct px_mdns_worker *w = a->data;
    uv_mutex_lock(&w->mutex);
    bool stop = w->stop, changed = w->wanted_changed, again = w->browse_again;
    w->wanted_changed = w->browse_again = false;
    if (changed) {
        free(w->published);
        w->published = w->wanted;
        w->wanted = NULL;
    }
    uv_mutex_unlock(&w->mutex);
    if (stop) {
        end_thread(w);
        return;
    }
    if (changed && is_running(w))
        publish(w);
    if (again && is_running(w))
        browse(w);
}

/* One owner less, with the mutex held, which is let go. */
static void drop_owner(struct px_mdns_worker *w)
{
    bool last = --w->owners == 0;
    uv_mutex_unlock(&w->mutex);
    if (!last)
        return;
    uv_mutex_destroy(&w->mutex);
    free(w->wanted);
    free(w->published);
    free(w);
}

static void run_thread(void *arg)
{
    struct px_mdns_worker *w = arg;
    connect_client(w);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    px_assert(uv_loop_close(&w->loop) == 0); /* every handle was closed by its owner */
    uv_mutex_lock(&w->mutex);
    w->ended = true;
    wake_node(w);
    drop_owner(w);
}

/* ---- the node's side ---- */

static void on_handle_closed(uv_handle_t *h)
{
    struct px_mdns_worker *w = h->data;
    if (--w->open_handles > 0)
        return;
    void (*closed)(void *ctx) = w->closed;
    void *ctx = w->closed_ctx;
    uv_mutex_lock(&w->mutex);
    drop_owner(w);
    if (closed != NULL)
        closed(ctx);
}

static void close_handles(struct px_mdns_worker *w)
{
    uv_close((uv_handle_t *)&w->to_node, on_handle_closed);
    uv_close((uv_handle_t *)&w->patience, on_handle_closed);
}

static void on_patience_over(uv_timer_t *t)
{
    struct px_mdns_worker *w = t->data;
    uv_mutex_lock(&w->mutex);
    bool ended = w->ended;
    w->abandoned = !ended;
    uv_mutex_unlock(&w->mutex);
    if (ended)
        return;                      /* on_news is on its way */
    (void)pthread_detach(w->thread); /* it frees itself when the call it is in returns */
    close_handles(w);
}

static void on_news(uv_async_t *a)
{
    struct px_mdns_worker *w = a->data;
    struct px_mdns_seen s;
    uv_mutex_lock(&w->mutex);
    bool ended = w->ended, stop = w->stop;
    enum px_mdns_status status = w->status;
    uv_mutex_unlock(&w->mutex);
    if (ended) {
        (void)uv_thread_join(&w->thread);
        close_handles(w);
        return;
    }
    if (stop)
        return;
    if (status != w->told)
        w->ops->status(w->ctx, w->told = status);
    for (bool more = true; more;) {
        uv_mutex_lock(&w->mutex);
        more = w->seen_count > 0;
        if (more)
            s = w->seen[--w->seen_count];
        uv_mutex_unlock(&w->mutex);
        if (more)
            w->ops->seen(w->ctx, &s);
    }
}

void px_mdns_worker_publish(struct px_mdns_worker *w, struct px_mdns_instances *owned_instances)
{
    uv_mutex_lock(&w->mutex);
    free(w->wanted);
    w->wanted = owned_instances;
    w->wanted_changed = true;
    uv_mutex_unlock(&w->mutex);
    (void)uv_async_send(&w->to_thread);
}

void px_mdns_worker_browse(struct px_mdns_worker *w)
{
    uv_mutex_lock(&w->mutex);
    w->browse_again = true;
    uv_mutex_unlock(&w->mutex);
    (void)uv_async_send(&w->to_thread);
}

uint64_t px_mdns_worker_dropped(struct px_mdns_worker *w)
{
    uv_mutex_lock(&w->mutex);
    uint64_t n = w->dropped;
    uv_mutex_unlock(&w->mutex);
    return n;
}

void px_mdns_worker_close(struct px_mdns_worker *w, void (*closed)(void *ctx), void *ctx)
{
    w->closed = closed;
    w->closed_ctx = ctx;
    uv_mutex_lock(&w->mutex);
    w->stop = true;
    uv_mutex_unlock(&w->mutex);
    (void)uv_async_send(&w->to_thread);
    (void)uv_timer_start(&w->patience, on_patience_over, PATIENCE_MS, 0);
}

static int init_loop(struct px_mdns_worker *w)
{
    if (uv_loop_init(&w->loop) != 0)
        return PX_EIO;
    if (uv_async_init(&w->loop, &w->to_thread, on_order) != 0) {
        (void)uv_loop_close(&w->loop);
        return PX_EIO;
    }
    px_assert(uv_timer_init(&w->loop, &w->retry) == 0); /* cannot fail */
    w->retry.data = w->to_thread.data = w;
    px_mdns_poll_init(&w->poll, &w->loop);
    return 0;
}

static int start_thread(struct px_mdns_worker *w)
{
    const uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                         .stack_size = THREAD_STACK};
    int err = init_loop(w);
    if (err != 0)
        return err;
    w->owners++;
    if (uv_thread_create_ex(&w->thread, &options, run_thread, w) == 0)
        return 0;
    w->owners--;
    end_thread(w);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&w->loop);
    return PX_EIO;
}

int px_mdns_worker_new(uv_loop_t *loop, const struct px_mdns_worker_ops *ops, void *ctx,
                       struct px_mdns_worker **ret)
{
    struct px_mdns_worker *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return PX_ENOMEM;
    w->ops = ops;
    w->ctx = ctx;
    w->owners = 1;
    if (uv_mutex_init(&w->mutex) != 0 || uv_async_init(loop, &w->to_node, on_news) != 0) {
        free(w);
        return PX_EIO;
    }
    px_assert(uv_timer_init(loop, &w->patience) == 0); /* cannot fail */
    w->to_node.data = w->patience.data = w;
    w->open_handles = 2;
    int err = start_thread(w);
    if (err != 0) {
        close_handles(w);
        return err;
    }
    *ret = w;
    return 0;
}
