/* What the tests of the store share: a temporary directory, shell commands, whole NARs by way of
 * nix-store --dump as the reference. */
#ifndef PX_TESTS_STORE_FIXTURE_H
#define PX_TESTS_STORE_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/nix/store.h"
#include "proto/base/buf.h"
#include "tests/test.h"

#define FIXTURE_BYTES_MAX ((size_t)512 << 20)

static inline void fixture_require_nix(void)
{
    if (access("/usr/bin/nix-store", X_OK) != 0 && system("command -v nix-store >/dev/null") != 0)
        px_test_skip("nix-store is not installed");
}

/* Runs a command, which must succeed. */
static inline void PX_PRINTF(1, 2) fixture_sh(const char *fmt, ...)
{
    char cmd[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(cmd, sizeof(cmd), fmt, ap);
    va_end(ap);
    CHECK(n > 0 && (size_t)n < sizeof(cmd));
    int status = system(cmd);
    if (status != 0)
        px_test_fail(__FILE__, __LINE__, "status %d of: %.300s", status, cmd);
}

/* The output of a command that must succeed; with its final newline cut off if `line`. */
static inline void fixture_output(const char *cmd, bool line, struct px_buf *out)
{
    px_buf_init(out, FIXTURE_BYTES_MAX);
    FILE *f = popen(cmd, "r");
    CHECK(f != NULL);
    for (;;) {
        uint8_t *at = px_buf_reserve(out, 65536);
        CHECK(at != NULL);
        size_t n = fread(at, 1, 65536, f);
        if (n == 0)
            break;
        px_buf_commit(out, n);
    }
    CHECK_INT(pclose(f), 0);
    if (line && out->len > 0 && out->data[out->len - 1] == '\n')
        out->len--;
    if (line) {
        CHECK_OK(px_buf_put_u8(out, 0));
        out->len--;
    }
}

static inline void fixture_dump(const char *path, struct px_buf *out)
{
    char cmd[1024];
    snprintf(cmd, sizeof(cmd), "nix-store --dump '%s'", path);
    fixture_output(cmd, false, out);
}

struct fixture_dir {
    char path[256];
};

static inline void fixture_dir_make(struct fixture_dir *d)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(d->path, sizeof(d->path), "%s/px-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
    CHECK(mkdtemp(d->path) != NULL);
}

static inline void fixture_dir_remove(struct fixture_dir *d)
{
    fixture_sh("chmod -R u+w '%s'; rm -rf '%s'", d->path, d->path);
}

/* Writes <dir>/<name>; the name may hold anything but a slash at its end. */
static inline void fixture_file(const char *dir, const char *name, const void *data, size_t len,
                                mode_t mode)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, mode);
    CHECK(fd >= 0);
    CHECK(write(fd, data, len) == (ssize_t)len);
    CHECK(fchmod(fd, mode) == 0);
    close(fd);
}

#endif
