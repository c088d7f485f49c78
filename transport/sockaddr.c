/* Conversions of sockaddr.h. */
#include "transport/sockaddr.h"

#include <arpa/inet.h>

socklen_t px_sockaddr_from_addr(const struct px_addr *a, union px_sockaddr *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (a->family == PX_ADDR_IP4) {
        ret->in.sin_family = AF_INET;
        ret->in.sin_port = htons(a->port);
        memcpy(&ret->in.sin_addr, a->ip, 4);
        return sizeof(ret->in);
    }
    if (a->family == PX_ADDR_IP6) {
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons(a->port);
        ret->in6.sin6_scope_id = a->scope;
        memcpy(&ret->in6.sin6_addr, a->ip, 16);
        return sizeof(ret->in6);
    }
    return 0;
}

socklen_t px_sockaddr_mapped_from_addr(const struct px_addr *a, union px_sockaddr *ret)
{
    if (a->family != PX_ADDR_IP4)
        return px_sockaddr_from_addr(a, ret);
    memset(ret, 0, sizeof(*ret));
    ret->in6.sin6_family = AF_INET6;
    ret->in6.sin6_port = htons(a->port);
    memset(&ret->in6.sin6_addr.s6_addr[10], 0xff, 2);
    memcpy(&ret->in6.sin6_addr.s6_addr[12], a->ip, 4);
    return sizeof(ret->in6);
}

static void from_in6(const struct sockaddr_in6 *in6, struct px_addr *ret)
{
    ret->port = ntohs(in6->sin6_port);
    ret->family = PX_ADDR_IP6;
    memcpy(ret->ip, &in6->sin6_addr, 16);
    px_addr_unmap(ret);
    if (ret->family == PX_ADDR_IP6 && px_addr_is_link_local(ret))
        ret->scope = in6->sin6_scope_id;
}

void px_sockaddr_to_addr(const struct sockaddr *sa, struct px_addr *ret)
{
    memset(ret, 0, sizeof(*ret));
    union px_sockaddr u;
    if (sa->sa_family == AF_INET) {
        memcpy(&u.in, sa, sizeof(u.in));
        ret->family = PX_ADDR_IP4;
        ret->port = ntohs(u.in.sin_port);
        memcpy(ret->ip, &u.in.sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        memcpy(&u.in6, sa, sizeof(u.in6));
        from_in6(&u.in6, ret);
    }
}
