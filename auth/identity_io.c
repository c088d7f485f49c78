/* Loading and creating the key file: who may read it is checked on the open descriptor, so that
 * nothing can be swapped in between. */
#include "auth/identity_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"

enum { KEY_FILE_MAX = 8192 };

static void PX_PRINTF(3, 4) hint(char *out, size_t size, const char *fmt, ...)
{
    va_list ap;
    if (size == 0)
        return;
    va_start(ap, fmt);
    vsnprintf(out, size, fmt, ap);
    va_end(ap);
}

/* The path as one word of a shell, so that the command in a hint can be pasted. */
static void shell_word(const char *path, char *out, size_t size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./+=:,@%";
    if (path[0] != '\0' && path[0] != '-' && path[strspn(path, plain)] == '\0') {
        snprintf(out, size, "%s", path);
        return;
    }
    struct px_buf b;
    px_buf_init(&b, 4 * strlen(path) + 8);
    px_buf_put_cstr(&b, path[0] == '-' ? "./'" : "'");
    for (const char *c = path; *c != '\0'; c++)
        px_buf_put_cstr(&b, *c == '\'' ? "'\\''" : (const char[]){*c, '\0'});
    px_buf_put_cstr(&b, "'");
    snprintf(out, size, "%.*s", (int)b.len, b.data != NULL ? (const char *)b.data : "");
    px_buf_deinit(&b);
}

static int check_file(int fd, const char *path, char *ret_hint, size_t hint_size)
{
    struct stat st;
    char word[512];
    if (fstat(fd, &st) != 0)
        return px_err_from_errno(errno);
    shell_word(path, word, sizeof(word));
    if (!S_ISREG(st.st_mode)) {
        hint(ret_hint, hint_size, "%s is not a regular file", path);
        return PX_EPERM;
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        hint(ret_hint, hint_size,
             "the key file belongs to user %u, who could replace it; run: chown %u %s",
             (unsigned)st.st_uid, (unsigned)geteuid(), word);
        return PX_EPERM;
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        hint(ret_hint, hint_size, "the key file is open to others (mode %04o); run: chmod 600 %s",
             (unsigned)(st.st_mode & 07777), word);
        return PX_EPERM;
    }
    return 0;
}

static int read_key(int fd, const char *path, struct px_identity *ret, char *ret_hint,
                    size_t hint_size)
{
    struct px_buf pem;
    px_buf_init(&pem, KEY_FILE_MAX);
    /* all at once, so that growing leaves no copy of the secret behind */
    int err = px_buf_reserve(&pem, KEY_FILE_MAX) != NULL ? 0 : PX_ENOMEM;
    if (err == 0)
        err = px_file_read_fd(fd, KEY_FILE_MAX, &pem);
    if (err == 0)
        err = px_identity_from_pem(px_buf_slice(&pem), ret);
    if (err == PX_ELIMIT)
        err = PX_EPARSE;
    if (err == PX_EPARSE)
        hint(ret_hint, hint_size, "%s holds no PKCS#8 PEM private key; restore it from a backup",
             path);
    else if (err == PX_EUNSUPPORTED)
        hint(ret_hint, hint_size,
             "%s holds another kind of key; an unencrypted ed25519 key is needed", path);
    else if (err != 0)
        hint(ret_hint, hint_size, "cannot read %s: %s", path, px_strerror(err));
    if (pem.data != NULL)
        px_wipe(pem.data, pem.cap);
    px_buf_deinit(&pem);
    return err;
}

int px_identity_load(const char *path, struct px_identity *ret, char *ret_hint, size_t hint_size)
{
    /* non-blocking, so that a FIFO in its place cannot hold us up */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        int why = errno;
        if (why == ENOENT)
            hint(ret_hint, hint_size, "there is no key file %s", path);
        else
            hint(ret_hint, hint_size, "cannot open the key file %s: %s", path, strerror(why));
        return px_err_from_errno(why);
    }
    int err = check_file(fd, path, ret_hint, hint_size);
    if (err == 0)
        err = read_key(fd, path, ret, ret_hint, hint_size);
    close(fd);
    return err;
}

int px_identity_create(const char *path, const struct px_identity *i)
{
    struct px_buf pem;
    px_buf_init(&pem, KEY_FILE_MAX);
    int err = px_identity_to_pem(i, &pem);
    if (err == 0)
        err = px_file_write_atomic(path, px_buf_slice(&pem), 0600, true);
    if (pem.data != NULL)
        px_wipe(pem.data, pem.cap);
    px_buf_deinit(&pem);
    return err;
}
