/* The text is changed by auth/names, the file by auth/edit_io. */
#include "auth/names_io.h"

#include <sys/stat.h>

#include "auth/edit_io.h"
#include "auth/file_io.h"

int px_names_load(const char *path, struct px_names **ret)
{
    struct px_buf text;
    struct stat st;
    px_buf_init(&text, PX_NAMES_FILE_MAX);
    int err = stat(path, &st) == 0 && (st.st_mode & S_IWOTH) != 0 ? PX_EPERM : 0;
    if (err == 0)
        err = px_file_read(path, PX_NAMES_FILE_MAX, &text);
    if (err == 0 || err == PX_ENOENT)
        err = px_names_parse(px_buf_slice(&text), ret);
    px_buf_deinit(&text);
    return err;
}

/* One edit: sets the entry, or removes the name when there is none. */
struct edit {
    const struct px_name *set;
    const char *remove;
};

static int change(void *ctx, struct px_slice text, struct px_buf *out)
{
    const struct edit *e = ctx;
    return e->set != NULL ? px_names_text_set(text, e->set, out)
                          : px_names_text_remove(text, px_slice_cstr(e->remove), out);
}

int px_names_file_set(const char *path, const struct px_name *n)
{
    return px_edit_file(path, PX_NAMES_FILE_MAX, change, &(struct edit){.set = n});
}

int px_names_file_remove(const char *path, const char *name)
{
    return px_edit_file(path, PX_NAMES_FILE_MAX, change, &(struct edit){.remove = name});
}
