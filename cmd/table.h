/* Aligned columns with a line of titles, for people. */
#ifndef PX_CMD_TABLE_H
#define PX_CMD_TABLE_H

#include "cmd/cli.h"

struct px_column {
    const char *title;
    bool right; /* aligned to the right, as numbers are */
};

struct px_cell {
    char *text;
    const char *color; /* of struct px_cli_style, "" for none */
};

struct px_table {
    const struct px_column *columns; /* borrowed */
    size_t column_count;
    struct px_cell *cells; /* row by row */
    size_t count, cap;
    bool failed; /* out of memory */
};

void px_table_init(struct px_table *t, const struct px_column *columns, size_t count);
/* The next cell, copied; "" shows as "-". */
void px_table_put(struct px_table *t, const char *text);
void px_table_put_colored(struct px_table *t, const char *color, const char *text);
/* Two cells: a field's name, and its value cut to 1023 bytes. */
void px_table_put_field(struct px_table *t, const char *name, const char *fmt, ...) PX_PRINTF(3, 4);
/* Prints all rows to stdout, control bytes as `?`, and frees the table. `titles` false: rows alone,
 * as for a list of one thing's fields. Returns an exit code. */
int px_table_print(const struct px_cli *cli, struct px_table *t, bool titles);
/* Columns a terminal needs for UTF-8 text without wide characters. */
size_t px_text_width(const char *text);

#endif
