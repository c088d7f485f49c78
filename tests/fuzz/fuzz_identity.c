/* PKCS#8 PEM from any bytes: what is accepted is written out and read back as the same key. */
#include "auth/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_identity i, again;
    struct px_buf pem;
    int err = px_identity_from_pem(px_slice(data, len), &i);
    if (err != 0) {
        px_assert(err == PX_EPARSE || err == PX_EUNSUPPORTED);
        return 0;
    }
    px_buf_init(&pem, 1000);
    px_assert(px_identity_to_pem(&i, &pem) == 0);
    px_assert(px_identity_from_pem(px_buf_slice(&pem), &again) == 0);
    px_assert(px_peer_id_eq(&i.id, &again.id));
    px_assert(px_ct_equal(&i.secret, &again.secret, sizeof(i.secret)));
    px_buf_deinit(&pem);
    return 0;
}
