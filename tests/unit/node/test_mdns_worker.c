/* The limits of the Avahi thread, with a library of the test's own in place of libavahi-client:
 * what others announce is looked up and handed over in bounded numbers, and so is what we publish.
 */
#include "node/mdns_worker.h"

#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <stdlib.h>

#include "node/mdns_txt.h"
#include "tests/test.h"

#define PATIENCE_MS 5000

/* ---- the library: all of it is called from the worker's thread ---- */

struct AvahiServiceResolver {
    AvahiServiceResolverCallback callback;
    void *userdata;
    bool used;
};

static struct {
    uv_mutex_t mutex;   /* the numbers below are read by the test */
    unsigned announced; /* instances the next browser finds */
    unsigned resolvers; /* under way */
    unsigned browsers;  /* made so far */
    unsigned groups;    /* published now */
    bool answers;       /* the next browser first answers what is under way */
    AvahiServiceResolver all[2 * PX_MDNS_RESOLVERS_MAX];
} avahi;

static char client, browser, groups[2 * PX_MDNS_INSTANCES_MAX];

AvahiClient *avahi_client_new(const AvahiPoll *poll, AvahiClientFlags flags,
                              AvahiClientCallback callback, void *userdata, int *error)
{
    (void)poll, (void)flags, (void)error;
    callback((AvahiClient *)(void *)&client, AVAHI_CLIENT_S_RUNNING, userdata);
    return (AvahiClient *)(void *)&client;
}

void avahi_client_free(AvahiClient *c)
{
    (void)c;
}

AvahiClientState avahi_client_get_state(AvahiClient *c)
{
    (void)c;
    return AVAHI_CLIENT_S_RUNNING;
}

/* Answers a resolver; its owner frees it. */
static void resolve(AvahiServiceResolver *r)
{
    static const uint8_t packet[84] = {1};
    AvahiStringList *txt = px_mdns_txt_write(px_slice(packet, sizeof(packet)));
    AvahiAddress a = {.proto = AVAHI_PROTO_INET, .data.ipv4.address = 0x0100000a};
    CHECK(txt != NULL);
    r->callback(r, 1, AVAHI_PROTO_INET, AVAHI_RESOLVER_FOUND, "name", PX_MDNS_TYPE, "local",
                "host.local", &a, 5, txt, (AvahiLookupResultFlags)0, r->userdata);
    avahi_string_list_free(txt);
}

AvahiServiceBrowser *avahi_service_browser_new(AvahiClient *c, AvahiIfIndex ifindex,
                                               AvahiProtocol protocol, const char *type,
                                               const char *domain, AvahiLookupFlags flags,
                                               AvahiServiceBrowserCallback callback, void *userdata)
{
    (void)c, (void)ifindex, (void)protocol, (void)domain, (void)flags;
    AvahiServiceBrowser *b = (AvahiServiceBrowser *)(void *)&browser;
    for (size_t i = 0; avahi.answers && i < PX_ARRAY_LEN(avahi.all); i++)
        if (avahi.all[i].used)
            resolve(&avahi.all[i]);
    for (unsigned i = 0; i < avahi.announced; i++)
        callback(b, 1, AVAHI_PROTO_INET, AVAHI_BROWSER_NEW, "somebody", type, "local",
                 (AvahiLookupResultFlags)0, userdata);
    uv_mutex_lock(&avahi.mutex);
    avahi.browsers++;
    uv_mutex_unlock(&avahi.mutex);
    return b;
}

int avahi_service_browser_free(AvahiServiceBrowser *b)
{
    (void)b;
    return 0;
}

AvahiServiceResolver *avahi_service_resolver_new(AvahiClient *c, AvahiIfIndex ifindex,
                                                 AvahiProtocol protocol, const char *name,
                                                 const char *type, const char *domain,
                                                 AvahiProtocol aprotocol, AvahiLookupFlags flags,
                                                 AvahiServiceResolverCallback callback,
                                                 void *userdata)
{
    (void)c, (void)ifindex, (void)protocol, (void)name, (void)type, (void)domain;
    (void)aprotocol, (void)flags;
    AvahiServiceResolver *r = avahi.all;
    while (r->used)
        r++;
    CHECK(r < avahi.all + PX_ARRAY_LEN(avahi.all));
    *r = (AvahiServiceResolver){callback, userdata, true};
    avahi.resolvers++;
    return r;
}

int avahi_service_resolver_free(AvahiServiceResolver *r)
{
    r->used = false;
    avahi.resolvers--;
    return 0;
}

AvahiEntryGroup *avahi_entry_group_new(AvahiClient *c, AvahiEntryGroupCallback callback,
                                       void *userdata)
{
    (void)c, (void)callback, (void)userdata;
    CHECK(avahi.groups < PX_ARRAY_LEN(groups));
    uv_mutex_lock(&avahi.mutex);
    AvahiEntryGroup *g = (AvahiEntryGroup *)(void *)&groups[avahi.groups++];
    uv_mutex_unlock(&avahi.mutex);
    return g;
}

int avahi_entry_group_free(AvahiEntryGroup *g)
{
    (void)g;
    uv_mutex_lock(&avahi.mutex);
    avahi.groups--;
    uv_mutex_unlock(&avahi.mutex);
    return 0;
}

int avahi_entry_group_commit(AvahiEntryGroup *g)
{
    (void)g;
    return 0;
}

int avahi_entry_group_add_address(AvahiEntryGroup *g, AvahiIfIndex ifindex, AvahiProtocol protocol,
                                  AvahiPublishFlags flags, const char *name, const AvahiAddress *a)
{
    (void)g, (void)ifindex, (void)protocol, (void)flags, (void)name, (void)a;
    return 0;
}

int avahi_entry_group_add_service_strlst(AvahiEntryGroup *g, AvahiIfIndex ifindex,
                                         AvahiProtocol protocol, AvahiPublishFlags flags,
                                         const char *name, const char *type, const char *domain,
                                         const char *host, uint16_t port, AvahiStringList *txt)
{
    (void)g, (void)ifindex, (void)protocol, (void)flags, (void)name, (void)type, (void)domain;
    (void)host, (void)port, (void)txt;
    return 0;
}

/* ---- the fixture ---- */

static uv_loop_t loop;
static struct px_mdns_worker *worker;
static unsigned seen_count;
static bool closed;

static void on_seen(void *ctx, const struct px_mdns_seen *seen)
{
    (void)ctx;
    CHECK_INT(seen->len, 84);
    seen_count++;
}

static void on_status(void *ctx, enum px_mdns_status status)
{
    (void)ctx, (void)status;
}

static void on_closed(void *ctx)
{
    (void)ctx;
    closed = true;
}

static unsigned number(const unsigned *at)
{
    uv_mutex_lock(&avahi.mutex);
    unsigned n = *at;
    uv_mutex_unlock(&avahi.mutex);
    return n;
}

static void wait_until(const unsigned *at, unsigned n)
{
    for (int ms = 0; number(at) != n; ms++) {
        CHECK(ms < PATIENCE_MS);
        uv_sleep(1); /* another thread's turn */
    }
}

/* A browser that finds `announced`, after answers to what is under way. The node's loop does not
 * turn meanwhile. */
static void look(unsigned announced, bool answers)
{
    unsigned before = number(&avahi.browsers);
    avahi.announced = announced;
    avahi.answers = answers;
    px_mdns_worker_browse(worker);
    wait_until(&avahi.browsers, before + 1);
}

static void start(void)
{
    static const struct px_mdns_worker_ops ops = {on_seen, on_status};
    memset(&avahi, 0, sizeof(avahi));
    seen_count = 0;
    closed = false;
    CHECK_INT(uv_mutex_init(&avahi.mutex), 0);
    CHECK_INT(uv_loop_init(&loop), 0);
    CHECK_OK(px_mdns_worker_new(&loop, &ops, NULL, &worker));
    wait_until(&avahi.browsers, 1);
}

static void finish(void)
{
    px_mdns_worker_close(worker, on_closed, NULL);
    CHECK_INT(uv_run(&loop, UV_RUN_DEFAULT), 0);
    CHECK(closed);
    CHECK_INT(uv_loop_close(&loop), 0);
    uv_mutex_destroy(&avahi.mutex);
}

/* ---- tests ---- */

TEST(so_many_instances_are_looked_up_at_once)
{
    start();
    look(PX_MDNS_RESOLVERS_MAX, false);
    CHECK_INT(avahi.resolvers, PX_MDNS_RESOLVERS_MAX);
    CHECK_INT(px_mdns_worker_dropped(worker), 0);
    look(3, false);
    CHECK_INT(avahi.resolvers, PX_MDNS_RESOLVERS_MAX);
    CHECK_INT(px_mdns_worker_dropped(worker), 3);
    look(5, true); /* those that were answered made room */
    CHECK_INT(avahi.resolvers, 5);
    CHECK_INT(px_mdns_worker_dropped(worker), 3);
    finish();
}

TEST(so_many_announcements_wait_for_the_node)
{
    start();
    unsigned told = 0;
    while (told + PX_MDNS_RESOLVERS_MAX <= PX_MDNS_SEEN_MAX) {
        look(PX_MDNS_RESOLVERS_MAX, true);
        told += PX_MDNS_RESOLVERS_MAX;
    }
    look(1, true);
    CHECK_INT(told, PX_MDNS_SEEN_MAX);
    CHECK_INT(px_mdns_worker_dropped(worker), 0);
    look(0, true);
    CHECK_INT(px_mdns_worker_dropped(worker), 1);
    while (seen_count < PX_MDNS_SEEN_MAX)
        (void)uv_run(&loop, UV_RUN_ONCE);
    look(1, true); /* room again */
    look(0, true);
    while (seen_count < PX_MDNS_SEEN_MAX + 1)
        (void)uv_run(&loop, UV_RUN_ONCE);
    CHECK_INT(px_mdns_worker_dropped(worker), 1);
    finish();
}

static struct px_mdns_instances *instances(size_t count)
{
    struct px_mdns_instances *all = calloc(1, sizeof(*all) + count * sizeof(all->all[0]));
    CHECK(all != NULL);
    all->count = count;
    for (size_t i = 0; i < count; i++) {
        all->all[i].addr.family = PX_ADDR_IP4;
        all->all[i].len = 84;
    }
    return all;
}

TEST(so_many_instances_of_ours_are_published)
{
    start();
    px_mdns_worker_publish(worker, instances(PX_MDNS_INSTANCES_MAX));
    wait_until(&avahi.groups, PX_MDNS_INSTANCES_MAX);
    px_mdns_worker_publish(worker, instances(1));
    wait_until(&avahi.groups, 1);
    px_mdns_worker_publish(worker, instances(PX_MDNS_INSTANCES_MAX + 1));
    look(0, false); /* after it */
    CHECK_INT(number(&avahi.groups), PX_MDNS_INSTANCES_MAX);
    finish();
}
