/* What `peerix init` is told about the new home: by flags, and by answers of a person. */
#ifndef PX_CMD_INIT_ANSWERS_H
#define PX_CMD_INIT_ANSWERS_H

#include "cmd/cli.h"

struct px_init_answers {
    char *key_name;      /* NULL: the default */
    struct px_buf lines; /* of config.yaml, beside the sample; empty: none */
};

/* Takes the flags, and asks for what they leave open when `ask` says so: the key's name if `key` is
 * still to be made, options if `config` is. 0, or an exit code after telling people. Ends with
 * px_init_answers_deinit, also on failure. */
PX_MUST_CHECK int px_init_answers_take(const struct px_cli *cli, bool ask, bool key, bool config,
                                       struct px_init_answers *ret);
void px_init_answers_deinit(struct px_init_answers *a);

#endif
