/* What this machine calls itself, as a name for others. */
#ifndef PX_NODE_HOST_NAME_H
#define PX_NODE_HOST_NAME_H

#include "auth/authorized_keys.h"

/* The first label of the host name, reduced to what a name may hold; "" when nothing is left. */
void px_host_name(char ret[PX_AUTH_NAME_MAX + 1]);
/* The same of a given host name. */
void px_host_name_reduce(const char *host, char ret[PX_AUTH_NAME_MAX + 1]);

#endif
