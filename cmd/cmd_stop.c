/* peerix stop: ends the running daemon and waits until it is gone. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cmd/control_client.h"
#include "cmd/json.h"

enum { WAIT_MS = 6000, PAUSE_MS = 50 };

/* True once the process has ended. A pid of another namespace is nobody here: then its socket
 * tells. */
static bool wait_gone(const struct px_home *home, pid_t pid)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (fd >= 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        bool gone = poll(&p, 1, WAIT_MS) == 1;
        close(fd);
        return gone;
    }
    for (int i = 0; i < WAIT_MS / PAUSE_MS && px_control_is_running(home); i++)
        nanosleep(&pause, NULL);
    return !px_control_is_running(home);
}

int px_cmd_stop(const struct px_cli *cli)
{
    struct px_home home;
    json_t *answer = NULL;
    int code = px_cli_home(cli, &home);
    if (code == 0 && !px_control_is_running(&home)) {
        px_cli_error(cli, "no daemon of this home is running: nothing to stop");
        code = PX_EXIT_NOT_RUNNING;
    }
    if (code == 0)
        code = px_control_call(cli, "POST", "/v1/shutdown", NULL, &answer);
    if (code != 0)
        return code;
    uint64_t pid = px_json_count(answer, "pid");
    json_decref(answer);
    if (!wait_gone(&home, (pid_t)pid)) {
        px_cli_error(cli, "the daemon (pid %" PRIu64 ") is still there after %d s; see its log",
                     pid, WAIT_MS / 1000);
        return PX_EXIT_TIMEOUT;
    }
    if (px_cli_has(cli, "json"))
        return px_json_print(cli,
                             json_pack("{s:s, s:I}", "state", "stopped", "pid", (json_int_t)pid));
    puts("stopped");
    return PX_EXIT_OK;
}
