/* See pairing_export.h. */
#include "node/pairing_export.h"

#include <stdlib.h>

#include "auth/file_io.h"
#include "node/control_json.h"
#include "node/trusted_keys.h"

enum { FILE_MODE = 0644 };
#define FILE_MAX ((size_t)8 * 1024 * 1024)

static void put_peer(json_t *peers, const struct px_authorized_key *k)
{
    char id[PX_PEER_ID_TEXT_MAX];
    json_t *addrs = json_array();
    for (size_t i = 0; i < k->addr_count; i++)
        (void)json_array_append_new(addrs, json_string(k->addrs[i]));
    (void)json_object_set_new(peers, px_peer_id_format(&k->id, id),
                              json_pack("{s:s, s:o, s:o, s:n}", "name", k->name, "addrs", addrs,
                                        "grants", px_control_grants_json(k->grants), "nix-key"));
}

struct lists {
    json_t *keys, *peers;
};

static int put_key(void *ctx, const struct px_trusted_key *k)
{
    struct lists *l = ctx;
    char id[PX_PEER_ID_TEXT_MAX];
    struct px_buf text;
    px_buf_init(&text, PX_NIX_KEY_TEXT_MAX);
    int err = px_nix_public_key_format(&k->key, &text);
    if (err == 0) {
        json_t *peer = json_object_get(l->peers, px_peer_id_format(&k->peer, id));
        json_t *key = json_stringn((const char *)text.data, text.len);
        (void)json_object_set(peer, "nix-key", key);
        if (json_array_append_new(l->keys, key) != 0)
            err = PX_ENOMEM;
    }
    px_buf_deinit(&text);
    return err;
}

int px_pairing_export(const struct px_home *home, const struct px_authorized_keys *keys,
                      const char *http, const struct px_log *log, json_t **ret)
{
    char path[PX_HOME_FILE_MAX], url[320];
    struct lists l = {json_array(), json_object()};
    px_home_config_path(home, PX_HOME_TRUSTED_KEYS, path);
    snprintf(url, sizeof(url), "http://%s", http);
    for (size_t i = 0; i < px_authorized_keys_count(keys); i++)
        put_peer(l.peers, px_authorized_keys_at(keys, i));
    int err = px_trusted_keys_each(path, keys, log, put_key, &l);
    json_t *o = json_pack("{s:[s], s:o, s:o}", "substituters", url, "trusted-public-keys", l.keys,
                          "peers", l.peers);
    if (err == 0 && o == NULL)
        err = PX_ENOMEM;
    if (err != 0)
        json_decref(o);
    else
        *ret = o;
    return err;
}

static bool says_so(const char *path, struct px_slice text)
{
    struct px_buf old;
    px_buf_init(&old, FILE_MAX);
    bool same = px_file_read(path, FILE_MAX, &old) == 0 && px_slice_eq(px_buf_slice(&old), text);
    px_buf_deinit(&old);
    return same;
}

int px_pairing_export_file(const struct px_home *home, const struct px_authorized_keys *keys,
                           const char *http)
{
    char path[PX_HOME_FILE_MAX];
    json_t *o;
    int err = px_pairing_export(home, keys, http, NULL, &o);
    if (err != 0)
        return err;
    char *text = json_dumps(o, JSON_INDENT(2));
    json_decref(o);
    if (text == NULL)
        return PX_ENOMEM;
    px_home_config_path(home, PX_HOME_PEERS_JSON, path);
    if (!says_so(path, px_slice_cstr(text)))
        err = px_file_write_atomic(path, px_slice_cstr(text), FILE_MODE, false);
    free(text);
    return err;
}
