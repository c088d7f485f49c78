/* See link_rivalry.h. */
#include "transport/link_rivalry.h"

#include "transport/link.h"

/* SPEC handshake §8.3: the connection dialled by the lower identity stays, and only the node with
 * the lower identity closes the other one. */
static enum px_rivalry_verdict judge_crossed(const struct px_rivalry *r)
{
    bool new_by_lower = r->new_ours == r->we_are_lower;
    if (new_by_lower)
        return r->we_are_lower ? PX_RIVALRY_REPLACE : PX_RIVALRY_RELINQUISH;
    if (!r->we_are_lower)
        return PX_RIVALRY_SHELVE_NEW;
    /* A node with a link does not dial, and no dial lasts longer than this: the peer lost old. */
    return r->old_age > PX_LINK_HANDSHAKE_TIME ? PX_RIVALRY_REPLACE : PX_RIVALRY_CLOSE_NEW;
}

enum px_rivalry_verdict px_rivalry_judge(const struct px_rivalry *r)
{
    if (!r->have_old) {
        bool crossing = r->dial_confirmed && r->we_are_lower && !r->new_ours;
        return crossing ? PX_RIVALRY_WAIT : PX_RIVALRY_UP;
    }
    if (!r->same_boot)
        return PX_RIVALRY_REPLACE;
    if (r->old_ours != r->new_ours)
        return judge_crossed(r);
    return r->new_ours ? PX_RIVALRY_RELINQUISH : PX_RIVALRY_REPLACE;
}

bool px_clone_watch_note(struct px_clone_watch *w, px_nsec now)
{
    /* when the slot to be overwritten is young, more than PX_CLONE_REPLACEMENTS fell in a window */
    bool many = w->count == PX_CLONE_REPLACEMENTS && now - w->at[w->next] < PX_CLONE_WINDOW;
    w->at[w->next] = now;
    w->next = (w->next + 1) % PX_CLONE_REPLACEMENTS;
    w->count = PX_MIN(w->count + 1, (size_t)PX_CLONE_REPLACEMENTS);
    if (!many || (w->reported != 0 && now - w->reported < PX_CLONE_WINDOW))
        return false;
    w->reported = now;
    return true;
}
