/* What tells the programs of this tree apart where they share code: each links its own px_program,
 * option table (node/config.h) and command table (cmd/command.h). */
#ifndef PX_NODE_PROGRAM_H
#define PX_NODE_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

struct px_program {
    const char *name;          /* in messages, and of the directories below /etc and the like */
    const char *home_variable; /* environment variable that names a home */
    const char *about;         /* one sentence for help */
    bool has_nix_key;          /* its home holds a signing key */
    uint64_t exit_codes;       /* a bit for each it may end with (cmd/exit_code.h); 0: all */
};

extern const struct px_program px_program;

#endif
