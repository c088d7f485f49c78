/* The keys a node goes by: its own nix key, those it trusts (configured, and of paired peers) and
 * those whose paths it shares. */
#include <stdlib.h>
#include <string.h>

#include "node/nix/nix_key_io.h"
#include "node/node_internal.h"
#include "node/pairing_export.h"
#include "node/trusted_keys.h"

int px_node_start_nix_key(struct px_node *n)
{
    char hint[256] = "";
    int err = px_nix_key_load(n->home, n->config->nix_key, &n->own_key, hint, sizeof(hint));
    if (err == PX_ENOENT) { /* only the grant `cache-own` needs it */
        px_log_event(n->log, PX_LOG_WARN, "nix_key.missing", PX_F_STR("hint", hint));
        return 0;
    }
    if (err != 0)
        px_log_event(n->log, PX_LOG_ERROR, "nix_key.unusable", PX_F_ERR(err),
                     PX_F_STR("hint", hint));
    n->has_own_key = err == 0;
    if (n->has_own_key)
        px_nix_secret_key_public(&n->own_key, &n->own_public);
    return err;
}

static int add_keys(struct px_node *n, struct px_nix_keys *keys, const struct px_string_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        int err = px_nix_keys_add(keys, px_slice_cstr(list->items[i]));
        if (err != 0) {
            px_log_event(n->log, PX_LOG_ERROR, "key.malformed", PX_F_STR("key", list->items[i]),
                         PX_F_ERR(err));
            return err;
        }
    }
    return 0;
}

int px_node_start_trusted_keys(struct px_node *n)
{
    int err = 0;
    if (n->config->nix_conf[0] != '\0')
        err = px_nix_conf_keys(n->config->nix_conf, n->log, &n->trusted);
    return err != 0 ? err : add_keys(n, &n->trusted, &n->config->trusted_public_keys);
}

int px_node_start_share_keys(struct px_node *n)
{
    int err = px_nix_keys_add(&n->share, px_slice_cstr(px_nix_default_key));
    return err != 0 ? err : add_keys(n, &n->share, &n->config->share_keys);
}

/* What is configured and the keys of paired peers that are listed now. */
static int all_trusted_keys(const struct px_node *n, struct px_nix_keys *ret)
{
    char path[PX_HOME_FILE_MAX];
    struct px_nix_keys keys = {.count = n->trusted.count};
    size_t size = PX_MAX(n->trusted.count, (size_t)1) * sizeof(*keys.keys);
    keys.keys = malloc(size);
    if (keys.keys == NULL)
        return PX_ENOMEM;
    if (keys.count > 0)
        memcpy(keys.keys, n->trusted.keys, keys.count * sizeof(*keys.keys));
    px_home_config_path(n->home, PX_HOME_TRUSTED_KEYS, path);
    int err = px_trusted_keys_load(path, px_allowlist_keys(n->allowlist), n->log, &keys);
    if (err != 0) /* those that were read stay */
        px_log_event(n->log, PX_LOG_ERROR, "trusted_keys.unreadable", PX_F_STR("file", path),
                     PX_F_ERR(err));
    *ret = keys;
    return 0;
}

static void reload_trusted_keys(struct px_node *n)
{
    struct px_nix_keys keys;
    int err = all_trusted_keys(n, &keys);
    if (err == 0) {
        err = px_substituter_set_trusted_keys(n->substituter, keys.keys, keys.count);
        px_nix_keys_deinit(&keys);
    }
    if (err != 0)
        px_log_event(n->log, PX_LOG_ERROR, "trusted_keys.not_reloaded", PX_F_ERR(err));
}

/* For Nix to import; a home that is not ours to write has none. */
static void export_peers(struct px_node *n)
{
    char http[PX_ADDR_TEXT_MAX];
    px_addr_format(px_substituter_local(n->substituter), http);
    int err = px_pairing_export_file(n->home, px_allowlist_keys(n->allowlist), http);
    if (err != 0)
        px_log_event(n->log, PX_LOG_DEBUG, "peers_json.not_written", PX_F_ERR(err));
}

void px_node_keys_changed(struct px_node *n)
{
    reload_trusted_keys(n);
    export_peers(n);
}
