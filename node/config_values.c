/* Values of a configuration as text, and what differs between two of them. */
#include <inttypes.h>

#include "node/config.h"

static const void *value_of(const struct px_config *c, const struct px_option *o)
{
    return (const char *)c + o->offset;
}

static const char *text_of(const struct px_config *c, const struct px_option *o)
{
    const char *const *at = value_of(c, o);
    return *at;
}

static bool same_list(const struct px_string_list *a, const struct px_string_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

bool px_config_same_value(const struct px_config *a, const struct px_config *b,
                          const struct px_option *o)
{
    switch (o->type) {
    case PX_OPT_STRING:
    case PX_OPT_STORE:
    case PX_OPT_PATH:
    case PX_OPT_ADDR:
    case PX_OPT_ENUM:
        return strcmp(text_of(a, o), text_of(b, o)) == 0;
    case PX_OPT_BOOL:
        return memcmp(value_of(a, o), value_of(b, o), sizeof(bool)) == 0;
    case PX_OPT_UINT:
    case PX_OPT_MSEC:
        return memcmp(value_of(a, o), value_of(b, o), sizeof(uint64_t)) == 0;
    case PX_OPT_KEYS:
    case PX_OPT_HOSTS:
        return same_list(value_of(a, o), value_of(b, o));
    }
    return false;
}

enum px_config_change px_config_compare(const struct px_config *a, const struct px_config *b)
{
    enum px_config_change change = PX_CONFIG_SAME;
    for (size_t i = 0; i < px_option_count; i++) {
        const struct px_option *o = &px_options[i];
        if (px_config_same_value(a, b, o))
            continue;
        if (!o->live)
            return PX_CONFIG_RESTART;
        change = PX_CONFIG_LIVE;
    }
    return change;
}

/* In YAML's double quotes; values hold no control bytes (px_config_set). */
static void put_quoted(struct px_buf *out, const char *text)
{
    (void)px_buf_put_u8(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            (void)px_buf_put_u8(out, '\\');
        (void)px_buf_put_u8(out, (uint8_t)*text);
    }
    (void)px_buf_put_u8(out, '"');
}

static void put_list(struct px_buf *out, const struct px_string_list *list)
{
    if (list->count == 0)
        (void)px_buf_put_cstr(out, "[]");
    for (size_t i = 0; i < list->count; i++) {
        (void)px_buf_put_cstr(out, "\n  - ");
        put_quoted(out, list->items[i]);
    }
}

int px_config_put_value(const struct px_config *c, const struct px_option *o, struct px_buf *out)
{
    const bool *flag = value_of(c, o);
    const uint64_t *number = value_of(c, o);
    switch (o->type) {
    case PX_OPT_STRING:
    case PX_OPT_STORE:
    case PX_OPT_PATH:
    case PX_OPT_ADDR:
        put_quoted(out, text_of(c, o));
        break;
    case PX_OPT_ENUM:
        (void)px_buf_put_cstr(out, text_of(c, o));
        break;
    case PX_OPT_BOOL:
        (void)px_buf_put_cstr(out, *flag ? "true" : "false");
        break;
    case PX_OPT_UINT:
        (void)px_buf_printf(out, "%" PRIu64, *number);
        break;
    case PX_OPT_MSEC:
        (void)px_buf_printf(out, "%" PRIu64 "ms", *number);
        break;
    case PX_OPT_KEYS:
    case PX_OPT_HOSTS:
        put_list(out, value_of(c, o));
        break;
    }
    return out->err;
}

int px_config_check(struct px_slice text, const char *file, char *ret_message, size_t message_size)
{
    struct px_config *c;
    int err = px_config_new(&c);
    if (err != 0)
        return err;
    err = px_config_parse(c, text, file, ret_message, message_size);
    px_config_free(c);
    return err;
}
