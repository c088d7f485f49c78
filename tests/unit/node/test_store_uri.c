/* Which texts name a store, and which directories they mean. */
#include <stdlib.h>

#include "node/nix/store.h"
#include "tests/test.h"

#define DEFAULT_SOCKET "/nix/var/nix/daemon-socket/socket"

TEST(uris_mean_the_directories_nix_gives_them)
{
    static const struct {
        const char *text;
        enum px_store_kind kind;
        const char *socket, *store, *real, *state;
    } cases[] = {
        {"auto", PX_STORE_AUTO, DEFAULT_SOCKET, "/nix/store", "/nix/store", "/nix/var/nix"},
        {"daemon", PX_STORE_DAEMON, DEFAULT_SOCKET, "/nix/store", "/nix/store", "/nix/var/nix"},
        {"local", PX_STORE_LOCAL, DEFAULT_SOCKET, "/nix/store", "/nix/store", "/nix/var/nix"},
        {"unix:///run/d.sock", PX_STORE_DAEMON, "/run/d.sock", "/nix/store", "/nix/store",
         "/nix/var/nix"},
        {"local?root=/d", PX_STORE_LOCAL, "/d/nix/var/nix/daemon-socket/socket", "/nix/store",
         "/d/nix/store", "/d/nix/var/nix"},
        {"local?root=/d/", PX_STORE_LOCAL, "/d/nix/var/nix/daemon-socket/socket", "/nix/store",
         "/d/nix/store", "/d/nix/var/nix"},
        {"local?root=/", PX_STORE_LOCAL, DEFAULT_SOCKET, "/nix/store", "/nix/store",
         "/nix/var/nix"},
        {"local?root=/d&store=/foo/store", PX_STORE_LOCAL, "/d/nix/var/nix/daemon-socket/socket",
         "/foo/store", "/d/nix/store", "/d/nix/var/nix"},
        {"local?store=/foo/store", PX_STORE_LOCAL, DEFAULT_SOCKET, "/foo/store", "/foo/store",
         "/nix/var/nix"},
        {"local?store=/s&state=/v&real=/r", PX_STORE_LOCAL, "/v/daemon-socket/socket", "/s", "/r",
         "/v"},
        {"unix:///s?root=/d", PX_STORE_DAEMON, "/s", "/nix/store", "/d/nix/store",
         "/d/nix/var/nix"},
        {"local?root=/with%20space%3f%26%25", PX_STORE_LOCAL,
         "/with space?&%/nix/var/nix/daemon-socket/socket", "/nix/store",
         "/with space?&%/nix/store", "/with space?&%/nix/var/nix"},
    };
    CHECK(unsetenv("NIX_DAEMON_SOCKET_PATH") == 0);
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_store_uri u;
        CHECK_OK(px_store_uri_parse(cases[i].text, &u, NULL, 0));
        CHECK_INT(u.kind, cases[i].kind);
        CHECK_STR(u.socket, cases[i].socket);
        CHECK_STR(u.store_dir, cases[i].store);
        CHECK_STR(u.real_dir, cases[i].real);
        CHECK_STR(u.state_dir, cases[i].state);
    }
}

TEST(what_names_no_local_store_is_refused_with_a_hint)
{
    static const char *const cases[] = {
        "",
        "Auto",
        "auto ",
        "dummy://",
        "ssh://host",
        "https://cache.nixos.org",
        "/dir",
        "unix://",
        "unix://relative",
        "unix:/one/slash",
        "local?",
        "local?root",
        "local?root=",
        "local?root=relative",
        "local?root=/a&root=/b",
        "local?color=red",
        "local?root=/a&",
        "local?store=/",
        "local?root=%2",
        "local?root=/%zz",
        "local?root=/%00x",
        "local://x",
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_store_uri u = {.kind = PX_STORE_LOCAL, .store_dir = "untouched"};
        char hint[256] = "";
        CHECK_ERR(px_store_uri_parse(cases[i], &u, hint, sizeof(hint)), PX_EPARSE);
        CHECK(strstr(hint, "local?root=/dir") != NULL);
        CHECK_STR(u.store_dir, "untouched");
    }
}

TEST(what_does_not_fit_is_refused_not_cut)
{
    struct px_store_uri u;
    char text[2048], dir[1024];
    memset(dir, 'd', sizeof(dir) - 1);
    dir[0] = '/';
    for (size_t len = 1; len < sizeof(dir); len++) {
        snprintf(text, sizeof(text), "unix://%.*s", (int)len, dir);
        int err = px_store_uri_parse(text, &u, NULL, 0);
        CHECK_ERR(err, len < sizeof(u.socket) ? 0 : PX_EPARSE);
        snprintf(text, sizeof(text), "local?store=%.*s&root=/r", (int)len, dir);
        err = px_store_uri_parse(text, &u, NULL, 0);
        CHECK_ERR(err, len > 1 && len < sizeof(u.store_dir) ? 0 : PX_EPARSE);
        snprintf(text, sizeof(text), "local?root=%.*s", (int)len, dir);
        err = px_store_uri_parse(text, &u, NULL, 0);
        CHECK_ERR(err,
                  len == 1 || len + strlen("/nix/var/nix") < sizeof(u.state_dir) ? 0 : PX_EPARSE);
    }
    /* A socket path that does not fit matters only to who needs the socket. */
    snprintf(text, sizeof(text), "local?root=%.*s", 120, dir);
    CHECK_OK(px_store_uri_parse(text, &u, NULL, 0));
    CHECK_STR(u.socket, "");
    snprintf(text, sizeof(text), "daemon?root=%.*s", 120, dir);
    CHECK_ERR(px_store_uri_parse(text, &u, NULL, 0), PX_EPARSE);
}

TEST(the_environment_names_the_default_socket)
{
    struct px_store_uri u;
    CHECK(setenv("NIX_DAEMON_SOCKET_PATH", "/run/other.sock", 1) == 0);
    CHECK_OK(px_store_uri_parse("daemon", &u, NULL, 0));
    CHECK_STR(u.socket, "/run/other.sock");
    CHECK_OK(px_store_uri_parse("auto", &u, NULL, 0));
    CHECK_STR(u.socket, "/run/other.sock");
    CHECK_OK(px_store_uri_parse("unix:///given", &u, NULL, 0));
    CHECK_STR(u.socket, "/given");
    CHECK_OK(px_store_uri_parse("daemon?root=/d", &u, NULL, 0));
    CHECK_STR(u.socket, "/d/nix/var/nix/daemon-socket/socket");
    CHECK(unsetenv("NIX_DAEMON_SOCKET_PATH") == 0);
}
