/* See rotation_move.h. The text of the lists is auth/rotation_book's and trusted_keys' to change.
 */
#include "node/rotation_move.h"

#include <unistd.h>

#include "auth/authorized_keys_io.h"
#include "auth/edit_io.h"
#include "auth/names_io.h"
#include "node/fault_point.h"
#include "node/trusted_keys.h"

struct edit {
    const struct px_rotation_move *move;
    int (*change)(struct px_slice text, const struct px_rotation_move *m, struct px_buf *out);
};

static int change_text(void *ctx, struct px_slice text, struct px_buf *out)
{
    const struct edit *e = ctx;
    return e->change(text, e->move, out);
}

static int copy_key(struct px_slice text, const struct px_rotation_move *m, struct px_buf *out)
{
    return px_trusted_keys_text_copy(text, &m->old_id, &m->new_id, out);
}

static int remove_key(struct px_slice text, const struct px_rotation_move *m, struct px_buf *out)
{
    return px_trusted_keys_text_remove(text, &m->old_id, out);
}

/* A file that is not there, or has nothing of the peer, is left alone. */
static int edit_if_any(const struct px_home *home, const char *name, size_t max, struct edit *e)
{
    char path[PX_HOME_FILE_MAX];
    if (access(px_home_config_path(home, name, path), F_OK) != 0)
        return 0;
    int err = px_edit_file(path, max, change_text, e);
    return err == PX_ENOENT ? 0 : err;
}

int px_rotation_move_files(const struct px_home *home, const struct px_rotation_move *m)
{
    char path[PX_HOME_FILE_MAX];
    struct edit key = {m, copy_key}, entry = {m, px_rotation_move_entry};
    int err = edit_if_any(home, PX_HOME_TRUSTED_KEYS, PX_TRUSTED_KEYS_MAX, &key);
    px_fault_point("rotation-key-copied");
    if (err == 0)
        err = px_edit_file(px_home_config_path(home, PX_HOME_AUTHORIZED_KEYS, path),
                           PX_AUTH_FILE_MAX, change_text, &entry);
    px_fault_point("rotation-entry-moved");
    return err;
}

int px_rotation_clear_files(const struct px_home *home, const struct px_rotation_move *m)
{
    struct edit key = {m, remove_key}, names = {m, px_rotation_move_names};
    int err = edit_if_any(home, PX_HOME_TRUSTED_KEYS, PX_TRUSTED_KEYS_MAX, &key);
    if (err == 0)
        err = edit_if_any(home, PX_HOME_NAMES, PX_NAMES_FILE_MAX, &names);
    px_fault_point("rotation-cleared");
    return err;
}
