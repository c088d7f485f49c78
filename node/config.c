/* Everything that follows from the program's option table alone: defaults, checked setting, copies,
 * descriptions, the sample file. The table is options.c, the YAML reader yaml_config.c. */
#include "node/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/nix_key.h"
#include "node/nix/nix_conf.h"
#include "node/nix/store.h"
#include "node/program.h"
#include "node/spell.h"
#include "proto/addr.h"

static void *field(struct px_config *c, const struct px_option *o)
{
    return (char *)c + o->offset;
}

static const void *const_field(const struct px_config *c, const struct px_option *o)
{
    return (const char *)c + o->offset;
}

bool px_option_is_list(const struct px_option *o)
{
    return o->type == PX_OPT_KEYS || o->type == PX_OPT_HOSTS;
}

const struct px_option *px_option_by_name(struct px_slice name)
{
    for (size_t i = 0; i < px_option_count; i++)
        if (px_slice_eq_cstr(name, px_options[i].name))
            return &px_options[i];
    return NULL;
}

const struct px_option *px_option_by_flag(struct px_slice flag)
{
    for (size_t i = 0; i < px_option_count; i++)
        if (px_options[i].flag != NULL && px_slice_eq_cstr(flag, px_options[i].flag))
            return &px_options[i];
    return NULL;
}

/* "error|warn|info" as "error, warn or info" */
static void describe_enum(const char *allowed, struct px_buf *out)
{
    struct px_slice rest = px_slice_cstr(allowed), word;
    bool first = true;
    while (px_slice_split(&rest, '|', &word)) {
        if (!first)
            (void)px_buf_put_cstr(out, rest.len > 0 ? ", " : " or ");
        (void)px_buf_put(out, word);
        first = false;
    }
}

/* What `allowed` says of a PX_OPT_ADDR. */
static bool allows(const struct px_option *o, const char *word)
{
    return o->allowed != NULL && strcmp(o->allowed, word) == 0;
}

/* In the largest unit it is a whole number of, as people write it. */
static const char *duration_text(unsigned long long msec, char out[24])
{
    static const struct {
        unsigned long long msec;
        const char *unit;
    } units[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (msec == 0 || msec % units[i].msec != 0)
        if (++i == PX_ARRAY_LEN(units))
            return "0";
    snprintf(out, 24, "%llu%s", msec / units[i].msec, units[i].unit);
    return out;
}

const char *px_option_describe(const struct px_option *o, char out[PX_OPTION_TEXT_MAX])
{
    unsigned long long min = o->min, max = o->max;
    char from[24], to[24];
    struct px_buf words;
    switch (o->type) {
    case PX_OPT_STRING:
        if (allows(o, "host"))
            snprintf(out, PX_OPTION_TEXT_MAX, "HOST:PORT or [IPv6]:PORT, or nothing");
        else
            snprintf(out, PX_OPTION_TEXT_MAX, "text of %llu..%llu bytes", min, max);
        break;
    case PX_OPT_STORE:
        snprintf(out, PX_OPTION_TEXT_MAX, "auto, daemon, unix:///SOCKET, local or local?root=/DIR");
        break;
    case PX_OPT_PATH:
        snprintf(out, PX_OPTION_TEXT_MAX, "a path of at most %llu bytes", max);
        break;
    case PX_OPT_BOOL:
        snprintf(out, PX_OPTION_TEXT_MAX, "true or false");
        break;
    case PX_OPT_UINT:
        snprintf(out, PX_OPTION_TEXT_MAX, "a number of %llu..%llu", min, max);
        break;
    case PX_OPT_MSEC:
        snprintf(out, PX_OPTION_TEXT_MAX, "a duration of %s..%s", duration_text(min, from),
                 duration_text(max, to));
        break;
    case PX_OPT_ADDR:
        snprintf(out, PX_OPTION_TEXT_MAX, "a%s numeric address like \"%s\"%s",
                 allows(o, "loopback") ? " loopback" : "", o->value,
                 allows(o, "none") ? ", or nothing" : "");
        break;
    case PX_OPT_ENUM:
        px_buf_init(&words, PX_OPTION_TEXT_MAX - 1);
        describe_enum(o->allowed, &words);
        snprintf(out, PX_OPTION_TEXT_MAX, "%.*s", (int)words.len, (const char *)words.data);
        px_buf_deinit(&words);
        break;
    case PX_OPT_KEYS:
        snprintf(out, PX_OPTION_TEXT_MAX, "a public key NAME:BASE64");
        break;
    case PX_OPT_HOSTS:
        snprintf(out, PX_OPTION_TEXT_MAX, "HOST:PORT or [IPv6]:PORT");
        break;
    }
    return out;
}

/* Control bytes would let a value forge lines wherever it is printed. */
static bool plain_text(struct px_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < ' ' || s.data[i] == 0x7f)
            return false;
    return true;
}

static bool enum_allows(const char *allowed, struct px_slice text)
{
    struct px_slice rest = px_slice_cstr(allowed), word;
    while (px_slice_split(&rest, '|', &word))
        if (px_slice_eq(word, text))
            return true;
    return false;
}

int px_config_parse_msec(struct px_slice text, uint64_t *ret)
{
    static const struct {
        const char *name;
        uint64_t msec;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    struct px_slice unit = px_slice_trim(px_slice_skip(text, digits));
    uint64_t n;
    int err = px_slice_parse_u64(px_slice_take(text, digits), &n);
    if (err != 0)
        return err;
    for (size_t i = 0; i < PX_ARRAY_LEN(units); i++)
        if (px_slice_eq_cstr(unit, units[i].name))
            return __builtin_mul_overflow(n, units[i].msec, ret) ? PX_EPARSE : 0;
    return PX_EPARSE;
}

static int set_string(struct px_config *c, const struct px_option *o, struct px_slice text)
{
    char **at = field(c, o);
    char *copy = px_slice_dup_cstr(text);
    if (copy == NULL)
        return PX_ENOMEM;
    free(*at);
    *at = copy;
    return 0;
}

static int set_number(struct px_config *c, const struct px_option *o, int err, uint64_t n)
{
    uint64_t *at = field(c, o);
    if (err != 0 || n < o->min || n > o->max)
        return PX_EPARSE;
    *at = n;
    return 0;
}

static int set_bool(struct px_config *c, const struct px_option *o, struct px_slice text)
{
    bool *at = field(c, o);
    if (!px_slice_eq_cstr(text, "true") && !px_slice_eq_cstr(text, "false"))
        return PX_EPARSE;
    *at = px_slice_eq_cstr(text, "true");
    return 0;
}

static int set_addr(struct px_config *c, const struct px_option *o, struct px_slice text)
{
    struct px_addr a;
    bool none = allows(o, "none") && text.len == 0;
    if (!none &&
        (px_addr_parse(text, &a) != 0 || (allows(o, "loopback") && !px_addr_is_loopback(&a))))
        return PX_EPARSE;
    return set_string(c, o, text);
}

static int set_store(struct px_config *c, const struct px_option *o, struct px_slice text)
{
    struct px_store_uri uri;
    char *copy = px_slice_dup_cstr(text);
    int err = copy == NULL ? PX_ENOMEM : px_store_uri_parse(copy, &uri, NULL, 0);
    free(copy);
    return err != 0 ? err : set_string(c, o, text);
}

/* What is there already is not added again. */
static int add_item(struct px_string_list *list, size_t max, struct px_slice text)
{
    for (size_t i = 0; i < list->count; i++)
        if (px_slice_eq_cstr(text, list->items[i]))
            return 0;
    if (list->count >= max)
        return PX_ELIMIT;
    char *copy = px_slice_dup_cstr(text);
    char **items = reallocarray(list->items, list->count + 1, sizeof(*items));
    if (items != NULL)
        list->items = items;
    if (copy == NULL || items == NULL) {
        free(copy);
        return PX_ENOMEM;
    }
    list->items[list->count++] = copy;
    return 0;
}

static int add_key(struct px_config *c, const struct px_option *o, struct px_slice text)
{
    struct px_nix_public_key key;
    int err = px_nix_public_key_parse(text, &key);
    return err != 0 ? PX_EPARSE : add_item(field(c, o), PX_CONFIG_LIST_MAX, text);
}

static int add_host(struct px_config *c, const struct px_option *o, struct px_slice text)
{
    struct px_slice host;
    struct px_addr a;
    uint16_t port;
    int err = px_hostport_split(text, &host, &port);
    if (err == 0 && px_addr_parse(text, &a) == 0 && a.scope != 0)
        err = PX_EPARSE; /* an interface of ours means nothing elsewhere */
    return err != 0 ? PX_EPARSE : add_item(field(c, o), o->max, text);
}

static int set_value(struct px_config *c, const struct px_option *o, struct px_slice text)
{
    struct px_slice host;
    uint16_t port;
    uint64_t n = 0;
    if (!plain_text(text))
        return PX_EPARSE;
    switch (o->type) {
    case PX_OPT_STRING:
        if (allows(o, "host") && text.len > 0 && px_hostport_split(text, &host, &port) != 0)
            return PX_EPARSE;
        return text.len < o->min || text.len > o->max ? PX_EPARSE : set_string(c, o, text);
    case PX_OPT_PATH:
        return text.len < o->min || text.len > o->max ? PX_EPARSE : set_string(c, o, text);
    case PX_OPT_STORE:
        return set_store(c, o, text);
    case PX_OPT_BOOL:
        return set_bool(c, o, text);
    case PX_OPT_UINT: {
        int err = px_slice_parse_u64(text, &n);
        return set_number(c, o, err, n);
    }
    case PX_OPT_MSEC: {
        int err = px_config_parse_msec(text, &n);
        return set_number(c, o, err, n);
    }
    case PX_OPT_ADDR:
        return set_addr(c, o, text);
    case PX_OPT_ENUM:
        return enum_allows(o->allowed, text) ? set_string(c, o, text) : PX_EPARSE;
    case PX_OPT_KEYS:
        return add_key(c, o, text);
    case PX_OPT_HOSTS:
        return add_host(c, o, text);
    }
    return PX_EINVAL;
}

static size_t list_max(const struct px_option *o)
{
    return o->type == PX_OPT_HOSTS ? o->max : PX_CONFIG_LIST_MAX;
}

int px_config_set(struct px_config *c, const struct px_option *o, struct px_slice text,
                  const char *where, char *ret_message, size_t message_size)
{
    char word[PX_SPELL_QUOTE_MAX], allowed[PX_OPTION_TEXT_MAX];
    int err = set_value(c, o, text);
    if (err == PX_EPARSE)
        snprintf(ret_message, message_size, "%s: '%s' is not %s", where, px_spell_quote(text, word),
                 px_option_describe(o, allowed));
    else if (err == PX_ELIMIT)
        snprintf(ret_message, message_size, "%s: more than %zu entries", where, list_max(o));
    else if (err != 0)
        snprintf(ret_message, message_size, "%s: %s", where, px_strerror(err));
    return err == PX_ELIMIT ? PX_EPARSE : err;
}

int px_config_new(struct px_config **ret)
{
    struct px_config *c = calloc(1, px_config_size);
    if (c == NULL)
        return PX_ENOMEM;
    for (size_t i = 0; i < px_option_count; i++) {
        const struct px_option *o = &px_options[i];
        if (px_option_is_list(o) && o->value[0] == '\0')
            continue;
        int err = set_value(c, o, px_slice_cstr(o->value));
        if (err != 0) {
            px_config_free(c);
            return err;
        }
    }
    *ret = c;
    return 0;
}

static void free_value(struct px_config *c, const struct px_option *o)
{
    struct px_string_list *list;
    char **text;
    switch (o->type) {
    case PX_OPT_STRING:
    case PX_OPT_STORE:
    case PX_OPT_PATH:
    case PX_OPT_ADDR:
    case PX_OPT_ENUM:
        text = field(c, o);
        free(*text);
        break;
    case PX_OPT_KEYS:
    case PX_OPT_HOSTS:
        list = field(c, o);
        for (size_t i = 0; i < list->count; i++)
            free(list->items[i]);
        free(list->items);
        break;
    case PX_OPT_BOOL:
    case PX_OPT_UINT:
    case PX_OPT_MSEC:
        break;
    }
}

void px_config_free(struct px_config *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < px_option_count; i++)
        free_value(c, &px_options[i]);
    free(c);
}

static int copy_value(struct px_config *to, const struct px_config *from, const struct px_option *o)
{
    const struct px_string_list *list;
    const char *const *text;
    int err = 0;
    switch (o->type) {
    case PX_OPT_STRING:
    case PX_OPT_STORE:
    case PX_OPT_PATH:
    case PX_OPT_ADDR:
    case PX_OPT_ENUM:
        text = const_field(from, o);
        return set_string(to, o, px_slice_cstr(*text));
    case PX_OPT_KEYS:
    case PX_OPT_HOSTS:
        list = const_field(from, o);
        for (size_t i = 0; i < list->count && err == 0; i++)
            err = set_value(to, o, px_slice_cstr(list->items[i]));
        return err;
    case PX_OPT_BOOL:
        memcpy(field(to, o), const_field(from, o), sizeof(bool));
        return 0;
    case PX_OPT_UINT:
    case PX_OPT_MSEC:
        memcpy(field(to, o), const_field(from, o), sizeof(uint64_t));
        return 0;
    }
    return PX_EINVAL;
}

int px_config_copy(const struct px_config *c, struct px_config **ret)
{
    struct px_config *copy;
    int err = px_config_new(&copy);
    for (size_t i = 0; i < px_option_count && err == 0; i++) {
        err = copy_value(copy, c, &px_options[i]);
        if (err != 0)
            px_config_free(copy);
    }
    if (err == 0)
        *ret = copy;
    return err;
}

static void sample_default(const struct px_option *o, struct px_buf *out)
{
    switch (o->type) {
    case PX_OPT_STRING:
    case PX_OPT_STORE:
    case PX_OPT_PATH:
    case PX_OPT_ADDR: /* brackets would start a YAML list */
        (void)px_buf_printf(out, "#%s: \"%s\"\n", o->name, o->value);
        break;
    case PX_OPT_BOOL:
    case PX_OPT_UINT:
    case PX_OPT_MSEC:
    case PX_OPT_ENUM:
        (void)px_buf_printf(out, "#%s: %s\n", o->name, o->value);
        break;
    case PX_OPT_KEYS:
    case PX_OPT_HOSTS:
        if (o->value[0] != '\0')
            (void)px_buf_printf(out, "#%s:  # this one is always in the list\n#  - \"%s\"\n",
                                o->name, o->value);
        else
            (void)px_buf_printf(out, "#%s: []\n", o->name);
        break;
    }
}

int px_config_sample(struct px_buf *out)
{
    char allowed[PX_OPTION_TEXT_MAX];
    (void)px_buf_printf(out,
                        "# Configuration of %s. Every option is shown with its default;\n"
                        "# flags of `%s daemon` beat this file.\n"
                        "# Check with: %s config validate\n",
                        px_program.name, px_program.name, px_program.name);
    for (size_t i = 0; i < px_option_count; i++) {
        const struct px_option *o = &px_options[i];
        (void)px_buf_printf(out, "\n# %s\n# Takes %s%s.\n", o->help,
                            px_option_is_list(o) ? "a list, each entry " : "",
                            px_option_describe(o, allowed));
        sample_default(o, out);
    }
    return out->err;
}
