/* Changes an invite code, for tests: `invite_forge CODE secret` flips a bit of the secret,
 * `invite_forge CODE inviter PEER-ID` puts another inviter, `invite_forge CODE id` another invite.
 */
#include <stdio.h>

#include "auth/peer_id.h"
#include "proto/invite.h"

static int change(struct px_invite *i, int argc, char **argv)
{
    struct px_peer_id id;
    if (strcmp(argv[2], "secret") == 0) {
        i->secret[0] ^= 1;
    } else if (strcmp(argv[2], "id") == 0) {
        i->id[0] ^= 1;
    } else if (strcmp(argv[2], "inviter") == 0 && argc == 4 &&
               px_peer_id_parse(px_slice_cstr(argv[3]), &id) == 0) {
        memcpy(i->key, id.key, sizeof(i->key));
    } else {
        return PX_EINVAL;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct px_invite i;
    struct px_invite_fault fault;
    struct px_buf out;
    if (argc < 3 || px_invite_parse(px_slice_cstr(argv[1]), &i, &fault) != 0 ||
        change(&i, argc, argv) != 0)
        return 2;
    px_buf_init(&out, PX_INVITE_TEXT_MAX);
    if (px_invite_print(&i, &out) != 0)
        return 1;
    printf("%.*s\n", (int)out.len, (const char *)out.data);
    px_buf_deinit(&out);
    return 0;
}
