/* The text is node/relay_list's, the file auth/edit_io's. */
#include "node/relay_list_io.h"

#include <sys/stat.h>

#include "auth/edit_io.h"
#include "auth/file_io.h"

int px_relay_list_load(const char *path, struct px_relay_list *ret)
{
    struct px_buf text;
    struct stat st;
    px_buf_init(&text, PX_RELAY_FILE_MAX);
    int err = stat(path, &st) == 0 && (st.st_mode & S_IWOTH) != 0 ? PX_EPERM : 0;
    if (err == 0)
        err = px_file_read(path, PX_RELAY_FILE_MAX, &text);
    if (err == PX_ENOENT)
        err = 0;
    if (err == 0)
        px_relay_list_parse(px_buf_slice(&text), ret);
    px_buf_deinit(&text);
    return err;
}

struct edit {
    const struct px_relay_entry *set;
    const struct px_peer_id *remove;
};

static int change(void *ctx, struct px_slice text, struct px_buf *out)
{
    const struct edit *e = ctx;
    return e->set != NULL ? px_relay_text_set(text, e->set, out)
                          : px_relay_text_remove(text, e->remove, out);
}

int px_relay_file_set(const char *path, const struct px_relay_entry *e)
{
    return px_edit_file(path, PX_RELAY_FILE_MAX, change, &(struct edit){.set = e});
}

int px_relay_file_remove(const char *path, const struct px_peer_id *id)
{
    return px_edit_file(path, PX_RELAY_FILE_MAX, change, &(struct edit){.remove = id});
}
