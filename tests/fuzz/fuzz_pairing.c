/* Messages of pairing from any bytes: what reads is written and reads back as the same. */
#include "auth/pairing_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_pairing_message m, again;
    uint8_t hash[PX_HASH_LEN], hash2[PX_HASH_LEN];
    struct px_buf out;
    size_t proof_at = 0;
    if (px_crypto_init() != 0 || px_pairing_message_get(px_slice(data, len), &m, hash) != 0)
        return 0;
    px_buf_init(&out, PX_PAIRING_MESSAGE_MAX);
    px_assert(px_pairing_message_put(&m, &out, &proof_at) == 0);
    px_assert(px_pairing_message_get(px_buf_slice(&out), &again, hash2) == 0);
    px_assert(again.type == m.type && again.card.addr_count == m.card.addr_count);
    px_assert(again.card.grants == m.card.grants && strcmp(again.card.name, m.card.name) == 0);
    px_assert(strcmp(again.card.nix_key, m.card.nix_key) == 0);
    px_buf_deinit(&out);
    return 0;
}
