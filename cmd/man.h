/* A program's manual page in groff's man macros: commands, options and exit codes from its own
 * tables, the rest from what it says here. */
#ifndef PX_CMD_MAN_H
#define PX_CMD_MAN_H

#include "cmd/cli.h"

struct px_man_row {
    const char *term, *text;
};

struct px_man_rows {
    const struct px_man_row *rows;
    size_t count;
};
#define PX_MAN_ROWS(a)                                                                             \
    {                                                                                              \
        (a), PX_ARRAY_LEN(a)                                                                       \
    }

struct px_man {
    const char *title; /* "PEERIX" */
    const char *about; /* after the name and a dash */
    const char *description, *homes;
    struct px_man_rows files, environment, signals, examples;
    const char *see_also; /* "nix.conf (5)" */
};

void px_man_print(const struct px_man *m);

#endif
