/* The text form of answers: `key: value` lines and aligned columns. What came from elsewhere is
 * made harmless for a terminal: control bytes never get out raw. */
#ifndef PX_NODE_CONTROL_TEXT_H
#define PX_NODE_CONTROL_TEXT_H

#include <jansson.h>

#include "proto/base/buf.h"

/* Appends with every control character (C0, DEL, C1, and those that turn writing direction) as \xNN
 * or \u{NNNN}. */
int px_control_put_text(struct px_buf *out, const char *text);
/* Appends a scalar, or an array of scalars with commas, as people read it; "-" for null, for what
 * is not there and for an empty one. */
int px_control_put_value(struct px_buf *out, const json_t *value);
/* One line a member, "a.b: value" for nested objects. */
int px_control_put_object(struct px_buf *out, const json_t *object);
/* One line for a line of a stream: `key=value key=value`. */
int px_control_put_line(struct px_buf *out, const json_t *object);

struct px_control_column {
    const char *title;
    const char *key; /* of the row's object, "a.b" for nested ones */
};
#define PX_CONTROL_COLUMNS_MAX 10
/* A line of titles, then a line for each object of the array, in columns. */
int px_control_put_table(struct px_buf *out, const json_t *rows,
                         const struct px_control_column *columns, size_t count);

#endif
