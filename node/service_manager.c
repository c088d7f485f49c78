/* sd_notify and sd_listen_fds as their manual pages describe them. */
#include "node/service_manager.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/slice.h"

#define LISTEN_FDS_START 3

void px_service_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;
    if (len == 0 || len >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, len);
    if (path[0] == '@') /* abstract namespace */
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    /* a service manager that does not listen is not our failure */
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to, to_len);
    close(fd);
}

void px_service_notify_reloading(void)
{
    char state[64];
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
    px_service_notify(state);
}

/* A variable of the environment as a number. */
static bool env_u64(const char *name, uint64_t *ret)
{
    const char *text = getenv(name);
    return text != NULL && px_slice_parse_u64(px_slice_cstr(text), ret) == 0;
}

uint64_t px_service_watchdog_usec(void)
{
    uint64_t usec, pid;
    if (!env_u64("WATCHDOG_USEC", &usec))
        return 0;
    if (getenv("WATCHDOG_PID") != NULL &&
        (!env_u64("WATCHDOG_PID", &pid) || pid != (uint64_t)getpid()))
        return 0;
    return usec;
}

static bool is_ours(void)
{
    uint64_t pid;
    return env_u64("LISTEN_PID", &pid) && pid == (uint64_t)getpid();
}

static int int_option(int fd, int option)
{
    int value = 0;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

int px_service_listen_fd(int *ret_fd)
{
    const char *text = getenv("LISTEN_FDS");
    uint64_t count = 0;
    if (text == NULL || !is_ours() || px_slice_parse_u64(px_slice_cstr(text), &count) != 0)
        count = 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (count > 1)
        return PX_ELIMIT;
    if (count == 0) {
        *ret_fd = -1;
        return 0;
    }
    if (int_option(LISTEN_FDS_START, SO_ACCEPTCONN) != 1 ||
        int_option(LISTEN_FDS_START, SO_TYPE) != SOCK_STREAM)
        return PX_EINVAL;
    if (fcntl(LISTEN_FDS_START, F_SETFD, FD_CLOEXEC) != 0)
        return px_err_from_errno(errno);
    *ret_fd = LISTEN_FDS_START;
    return 0;
}
