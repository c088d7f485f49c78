/* One round of dials to one peer: all its addresses are raced, in the spirit of RFC 8305 (happy
 * eyeballs). A core: the owner dials and looks up names, and says how that went.
 *
 * An attempt starts PX_RACE_STAGGER after the one before, or as soon as one has failed, with at
 * most PX_RACE_PARALLEL under way. Lower tiers first; within a tier families take turns, IPv6
 * first. A circuit through a relay, which a "host name" gave, starts at once. */
#ifndef PX_NODE_DIAL_RACE_H
#define PX_NODE_DIAL_RACE_H

#include "auth/authorized_keys.h"
#include "proto/addr.h"
#include "proto/base/base.h"

#define PX_RACE_STAGGER      (250 * PX_MSEC)
#define PX_RACE_PARALLEL     4
#define PX_RACE_RUNNERS_MAX  64 /* addresses of one race; further ones are left out */
#define PX_RACE_NAMES_MAX    20 /* host names and relays: all that a peer can have */
#define PX_RACE_PER_NAME_MAX 8  /* addresses taken of one host name */

struct px_link;

enum px_runner_state { PX_RUNNER_WAITING, PX_RUNNER_RUNNING, PX_RUNNER_LOST };

struct px_runner {
    enum px_runner_state state;
    struct px_addr addr;
    unsigned tier;
    int name;             /* index of the host name it came from; -1: none */
    struct px_link *link; /* while RUNNING */
};

struct px_race_name {
    char text[PX_AUTH_ADDR_MAX]; /* HOST:PORT */
    unsigned tier;
    bool pending;
};

struct px_dial_race {
    struct px_runner runners[PX_RACE_RUNNERS_MAX];
    size_t count;
    struct px_race_name names[PX_RACE_NAMES_MAX];
    size_t name_count;
    uint8_t last_family; /* of the attempt started last */
    px_nsec started_at;
    px_nsec next_at; /* of the next attempt, unless one fails before */
    int err;         /* the most telling failure so far */
};

void px_dial_race_init(struct px_dial_race *r, px_nsec now);
/* Enters an address; nothing happens when it is in the race or no room is left, but for a circuit
 * one that has lost or is far from its turn makes way. `name` as in struct px_runner. */
void px_dial_race_add(struct px_dial_race *r, const struct px_addr *addr, unsigned tier, int name);
/* Enters a host name. Returns its index, for the owner to look up; -1 when there is no room or it
 * is in the race already. */
int px_dial_race_add_name(struct px_dial_race *r, const char *text, unsigned tier);
/* What the look-up of a pending name gave; err when it gave nothing. False when the name was not
 * pending. */
bool px_dial_race_resolved(struct px_dial_race *r, int name, const struct px_addr *addrs,
                           size_t count, int err);
/* Whom to dial now; NULL: nobody. The owner answers with _started or _lost before it asks again. */
struct px_runner *px_dial_race_next(struct px_dial_race *r, px_nsec now);
void px_dial_race_started(struct px_dial_race *r, struct px_runner *runner, struct px_link *link,
                          px_nsec now);
void px_dial_race_lost(struct px_dial_race *r, struct px_runner *runner, int err, px_nsec now);
/* The running one with that link, or NULL. */
struct px_runner *px_dial_race_find(struct px_dial_race *r, const struct px_link *link);
/* Nobody runs, waits or is looked up any more: everybody lost. */
bool px_dial_race_over(const struct px_dial_race *r);
/* When px_dial_race_next has somebody; PX_NEVER: only after another call. */
px_nsec px_dial_race_deadline(const struct px_dial_race *r);
/* Which of two failures tells a person more (0: nothing yet)? */
int px_dial_err_worse(int a, int b);

#endif
