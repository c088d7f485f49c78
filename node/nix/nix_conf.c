/* nix.conf(5) as far as signing keys go: `name = words`, `#` comments anywhere, includes read in
 * place and relative to the file that names them, `extra-` appends, a plain setting replaces. */
#include "node/nix/nix_conf.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/file_io.h"

const char px_nix_default_key[] = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

/* One run over a file and what it includes. */
struct scan {
    const struct px_log *log;
    struct px_nix_keys found;
    bool replaced; /* trusted-public-keys was set, so the default does not count */
    size_t files;
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of rest; empty at its end. */
static struct px_slice next_word(struct px_slice *rest)
{
    size_t start = 0;
    while (start < rest->len && is_blank(rest->data[start]))
        start++;
    size_t end = start;
    while (end < rest->len && !is_blank(rest->data[end]))
        end++;
    struct px_slice word = px_slice_skip(px_slice_take(*rest, end), start);
    *rest = px_slice_skip(*rest, end);
    return word;
}

int px_nix_conf_parse_line(struct px_slice line, struct px_nix_conf_line *ret)
{
    struct px_slice rest = {NULL, 0};
    (void)px_slice_split(&line, '#', &rest);
    struct px_slice name = next_word(&rest);
    if (name.len == 0) {
        *ret = (struct px_nix_conf_line){.kind = PX_NIX_CONF_EMPTY};
        return 0;
    }
    bool optional = px_slice_eq_cstr(name, "!include");
    if (optional || px_slice_eq_cstr(name, "include")) {
        struct px_slice path = next_word(&rest);
        if (path.len == 0 || next_word(&rest).len != 0)
            return PX_EPARSE;
        *ret = (struct px_nix_conf_line){
            optional ? PX_NIX_CONF_INCLUDE_OPTIONAL : PX_NIX_CONF_INCLUDE, name, path};
        return 0;
    }
    if (!px_slice_eq_cstr(next_word(&rest), "="))
        return PX_EPARSE;
    *ret = (struct px_nix_conf_line){PX_NIX_CONF_SETTING, name, rest};
    return 0;
}

int px_nix_keys_add(struct px_nix_keys *keys, struct px_slice text)
{
    struct px_nix_public_key key;
    int err = px_nix_public_key_parse(text, &key);
    if (err != 0)
        return err;
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->keys[i].name, key.name) == 0 &&
            memcmp(keys->keys[i].key, key.key, sizeof(key.key)) == 0)
            return 0;
    if (keys->count >= PX_NIX_KEYS_MAX)
        return PX_ELIMIT;
    struct px_nix_public_key *more = reallocarray(keys->keys, keys->count + 1, sizeof(*more));
    if (more == NULL)
        return PX_ENOMEM;
    more[keys->count] = key;
    *keys = (struct px_nix_keys){more, keys->count + 1};
    return 0;
}

void px_nix_keys_deinit(struct px_nix_keys *keys)
{
    free(keys->keys);
    *keys = (struct px_nix_keys){NULL, 0};
}

static void warn(const struct scan *s, const char *path, size_t line, const char *why)
{
    px_log_event(s->log, PX_LOG_WARN, "nix_conf.skipped", PX_F_STR("file", path),
                 PX_F_U64("line", line), PX_F_STR("why", why));
}

/* PX_ENOMEM or 0: what is wrong with a key is a warning. */
static int add_keys(struct scan *s, struct px_slice words, const char *path, size_t line)
{
    for (;;) {
        struct px_slice word = next_word(&words);
        if (word.len == 0)
            return 0;
        int err = px_nix_keys_add(&s->found, word);
        if (err == PX_ENOMEM)
            return err;
        if (err != 0)
            warn(s, path, line, err == PX_ELIMIT ? "too many keys" : "not a public key");
    }
}

static int apply_setting(struct scan *s, const struct px_nix_conf_line *l, const char *path,
                         size_t line)
{
    struct px_slice name = l->name;
    bool extra = px_slice_starts(name, PX_SLICE_LIT("extra-"));
    if (extra)
        name = px_slice_skip(name, 6);
    /* the second is the name of the setting before nix 2.0, still read by nix */
    if (!px_slice_eq_cstr(name, "trusted-public-keys") &&
        !px_slice_eq_cstr(name, "binary-cache-public-keys"))
        return 0;
    if (!extra) {
        px_nix_keys_deinit(&s->found);
        s->replaced = true;
    } else if (!s->replaced) {
        /* `extra-` appends to what is in force, which may be the default */
        int err = px_nix_keys_add(&s->found, px_slice_cstr(px_nix_default_key));
        if (err == PX_ENOMEM)
            return err;
    }
    return add_keys(s, l->value, path, line);
}

static int read_file(struct scan *s, const char *path, bool optional, size_t depth);

/* `name` is relative to the directory of `path`. */
static int apply_include(struct scan *s, const struct px_nix_conf_line *l, const char *path,
                         size_t line, size_t depth)
{
    char target[4096];
    const char *slash = strrchr(path, '/');
    int dir = l->value.data[0] == '/' || slash == NULL ? 0 : (int)(slash - path) + 1;
    int n = snprintf(target, sizeof(target), "%.*s%.*s", dir, path, (int)l->value.len,
                     (const char *)l->value.data);
    if (n < 0 || (size_t)n >= sizeof(target) || memchr(l->value.data, '\0', l->value.len) != NULL) {
        warn(s, path, line, "bad include path");
        return 0;
    }
    if (depth >= PX_NIX_CONF_DEPTH_MAX || s->files >= PX_NIX_CONF_FILES_MAX) {
        warn(s, path, line, "too many includes");
        return 0;
    }
    return read_file(s, target, l->kind == PX_NIX_CONF_INCLUDE_OPTIONAL, depth + 1);
}

static int apply_text(struct scan *s, struct px_slice text, const char *path, size_t depth)
{
    struct px_slice row;
    int err = 0;
    for (size_t line = 1; err == 0 && px_slice_split(&text, '\n', &row); line++) {
        struct px_nix_conf_line l;
        if (px_nix_conf_parse_line(row, &l) != 0) {
            warn(s, path, line, "not a setting");
            continue;
        }
        switch (l.kind) {
        case PX_NIX_CONF_EMPTY:
            break;
        case PX_NIX_CONF_SETTING:
            err = apply_setting(s, &l, path, line);
            break;
        case PX_NIX_CONF_INCLUDE:
        case PX_NIX_CONF_INCLUDE_OPTIONAL:
            err = apply_include(s, &l, path, line, depth);
            break;
        }
    }
    return err;
}

static int read_file(struct scan *s, const char *path, bool optional, size_t depth)
{
    struct px_buf text;
    px_buf_init(&text, PX_NIX_CONF_FILE_MAX);
    s->files++;
    int err = px_file_read(path, PX_NIX_CONF_FILE_MAX, &text);
    if (err == 0) {
        err = apply_text(s, px_buf_slice(&text), path, depth);
    } else if (err != PX_ENOMEM) {
        if (!optional || err != PX_ENOENT)
            px_log_event(s->log, PX_LOG_WARN, "nix_conf.unreadable", PX_F_STR("file", path),
                         PX_F_ERR(err));
        err = 0;
    }
    px_buf_deinit(&text);
    return err;
}

static int append_found(const struct scan *s, struct px_nix_keys *keys)
{
    size_t count = keys->count + s->found.count;
    if (s->found.count == 0)
        return 0;
    struct px_nix_public_key *more = reallocarray(keys->keys, count, sizeof(*more));
    if (more == NULL)
        return PX_ENOMEM;
    memcpy(more + keys->count, s->found.keys, s->found.count * sizeof(*more));
    *keys = (struct px_nix_keys){more, count};
    return 0;
}

int px_nix_conf_keys(const char *path, const struct px_log *log, struct px_nix_keys *keys)
{
    struct scan s = {.log = log};
    int err = path[0] == '\0' ? 0 : read_file(&s, path, true, 0);
    /* without a setting of its own nix trusts its default key */
    if (err == 0 && !s.replaced &&
        px_nix_keys_add(&s.found, px_slice_cstr(px_nix_default_key)) == PX_ENOMEM)
        err = PX_ENOMEM;
    if (err == 0)
        err = append_found(&s, keys);
    px_nix_keys_deinit(&s.found);
    return err;
}
