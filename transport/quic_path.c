/* struct px_path to and from ngtcp2's. */
#include "transport/quic_internal.h"

void px_quic_ngpath_init(struct px_quic_ngpath *p, const struct px_path *from)
{
    p->path = (ngtcp2_path){0};
    p->path.local.addrlen = px_sockaddr_from_addr(&from->local, &p->local);
    p->path.local.addr = &p->local.sa;
    p->path.remote.addrlen = px_sockaddr_from_addr(&from->remote, &p->remote);
    p->path.remote.addr = &p->remote.sa;
}

void px_quic_path_from_ng(const ngtcp2_path *from, struct px_path *ret)
{
    px_sockaddr_to_addr(from->local.addr, &ret->local);
    px_sockaddr_to_addr(from->remote.addr, &ret->remote);
}
