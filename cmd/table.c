/* Collects the cells, then measures, then prints; the last column is not padded. */
#include "cmd/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void px_table_init(struct px_table *t, const struct px_column *columns, size_t count)
{
    *t = (struct px_table){.columns = columns, .column_count = count};
}

void px_table_put_colored(struct px_table *t, const char *color, const char *text)
{
    if (t->count == t->cap && !t->failed) {
        size_t cap = t->cap == 0 ? 64 : 2 * t->cap;
        struct px_cell *grown = realloc(t->cells, cap * sizeof(*grown));
        t->failed = grown == NULL;
        if (grown != NULL) {
            t->cells = grown;
            t->cap = cap;
        }
    }
    char *copy = t->failed ? NULL : strdup(text[0] != '\0' ? text : "-");
    if (copy == NULL) {
        t->failed = true;
        return;
    }
    t->cells[t->count++] = (struct px_cell){copy, color};
}

void px_table_put(struct px_table *t, const char *text)
{
    px_table_put_colored(t, "", text);
}

size_t px_text_width(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_cell(const struct px_column *column, const struct px_cell *cell, size_t width,
                       bool last)
{
    size_t own = px_text_width(cell->text);
    int pad = (int)(width > own ? width - own : 0);
    if (column->right)
        printf("%*s", pad, "");
    fputs(cell->color, stdout);
    px_cli_put_safe(stdout, cell->text);
    if (cell->color[0] != '\0')
        fputs(px_cli_style(stdout).reset, stdout);
    if (!last)
        printf("%*s", (column->right ? 0 : pad) + 2, "");
}

static void print_row(const struct px_table *t, const struct px_cell *row, const size_t *width)
{
    for (size_t c = 0; c < t->column_count; c++)
        print_cell(&t->columns[c], &row[c], width[c], c + 1 == t->column_count);
    putchar('\n');
}

static void print_titles(const struct px_table *t, const size_t *width)
{
    struct px_cli_style style = px_cli_style(stdout);
    fputs(style.bold, stdout);
    for (size_t c = 0; c < t->column_count; c++) {
        int pad = (int)(width[c] - strlen(t->columns[c].title));
        bool last = c + 1 == t->column_count;
        printf("%*s%s%*s", t->columns[c].right ? pad : 0, "", t->columns[c].title,
               last ? 0 : (t->columns[c].right ? 0 : pad) + 2, "");
    }
    printf("%s\n", style.reset);
}

static void measure(const struct px_table *t, bool titles, size_t *width)
{
    for (size_t c = 0; c < t->column_count; c++)
        width[c] = titles ? strlen(t->columns[c].title) : 0;
    for (size_t i = 0; i < t->count; i++)
        width[i % t->column_count] =
            PX_MAX(width[i % t->column_count], px_text_width(t->cells[i].text));
}

void px_table_put_field(struct px_table *t, const char *name, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    px_table_put_colored(t, px_cli_style(stdout).dim, name);
    px_table_put(t, text);
}

int px_table_print(const struct px_cli *cli, struct px_table *t, bool titles)
{
    size_t *width = calloc(t->column_count, sizeof(*width));
    int code = PX_EXIT_OK;
    if (t->failed || width == NULL) {
        px_cli_error(cli, "%s", px_strerror(PX_ENOMEM));
        code = PX_EXIT_FAILURE;
    } else {
        px_assert(t->count % t->column_count == 0);
        measure(t, titles, width);
        if (titles)
            print_titles(t, width);
        for (size_t i = 0; i < t->count; i += t->column_count)
            print_row(t, &t->cells[i], width);
    }
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i].text);
    free(t->cells);
    free(width);
    return code;
}
