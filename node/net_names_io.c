/* The text is node/net_names'. */
#include "node/net_names_io.h"

#include <stdio.h>
#include <time.h>

#include "auth/file_io.h"

int64_t px_net_names_now(void)
{
    return (int64_t)time(NULL);
}

const char *px_net_names_path(const struct px_home *home, char out[PX_HOME_FILE_MAX])
{
    snprintf(out, PX_HOME_FILE_MAX, "%s/" PX_HOME_NET_NAMES, home->state_dir);
    return out;
}

int px_net_names_load(const char *path, struct px_net_names **ret, size_t *ret_bad)
{
    struct px_net_names *n;
    struct px_buf text;
    int err = px_net_names_new(&n);
    if (err != 0)
        return err;
    *ret_bad = 0;
    px_buf_init(&text, PX_NET_NAMES_FILE_MAX);
    err = px_file_read(path, PX_NET_NAMES_FILE_MAX, &text);
    if (err == 0)
        err = px_net_names_read(n, px_buf_slice(&text), px_net_names_now(), ret_bad);
    px_buf_deinit(&text);
    if (err != 0 && err != PX_ENOENT) {
        px_net_names_free(n);
        return err;
    }
    *ret = n;
    return 0;
}

int px_net_names_save(const char *path, const struct px_net_names *n)
{
    struct px_buf text;
    px_buf_init(&text, PX_NET_NAMES_FILE_MAX);
    int err = px_net_names_write(n, px_net_names_now(), &text);
    if (err == 0)
        err = px_file_write_atomic(path, px_buf_slice(&text), 0600, false);
    px_buf_deinit(&text);
    return err;
}
