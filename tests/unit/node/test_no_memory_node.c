/* The node's smaller cores while one allocation of ours (and of jansson's) after the other fails:
 * what the kernel tells, requests and answers of the control API, configuration, trusted keys,
 * addresses of peers and their book. Each call says so and leaves nothing half done. */
#include <dirent.h>
#include <jansson.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "auth/names_io.h"
#include "node/address_book.h"
#include "node/config.h"
#include "node/config_apply.h"
#include "node/config_json.h"
#include "node/control_request.h"
#include "node/control_text.h"
#include "node/net_monitor_table.h"
#include "node/peer_addrs.h"
#include "node/peer_history.h"
#include "node/state_db.h"
#include "node/transfer_reports.h"
#include "node/trusted_keys.h"
#include "tests/no_memory.h"
#include "tests/vector.h"

/* --- the kernel's addresses and routes --- */

static struct px_buf dump_links, dump_addrs, dump_routes;

static void watch_net(void)
{
    struct px_net_table *t = NULL;
    size_t n;
    int err;
    ARMED(err = px_net_table_new(&t));
    CHECK_SWEPT(err);
    if (err == 0) {
        px_net_table_dump_begin(t);
        ARMED({
            (void)px_net_table_input(t, 1, px_buf_slice(&dump_links));
            (void)px_net_table_input(t, 2, px_buf_slice(&dump_addrs));
            (void)px_net_table_input(t, 3, px_buf_slice(&dump_routes));
            (void)px_net_table_dump_end(t);
        });
        (void)px_net_table_addrs(t, &n);
        CHECK(n > 3); /* the table is of one size */
    }
    px_net_table_free(t);
}

TEST(the_view_of_the_network_survives_any_lack_of_memory)
{
    px_test_vector("netlink/dump_links", &dump_links);
    px_test_vector("netlink/dump_addrs", &dump_addrs);
    px_test_vector("netlink/dump_routes", &dump_routes);
    sweep(watch_net, 1);
    px_buf_deinit(&dump_links);
    px_buf_deinit(&dump_addrs);
    px_buf_deinit(&dump_routes);
}

/* --- the control API --- */

static void answer_request(void)
{
    static const char body[] = "{\"peers\":[{\"name\":\"ann\",\"at\":{\"addr\":\"10.0.0.1:1\"}},"
                               "{\"name\":\"bob\",\"at\":{\"addr\":\"10.0.0.2:1\"}}],\"n\":1.5}";
    static const struct px_control_column columns[] = {{"NAME", "name"}, {"ADDRESS", "at.addr"}};
    static const char table[] = "NAME  ADDRESS\nann   10.0.0.1:1\nbob   10.0.0.2:1\n";
    json_t *json = NULL;
    struct px_buf out;
    char why[128];
    int err;
    ARMED(err = px_control_body_parse(px_slice_cstr(body), &json, why, sizeof(why)));
    if (err != 0) { /* jansson takes a string it has no memory for for a bad one */
        CHECK(!heap_was_whole() && (err == PX_ENOMEM || err == PX_EPARSE));
        return;
    }
    px_buf_init(&out, 65536);
    ARMED(err = px_control_put_table(&out, json_object_get(json, "peers"), columns, 2));
    CHECK_SWEPT(err);
    if (err == 0)
        CHECK_SLICE(px_buf_slice(&out), px_slice_cstr(table));
    px_buf_clear(&out);
    ARMED(err = px_control_put_object(&out, json));
    CHECK_SWEPT(err);
    px_buf_clear(&out);
    ARMED(err = px_control_put_line(&out, json));
    CHECK_SWEPT(err);
    px_buf_deinit(&out);
    ARMED(json_decref(json));
}

TEST(control_requests_and_answers_survive_any_lack_of_memory)
{
    json_set_alloc_funcs(malloc, free);
    sweep(answer_request, 10);
}

/* --- configuration --- */

static const char yaml[] = "network: lab\ntrusted-public-keys:\n"
                           "  - k-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=\n"
                           "announce-addr:\n  - a.example:1\n  - b.example:2\ndeadline: 3s\n";

static void configure(void)
{
    struct px_config *c = NULL, *copy = NULL;
    char message[512] = "";
    struct px_buf text;
    int err;
    px_buf_init(&text, 65536);
    ARMED(err = px_config_new(&c));
    CHECK_SWEPT(err);
    if (err != 0)
        return;
    ARMED(err = px_config_parse(c, px_slice_cstr(yaml), "config.yaml", message, sizeof(message)));
    CHECK_SWEPT(err);
    CHECK_STR(c->network, err == 0 ? "lab" : "default");
    CHECK_INT(c->announce_addrs.count, err == 0 ? 2 : 0);
    CHECK_INT(c->deadline_ms == 3000, err == 0);
    ARMED(err = px_config_copy(c, &copy));
    CHECK_SWEPT(err);
    if (err == 0)
        CHECK_INT(px_config_compare(c, copy), PX_CONFIG_SAME);
    ARMED(err = px_config_sample(&text));
    CHECK_SWEPT(err);
    json_t *json;
    ARMED(json = px_config_json(c));
    CHECK(json != NULL || !heap_was_whole());
    json_decref(json);
    px_buf_deinit(&text);
    px_config_free(copy);
    px_config_free(c);
}

TEST(configuration_survives_any_lack_of_memory)
{
    json_set_alloc_funcs(malloc, free);
    sweep(configure, 30);
}

static void check_and_mark(void)
{
    const struct px_config_pending p = {
        .timeout_ms = 5000, .since = {.boot_id = "0b7f3e5c-1d2a-4b6c-8e9f-a0b1c2d3e4f5"}};
    struct px_config_pending back;
    char message[512] = "";
    struct px_buf text;
    int err;
    ARMED(err = px_config_check(px_slice_cstr(yaml), "config.yaml", message, sizeof(message)));
    CHECK_SWEPT(err);
    px_buf_init(&text, PX_CONFIG_PENDING_TEXT_MAX);
    ARMED(err = px_config_pending_format(&p, &text));
    CHECK_SWEPT(err);
    if (err == 0)
        ARMED(err = px_config_pending_parse(px_buf_slice(&text), &back));
    CHECK_SWEPT(err);
    px_buf_deinit(&text);
}

TEST(a_pending_change_survives_any_lack_of_memory)
{
    sweep(check_and_mark, 4);
}

/* --- trusted keys --- */

static void trust(void)
{
    static const char key[] = "k-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    const struct px_peer_id id = {.key = {3}};
    struct px_buf once, twice;
    int err;
    px_buf_init(&once, 65536);
    px_buf_init(&twice, 65536);
    ARMED(err = px_trusted_keys_text_set(PX_SLICE_LIT("# mine\n"), &id, key, "ann", &once));
    CHECK_SWEPT(err);
    if (err == 0)
        ARMED(err = px_trusted_keys_text_set(px_buf_slice(&once), &id, key, "ann", &twice));
    CHECK_SWEPT(err);
    if (err == 0)
        CHECK_SLICE(px_buf_slice(&twice), px_buf_slice(&once));
    px_buf_deinit(&once);
    px_buf_deinit(&twice);
}

TEST(trusted_keys_survive_any_lack_of_memory)
{
    sweep(trust, 2);
}

static char conf_dir[] = "/tmp/px-test-no-memory.XXXXXX", conf_path[64];

static void read_nix_conf(void)
{
    static const struct px_log quiet = {.level = PX_LOG_ERROR};
    struct px_nix_keys keys = {0};
    int err;
    ARMED(err = px_nix_conf_keys(conf_path, &quiet, &keys));
    CHECK_SWEPT(err);
    CHECK_INT(keys.count, err == 0 ? 3 : 0);
    px_nix_keys_deinit(&keys);
}

TEST(keys_of_nix_conf_survive_any_lack_of_memory)
{
    static const char text[] =
        "trusted-public-keys = k-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
        " k-2:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=\n"
        "extra-trusted-public-keys = k-3:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=\n";
    CHECK(mkdtemp(conf_dir) != NULL);
    snprintf(conf_path, sizeof(conf_path), "%s/nix.conf", conf_dir);
    CHECK_OK(px_file_write_atomic(conf_path, px_slice_cstr(text), 0600, false));
    sweep(read_nix_conf, 2);
    unlink(conf_path);
    CHECK_INT(rmdir(conf_dir), 0);
}

/* --- files of people --- */

/* What was there, or what was asked for, and nothing besides. */
static void edit_file(void)
{
    struct px_name n = {.name = "desk", .id = {.key = {3}}};
    struct px_names *names = NULL;
    DIR *dir;
    int err, files = 0;
    CHECK_OK(px_file_write_atomic(conf_path, PX_SLICE_LIT("# mine\n"), 0600, false));
    ARMED(err = px_names_file_set(conf_path, &n));
    CHECK_SWEPT(err);
    CHECK_OK(px_names_load(conf_path, &names));
    CHECK(px_names_count(names) == 1 || err != 0);
    px_names_free(names);
    ARMED(err = px_names_load(conf_path, &names));
    CHECK_SWEPT(err);
    if (err == 0)
        px_names_free(names);
    CHECK((dir = opendir(conf_dir)) != NULL);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        files += e->d_name[0] != '.';
    closedir(dir);
    CHECK(files <= 2); /* it and its lock */
}

TEST(a_list_that_is_edited_without_memory_is_the_old_or_the_new_one)
{
    snprintf(conf_dir, sizeof(conf_dir), "/tmp/px-test-no-memory.XXXXXX");
    CHECK(mkdtemp(conf_dir) != NULL);
    snprintf(conf_path, sizeof(conf_path), "%s/names", conf_dir);
    sweep(edit_file, 5);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", conf_dir);
    CHECK_INT(system(command), 0);
}

/* --- addresses of peers --- */

static struct px_addr numbered(unsigned i)
{
    return (struct px_addr){
        .family = PX_ADDR_IP4, .ip = {10, 0, (uint8_t)(i >> 8), (uint8_t)i}, .port = 1};
}

static void learn_addresses(void)
{
    static const char texts[2][PX_AUTH_ADDR_MAX] = {"10.1.0.1:1", "host.example:2"};
    static const char relays[2][PX_AUTH_ADDR_MAX] = {PX_RELAY_ROUTE "one", PX_RELAY_ROUTE "two"};
    struct px_peer_addrs a = {0};
    bool changed, new;
    int err;
    ARMED(err = px_peer_addrs_set_manual(&a, texts, 2, &changed));
    CHECK_SWEPT(err);
    for (unsigned i = 0; i < 20; i++) {
        struct px_addr addr = numbered(i);
        ARMED(err =
                  px_peer_addrs_found(&a, &addr, i % 2 ? PX_SOURCE_LAN : PX_SOURCE_SEEN, i, &new));
        CHECK_SWEPT(err);
        ARMED(err = px_peer_addrs_good(&a, &addr, i));
        CHECK_SWEPT(err);
    }
    ARMED(err = px_peer_addrs_give(&a, "other.example:3"));
    CHECK_SWEPT(err);
    ARMED(err = px_peer_addrs_set_relays(&a, relays, 2, &changed));
    CHECK_SWEPT(err);
    px_peer_addrs_sort(&a);
    px_peer_addrs_take_back(&a);
    CHECK(a.count <= PX_PEER_ADDRS_MAX);
    px_peer_addrs_deinit(&a);
}

TEST(addresses_of_peers_survive_any_lack_of_memory)
{
    sweep(learn_addresses, 4);
}

/* --- what moved, and what peers did --- */

static void remember_transfers(void)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 3);
    struct px_transfer_reports *r = NULL;
    struct px_peer_history *h = NULL;
    struct px_transfer_order o;
    struct px_history_record record;
    int err;
    ARMED(err = px_transfer_reports_new(&rng, true, &r));
    CHECK_SWEPT(err);
    if (err != 0)
        return;
    for (uint8_t i = 0; i < 5; i++) {
        const struct px_peer_id relay = {.key = {1}}, peer = {.key = {2, i}};
        const uint8_t session[PX_RELAY_SESSION_LEN] = {i};
        ARMED(px_transfer_reports_want(r, &peer));
        ARMED(px_transfer_reports_up(r, &relay, 1));
        ARMED(px_transfer_reports_count(r, &peer, session, 5, 7, i));
        px_transfer_reports_ended(r, session, i);
        ARMED(while (px_transfer_reports_next(r, &relay, true, 100, &o))
                  px_transfer_reports_answer(r, &relay, o.ticket, PX_RELAY_OK, NULL, 100));
    }
    px_transfer_reports_free(r);
    ARMED(err = px_peer_history_new(&rng, &h));
    CHECK_SWEPT(err);
    for (uint8_t i = 0; err == 0 && i < 5; i++) {
        struct px_peer_id peer = {.key = {2, i}};
        ARMED(px_peer_history_nar(h, &peer, 5, i));
        ARMED(px_peer_history_fault(h, &peer, PX_HISTORY_LIED, 8, i));
        while (px_peer_history_take_changed(h, i, &peer, &record))
            CHECK(record.nars + record.faults[PX_HISTORY_LIED] > 0);
    }
    px_peer_history_free(h);
}

TEST(transfers_and_histories_survive_any_lack_of_memory)
{
    sweep(remember_transfers, 12);
}

static struct px_home home;

static bool keep_all(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                     uint64_t ago)
{
    (void)id, (void)addr, (void)ago;
    ++*(unsigned *)ctx;
    return true;
}

static void keep_book(void)
{
    static const struct px_log quiet = {.level = PX_LOG_ERROR};
    const struct px_peer_id id = {.key = {3}};
    const struct px_addr addr = numbered(1);
    struct px_sqlite *db = NULL;
    struct px_address_book *book = NULL;
    unsigned count = 0;
    int err;
    ARMED(err = px_state_db_open(&home, &quiet, &db));
    CHECK_SWEPT(err);
    if (err != 0)
        return;
    ARMED(err = px_address_book_new(db, &quiet, &book));
    CHECK_SWEPT(err);
    if (err == 0) {
        ARMED(px_address_book_good(book, &id, &addr, 2000000000));
        ARMED(err = px_address_book_load(book, 2000000000, keep_all, &count));
        CHECK_SWEPT(err);
        CHECK(err != 0 || count == 1);
    }
    px_address_book_free(book);
    px_sqlite_close(db);
}

TEST(the_address_book_survives_any_lack_of_memory)
{
    char command[PX_HOME_PATH_MAX + 32];
    snprintf(home.state_dir, sizeof(home.state_dir), "/tmp/px-test-no-memory.XXXXXX");
    CHECK(mkdtemp(home.state_dir) != NULL);
    sweep(keep_book, 3);
    snprintf(command, sizeof(command), "rm -rf '%s'", home.state_dir);
    CHECK_INT(system(command), 0);
}
