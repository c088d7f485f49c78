/* Optimal string alignment distance over three rows: one edit is an insertion, a deletion, a change
 * or a swap of neighbours. A candidate counts as near within a third of its length. */
#include "node/spell.h"

#include <stdio.h>

static size_t min3(size_t a, size_t b, size_t c)
{
    return PX_MIN(PX_MIN(a, b), c);
}

static size_t edit_distance(struct px_slice a, struct px_slice b)
{
    size_t rows[3][PX_SPELL_WORD_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.len; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t change = a.data[i - 1] != b.data[j - 1];
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1])
                now[j] = PX_MIN(now[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[b.len];
}

void px_spell_offer(struct px_spell *s, const char *candidate)
{
    struct px_slice c = px_slice_cstr(candidate);
    if (s->word.len == 0 || s->word.len > PX_SPELL_WORD_MAX || c.len > PX_SPELL_WORD_MAX)
        return;
    size_t distance = edit_distance(s->word, c);
    /* Half a word typed is as good a hint as a typing error. */
    if (s->word.len >= 3 && px_slice_starts(c, s->word))
        distance = 1;
    if (distance > PX_MAX(c.len / 3, 1u))
        return;
    if (s->best == NULL || distance < s->distance) {
        s->best = candidate;
        s->distance = distance;
    }
}

const char *px_spell_quote(struct px_slice word, char out[PX_SPELL_QUOTE_MAX])
{
    size_t room = PX_SPELL_QUOTE_MAX - 4;
    size_t n = PX_MIN(word.len, room);
    for (size_t i = 0; i < n; i++)
        out[i] = word.data[i] >= ' ' && word.data[i] < 0x7f ? (char)word.data[i] : '?';
    snprintf(out + n, PX_SPELL_QUOTE_MAX - n, "%s", word.len > room ? "..." : "");
    return out;
}
