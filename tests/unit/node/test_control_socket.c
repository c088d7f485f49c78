/* Who is the daemon of a home: lock, socket and cookie in the state directory. */
#include "node/control_socket.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "node/control.h"
#include "tests/test.h"

static struct px_home home;
static char hint[512];
static int other_pid;

static void new_home(void)
{
    CHECK_OK(px_crypto_init());
    snprintf(home.state_dir, sizeof(home.state_dir), "/tmp/px-test-control.XXXXXX");
    CHECK(mkdtemp(home.state_dir) != NULL);
    snprintf(home.config_dir, sizeof(home.config_dir), "%s", home.state_dir);
}

static void end_home(void)
{
    char command[PX_HOME_PATH_MAX + 16];
    snprintf(command, sizeof(command), "rm -rf '%s'", home.state_dir);
    CHECK_INT(system(command), 0);
}

static const char *in_home(const char *name)
{
    static char path[PX_HOME_FILE_MAX];
    snprintf(path, sizeof(path), "%s/%s", home.state_dir, name);
    return path;
}

static int take(struct px_control_socket *s)
{
    return px_control_socket_open(&home, s, &other_pid, hint, sizeof(hint));
}

static void release(struct px_control_socket *s)
{
    px_control_socket_remove(s);
    px_control_socket_close(s);
}

static unsigned mode_of(const char *name)
{
    struct stat st;
    CHECK(lstat(in_home(name), &st) == 0);
    return st.st_mode & 07777;
}

/* A Unix socket with that name that listens, as a daemon without a lock would. */
static int listen_there(const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const char *path = in_home(name);
    CHECK(strlen(path) < sizeof(addr.sun_path));
    memcpy(addr.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 1) == 0);
    return fd;
}

TEST(socket_and_cookie_are_for_their_owner_alone)
{
    struct px_control_socket s;
    mode_t old = umask(0);
    new_home();
    CHECK_OK(take(&s));
    CHECK_INT(mode_of(PX_HOME_CONTROL_SOCKET), 0600);
    CHECK_INT(mode_of(PX_HOME_CONTROL_COOKIE), 0600);
    CHECK_INT(mode_of(PX_HOME_CONTROL_LOCK), 0600);
    release(&s);
    umask(old);
    CHECK(access(in_home(PX_HOME_CONTROL_SOCKET), F_OK) != 0);
    CHECK(access(in_home(PX_HOME_CONTROL_COOKIE), F_OK) != 0);
    end_home();
}

TEST(a_missing_directory_is_made_private)
{
    struct px_control_socket s;
    struct stat st;
    new_home();
    strncat(home.state_dir, "/state", sizeof(home.state_dir) - strlen(home.state_dir) - 1);
    CHECK_OK(take(&s));
    CHECK(stat(home.state_dir, &st) == 0 && (st.st_mode & 0777) == 0700);
    release(&s);
    *strrchr(home.state_dir, '/') = '\0';
    end_home();
}

TEST(the_cookie_is_new_at_each_start_and_is_what_the_file_says)
{
    struct px_control_socket s;
    char first[PX_CONTROL_COOKIE_LEN];
    struct px_buf text;
    new_home();
    CHECK_OK(take(&s));
    memcpy(first, s.cookie, sizeof(first));
    px_buf_init(&text, 256);
    CHECK_OK(px_file_read(in_home(PX_HOME_CONTROL_COOKIE), 256, &text));
    CHECK_SLICE(px_slice_take(px_buf_slice(&text), PX_CONTROL_COOKIE_LEN),
                px_slice(first, sizeof(first)));
    CHECK_INT(text.len, PX_CONTROL_COOKIE_LEN + 1);
    px_buf_deinit(&text);
    release(&s);
    CHECK_OK(take(&s));
    CHECK(memcmp(first, s.cookie, sizeof(first)) != 0);
    release(&s);
    end_home();
}

TEST(a_second_daemon_is_told_who_the_first_is)
{
    struct px_control_socket s, second;
    new_home();
    CHECK_OK(take(&s));
    CHECK_ERR(take(&second), PX_EEXIST);
    CHECK_INT(other_pid, getpid());
    CHECK(strstr(hint, "running") != NULL);
    /* and has taken nothing from it */
    CHECK_INT(mode_of(PX_HOME_CONTROL_SOCKET), 0600);
    CHECK_INT(mode_of(PX_HOME_CONTROL_COOKIE), 0600);
    release(&s);
    end_home();
}

TEST(the_lock_alone_keeps_a_second_daemon_out_while_the_first_is_not_listening_yet)
{
    struct px_control_socket second;
    new_home();
    int fd = open(in_home(PX_HOME_CONTROL_LOCK), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0 && write(fd, "4711\n", 5) == 5);
    CHECK_ERR(take(&second), PX_EEXIST);
    CHECK_INT(other_pid, 4711);
    close(fd);
    CHECK_OK(take(&second));
    release(&second);
    end_home();
}

TEST(a_lock_file_of_junk_gives_no_pid)
{
    struct px_control_socket second;
    new_home();
    int fd = open(in_home(PX_HOME_CONTROL_LOCK), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0 && write(fd, "99999999999999999999\n", 21) == 21);
    CHECK_ERR(take(&second), PX_EEXIST);
    CHECK_INT(other_pid, 0);
    close(fd);
    end_home();
}

TEST(a_listener_without_a_lock_is_found_by_dialling)
{
    struct px_control_socket second;
    new_home();
    int fd = listen_there(PX_HOME_CONTROL_SOCKET);
    CHECK_ERR(take(&second), PX_EEXIST);
    CHECK_INT(other_pid, getpid());
    close(fd);
    end_home();
}

TEST(a_stale_socket_is_cleared_away)
{
    struct px_control_socket s;
    new_home();
    close(listen_there(PX_HOME_CONTROL_SOCKET)); /* as after kill -9 */
    CHECK_OK(take(&s));
    int pid = 0;
    CHECK_OK(px_control_socket_dial(s.path, &pid));
    CHECK_INT(pid, getpid());
    release(&s);
    CHECK_ERR(px_control_socket_dial(s.path, &pid), PX_ENOENT);
    end_home();
}

TEST(what_is_no_socket_is_not_removed)
{
    struct px_control_socket s;
    new_home();
    CHECK_OK(px_file_write_atomic(in_home(PX_HOME_CONTROL_SOCKET), PX_SLICE_LIT("x"), 0600, true));
    CHECK_ERR(take(&s), PX_EPERM);
    CHECK(access(in_home(PX_HOME_CONTROL_SOCKET), F_OK) == 0);
    end_home();
}

TEST(a_directory_others_may_write_in_is_refused)
{
    struct px_control_socket s;
    new_home();
    CHECK(chmod(home.state_dir, 0720) == 0);
    CHECK_ERR(take(&s), PX_EPERM);
    CHECK(strstr(hint, "chmod 700") != NULL);
    CHECK(chmod(home.state_dir, 0700) == 0);
    CHECK_OK(take(&s));
    release(&s);
    end_home();
}

TEST(a_link_in_the_place_of_the_lock_is_not_followed)
{
    struct px_control_socket s;
    new_home();
    CHECK(symlink("/nonexistent/target", in_home(PX_HOME_CONTROL_LOCK)) == 0);
    CHECK(take(&s) != 0);
    CHECK(access("/nonexistent/target", F_OK) != 0);
    end_home();
}

TEST(a_path_too_long_for_a_socket_is_refused_with_a_hint)
{
    struct px_control_socket s;
    new_home();
    char dir[sizeof(home.state_dir)];
    snprintf(dir, sizeof(dir), "%s", home.state_dir);
    memset(home.state_dir + strlen(dir), 'x', 100);
    home.state_dir[strlen(dir)] = '/';
    home.state_dir[strlen(dir) + 100] = '\0';
    CHECK_ERR(take(&s), PX_EADDR);
    CHECK(strstr(hint, "shorter") != NULL);
    CHECK(access(home.state_dir, F_OK) != 0);
    snprintf(home.state_dir, sizeof(home.state_dir), "%s", dir);
    end_home();
}

/* Many processes start at once: each round exactly one may win. */
TEST(of_many_starts_at_once_one_wins)
{
    enum { STARTS = 8 };
    new_home();
    int go[2], done[2];
    CHECK(pipe(go) == 0 && pipe(done) == 0);
    pid_t children[STARTS];
    for (int i = 0; i < STARTS; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            struct px_control_socket s;
            char byte;
            close(go[1]);
            (void)!read(go[0], &byte, 1); /* all wait for the end of the pipe */
            int won = take(&s) == 0;
            (void)!write(done[1], won ? "w" : "l", 1);
            close(done[1]);
            /* the winner stays until all have tried */
            close(done[0]);
            if (won)
                pause();
            _exit(1);
        }
    }
    close(go[0]);
    close(go[1]);
    int winners = 0;
    for (int i = 0; i < STARTS; i++) {
        char byte;
        CHECK(read(done[0], &byte, 1) == 1);
        winners += byte == 'w';
    }
    close(done[0]);
    close(done[1]);
    for (int i = 0; i < STARTS; i++) {
        int status;
        CHECK(kill(children[i], SIGTERM) == 0);
        CHECK(waitpid(children[i], &status, 0) == children[i]);
    }
    CHECK_INT(winners, 1);
    end_home();
}
