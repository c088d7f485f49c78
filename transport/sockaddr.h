/* struct px_addr to and from the system's sockaddr. Values only, no sockets. */
#ifndef PX_TRANSPORT_SOCKADDR_H
#define PX_TRANSPORT_SOCKADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "proto/addr.h"

union px_sockaddr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* Returns the length used; 0 for no address. */
socklen_t px_sockaddr_from_addr(const struct px_addr *a, union px_sockaddr *ret);
/* The IPv6 form of any address: IPv4 becomes ::ffff:a.b.c.d, for sockets that speak both. */
socklen_t px_sockaddr_mapped_from_addr(const struct px_addr *a, union px_sockaddr *ret);
/* No address for a family that is not IP; IPv4-mapped IPv6 becomes IPv4. */
void px_sockaddr_to_addr(const struct sockaddr *sa, struct px_addr *ret);

#endif
