/* What becomes of a packet (docs/spec/relay.md §5): forwarded, answered with at most as many bytes,
 * or met with silence. */
#include "relay/circuits_internal.h"

static void nonce_at(const struct px_circuits *cs, const struct px_circuit_leg *l, uint32_t binds,
                     const struct px_addr *remote, uint64_t slot, struct px_relay_nonce *ret)
{
    /* SPEC relay §5: a MAC of its own over leg, count of binds, address and time slot */
    struct {
        uint64_t slot;
        struct px_addr remote;
        uint32_t binds;
        uint8_t leg[PX_RELAY_LEG_LEN], zero[5];
    } said = {.slot = slot, .remote = *remote, .binds = binds};
    _Static_assert(sizeof(said) == 8 + sizeof(struct px_addr) + 4 + 12, "no padding");
    uint8_t hash[PX_HASH_LEN];
    memcpy(said.leg, l->id.bytes, sizeof(said.leg));
    px_hmac_sha256(px_slice(cs->secret, sizeof(cs->secret)), px_slice(&said, sizeof(said)), hash);
    memcpy(ret->bytes, hash, sizeof(ret->bytes));
}

static bool nonce_good(const struct px_circuits *cs, const struct px_circuit_leg *l, uint32_t binds,
                       const struct px_addr *remote, px_nsec now,
                       const struct px_relay_nonce *nonce)
{
    uint64_t slot = now / PX_CIRCUIT_NONCE_SLOT;
    for (uint64_t age = 0; age < 2 && age <= slot; age++) {
        struct px_relay_nonce ours;
        nonce_at(cs, l, binds, remote, slot - age, &ours);
        if (px_ct_equal(ours.bytes, nonce->bytes, sizeof(ours.bytes)))
            return true;
    }
    return false;
}

void px_circuit_nonce(const struct px_circuit *c, enum px_circuit_side side,
                      const struct px_addr *remote, px_nsec now, struct px_relay_nonce *ret)
{
    const struct px_circuit_leg *l = &c->leg[side];
    nonce_at(c->owner, l, l->binds, remote, now / PX_CIRCUIT_NONCE_SLOT, ret);
}

static void reply(struct px_circuits_out *out, const struct px_path *path, size_t len)
{
    out->path = path;
    out->data = px_slice(out->reply, len);
    out->segment = len;
}

static void challenge(struct px_circuits *cs, const struct px_circuit_leg *l,
                      const struct px_path *path, px_nsec now, struct px_circuits_out *out)
{
    struct px_relay_nonce nonce;
    nonce_at(cs, l, l->binds, &path->remote, now / PX_CIRCUIT_NONCE_SLOT, &nonce);
    px_relay_bind_put(out->reply, PX_RELAY_CHALLENGE, &l->id, &nonce, &l->key);
    cs->stats.challenges++;
    reply(out, path, PX_RELAY_BIND_LEN);
}

/* A bound leg's packet from an address that is not its own. */
static void wrong_source(struct px_circuits *cs, struct px_circuit_leg *l,
                         const struct px_path *path, size_t len, px_nsec now,
                         struct px_circuits_out *out)
{
    cs->stats.dropped_address++;
    if (len < PX_RELAY_BIND_LEN ||
        (l->challenged_at != 0 && now - l->challenged_at < PX_CIRCUIT_CHALLENGE_GAP))
        return;
    l->challenged_at = now;
    challenge(cs, l, path, now, out);
}

static void on_hello(struct px_circuits *cs, struct px_circuit_leg *l, const struct px_path *path,
                     const struct px_relay_packet *p, px_nsec now, struct px_circuits_out *out)
{
    if (!px_relay_bind_check(p, &l->key)) {
        cs->stats.dropped_malformed++;
        return;
    }
    if (px_token_bucket_try(&l->hellos, 1, now))
        challenge(cs, l, path, now, out);
}

/* BOUND may have been lost: the answer it was for may be repeated, and changes nothing. */
static bool is_repeat(const struct px_circuits *cs, const struct px_circuit_leg *l,
                      const struct px_path *path, const struct px_relay_packet *p, px_nsec now)
{
    return l->bound && px_path_eq(&l->path, path) &&
           nonce_good(cs, l, l->binds - 1, &path->remote, now, &p->nonce);
}

static void on_answer(struct px_circuits *cs, struct px_circuit_leg *l, const struct px_path *path,
                      const struct px_relay_packet *p, px_nsec now, struct px_circuits_out *out)
{
    bool good = px_relay_bind_check(p, &l->key);
    bool fresh = good && nonce_good(cs, l, l->binds, &path->remote, now, &p->nonce);
    if (!fresh && !(good && is_repeat(cs, l, path, p, now))) {
        cs->stats.dropped_malformed++;
        return;
    }
    px_relay_bind_put(out->reply, PX_RELAY_BOUND, &l->id, &p->nonce, &l->key);
    reply(out, path, PX_RELAY_BIND_LEN);
    if (!fresh)
        return;
    l->bound = true;
    l->path = *path;
    l->binds++;
    l->seen_at = now;
    cs->stats.binds++;
    px_circuit_maybe_open(l->circuit, now);
}

static void on_ping(struct px_circuits *cs, struct px_circuit_leg *l, const struct px_path *path,
                    const struct px_relay_packet *p, px_nsec now, struct px_circuits_out *out)
{
    if (!l->bound || !px_path_eq(&l->path, path)) {
        cs->stats.dropped_address++; /* too short to be answered with a challenge */
        return;
    }
    l->seen_at = now;
    px_relay_ping_put(out->reply, PX_RELAY_PONG, &l->id, &p->nonce);
    reply(out, path, PX_RELAY_PING_LEN);
}

/* The part of n bytes of whole packets that the buckets have tokens for. */
static size_t granted(struct px_circuit_leg *l, size_t n, size_t segment, px_nsec now)
{
    uint64_t room = PX_MIN(px_token_bucket_available(&l->bucket, now),
                           px_token_bucket_available(&l->party->bucket, now));
    if (n > room)
        n = (size_t)(room / segment * segment);
    px_token_bucket_take(&l->bucket, n);
    px_token_bucket_take(&l->party->bucket, n);
    return n;
}

static void forward(struct px_circuits *cs, struct px_circuit_leg *from, uint8_t *data, size_t len,
                    size_t segment, px_nsec now, struct px_circuits_out *out)
{
    struct px_circuit *c = from->circuit;
    struct px_circuit_leg *to = from == &c->leg[0] ? &c->leg[1] : &c->leg[0];
    uint8_t header[PX_RELAY_HEADER_LEN];
    size_t pass = granted(from, len, segment, now);
    cs->stats.dropped_rate += (len - pass + segment - 1) / segment;
    from->seen_at = now;
    if (c->params.bytes > 0 && pass > c->params.bytes - from->bytes) {
        px_circuit_end(c, PX_RELAY_BYTES_USED);
        return;
    }
    if (pass == 0)
        return;
    px_relay_header_put(header, PX_RELAY_DATA, &to->id);
    for (size_t at = 0; at < pass; at += segment)
        memcpy(data + at, header, sizeof(header));
    from->bytes += pass;
    cs->stats.bytes += pass;
    cs->stats.packets += (pass + segment - 1) / segment;
    out->path = &to->path;
    out->data = px_slice(data, pass);
    out->segment = segment;
}

/* How many bytes at the front are DATA packets of the same leg; 0 if the first is not one. The
 * last packet of a batch may be short: too short, it is not of the run. */
static size_t data_run(const uint8_t *data, size_t len, size_t segment)
{
    size_t at = 0;
    while (at < len && data[at] == PX_RELAY_DATA && len - at > PX_RELAY_HEADER_LEN &&
           memcmp(data + at, data, PX_RELAY_HEADER_LEN) == 0)
        at += PX_MIN(segment, len - at);
    return at;
}

static struct px_circuit_leg *find_leg(const struct px_circuits *cs, const uint8_t *id)
{
    struct px_map_node *n = px_map_find(&cs->legs, px_slice(id, PX_RELAY_LEG_LEN));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct px_circuit_leg, by_id);
}

static void input_data(struct px_circuits *cs, const struct px_path *path, uint8_t *data,
                       size_t len, size_t segment, px_nsec now, struct px_circuits_out *out)
{
    struct px_circuit_leg *l = find_leg(cs, data + 1);
    if (l == NULL)
        cs->stats.dropped_unknown++;
    else if (l->bound && !px_path_eq(&l->path, path))
        wrong_source(cs, l, path, PX_MIN(segment, len), now, out);
    else if (l->circuit->state != PX_CIRCUIT_OPEN)
        cs->stats.dropped_unopened++;
    else
        forward(cs, l, data, len, segment, now, out);
}

static void input_other(struct px_circuits *cs, const struct px_path *path, struct px_slice packet,
                        px_nsec now, struct px_circuits_out *out)
{
    struct px_relay_packet p;
    if (px_relay_packet_parse(packet, &p) != 0) {
        cs->stats.dropped_malformed++;
        return;
    }
    struct px_circuit_leg *l = find_leg(cs, p.leg.bytes);
    if (l == NULL) {
        cs->stats.dropped_unknown++;
        return;
    }
    switch (p.type) {
    case PX_RELAY_HELLO:
        on_hello(cs, l, path, &p, now, out);
        return;
    case PX_RELAY_ANSWER:
        on_answer(cs, l, path, &p, now, out);
        return;
    case PX_RELAY_PING:
        on_ping(cs, l, path, &p, now, out);
        return;
    case PX_RELAY_DATA: /* has its own way */
    case PX_RELAY_CHALLENGE:
    case PX_RELAY_BOUND:
    case PX_RELAY_PONG:
    case PX_RELAY_PROBE: /* relays alone send these */
        cs->stats.dropped_malformed++;
        return;
    }
}

size_t px_circuits_input(struct px_circuits *cs, const struct px_path *path, uint8_t *data,
                         size_t len, size_t segment, px_nsec now, struct px_circuits_out *ret)
{
    ret->path = NULL;
    if (len == 0 || !px_relay_is_packet(data[0]))
        return 0;
    size_t run = data_run(data, len, segment);
    if (run > 0) {
        input_data(cs, path, data, run, segment, now, ret);
        return run;
    }
    size_t one = PX_MIN(segment, len);
    input_other(cs, path, px_slice(data, one), now, ret);
    return one;
}
