/* Reads config.yaml: one flat mapping of option names to values or lists of values, by libyaml's
 * events, so that every error has its line. The one home of libyaml.
 *
 * What YAML offers beyond that is refused by name: aliases, anchors, tags, nesting, several
 * documents, duplicate keys. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "node/config.h"
#include "node/spell.h"

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; a zeroed event holds nothing */
    struct px_slice text;
    struct px_config *config;
    size_t *seen; /* line of each option's first use, 0: none */
    const char *file;
    char *message;
    size_t message_size;
};

static size_t event_line(const struct reader *r)
{
    return r->event.start_mark.line + 1;
}

static int fail(struct reader *r, size_t line, const char *fmt, ...) PX_PRINTF(3, 4);

static int fail(struct reader *r, size_t line, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    snprintf(r->message, r->message_size, "%s:%zu: %s", r->file, line, what);
    return PX_EPARSE;
}

/* libyaml's text for a tab is about tokens; people need the word "tab". */
static bool line_has_tab(struct px_slice text, size_t line)
{
    struct px_slice row = {NULL, 0};
    for (size_t i = 0; i < line; i++)
        if (!px_slice_split(&text, '\n', &row))
            return false;
    return row.len > 0 && memchr(row.data, '\t', row.len) != NULL;
}

static int fail_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) {
        snprintf(r->message, r->message_size, "%s: %s", r->file, px_strerror(PX_ENOMEM));
        return PX_ENOMEM;
    }
    size_t line = p->problem_mark.line + 1;
    if (p->error == YAML_READER_ERROR) {
        /* the reader knows an offset only */
        struct px_slice before = px_slice_take(r->text, p->problem_offset);
        line = 1;
        for (size_t i = 0; i < before.len; i++)
            line += before.data[i] == '\n';
    }
    if (line_has_tab(r->text, line))
        return fail(r, line, "tabs are not allowed here; use spaces");
    return fail(r, line, "not valid YAML: %s", p->problem != NULL ? p->problem : "unknown error");
}

/* What scalars and collections may carry and configurations need not. */
static int refuse_extras(struct reader *r)
{
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_ALIAS_EVENT)
        return fail(r, event_line(r), "aliases (*) are not supported; quote the value");
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (anchor != NULL)
        return fail(r, event_line(r), "anchors (&) are not supported; quote the value");
    if (tag != NULL)
        return fail(r, event_line(r), "tags (!) are not supported; quote the value");
    return 0;
}

static int next(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        memset(&r->event, 0, sizeof(r->event));
        return fail_syntax(r);
    }
    return refuse_extras(r);
}

static struct px_slice scalar(const struct reader *r)
{
    return px_slice(r->event.data.scalar.value, r->event.data.scalar.length);
}

static int set_scalar(struct reader *r, const struct px_option *o)
{
    char where[512];
    snprintf(where, sizeof(where), "%s:%zu: %s", r->file, event_line(r), o->name);
    return px_config_set(r->config, o, scalar(r), where, r->message, r->message_size);
}

static int read_list(struct reader *r, const struct px_option *o)
{
    for (;;) {
        int err = next(r);
        if (err != 0)
            return err;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail(r, event_line(r), "%s: entries are plain values, nothing nested", o->name);
        err = set_scalar(r, o);
        if (err != 0)
            return err;
    }
}

/* The event after a key: its value, with everything that belongs to it. */
static int read_value(struct reader *r, const struct px_option *o)
{
    bool list = px_option_is_list(o);
    char allowed[PX_OPTION_TEXT_MAX];
    int err = next(r);
    if (err != 0)
        return err;
    if (r->event.type == YAML_SCALAR_EVENT) {
        if (!list)
            return set_scalar(r, o);
        if (r->event.data.scalar.length == 0)
            return 0; /* a key whose entries are all commented out */
        return fail(r, event_line(r), "%s: is a list; write each entry as a line `  - \"%s\"`",
                    o->name, o->arg);
    }
    if (r->event.type == YAML_SEQUENCE_START_EVENT && list)
        return read_list(r, o);
    return fail(r, event_line(r), "%s: must be one value, quoted if it has brackets: %s", o->name,
                px_option_describe(o, allowed));
}

static int fail_unknown_key(struct reader *r)
{
    char word[PX_SPELL_QUOTE_MAX];
    struct px_spell near = {.word = scalar(r)};
    for (size_t i = 0; i < px_option_count; i++)
        px_spell_offer(&near, px_options[i].name);
    px_spell_quote(near.word, word);
    if (near.best != NULL)
        return fail(r, event_line(r), "unknown key '%s'; did you mean '%s'?", word, near.best);
    return fail(r, event_line(r), "unknown key '%s'; see `peerix config sample`", word);
}

static int read_mapping(struct reader *r)
{
    for (;;) {
        int err = next(r);
        if (err != 0)
            return err;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail(r, event_line(r), "a key must be one plain word");
        const struct px_option *o = px_option_by_name(scalar(r));
        if (o == NULL)
            return fail_unknown_key(r);
        size_t *seen = &r->seen[o - px_options];
        if (*seen != 0)
            return fail(r, event_line(r), "'%s' is given twice, first in line %zu", o->name, *seen);
        *seen = event_line(r);
        err = read_value(r, o);
        if (err != 0)
            return err;
    }
}

/* A document that is empty but for comments is one empty scalar. */
static int read_document(struct reader *r)
{
    int err = next(r);
    if (err != 0)
        return err;
    if (r->event.type == YAML_MAPPING_START_EVENT)
        err = read_mapping(r);
    else if (r->event.type != YAML_SCALAR_EVENT || r->event.data.scalar.length != 0)
        err = fail(r, event_line(r), "expected lines of the form `key: value`");
    return err != 0 ? err : next(r); /* the document's end */
}

static int read_stream(struct reader *r)
{
    int err = next(r); /* the stream's start */
    if (err == 0)
        err = next(r);
    if (err == 0 && r->event.type == YAML_DOCUMENT_START_EVENT) {
        err = read_document(r);
        if (err == 0)
            err = next(r);
    }
    if (err == 0 && r->event.type != YAML_STREAM_END_EVENT)
        err = fail(r, event_line(r), "a second document begins; only one is allowed");
    return err;
}

static int parse_into(struct reader *r)
{
    if (!yaml_parser_initialize(&r->parser))
        return PX_ENOMEM;
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, r->text.data, r->text.len);
    int err = read_stream(r);
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
    return err;
}

static void swap(struct px_config *a, struct px_config *b)
{
    uint8_t *x = (uint8_t *)a, *y = (uint8_t *)b;
    for (size_t i = 0; i < px_config_size; i++) {
        uint8_t old = x[i];
        x[i] = y[i];
        y[i] = old;
    }
}

int px_config_parse(struct px_config *c, struct px_slice text, const char *file, char *ret_message,
                    size_t message_size)
{
    struct reader r = {
        .text = text, .file = file, .message = ret_message, .message_size = message_size};
    if (text.len > PX_CONFIG_FILE_MAX) {
        snprintf(ret_message, message_size, "%s: larger than 1 MiB", file);
        return PX_EPARSE;
    }
    if (text.len == 0)
        return 0;
    snprintf(ret_message, message_size, "%s: %s", file, px_strerror(PX_ENOMEM));
    int err = px_config_copy(c, &r.config);
    if (err != 0)
        return err;
    r.seen = calloc(px_option_count, sizeof(*r.seen));
    err = r.seen == NULL ? PX_ENOMEM : parse_into(&r);
    if (err == 0) {
        swap(c, r.config);
    }
    free(r.seen);
    px_config_free(r.config);
    return err;
}
