/* See trusted_keys.h. Words and comments as in auth/list_line. */
#include "node/trusted_keys.h"

#include <sys/stat.h>

#include "auth/edit_io.h"
#include "auth/file_io.h"
#include "auth/list_line.h"

int px_trusted_key_parse_line(struct px_slice line, struct px_trusted_key *ret)
{
    struct px_trusted_key k;
    struct px_auth_error why;
    char comment[PX_AUTH_COMMENT_MAX];
    struct px_slice words, key, id, more;
    memset(&k, 0, sizeof(k));
    int err = px_list_line_split(line, &words, comment, &why);
    if (err != 0)
        return err;
    if (!px_list_line_word(&words, &key) || !px_list_line_word(&words, &id) ||
        px_list_line_word(&words, &more))
        return PX_EPARSE;
    err = px_nix_public_key_parse(key, &k.key);
    if (err == 0 && !px_nix_key_name_plain(k.key.name))
        err = PX_EPARSE;
    if (err == 0)
        err = px_list_line_id(id, &k.peer, &why);
    if (err == 0)
        *ret = k;
    return err;
}

static int put_line(const struct px_peer_id *peer, const char *key, const char *name,
                    struct px_buf *out)
{
    char id[PX_PEER_ID_TEXT_MAX];
    struct px_nix_public_key parsed;
    bool named = name[0] != '\0';
    if (px_nix_public_key_parse(px_slice_cstr(key), &parsed) != 0 ||
        !px_nix_key_name_plain(parsed.name) || (named && !px_name_valid(px_slice_cstr(name))))
        return PX_EPARSE;
    return px_buf_printf(out, "%s %s%s%s\n", key, px_peer_id_format(peer, id), named ? " # " : "",
                         name);
}

int px_trusted_keys_text_set(struct px_slice text, const struct px_peer_id *peer, const char *key,
                             const char *name, struct px_buf *out)
{
    struct px_slice line;
    bool done = false;
    int err = 0;
    while (err == 0 && px_list_next_line(&text, &line)) {
        struct px_trusted_key k;
        bool theirs = px_trusted_key_parse_line(line, &k) == 0 && px_peer_id_eq(&k.peer, peer);
        if (theirs && !done)
            err = put_line(peer, key, name, out);
        if (!theirs) {
            (void)px_buf_put(out, line);
            err = px_buf_put_u8(out, '\n');
        }
        done |= theirs;
    }
    return err == 0 && !done ? put_line(peer, key, name, out) : err;
}

/* The key of the peer's line and the name its comment is, if it is one. */
static int find_line(struct px_slice text, const struct px_peer_id *peer, struct px_buf *key,
                     char name[PX_AUTH_COMMENT_MAX])
{
    struct px_slice line, words;
    struct px_auth_error why;
    struct px_trusted_key k;
    while (px_list_next_line(&text, &line)) {
        if (px_trusted_key_parse_line(line, &k) != 0 || !px_peer_id_eq(&k.peer, peer))
            continue;
        int err = px_list_line_split(line, &words, name, &why);
        if (err == 0 && !px_name_valid(px_slice_cstr(name)))
            name[0] = '\0';
        if (err == 0)
            err = px_nix_public_key_format(&k.key, key);
        return err != 0 ? err : px_buf_put_u8(key, '\0');
    }
    return PX_ENOENT;
}

int px_trusted_keys_text_copy(struct px_slice text, const struct px_peer_id *from,
                              const struct px_peer_id *to, struct px_buf *out)
{
    char name[PX_AUTH_COMMENT_MAX] = "";
    struct px_buf key;
    px_buf_init(&key, PX_NIX_KEY_TEXT_MAX + 1);
    int err = find_line(text, from, &key, name);
    if (err == 0)
        err = px_trusted_keys_text_set(text, to, (const char *)key.data, name, out);
    px_buf_deinit(&key);
    return err;
}

int px_trusted_keys_text_remove(struct px_slice text, const struct px_peer_id *peer,
                                struct px_buf *out)
{
    struct px_slice line;
    bool found = false;
    while (px_list_next_line(&text, &line)) {
        struct px_trusted_key k;
        if (px_trusted_key_parse_line(line, &k) == 0 && px_peer_id_eq(&k.peer, peer)) {
            found = true;
            continue;
        }
        (void)px_buf_put(out, line);
        (void)px_buf_put_u8(out, '\n');
    }
    return out->err != 0 || found ? out->err : PX_ENOENT;
}

struct change {
    const struct px_peer_id *peer;
    const char *key, *name;
};

static int change_text(void *ctx, struct px_slice text, struct px_buf *out)
{
    const struct change *c = ctx;
    return px_trusted_keys_text_set(text, c->peer, c->key, c->name, out);
}

int px_trusted_keys_file_set(const char *path, const struct px_peer_id *peer, const char *key,
                             const char *name)
{
    struct change c = {peer, key, name};
    return px_edit_file(path, PX_TRUSTED_KEYS_MAX, change_text, &c);
}

/* Whoever may write this file decides what nix takes for good. */
static int check_mode(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return PX_ENOENT;
    return (st.st_mode & S_IWOTH) != 0 ? PX_EPERM : 0;
}

int px_trusted_keys_each(const char *path, const struct px_authorized_keys *keys,
                         const struct px_log *log,
                         int (*each)(void *ctx, const struct px_trusted_key *key), void *ctx)
{
    struct px_buf text;
    struct px_slice rest, line;
    size_t number = 0;
    int err = check_mode(path);
    if (err != 0)
        return err == PX_ENOENT ? 0 : err;
    px_buf_init(&text, PX_TRUSTED_KEYS_MAX);
    err = px_file_read(path, PX_TRUSTED_KEYS_MAX, &text);
    rest = px_buf_slice(&text);
    while (err == 0 && px_list_next_line(&rest, &line)) {
        struct px_trusted_key k;
        number++;
        int bad = px_trusted_key_parse_line(line, &k);
        if (bad != 0 && bad != PX_ENOENT)
            px_log_event(log, PX_LOG_WARN, "trusted_keys.bad_line", PX_F_STR("file", path),
                         PX_F_U64("line", number));
        k.line = number;
        if (bad == 0 && px_authorized_keys_find(keys, &k.peer) != NULL)
            err = each(ctx, &k);
    }
    px_buf_deinit(&text);
    return err == PX_ENOENT ? 0 : err;
}

static int add_key(void *ctx, const struct px_trusted_key *k)
{
    struct px_buf text;
    px_buf_init(&text, PX_NIX_KEY_TEXT_MAX);
    int err = px_nix_public_key_format(&k->key, &text);
    if (err == 0)
        err = px_nix_keys_add(ctx, px_buf_slice(&text));
    px_buf_deinit(&text);
    return err;
}

int px_trusted_keys_load(const char *path, const struct px_authorized_keys *keys,
                         const struct px_log *log, struct px_nix_keys *io_keys)
{
    return px_trusted_keys_each(path, keys, log, add_key, io_keys);
}
