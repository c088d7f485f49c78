/* Invite codes from any text: what reads prints in both forms and reads back as the same; what does
 * not says why. */
#include "proto/invite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_round_trip(const struct px_invite *i,
                             int (*print)(const struct px_invite *i, struct px_buf *out))
{
    struct px_invite again;
    struct px_invite_fault fault;
    struct px_buf out;
    px_buf_init(&out, PX_INVITE_TEXT_MAX);
    px_assert(print(i, &out) == 0);
    px_assert(px_invite_parse(px_buf_slice(&out), &again, &fault) == 0);
    px_assert(memcmp(i, &again, sizeof(again)) == 0);
    px_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_invite i;
    struct px_invite_fault fault;
    int err = px_invite_parse(px_slice(data, len), &i, &fault);
    if (err == 0) {
        check_round_trip(&i, px_invite_print);
        check_round_trip(&i, px_invite_print_url);
    } else {
        px_assert(err == PX_EINVITE_TYPO || err == PX_EINVITE_JUNK || err == PX_EUNSUPPORTED);
        px_assert(fault.why[0] != '\0');
    }
    return 0;
}
