/* What a service manager does for Type=notify with WatchdogSec= and Restart=on-failure, for the
 * end-to-end tests.
 *
 * usage: supervisor WATCHDOG_MSEC COMMAND…
 * Runs the command with NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and prints one line an
 * event: `start PID`, `notify TEXT` for each datagram, `timeout` when no WATCHDOG=1 came in time
 * after READY=1 (it then kills the command), `ended STATUS`. Starts it again unless it ended with 0
 * or after our SIGTERM, which is passed on; exits with its exit code then. */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stop_wanted;

struct supervisor {
    char dir[64];
    struct sockaddr_un at;
    int notices;
    uint64_t allowed_ms;
    uint64_t deadline_ms; /* 0: not watched */
    pid_t child;
    bool passed_on;
};

static void on_term(int signum)
{
    stop_wanted = signum;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool open_notices(struct supervisor *s)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(s->dir, sizeof(s->dir), "%.30s/peerix-notify.XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(s->dir) == NULL)
        return false;
    s->at = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(s->at.sun_path, sizeof(s->at.sun_path), "%s/notify", s->dir);
    s->notices = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return s->notices >= 0 && bind(s->notices, (const struct sockaddr *)&s->at, sizeof(s->at)) == 0;
}

static void set_number(const char *name, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    if (setenv(name, text, 1) != 0)
        _exit(126);
}

static void start(struct supervisor *s, char **argv)
{
    s->deadline_ms = 0; /* watched from READY on */
    s->child = fork();
    if (s->child != 0) {
        printf("start %d\n", (int)s->child);
        return;
    }
    set_number("WATCHDOG_USEC", s->allowed_ms * 1000);
    set_number("WATCHDOG_PID", (uint64_t)getpid());
    if (setenv("NOTIFY_SOCKET", s->at.sun_path, 1) != 0)
        _exit(126);
    execvp(argv[0], argv);
    _exit(127);
}

static void take_notices(struct supervisor *s)
{
    char text[512];
    ssize_t n;
    while ((n = recv(s->notices, text, sizeof(text) - 1, 0)) >= 0) {
        text[n] = '\0';
        for (char *c = text; *c != '\0'; c++)
            *c = *c == '\n' ? ' ' : *c;
        printf("notify %s\n", text);
        if (strstr(text, "STOPPING=1") != NULL)
            s->deadline_ms = 0;
        else if (strstr(text, "READY=1") != NULL ||
                 (strstr(text, "WATCHDOG=1") != NULL && s->deadline_ms != 0))
            s->deadline_ms = now_ms() + s->allowed_ms;
    }
}

static void watch(struct supervisor *s)
{
    if (s->deadline_ms == 0 || now_ms() < s->deadline_ms)
        return;
    puts("timeout");
    s->deadline_ms = 0;
    kill(s->child, SIGKILL); /* works on a stopped process too */
}

/* False once it is over. */
static bool reap(struct supervisor *s, char **argv, int *ret_code)
{
    int status;
    if (waitpid(s->child, &status, WNOHANG) != s->child)
        return true;
    take_notices(s);
    *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    printf("ended %d\n", *ret_code);
    if (s->passed_on || *ret_code == 0)
        return false;
    start(s, argv);
    return true;
}

int main(int argc, char **argv)
{
    struct supervisor s = {.notices = -1};
    int code = 2;
    s.allowed_ms = argc > 2 ? strtoull(argv[1], NULL, 10) : 0;
    if (s.allowed_ms == 0 || !open_notices(&s))
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGTERM, on_term);
    start(&s, argv + 2);
    do {
        struct pollfd p = {.fd = s.notices, .events = POLLIN};
        (void)poll(&p, 1, 20);
        if (stop_wanted && !s.passed_on) {
            s.passed_on = true;
            kill(s.child, SIGTERM);
        }
        take_notices(&s);
        watch(&s);
    } while (reap(&s, argv + 2, &code));
    (void)unlink(s.at.sun_path);
    (void)rmdir(s.dir);
    return code;
}
