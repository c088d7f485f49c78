/* Peer IDs from any text: what is accepted has one canonical form, which reads back as the same. */
#include "auth/peer_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_peer_id id, again;
    char text[PX_PEER_ID_TEXT_MAX];
    struct px_slice in = px_slice(data, len);
    int err = px_peer_id_parse(in, &id);
    if (err != 0) {
        px_assert(err == PX_EPARSE || err == PX_EUNSUPPORTED);
        return 0;
    }
    px_peer_id_format(&id, text);
    px_assert(px_peer_id_parse(px_slice_cstr(text), &again) == 0);
    px_assert(px_peer_id_eq(&id, &again));
    if (data[0] == '1')
        px_assert(px_slice_eq_cstr(in, text));
    return 0;
}
