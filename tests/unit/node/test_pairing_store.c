/* Invites and joins in the state database, and which addresses an invite carries (pairing_addrs).
 */
#include "node/pairing_store.h"

#include <stdlib.h>
#include <unistd.h>

#include "node/pairing_addrs.h"
#include "node/state_db.h"
#include "tests/test.h"

struct db {
    struct px_home home;
    struct px_sqlite *db;
};

static void db_open(struct db *d)
{
    CHECK_OK(px_crypto_init());
    if (d->home.state_dir[0] == '\0') {
        snprintf(d->home.state_dir, sizeof(d->home.state_dir), "/tmp/px-store.XXXXXX");
        CHECK(mkdtemp(d->home.state_dir) != NULL);
    }
    CHECK_OK(px_state_db_open(&d->home, NULL, &d->db));
}

static void db_end(struct db *d)
{
    char path[PX_HOME_FILE_MAX];
    px_sqlite_close(d->db);
    snprintf(path, sizeof(path), "%s/%s", d->home.state_dir, PX_HOME_STATE_DB);
    CHECK_INT(unlink(path), 0);
    CHECK_INT(rmdir(d->home.state_dir), 0);
}

struct found {
    size_t count;
    struct px_pairing_invite invite;
    struct px_pairing_join join;
};

static int on_invite(void *ctx, const struct px_pairing_invite *i)
{
    struct found *f = ctx;
    f->count++;
    f->invite = *i;
    return 0;
}

static int on_join(void *ctx, const struct px_pairing_join *j)
{
    struct found *f = ctx;
    f->count++;
    f->join = *j;
    return 0;
}

TEST(an_invite_comes_back_after_a_restart_as_it_was)
{
    struct db d = {.db = NULL};
    struct found f = {.count = 0};
    struct px_pairing_invite i = {.id = {1, 2, 255},
                                  .state = PX_INVITE_PENDING,
                                  .pair = {{9, 8, 7}},
                                  .joiner = {{5}},
                                  .failures = 2,
                                  .name = "bob",
                                  .grants = 3,
                                  .verify = true,
                                  .expires = 1234567890123,
                                  .ended = 7};
    db_open(&d);
    CHECK_OK(px_pairing_store_invite(d.db, &i));
    i.failures = 1;
    CHECK_OK(px_pairing_store_invite(d.db, &i)); /* replaces */
    px_sqlite_close(d.db);
    db_open(&d);
    CHECK_OK(px_pairing_each_invite(d.db, on_invite, &f));
    CHECK_INT(f.count, 1);
    CHECK(memcmp(&f.invite.pair, &i.pair, sizeof(i.pair)) == 0);
    CHECK(memcmp(f.invite.id, i.id, sizeof(i.id)) == 0);
    CHECK(px_peer_id_eq(&f.invite.joiner, &i.joiner));
    CHECK_INT(f.invite.state, i.state);
    CHECK_INT(f.invite.failures, 1);
    CHECK_STR(f.invite.name, "bob");
    CHECK_INT(f.invite.grants, 3);
    CHECK(f.invite.verify);
    CHECK_INT(f.invite.expires, i.expires);
    CHECK_INT(f.invite.ended, 7);
    CHECK_OK(px_pairing_forget_invite(d.db, i.id));
    f.count = 0;
    CHECK_OK(px_pairing_each_invite(d.db, on_invite, &f));
    CHECK_INT(f.count, 0);
    db_end(&d);
}

TEST(a_join_comes_back_with_all_it_takes_to_finish)
{
    struct db d = {.db = NULL};
    struct found f = {.count = 0};
    struct px_pairing_join j = {
        .inviter = {{1}},
        .id = {3, 4, 5},
        .pair = {{6}},
        .name = "alice",
        .grants = 1,
        .card = {.name = "al", .addr_count = 2, .addrs = {"a:1", "[::1]:2"}, .nix_key = "k:v"},
        .addr_count = 1,
        .addrs = {"192.0.2.1:3"},
        .expires = 99};
    db_open(&d);
    CHECK_OK(px_pairing_store_join(d.db, &j));
    CHECK_OK(px_pairing_each_join(d.db, on_join, &f));
    CHECK_INT(f.count, 1);
    CHECK_STR(f.join.name, "alice");
    CHECK_INT(f.join.card.addr_count, 2);
    CHECK_STR(f.join.card.addrs[1], "[::1]:2");
    CHECK_STR(f.join.card.nix_key, "k:v");
    CHECK_INT(f.join.addr_count, 1);
    CHECK_STR(f.join.addrs[0], "192.0.2.1:3");
    CHECK_INT(f.join.expires, 99);
    CHECK(memcmp(&f.join.pair, &j.pair, sizeof(j.pair)) == 0);
    CHECK_OK(px_pairing_forget_join(d.db, &j.inviter));
    f.count = 0;
    CHECK_OK(px_pairing_each_join(d.db, on_join, &f));
    CHECK_INT(f.count, 0);
    db_end(&d);
}

TEST(rows_that_make_no_sense_are_left_out)
{
    struct db d = {.db = NULL};
    struct found f = {.count = 0};
    db_open(&d);
    CHECK_OK(px_sqlite_exec(d.db, "INSERT INTO pairing_invite VALUES"
                                  " ('zz',1,'','',0,'',0,0,0,0), ('010203',99,'','',0,'',0,0,0,0);"
                                  "INSERT INTO pairing_join (inviter) VALUES ('00');"));
    CHECK_OK(px_pairing_each_invite(d.db, on_invite, &f));
    CHECK_OK(px_pairing_each_join(d.db, on_join, &f));
    CHECK_INT(f.count, 0);
    db_end(&d);
}

TEST(without_a_database_nothing_is_kept_and_nothing_fails)
{
    struct found f = {.count = 0};
    struct px_pairing_invite i = {.state = PX_INVITE_OPEN};
    CHECK_OK(px_pairing_store_invite(NULL, &i));
    CHECK_OK(px_pairing_each_invite(NULL, on_invite, &f));
    CHECK_INT(f.count, 0);
}

/* ---- addresses ---- */

struct net {
    const char *addr, *ifname;
    bool down;
};

static size_t pick(const char *listen, const struct net *nets, size_t count,
                   char ret[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX])
{
    struct px_net_addr all[8];
    struct px_addr a;
    memset(all, 0, sizeof(all));
    for (size_t i = 0; i < count; i++) {
        char text[80];
        snprintf(text, sizeof(text), "%s:0", nets[i].addr);
        CHECK_OK(px_addr_parse(px_slice_cstr(text), &all[i].addr));
        snprintf(all[i].ifname, sizeof(all[i].ifname), "%s", nets[i].ifname);
        all[i].running = !nets[i].down;
        all[i].loopback = strcmp(nets[i].ifname, "lo") == 0;
    }
    CHECK_OK(px_addr_parse(px_slice_cstr(listen), &a));
    return px_pairing_addrs(&a, all, count, ret);
}

TEST(an_invite_carries_the_best_few_addresses)
{
    static const struct net nets[] = {
        {"127.0.0.1", "lo", false},       {"[fe80::1]", "eth0", false},
        {"[fd00::5]", "eth0", false},     {"[2001:db8::5]", "eth0", false},
        {"172.17.0.1", "docker0", false}, {"192.168.1.20", "wlan0", false},
        {"10.0.0.9", "eth1", true},       {"[2001:db8::6]", "wlan0", false},
    };
    char got[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX];
    CHECK_INT(pick("[::]:4001", nets, PX_ARRAY_LEN(nets), got), 2);
    CHECK_STR(got[0], "192.168.1.20:4001");
    CHECK_STR(got[1], "[2001:db8::5]:4001");
    CHECK_INT(pick("0.0.0.0:4001", nets, PX_ARRAY_LEN(nets), got), 1);
    CHECK_STR(got[0], "192.168.1.20:4001");
}

TEST(a_local_ip6_address_only_stands_in_for_ip4)
{
    static const struct net nets[] = {{"[fd00::5]", "eth0", false}, {"192.0.2.2", "eth0", false}};
    char got[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX];
    CHECK_INT(pick("[::]:1", nets, 2, got), 1);
    CHECK_STR(got[0], "192.0.2.2:1");
    CHECK_INT(pick("[::]:1", nets, 1, got), 1);
    CHECK_STR(got[0], "[fd00::5]:1");
}

TEST(bound_to_one_address_an_invite_carries_that)
{
    static const struct net nets[] = {{"192.168.1.20", "wlan0", false}};
    char got[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX];
    CHECK_INT(pick("127.0.0.1:4001", nets, 1, got), 1);
    CHECK_STR(got[0], "127.0.0.1:4001");
    CHECK_INT(pick("[2001:db8::1]:12303", nets, 1, got), 1);
    CHECK_STR(got[0], "[2001:db8::1]:12303");
}

TEST(with_nothing_better_an_invite_carries_what_there_is)
{
    static const struct net nets[] = {
        {"127.0.0.1", "lo", false}, {"172.17.0.1", "docker0", false}, {"[fe80::1]", "eth0", false}};
    char got[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX];
    CHECK_INT(pick("[::]:1", nets, 3, got), 1);
    CHECK_STR(got[0], "172.17.0.1:1");
    CHECK_INT(pick("[::]:1", nets, 1, got), 1);
    CHECK_STR(got[0], "127.0.0.1:1");
    CHECK_INT(pick("[::]:1", NULL, 0, got), 1);
    CHECK_STR(got[0], "127.0.0.1:1");
}
