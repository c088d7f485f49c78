/* See link_path.h. */
#include "transport/link_path.h"

#include "transport/sockaddr.h"

static void set_state(struct px_link_path *p, enum px_link_path_state to)
{
    static const unsigned allowed[PX_LINK_PATH_STATES] = {
        [PX_LINK_PATH_STEADY] = 1u << PX_LINK_PATH_DOUBT,
        [PX_LINK_PATH_DOUBT] = 1u << PX_LINK_PATH_STEADY,
    };
    px_assert((allowed[p->state] & (1u << to)) != 0);
    p->state = to;
}

void px_link_path_init(struct px_link_path *p, bool client, const struct px_rng *rng,
                       const struct px_link_path_ops *ops, void *ctx)
{
    memset(p, 0, sizeof(*p));
    p->client = client;
    p->rng = *rng;
    p->ops = ops;
    p->ctx = ctx;
    px_link_places_init(&p->places, client ? 0 : PX_LINK_BACK_TURN);
}

/* ---- questions ---- */

static uint64_t new_nonce(struct px_link_path *p)
{
    uint64_t n;
    do {
        p->rng.fill(p->rng.ctx, &n, sizeof(n));
    } while (n == 0);
    return n;
}

static void note_question(struct px_link_path *p, struct px_path_question *q,
                          const struct px_path *path, px_nsec now)
{
    *q = (struct px_path_question){.nonce = new_nonce(p), .path = *path, .asked_at = now};
}

/* May be repeated as it is. Whoever was on the path once could keep an old nonce for the day when
 * somebody else is there. */
static bool is_fresh(const struct px_path_question *q, const struct px_path *path, px_nsec now)
{
    return q->nonce != 0 && px_path_eq(&q->path, path) && now - q->asked_at < PX_LINK_QUESTION_SAME;
}

/* One on a path that is not proved; the oldest makes room. */
static struct px_path_question *question_on(struct px_link_path *p, const struct px_path *path,
                                            px_nsec now)
{
    struct px_path_question *oldest = &p->questions[0];
    for (size_t i = 0; i < PX_LINK_QUESTIONS_MAX; i++) {
        struct px_path_question *q = &p->questions[i];
        if (is_fresh(q, path, now))
            return q;
        if (px_path_eq(&q->path, path)) {
            oldest = q;
            break;
        }
        if (q->nonce == 0 || (oldest->nonce != 0 && q->asked_at < oldest->asked_at))
            oldest = q;
    }
    note_question(p, oldest, path, now);
    return oldest;
}

/* SPEC paths §4: from where the question went to, to where it was sent from. */
static bool answers(const struct px_path_question *q, const struct px_path *path, uint64_t nonce,
                    px_nsec now)
{
    const struct px_addr *asked = &q->path.local, *came = &path->local;
    if (q->nonce == 0 || q->nonce != nonce || now - q->asked_at > PX_LINK_QUESTION_TIME ||
        !px_addr_eq(&q->path.remote, &path->remote))
        return false;
    if (px_addr_is_wildcard(asked))
        return asked->family == came->family && asked->port == came->port;
    return px_addr_eq(asked, came);
}

static struct px_path_question *find_question(struct px_link_path *p, const struct px_path *path,
                                              uint64_t nonce, px_nsec now)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(p->own); i++)
        if (answers(&p->own[i], path, nonce, now))
            return &p->own[i];
    for (size_t i = 0; i < PX_ARRAY_LEN(p->places.of); i++)
        if (answers(&p->places.of[i].question, path, nonce, now))
            return &p->places.of[i].question;
    for (size_t i = 0; i < PX_LINK_QUESTIONS_MAX; i++)
        if (answers(&p->questions[i], path, nonce, now))
            return &p->questions[i];
    return NULL;
}

/* ---- doubt ---- */

void px_link_path_doubt(struct px_link_path *p, px_nsec now)
{
    bool asked_just_now =
        p->state == PX_LINK_PATH_DOUBT && p->tries > 0 && now - p->asked_at < PX_LINK_PROBE_AGAIN;
    if (p->state != PX_LINK_PATH_DOUBT) {
        set_state(p, PX_LINK_PATH_DOUBT);
        p->doubt_began = now;
        p->lost_at = now + PX_LINK_LOST_TIME;
        p->lost_gap = PX_LINK_LOST_AGAIN;
    }
    p->doubt_since = now;
    if (asked_just_now) {
        p->next_probe = PX_MIN(p->next_probe, p->asked_at + PX_LINK_PROBE_AGAIN);
        return;
    }
    p->tries = 0;
    p->next_probe = 0; /* at once, whoever compares it with what time */
}

bool px_link_path_is_lost(const struct px_link_path *p, px_nsec now)
{
    return p->state == PX_LINK_PATH_DOUBT && now - p->doubt_began >= PX_LINK_LOST_TIME;
}

static void end_doubt(struct px_link_path *p)
{
    if (p->state == PX_LINK_PATH_DOUBT)
        set_state(p, PX_LINK_PATH_STEADY);
}

static void ask(struct px_link_path *p, struct px_path_question *q, const struct px_path *path,
                enum px_disco_type type, px_nsec now)
{
    if (!is_fresh(q, path, now))
        note_question(p, q, path, now);
    p->ops->send(p->ctx, path, &(struct px_disco_packet){.type = type, .nonce = q->nonce});
}

/* At a place where the peer may be, from whatever local address the system chooses. */
static void ask_at(struct px_link_path *p, struct px_link_place *place, px_nsec now)
{
    struct px_path path;
    p->ops->current(p->ctx, &path);
    if (px_addr_eq(&place->addr, &path.remote))
        return;
    memset(path.local.ip, 0, sizeof(path.local.ip));
    path.local.scope = 0;
    path.remote = place->addr;
    path.local.family = path.remote.family;
    ask(p, &place->question, &path, p->client ? PX_DISCO_PING : PX_DISCO_MOVED, now);
    place->question.back = px_link_places_is_back(&p->places, place);
}

/* SPEC paths §5: whose direct path may be well is not to be led to a circuit. */
static bool is_time_for(const struct px_link_path *p, const struct px_link_place *place,
                        px_nsec now)
{
    return !px_addr_is_circuit(&place->addr) || p->places.relayed || px_link_path_is_lost(p, now);
}

/* SPEC paths §5: on the path in use, and from whatever local address the system chooses. */
static void probe(struct px_link_path *p, px_nsec now)
{
    enum px_disco_type type = p->client ? PX_DISCO_PING : PX_DISCO_MOVED;
    struct px_path path;
    p->ops->current(p->ctx, &path);
    ask(p, &p->own[0], &path, type, now);
    bool any = px_addr_is_wildcard(&path.local);
    memset(path.local.ip, 0, sizeof(path.local.ip));
    path.local.scope = 0;
    if (!any)
        ask(p, &p->own[1], &path, type, now);
    for (size_t i = 0; i < PX_ARRAY_LEN(p->places.of); i++)
        if (p->places.of[i].addr.family != PX_ADDR_NONE && is_time_for(p, &p->places.of[i], now))
            ask_at(p, &p->places.of[i], now);
}

/* Their time has come, between two probes. */
static void ask_circuits(struct px_link_path *p, px_nsec now)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(p->places.of); i++)
        if (px_addr_is_circuit(&p->places.of[i].addr))
            ask_at(p, &p->places.of[i], now);
}

void px_link_path_suggest(struct px_link_path *p, const struct px_addr *remote, px_nsec now)
{
    bool known = px_link_places_find(&p->places, remote) != NULL;
    (void)px_link_places_note(&p->places, remote, now);
    if (known || p->state != PX_LINK_PATH_DOUBT)
        return;
    px_link_path_doubt(p, now);
    p->tries = 0; /* the other end may learn of the place a little later */
}

/* SPEC paths §6: the server's `moved` makes the client move, the client's answer to itself too. */
void px_link_path_prefer(struct px_link_path *p, const struct px_addr *remote, px_nsec now)
{
    struct px_link_place *place = px_link_places_note(&p->places, remote, now);
    ask_at(p, place, now);
    place->question.moved = p->client;
}

static void run_doubt(struct px_link_path *p, px_nsec heard_at, px_nsec now)
{
    static const px_nsec gaps[] = {100 * PX_MSEC, 200 * PX_MSEC, 400 * PX_MSEC, 800 * PX_MSEC,
                                   PX_SEC};
    if (heard_at > p->doubt_since) {
        end_doubt(p);
        return;
    }
    if (p->lost_at <= now) {
        p->lost_at = now + p->lost_gap;
        p->lost_gap = PX_MIN(2 * p->lost_gap, PX_LINK_LOST_RARELY);
        p->ops->lost(p->ctx);
        ask_circuits(p, now);
    }
    if (p->next_probe > now)
        return;
    p->asked_at = now;
    p->next_probe = now + gaps[PX_MIN(p->tries, (unsigned)PX_ARRAY_LEN(gaps) - 1)];
    p->tries++;
    probe(p, now);
}

/* ---- the first question ---- */

/* Not at once: it would overtake the frame that tells the peer how to answer. */
void px_link_path_start(struct px_link_path *p, px_nsec now)
{
    px_link_path_moved(p, now); /* to where it came up */
    if (p->client)
        p->greet_at = now + PX_LINK_GREETING_GAP;
}

static void run_greeting(struct px_link_path *p, px_nsec now)
{
    struct px_path path;
    if (p->greet_at == 0 || p->greet_at > now)
        return;
    bool last = p->observed.family != PX_ADDR_NONE || ++p->greetings == PX_LINK_GREETINGS_MAX;
    p->greet_at = last ? 0 : now + PX_LINK_GREETING_GAP;
    if (p->observed.family != PX_ADDR_NONE)
        return;
    p->ops->current(p->ctx, &path);
    ask(p, &p->own[0], &path, PX_DISCO_PING, now);
}

/* ---- the way back from a circuit ---- */

void px_link_path_moved(struct px_link_path *p, px_nsec now)
{
    struct px_path path;
    p->ops->current(p->ctx, &path);
    px_link_places_moved(&p->places, &p->in_use, &path.remote, now);
    p->in_use = path.remote;
}

void px_link_path_hurry(struct px_link_path *p, px_nsec now)
{
    px_link_places_hurry(&p->places, now);
}

/* SPEC paths §9 */
static void run_back(struct px_link_path *p, px_nsec now)
{
    if (!px_link_places_due(&p->places, now))
        return;
    for (size_t i = 0; i < PX_ARRAY_LEN(p->places.of); i++)
        if (px_link_places_is_back(&p->places, &p->places.of[i]))
            ask_at(p, &p->places.of[i], now);
}

void px_link_path_run(struct px_link_path *p, px_nsec heard_at, px_nsec now)
{
    if (p->state == PX_LINK_PATH_DOUBT)
        run_doubt(p, heard_at, now);
    run_greeting(p, now);
    run_back(p, now);
}

px_nsec px_link_path_deadline(const struct px_link_path *p)
{
    px_nsec at = p->places.back_at;
    if (p->state == PX_LINK_PATH_DOUBT)
        at = PX_MIN(at, PX_MIN(p->next_probe, p->lost_at));
    return p->greet_at != 0 ? PX_MIN(at, p->greet_at) : at;
}

/* ---- what the peer makes us send ---- */

/* SPEC paths §8. The generic cell rate algorithm: one number a link. */
static bool may_answer(struct px_link_path *p, px_nsec now)
{
    px_nsec at = PX_MAX(p->answers_until, now);
    if (at - now > (PX_LINK_ANSWERS_BURST - 1) * PX_LINK_ANSWERS_GAP)
        return false;
    p->answers_until = at + PX_LINK_ANSWERS_GAP;
    return true;
}

static bool is_current(struct px_link_path *p, const struct px_path *path)
{
    struct px_path current;
    p->ops->current(p->ctx, &current);
    return px_path_eq(&current, path);
}

/* SPEC paths §9: who comes through a circuit was seen nowhere, nor who comes through a pipe. */
static struct px_addr observed_on(const struct px_path *path)
{
    return px_addr_is_virtual(&path->remote) ? (struct px_addr){0} : path->remote;
}

static void answer(struct px_link_path *p, const struct px_path *path,
                   const struct px_disco_packet *asked, px_nsec now)
{
    struct px_disco_packet pong = {
        .type = PX_DISCO_PONG, .nonce = asked->nonce, .observed = observed_on(path)};
    if (asked->nonce == 0 || !may_answer(p, now))
        return;
    bool moved = asked->type == PX_DISCO_MOVED && !is_current(p, path);
    /* A path proved long ago is proved, but whoever is to move there makes sure. */
    if (moved || !p->ops->is_proved(p->ctx, path)) {
        struct px_path_question *q = question_on(p, path, now);
        q->moved = moved;
        pong.challenge = q->nonce;
    }
    p->ops->send(p->ctx, path, &pong);
}

static bool same_observed(const struct px_addr *a, const struct px_addr *b)
{
    /* a scope means something to one side only */
    return px_addr_same_ip(a, b) && a->port == b->port;
}

/* SPEC paths §6 */
static void settle_client(struct px_link_path *p, const struct px_path *path, bool moved,
                          const struct px_addr *observed, px_nsec now)
{
    bool doubted = p->state == PX_LINK_PATH_DOUBT, here = is_current(p, path);
    bool anew = here && doubted &&
                (!same_observed(&p->observed, observed) || now - p->doubt_began >= PX_LINK_OUTAGE);
    bool go = anew || (!here && (doubted || moved));
    if (go && p->ops->migrate(p->ctx, path) != 0) {
        if (!doubted) /* try again with the next answer */
            px_link_path_doubt(p, now);
        return;
    }
    if (!here && !go)
        return;
    if (doubted && !go)
        p->ops->poke(p->ctx);
    p->observed = *observed;
    end_doubt(p);
}

static void settle_server(struct px_link_path *p, const struct px_path *path,
                          const struct px_addr *observed)
{
    if (!is_current(p, path))
        return; /* the client has to move first */
    if (p->state == PX_LINK_PATH_DOUBT)
        p->ops->poke(p->ctx);
    p->observed = *observed;
    end_doubt(p);
}

static void take_pong(struct px_link_path *p, const struct px_path *path,
                      const struct px_disco_packet *pong, px_nsec now)
{
    struct px_path_question *q = find_question(p, path, pong->nonce, now);
    if (q == NULL)
        return;
    bool moved = q->moved || (q->back && p->places.relayed);
    *q = (struct px_path_question){0};
    p->ops->proved(p->ctx, path);
    if (pong->challenge != 0 && may_answer(p, now))
        p->ops->send(p->ctx, path,
                     &(struct px_disco_packet){.type = PX_DISCO_PONG,
                                               .nonce = pong->challenge,
                                               .observed = observed_on(path)});
    if (p->client)
        settle_client(p, path, moved, &pong->observed, now);
    else
        settle_server(p, path, &pong->observed);
}

void px_link_path_input(struct px_link_path *p, const struct px_path *path,
                        const struct px_disco_packet *packet, px_nsec now)
{
    switch (packet->type) {
    case PX_DISCO_PING:
    case PX_DISCO_MOVED:
        answer(p, path, packet, now);
        return;
    case PX_DISCO_PONG:
        take_pong(p, path, packet, now);
        return;
    }
}

/* ---- strays ---- */

static struct px_path_stray *stray_of(struct px_link_path *p, const struct px_path *path)
{
    struct px_path_stray *oldest = &p->strays[0];
    for (size_t i = 0; i < PX_LINK_STRAYS_MAX; i++) {
        struct px_path_stray *s = &p->strays[i];
        if (px_path_eq(&s->path, path))
            return s;
        if (s->seen_at < oldest->seen_at)
            oldest = s;
    }
    *oldest = (struct px_path_stray){.path = *path};
    return oldest;
}

void px_link_path_stray(struct px_link_path *p, const struct px_path *path, size_t len, px_nsec now)
{
    if (p->client) /* its server says itself that it moved */
        return;
    struct px_path_stray *s = stray_of(p, path);
    s->seen_at = now;
    s->credit = PX_MIN(s->credit + len, (size_t)PX_DISCO_LEN * 4);
    if (s->credit < PX_DISCO_LEN || (s->asked_at != 0 && now - s->asked_at < PX_LINK_STRAY_GAP) ||
        !may_answer(p, now))
        return;
    s->credit -= PX_DISCO_LEN;
    s->asked_at = now;
    struct px_path_question *q = question_on(p, path, now);
    p->ops->send(p->ctx, path, &(struct px_disco_packet){.type = PX_DISCO_PING, .nonce = q->nonce});
}
