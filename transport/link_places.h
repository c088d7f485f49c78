/* Where the other end of a link may be besides the path in use (docs/spec/paths.md §5, §9): a small
 * table of suggested addresses, the direct address from which the link fled to a circuit, and when
 * to ask for the way back. A core; asking is transport/link_path's. */
#ifndef PX_TRANSPORT_LINK_PLACES_H
#define PX_TRANSPORT_LINK_PLACES_H

#include "transport/quic.h"

#define PX_LINK_PLACES_MAX      4      /* suggested; the oldest makes room */
#define PX_LINK_PLACES_CIRCUITS 2      /* of these; a further one replaces the oldest circuit */
#define PX_LINK_BACK_FIRST      PX_SEC /* on a circuit: pause before the way back is asked, */
#define PX_LINK_BACK_MAX        (60 * PX_SEC)   /* doubled each time up to this */
#define PX_LINK_BACK_TURN       (500 * PX_MSEC) /* the server asks so long after the client */
#define PX_LINK_BACK_STABLE     (60 * PX_SEC)   /* a way back that held so long was a good one */

struct px_path_question {
    uint64_t nonce; /* 0: none */
    struct px_path path;
    px_nsec asked_at; /* first, with this nonce */
    bool moved;       /* the client moves to where it is answered, doubt or not, */
    bool back;        /* or if the path in use is a circuit then */
};

struct px_link_place {
    struct px_addr addr; /* no address: free */
    px_nsec noted_at;
    struct px_path_question question;
};

struct px_link_places {
    struct px_link_place of[1 + PX_LINK_PLACES_MAX]; /* the first one: fled from */
    bool relayed;                                    /* the path in use is a circuit */
    px_nsec back_at, back_gap; /* when the way back is asked; PX_NEVER: there is none */
    px_nsec direct_since;      /* while not relayed */
    px_nsec back_delay;        /* behind the other side, which may be there already */
};

void px_link_places_init(struct px_link_places *p, px_nsec back_delay);
struct px_link_place *px_link_places_find(struct px_link_places *p, const struct px_addr *addr);
/* Finds or enters it; an address, not that in use. */
struct px_link_place *px_link_places_note(struct px_link_places *p, const struct px_addr *addr,
                                          px_nsec now);
/* The link uses another path; `from` may be no address. */
void px_link_places_moved(struct px_link_places *p, const struct px_addr *from,
                          const struct px_addr *to, px_nsec now);
/* Something changed: the way back may work now. */
void px_link_places_hurry(struct px_link_places *p, px_nsec now);
/* Are the places that px_link_places_is_back says to be asked now? Steps the pause. */
bool px_link_places_due(struct px_link_places *p, px_nsec now);
/* Would the link be better there? */
bool px_link_places_is_back(const struct px_link_places *p, const struct px_link_place *place);

#endif
