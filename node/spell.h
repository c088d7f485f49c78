/* "Did you mean": the known word nearest to a mistyped one, and foreign words made fit to print. */
#ifndef PX_NODE_SPELL_H
#define PX_NODE_SPELL_H

#include "proto/base/slice.h"

#define PX_SPELL_WORD_MAX  48 /* longer words get no suggestion */
#define PX_SPELL_QUOTE_MAX 80

/* Zeroed but for `word`; then offer every candidate and read `best` (NULL: nothing near). Offered
 * strings are borrowed. */
struct px_spell {
    struct px_slice word;
    const char *best;
    size_t distance;
};
void px_spell_offer(struct px_spell *s, const char *candidate);

/* The word on one line of printable ASCII, cut with "..." when too long. Returns out. */
const char *px_spell_quote(struct px_slice word, char out[PX_SPELL_QUOTE_MAX]);

#endif
