/* Rendering of JSON for people. */
#include "node/control_text.h"

#include <stdio.h>

#define CELL_MAX 4096 /* a longer value is an ellipsis */

/* --- characters --- */

/* The character at the beginning of valid UTF-8 text, and its length. */
static uint32_t decode(const char *text, size_t *ret_len)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t more = s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
    uint32_t c = more == 0 ? s[0] : s[0] & (0x3fu >> more);
    size_t i = 1;
    for (; i <= more && (s[i] & 0xc0) == 0x80; i++)
        c = c << 6 | (s[i] & 0x3f);
    *ret_len = i;
    return c;
}

static bool is_dangerous(uint32_t c)
{
    return c < ' ' || (c >= 0x7f && c <= 0x9f) || c == 0x200e || c == 0x200f || c == 0x61c ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

int px_control_put_text(struct px_buf *out, const char *text)
{
    size_t n;
    for (; *text != '\0'; text += n) {
        uint32_t c = decode(text, &n);
        if (!is_dangerous(c))
            (void)px_buf_put(out, px_slice(text, n));
        else if (c <= 0xff)
            (void)px_buf_printf(out, "\\x%02x", c);
        else
            (void)px_buf_printf(out, "\\u{%x}", c);
    }
    return out->err;
}

/* Columns it takes on a terminal, for text that has no wide characters. */
static size_t width(struct px_slice text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += (text.data[i] & 0xc0) != 0x80;
    return n;
}

/* --- values --- */

static int put_scalar(struct px_buf *out, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        return px_control_put_text(out, json_string_length(v) > 0 ? json_string_value(v) : "-");
    case JSON_INTEGER:
        return px_buf_printf(out, "%lld", (long long)json_integer_value(v));
    case JSON_REAL:
        return px_buf_printf(out, "%.6g", json_real_value(v));
    case JSON_TRUE:
        return px_buf_put_cstr(out, "yes");
    case JSON_FALSE:
        return px_buf_put_cstr(out, "no");
    case JSON_OBJECT:
        return px_buf_put_cstr(out, "{…}");
    case JSON_ARRAY:
        return px_buf_put_cstr(out, "[…]");
    case JSON_NULL:
        break;
    }
    return px_buf_put_u8(out, '-');
}

int px_control_put_value(struct px_buf *out, const json_t *value)
{
    size_t i;
    json_t *item;
    if (value == NULL || (json_is_array(value) && json_array_size(value) == 0))
        return px_buf_put_u8(out, '-');
    if (!json_is_array(value))
        return put_scalar(out, value);
    json_array_foreach(value, i, item)
    {
        if (i > 0)
            (void)px_buf_put_u8(out, ',');
        (void)put_scalar(out, item);
    }
    return out->err;
}

/* --- objects --- */

#define PREFIX_MAX 128

static bool has_objects(const json_t *v)
{
    return json_is_array(v) && json_is_object(json_array_get(v, 0));
}

static void put_members(struct px_buf *out, const char *prefix, const json_t *object)
{
    const char *key;
    json_t *v;
    char path[PREFIX_MAX];
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        snprintf(path, sizeof(path), "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", key);
        if (json_is_object(v)) {
            put_members(out, path, v);
        } else if (has_objects(v)) {
            size_t i;
            json_t *item;
            json_array_foreach(v, i, item)
            {
                snprintf(path, sizeof(path), "%s%s%s.%zu", prefix, prefix[0] != '\0' ? "." : "",
                         key, i);
                put_members(out, path, item);
            }
        } else {
            (void)px_control_put_text(out, path);
            (void)px_buf_put_cstr(out, ": ");
            (void)px_control_put_value(out, v);
            (void)px_buf_put_u8(out, '\n');
        }
    }
}

int px_control_put_object(struct px_buf *out, const json_t *object)
{
    put_members(out, "", object);
    return out->err;
}

int px_control_put_line(struct px_buf *out, const json_t *object)
{
    const char *key;
    json_t *v;
    bool first = true;
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        if (!first)
            (void)px_buf_put_u8(out, ' ');
        first = false;
        (void)px_control_put_text(out, key);
        (void)px_buf_put_u8(out, '=');
        (void)px_control_put_value(out, v);
    }
    return px_buf_put_u8(out, '\n');
}

/* --- tables --- */

static const json_t *member(const json_t *row, const char *key)
{
    struct px_slice rest = px_slice_cstr(key), name;
    while (row != NULL && px_slice_split(&rest, '.', &name)) {
        char one[64];
        snprintf(one, sizeof(one), "%.*s", (int)name.len, (const char *)name.data);
        row = json_object_get(row, one);
    }
    return row;
}

static int put_cell(struct px_buf *out, const json_t *row, const char *key)
{
    struct px_buf cell;
    px_buf_init(&cell, CELL_MAX);
    int err = px_control_put_value(&cell, member(row, key));
    if (err == PX_ELIMIT)
        err = px_buf_put_cstr(out, "…");
    else if (err == 0)
        err = px_buf_put(out, px_buf_slice(&cell));
    px_buf_deinit(&cell);
    return err;
}

/* Appends blanks up to `to` columns since `from` bytes. The last column is not padded. */
static void pad(struct px_buf *out, size_t from, size_t to)
{
    for (size_t n = width(px_slice_skip(px_buf_slice(out), from)); n < to && out->err == 0; n++)
        (void)px_buf_put_u8(out, ' ');
}

static int column_width(const json_t *rows, const struct px_control_column *column, size_t *ret)
{
    size_t i, widest = width(px_slice_cstr(column->title));
    int err = 0;
    json_t *row;
    struct px_buf cell;
    px_buf_init(&cell, CELL_MAX);
    json_array_foreach(rows, i, row)
    {
        px_buf_clear(&cell);
        if (err == 0)
            err = put_cell(&cell, row, column->key);
        widest = PX_MAX(widest, width(px_buf_slice(&cell)));
    }
    px_buf_deinit(&cell);
    *ret = widest;
    return err;
}

int px_control_put_table(struct px_buf *out, const json_t *rows,
                         const struct px_control_column *columns, size_t count)
{
    size_t widths[PX_CONTROL_COLUMNS_MAX] = {0}, r;
    json_t *row;
    int err = 0;
    px_assert(count <= PX_CONTROL_COLUMNS_MAX);
    for (size_t c = 0; c + 1 < count && err == 0; c++) {
        err = column_width(rows, &columns[c], &widths[c]);
        widths[c] += 2;
    }
    for (size_t c = 0; c < count; c++) {
        size_t from = out->len;
        (void)px_buf_put_cstr(out, columns[c].title);
        pad(out, from, widths[c]);
    }
    (void)px_buf_put_u8(out, '\n');
    json_array_foreach(rows, r, row)
    {
        for (size_t c = 0; c < count && err == 0; c++) {
            size_t from = out->len;
            err = put_cell(out, row, columns[c].key);
            pad(out, from, widths[c]);
        }
        (void)px_buf_put_u8(out, '\n');
    }
    if (out->err == 0)
        out->err = err;
    return out->err;
}
