/* Tables as people get them: aligned whatever the cells hold, and harmless for a terminal. */
#include "cmd/table.h"

#include <unistd.h>

#include "tests/test.h"

static const struct px_column columns[] = {{"NAME", false}, {"SENT", true}, {"REMARK", false}};

/* What printing gives on standard output. */
static const char *printed(struct px_table *t, bool titles)
{
    static char text[2048];
    const struct px_cli cli = {.command = NULL};
    FILE *to = tmpfile();
    CHECK(to != NULL);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(fileno(to), STDOUT_FILENO);
    int code = px_table_print(&cli, t, titles);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(to);
    text[fread(text, 1, sizeof(text) - 1, to)] = '\0';
    fclose(to);
    CHECK_INT(code, PX_EXIT_OK);
    return text;
}

static void put_row(struct px_table *t, const char *name, const char *sent, const char *remark)
{
    px_table_put(t, name);
    px_table_put(t, sent);
    px_table_put(t, remark);
}

TEST(columns_align_and_an_empty_cell_is_a_dash)
{
    struct px_table t;
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    put_row(&t, "a", "1 B", "");
    put_row(&t, "longer", "1023 KiB", "x");
    CHECK_STR(printed(&t, true), "NAME        SENT  REMARK\n"
                                 "a            1 B  -\n"
                                 "longer  1023 KiB  x\n");
}

TEST(without_titles_only_cells_count)
{
    struct px_table t;
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    put_row(&t, "a", "1", "x");
    CHECK_STR(printed(&t, false), "a  1  x\n");
}

TEST(width_is_that_of_characters_not_bytes)
{
    struct px_table t;
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    put_row(&t, "K\xc3\xa4the", "1", "x");
    put_row(&t, "Kathe", "2", "y");
    CHECK_STR(printed(&t, false), "K\xc3\xa4the  1  x\nKathe  2  y\n");
}

TEST(control_bytes_reach_no_terminal)
{
    struct px_table t;
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    put_row(&t, "\033[31m", "a\nb", "\xc2\x9b");
    CHECK_STR(printed(&t, false), "?[31m  a?b  ?\n");
}

TEST(no_rows_are_the_titles_alone)
{
    struct px_table t;
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    CHECK_STR(printed(&t, true), "NAME  SENT  REMARK\n");
}
