/* See host_name.h. */
#include "node/host_name.h"

#include <unistd.h>

void px_host_name_reduce(const char *host, char ret[PX_AUTH_NAME_MAX + 1])
{
    size_t n = 0;
    for (const char *c = host; *c != '\0' && *c != '.' && n < PX_AUTH_NAME_MAX; c++) {
        char x = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        bool ok = (x >= 'a' && x <= 'z') || (x >= '0' && x <= '9');
        if (ok || n > 0)
            ret[n++] = ok ? x : '-';
    }
    while (n > 0 && ret[n - 1] == '-')
        n--;
    ret[n] = '\0';
}

void px_host_name(char ret[PX_AUTH_NAME_MAX + 1])
{
    char host[PX_AUTH_NAME_MAX + 1] = "";
    (void)gethostname(host, sizeof(host) - 1);
    px_host_name_reduce(host, ret);
}
