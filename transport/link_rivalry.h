/* Which of two connections to one peer stays (docs/spec/handshake.md §8). Pure. */
#ifndef PX_TRANSPORT_LINK_RIVALRY_H
#define PX_TRANSPORT_LINK_RIVALRY_H

#include "proto/base/base.h"

/* Replacements by another boot ID in PX_CLONE_WINDOW above which two machines seem to use one key.
 */
#define PX_CLONE_REPLACEMENTS 3
#define PX_CLONE_WINDOW       (60 * PX_SEC)

/* Seen from this node, at the moment the peer of `new` was proved to the end (server: message 3,
 * client: accepted). */
struct px_rivalry {
    bool have_old;       /* another link to this peer is up */
    bool same_boot;      /* old and new show one boot ID */
    bool old_ours;       /* this node dialled old */
    bool new_ours;       /* this node dialled new */
    bool we_are_lower;   /* our identity is the lower one */
    bool dial_confirmed; /* we have a dial to that boot ID under way that has sent message 3 */
    px_nsec old_age;     /* since old came up */
};

enum px_rivalry_verdict {
    PX_RIVALRY_UP,         /* no rival */
    PX_RIVALRY_WAIT,       /* decide when our own dial has succeeded or failed */
    PX_RIVALRY_REPLACE,    /* new comes up, we close old */
    PX_RIVALRY_RELINQUISH, /* new comes up, the peer closes old */
    PX_RIVALRY_CLOSE_NEW,  /* old stays, we close new */
    PX_RIVALRY_SHELVE_NEW, /* old stays, the peer closes new */
};

enum px_rivalry_verdict px_rivalry_judge(const struct px_rivalry *r);

/* When the latest replacements happened. All-zero at first. */
struct px_clone_watch {
    px_nsec at[PX_CLONE_REPLACEMENTS];
    size_t count, next;
    px_nsec reported;
};
/* Notes one replacement by another boot ID. True when it is one too many within the window, at most
 * once a window. */
bool px_clone_watch_note(struct px_clone_watch *w, px_nsec now);

#endif
