/* What a service manager does, for the end-to-end tests: binds a loopback TCP socket, passes it to
 * a program by LISTEN_FDS, and prints what it says to NOTIFY_SOCKET.
 *
 * usage: socket_activate PORTFILE COMMAND…
 * Writes the port to PORTFILE, runs the command with the socket as descriptor 3, prints `notify
 * <text>` for each datagram, forwards SIGTERM, restarts the command with the same socket when it
 * ends by SIGKILL, and exits with its exit code otherwise. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t child_pid;

static void forward(int signum)
{
    if (child_pid > 0)
        kill((pid_t)child_pid, signum);
}

static int open_listener(const char *port_file)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FILE *f = fopen(port_file, "w");
    if (fd < 0 || f == NULL || bind(fd, (const struct sockaddr *)&a, len) != 0 ||
        listen(fd, 512) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return -1;
    fprintf(f, "%u\n", ntohs(a.sin_port));
    fclose(f);
    return fd;
}

static int open_notify(struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret->sun_path, sizeof(ret->sun_path), "/tmp/peerix-notify.%d", (int)getpid());
    (void)unlink(ret->sun_path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)ret, sizeof(*ret)) != 0)
        return -1;
    return fd;
}

static void start(int listener, const char *notify_path, char **argv)
{
    char pid[32];
    pid_t p = fork();
    if (p != 0) {
        child_pid = (sig_atomic_t)p;
        return;
    }
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    /* dup2 clears close-on-exec unless the socket is 3 already */
    if (dup2(listener, 3) != 3 || fcntl(3, F_SETFD, 0) != 0 || setenv("LISTEN_FDS", "1", 1) != 0 ||
        setenv("LISTEN_PID", pid, 1) != 0 || setenv("NOTIFY_SOCKET", notify_path, 1) != 0)
        _exit(126);
    execvp(argv[0], argv);
    _exit(127);
}

static void print_notices(int fd)
{
    char text[512];
    ssize_t n;
    while ((n = recv(fd, text, sizeof(text) - 1, 0)) >= 0) {
        text[n] = '\0';
        printf("notify %s\n", text);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_un notify;
    int listener, notices, status;
    if (argc < 3 || (listener = open_listener(argv[1])) < 0 || (notices = open_notify(&notify)) < 0)
        return 2;
    (void)signal(SIGTERM, forward);
    start(listener, notify.sun_path, argv + 2);
    for (;;) {
        struct pollfd p = {.fd = notices, .events = POLLIN};
        (void)poll(&p, 1, 100);
        print_notices(notices);
        pid_t ended = waitpid((pid_t)child_pid, &status, WNOHANG);
        if (ended != (pid_t)child_pid)
            continue;
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            break;
        printf("restart\n");
        fflush(stdout);
        start(listener, notify.sun_path, argv + 2);
    }
    (void)unlink(notify.sun_path);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
