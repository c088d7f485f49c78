/* The protocols of sd_notify(3) and sd_listen_fds(3), played from the service manager's side. */
#include "node/service_manager.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/test.h"

#define PASSED_FD 3 /* where the protocol has the first socket */

/* A descriptor that stood there, to be put back. */
static int displaced;

static void pass(int type, bool listening)
{
    const struct sockaddr_un any = {.sun_family = AF_UNIX};
    displaced = fcntl(PASSED_FD, F_DUPFD_CLOEXEC, PASSED_FD + 1);
    int fd = socket(AF_UNIX, type, 0);
    CHECK(bind(fd, (const struct sockaddr *)&any, sizeof(any.sun_family)) == 0);
    CHECK(!listening || listen(fd, 1) == 0);
    if (fd != PASSED_FD) {
        CHECK(dup2(fd, PASSED_FD) == PASSED_FD);
        close(fd);
    }
}

static void take_back(void)
{
    close(PASSED_FD);
    if (displaced >= 0) {
        CHECK(dup2(displaced, PASSED_FD) == PASSED_FD);
        close(displaced);
    }
}

static void announce(pid_t pid, const char *count)
{
    char text[24];
    snprintf(text, sizeof(text), "%ld", (long)pid);
    CHECK(setenv("LISTEN_PID", text, 1) == 0 && setenv("LISTEN_FDS", count, 1) == 0 &&
          setenv("LISTEN_FDNAMES", "http", 1) == 0);
}

static bool announcement_is_gone(void)
{
    return getenv("LISTEN_PID") == NULL && getenv("LISTEN_FDS") == NULL &&
           getenv("LISTEN_FDNAMES") == NULL;
}

TEST(a_listening_socket_is_taken_over_once)
{
    int fd = -2;
    pass(SOCK_STREAM, true);
    announce(getpid(), "1");
    CHECK_OK(px_service_listen_fd(&fd));
    CHECK_INT(fd, PASSED_FD);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(announcement_is_gone());
    CHECK_OK(px_service_listen_fd(&fd));
    CHECK_INT(fd, -1);
    take_back();
}

TEST(what_was_not_passed_to_us_is_left_alone)
{
    static const struct {
        bool ours;
        const char *count;
    } cases[] = {{false, "1"}, {true, "0"}, {true, ""}, {true, "-1"}, {true, "one"}};
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        int fd = -2;
        announce(cases[i].ours ? getpid() : getppid(), cases[i].count);
        CHECK_OK(px_service_listen_fd(&fd));
        CHECK_INT(fd, -1);
        CHECK(announcement_is_gone());
    }
}

TEST(two_sockets_or_one_of_another_kind_are_refused)
{
    static const struct {
        int type;
        bool listening;
        const char *count;
        int err;
    } cases[] = {{SOCK_STREAM, true, "2", PX_ELIMIT},
                 {SOCK_STREAM, false, "1", PX_EINVAL},
                 {SOCK_DGRAM, false, "1", PX_EINVAL}};
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        int fd = -2;
        pass(cases[i].type, cases[i].listening);
        announce(getpid(), cases[i].count);
        CHECK_ERR(px_service_listen_fd(&fd), cases[i].err);
        CHECK_INT(fd, -2);
        CHECK(announcement_is_gone());
        take_back();
    }
}

/* Binds an abstract socket to hear on; its name goes to NOTIFY_SOCKET. */
static int hear(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(sa);
    char name[sizeof(sa.sun_path) + 1] = "@";
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (const struct sockaddr *)&sa, sizeof(sa.sun_family)) ==
          0); /* the kernel picks */
    CHECK(getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
    memcpy(name + 1, sa.sun_path + 1, len - sizeof(sa.sun_family) - 1);
    CHECK(setenv("NOTIFY_SOCKET", name, 1) == 0);
    return fd;
}

TEST(a_state_reaches_the_service_manager_as_one_datagram)
{
    char got[64];
    int fd = hear();
    px_service_notify("READY=1\nSTATUS=up");
    CHECK_INT(recv(fd, got, sizeof(got), 0), 17);
    CHECK(memcmp(got, "READY=1\nSTATUS=up", 17) == 0);
    close(fd);
    unsetenv("NOTIFY_SOCKET");
}

TEST(without_a_service_manager_that_listens_nothing_happens)
{
    static const char *const names[] = {"", "relative", "/nonexistent/notify", "@nobody-hears"};
    char longest[200];
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++) {
        CHECK(setenv("NOTIFY_SOCKET", names[i], 1) == 0);
        px_service_notify("READY=1");
    }
    memset(longest, 'x', sizeof(longest));
    longest[0] = '/', longest[sizeof(longest) - 1] = '\0';
    CHECK(setenv("NOTIFY_SOCKET", longest, 1) == 0);
    px_service_notify("READY=1");
    unsetenv("NOTIFY_SOCKET");
    px_service_notify("READY=1");
}

TEST(the_watchdogs_time_is_ours_only_with_our_pid)
{
    static const struct {
        const char *usec;
        int pid; /* 0: ours, 1: another, -1: none given */
        uint64_t want;
    } rows[] = {{"30000000", 0, 30000000},
                {"30000000", -1, 30000000},
                {"30000000", 1, 0},
                {"", 0, 0},
                {"soon", 0, 0},
                {"-5", 0, 0}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        char pid[24];
        snprintf(pid, sizeof(pid), "%ld", (long)(rows[i].pid == 1 ? getppid() : getpid()));
        CHECK(setenv("WATCHDOG_USEC", rows[i].usec, 1) == 0);
        CHECK(rows[i].pid < 0 ? unsetenv("WATCHDOG_PID") == 0
                              : setenv("WATCHDOG_PID", pid, 1) == 0);
        CHECK_INT(px_service_watchdog_usec(), rows[i].want);
    }
    unsetenv("WATCHDOG_USEC");
    CHECK_INT(px_service_watchdog_usec(), 0);
    unsetenv("WATCHDOG_PID");
}

TEST(a_reload_tells_when_it_began)
{
    char got[128];
    int fd = hear();
    px_service_notify_reloading();
    ssize_t n = recv(fd, got, sizeof(got) - 1, 0);
    CHECK(n > 0);
    got[n] = '\0';
    CHECK(strncmp(got, "RELOADING=1\nMONOTONIC_USEC=", 27) == 0 && got[27] >= '1');
    close(fd);
    unsetenv("NOTIFY_SOCKET");
}
