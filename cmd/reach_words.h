/* What a verdict of reachability means, in words (docs/netcheck.md). */
#ifndef PX_CMD_REACH_WORDS_H
#define PX_CMD_REACH_WORDS_H

#include <jansson.h>

#include "cmd/cli.h"

/* One phrase for the verdict of the object `reachability` of the API. */
const char *px_reach_words(const json_t *reach);
/* What the error of a relay means here, by its name in answers of the daemon. */
const char *px_relay_error_words(const char *name);
/* True after saying on standard error why relays are not used at all, if that is so: `mode: lan`.
 */
bool px_relays_tell_unused(const struct px_cli *cli);
/* One phrase for `mapping`; NULL stands for not known. */
const char *px_reach_mapping_words(const char *mapping);
/* The color that goes with a verdict or with the result of an address. */
const char *px_reach_color(const struct px_cli_style *style, const char *word);
/* What to do next, lines for people, each with the prefix: for the object `reachability` of the
 * API. `listed`: there are relays in the file. */
void px_reach_advise(FILE *out, const char *prefix, const json_t *reach, bool listed);

#endif
