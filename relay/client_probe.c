/* A node's side of dial-back (docs/spec/relay.md §6): data for an address that costs some, a frame
 * at a time, and the nonces of PROBE packets told to the relay. */
#include "relay/client_internal.h"

bool px_relay_probe_bill(struct px_relay_client *c, struct request *r, uint64_t bytes,
                         enum px_relay_status *status)
{
    if (!r->pays)
        return false;
    if (r->paid || bytes > PX_RELAY_PADDING_TOTAL_MAX) {
        *status = PX_RELAY_UNEXPECTED_MESSAGE;
        return false;
    }
    r->paid = true;
    r->owed = bytes;
    r->pay_at = c->now;
    px_relay_probe_run(c, r);
    return true;
}

void px_relay_probe_run(struct px_relay_client *c, struct request *r)
{
    static const uint8_t zeros[PX_RELAY_PADDING_MAX];
    size_t n = (size_t)PX_MIN(r->owed, sizeof(zeros));
    const struct px_relay_msg m = {
        .type = PX_RELAY_MSG_PADDING, .request = r->number, .padding = px_slice(zeros, n)};
    if (n > 0)
        px_relay_client_send(c, &m);
    r->owed -= n;
    r->pay_at = r->owed > 0 ? c->now + PX_RELAY_PADDING_GAP : PX_NEVER;
    r->deadline = c->now + PX_RELAY_REQUEST_TIME;
}

static bool is_new(const struct request *r, const struct px_relay_nonce *nonce)
{
    for (size_t i = 0; i < r->seen_count; i++)
        if (memcmp(r->seen[i].bytes, nonce->bytes, sizeof(nonce->bytes)) == 0)
            return false;
    return true;
}

/* SPEC relay §6: to each relay whose probe is under way and paid for, each nonce once, at most 8 a
 * probe. */
void px_relay_probe_seen(struct px_relay_client *c, const struct px_relay_nonce *nonce)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(c->requests); i++) {
        struct request *r = &c->requests[i];
        if (r->number == 0 || r->type != PX_RELAY_MSG_PROBE || r->owed > 0 ||
            r->seen_count == PX_RELAY_SEEN_MAX || !is_new(r, nonce))
            continue;
        r->seen[r->seen_count++] = *nonce;
        const struct px_relay_msg m = {
            .type = PX_RELAY_MSG_SEEN, .request = r->number, .nonce = *nonce};
        px_relay_client_send(c, &m);
    }
}
