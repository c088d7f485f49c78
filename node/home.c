/* Finds a node's directories and creates what belongs in them. */
#include "node/home.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "auth/identity_io.h"
#include "node/config.h"
#include "node/program.h"

#define KEY_NAME_SUFFIX "-peerix-1"

static void hint(char *out, size_t size, const char *fmt, ...) PX_PRINTF(3, 4);

static void hint(char *out, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out, size, fmt, ap);
    va_end(ap);
}

/* "<base><tail>" as a directory of a home. */
static int set_dir(char out[PX_HOME_PATH_MAX], const char *base, const char *tail)
{
    int n = snprintf(out, PX_HOME_PATH_MAX, "%s%s", base, tail);
    return n < 0 || n >= PX_HOME_PATH_MAX ? PX_ELIMIT : 0;
}

static int set_both(struct px_home *h, const char *dir)
{
    int err = set_dir(h->config_dir, dir, "");
    return err != 0 ? err : set_dir(h->state_dir, dir, "");
}

/* XDG base directory specification: a relative path in the environment is ignored. */
static int set_xdg(char out[PX_HOME_PATH_MAX], const char *variable, const char *below_home)
{
    char tail[64];
    const char *base = getenv(variable);
    if (base != NULL && base[0] == '/') {
        snprintf(tail, sizeof(tail), "/%s", px_program.name);
        return set_dir(out, base, tail);
    }
    base = getenv("HOME");
    if (base == NULL || base[0] != '/')
        return PX_ENOENT;
    snprintf(tail, sizeof(tail), "/%s/%s", below_home, px_program.name);
    return set_dir(out, base, tail);
}

int px_home_resolve(const char *home, bool system, struct px_home *ret)
{
    struct px_home h;
    const char *env = getenv(px_program.home_variable);
    char tail[64];
    int err;
    snprintf(tail, sizeof(tail), "/%s", px_program.name);
    if (home != NULL) {
        err = home[0] == '\0' ? PX_EINVAL : set_both(&h, home);
    } else if (system) {
        err = set_dir(h.config_dir, "/etc", tail);
        if (err == 0)
            err = set_dir(h.state_dir, "/var/lib", tail);
    } else if (env != NULL && env[0] != '\0') {
        err = set_both(&h, env);
    } else {
        err = set_xdg(h.config_dir, "XDG_CONFIG_HOME", ".config");
        if (err == 0)
            err = set_xdg(h.state_dir, "XDG_STATE_HOME", ".local/state");
    }
    if (err == 0)
        *ret = h;
    return err;
}

const char *px_home_config_path(const struct px_home *h, const char *name,
                                char out[PX_HOME_FILE_MAX])
{
    int n = snprintf(out, PX_HOME_FILE_MAX, "%s/%s", h->config_dir, name);
    px_assert(n > 0 && n < PX_HOME_FILE_MAX);
    return out;
}

const char *px_home_default_key_name(const struct px_peer_id *id, char out[PX_NIX_KEY_NAME_MAX + 1])
{
    char host[PX_NIX_KEY_NAME_MAX - PX_HOME_KEY_NAME_ID - sizeof(KEY_NAME_SUFFIX)] = "";
    char text[PX_PEER_ID_TEXT_MAX];
    const char *end = "ID";
    size_t n = 0;
    if (gethostname(host, sizeof(host)) != 0)
        host[0] = '\0';
    host[sizeof(host) - 1] = '\0'; /* a cut name may come without */
    for (const char *c = host; *c != '\0'; c++)
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
            *c == '-' || *c == '.')
            host[n++] = *c;
    host[n] = '\0';
    if (id != NULL) {
        px_peer_id_format(id, text);
        end = text + strlen(text) - PX_HOME_KEY_NAME_ID;
    }
    snprintf(out, PX_NIX_KEY_NAME_MAX + 1, "%s-%s" KEY_NAME_SUFFIX, n > 0 ? host : "host", end);
    return out;
}

/* One run of px_home_init. */
struct init {
    const struct px_home *home;
    void (*made)(void *ctx, const char *path);
    void *ctx;
    char *hint;
    size_t hint_size;
};

/* Something was made, was there already, or could not be made. */
static int note(const struct init *i, int err, const char *path)
{
    if (err == PX_EEXIST)
        return 0;
    if (err != 0)
        hint(i->hint, i->hint_size, "cannot create %s: %s%s", path, px_strerror(err),
             err == PX_EPERM ? "; run as another user or choose another --home" : "");
    else if (i->made != NULL)
        i->made(i->ctx, path);
    return err;
}

/* Parents too; those made are as private as the last. */
static int make_dirs(const struct init *i, const char *dir)
{
    char path[PX_HOME_PATH_MAX];
    snprintf(path, sizeof(path), "%s", dir);
    for (char *at = path + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        int made = mkdir(path, 0700);
        if (made != 0 && errno != EEXIST)
            return note(i, px_err_from_errno(errno), path);
        *at = '/';
    }
    int err = mkdir(path, 0700) == 0 ? 0 : px_err_from_errno(errno);
    return note(i, err, path);
}

static int make_identity(const struct init *i)
{
    char path[PX_HOME_FILE_MAX];
    px_home_config_path(i->home, PX_HOME_IDENTITY, path);
    struct px_identity identity;
    px_identity_generate(&px_system_rng, &identity);
    int err = px_identity_create(path, &identity);
    px_identity_wipe(&identity);
    return note(i, err, path);
}

static int default_key_name(const struct init *i, char out[PX_NIX_KEY_NAME_MAX + 1])
{
    struct px_identity identity;
    int err = px_home_load_identity(i->home, &identity, i->hint, i->hint_size);
    if (err != 0)
        return err;
    px_home_default_key_name(&identity.id, out);
    px_identity_wipe(&identity);
    return 0;
}

/* name may be NULL. */
static int make_nix_key(const struct init *i, const char *name)
{
    char path[PX_HOME_FILE_MAX], made[PX_NIX_KEY_NAME_MAX + 1];
    px_home_config_path(i->home, PX_HOME_NIX_KEY, path);
    if (name == NULL && access(path, F_OK) == 0)
        return 0;
    if (name == NULL) {
        int bad = default_key_name(i, made);
        if (bad != 0)
            return bad;
        name = made;
    }
    struct px_nix_secret_key key;
    int err = px_nix_key_generate(name, &px_system_rng, &key);
    if (err != 0) {
        hint(i->hint, i->hint_size,
             "a key name has 1..%d letters, digits and -._+@/, and no name of the public cache",
             PX_NIX_KEY_NAME_MAX);
        return PX_EINVAL;
    }
    struct px_buf text;
    px_buf_init(&text, PX_NIX_KEY_TEXT_MAX * 2);
    /* reserved at once, so that growing leaves no copy of the secret behind */
    err = px_buf_reserve(&text, PX_NIX_KEY_TEXT_MAX * 2) != NULL ? 0 : PX_ENOMEM;
    if (err == 0)
        err = px_nix_secret_key_format(&key, &text);
    if (err == 0)
        err = px_file_write_atomic(path, px_buf_slice(&text), 0600, true);
    px_nix_secret_key_wipe(&key);
    if (text.data != NULL)
        px_wipe(text.data, text.cap);
    px_buf_deinit(&text);
    return note(i, err, path);
}

static int make_config(const struct init *i)
{
    char path[PX_HOME_FILE_MAX];
    px_home_config_path(i->home, PX_HOME_CONFIG, path);
    struct px_buf text;
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    int err = px_config_sample(&text);
    if (err == 0)
        err = px_file_write_atomic(path, px_buf_slice(&text), 0644, true);
    px_buf_deinit(&text);
    return note(i, err, path);
}

static int make_authorized_keys(const struct init *i)
{
    char path[PX_HOME_FILE_MAX];
    px_home_config_path(i->home, PX_HOME_AUTHORIZED_KEYS, path);
    int err = px_file_write_atomic(path, px_slice(NULL, 0), 0600, true);
    return note(i, err, path);
}

int px_home_init(const struct px_home *h, const char *nix_key_name,
                 void (*made)(void *ctx, const char *path), void *ctx, char *ret_hint,
                 size_t hint_size)
{
    struct init i = {h, made, ctx, ret_hint, hint_size};
    int err = px_crypto_init();
    if (err != 0) {
        hint(ret_hint, hint_size, "the system gives no randomness");
        return err;
    }
    err = make_dirs(&i, h->config_dir);
    if (err == 0 && strcmp(h->config_dir, h->state_dir) != 0)
        err = make_dirs(&i, h->state_dir);
    if (err == 0)
        err = make_identity(&i);
    if (err == 0 && px_program.has_nix_key)
        err = make_nix_key(&i, nix_key_name);
    if (err == 0)
        err = make_config(&i);
    if (err == 0)
        err = make_authorized_keys(&i);
    return err;
}

int px_home_load_identity(const struct px_home *h, struct px_identity *ret, char *ret_hint,
                          size_t hint_size)
{
    char path[PX_HOME_FILE_MAX];
    return px_identity_load(px_home_config_path(h, PX_HOME_IDENTITY, path), ret, ret_hint,
                            hint_size);
}
