/* The list's text is changed by auth/authorized_keys, the file by auth/edit_io. */
#include "auth/authorized_keys_io.h"

#include <sys/stat.h>

#include "auth/edit_io.h"
#include "auth/file_io.h"

int px_authorized_keys_load(const char *path, struct px_authorized_keys **ret)
{
    struct px_buf text;
    struct stat st;
    px_buf_init(&text, PX_AUTH_FILE_MAX);
    int err = stat(path, &st) == 0 && (st.st_mode & S_IWOTH) != 0 ? PX_EPERM : 0;
    if (err == 0)
        err = px_file_read(path, PX_AUTH_FILE_MAX, &text);
    if (err == 0 || err == PX_ENOENT)
        err = px_authorized_keys_parse(px_buf_slice(&text), ret);
    px_buf_deinit(&text);
    return err;
}

/* One edit: sets the entry, or removes the peer when there is none. */
struct edit {
    const struct px_authorized_key *set;
    const struct px_peer_id *remove;
};

static int change(void *ctx, struct px_slice text, struct px_buf *out)
{
    const struct edit *e = ctx;
    return e->set != NULL ? px_authorized_keys_text_set(text, e->set, out)
                          : px_authorized_keys_text_remove(text, e->remove, out);
}

int px_authorized_keys_file_set(const char *path, const struct px_authorized_key *k)
{
    return px_edit_file(path, PX_AUTH_FILE_MAX, change, &(struct edit){.set = k});
}

int px_authorized_keys_file_remove(const char *path, const struct px_peer_id *id)
{
    return px_edit_file(path, PX_AUTH_FILE_MAX, change, &(struct edit){.remove = id});
}
