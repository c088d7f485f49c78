/* The names file on the disk: made, edited, refused. */
#include "auth/names_io.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "tests/test.h"

#define A "12D3KooWPVYKwhPsyD1kpaaVNvJoqd4tdZR4VgxVmo9NSzWVQjCj"

TEST(a_names_file_is_made_edited_and_refused)
{
    char dir[] = "/tmp/px-names-XXXXXX", path[64], lock[64], other[64];
    struct px_name n = {.name = "desk"};
    struct px_names *names;
    struct stat st;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/names", dir);
    snprintf(lock, sizeof(lock), "%s/names.lock", dir);
    snprintf(other, sizeof(other), "%s/other", dir);
    CHECK_OK(px_peer_id_parse(PX_SLICE_LIT(A), &n.id));
    CHECK_OK(px_names_load(path, &names));
    CHECK_INT(px_names_count(names), 0);
    px_names_free(names);
    CHECK_ERR(px_names_file_remove(path, "desk"), PX_ENOENT);
    CHECK(access(path, F_OK) != 0);

    CHECK_OK(px_names_file_set(path, &n));
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_OK(px_names_load(path, &names));
    CHECK_INT(px_names_count(names), 1);
    px_names_free(names);

    CHECK_INT(chmod(path, 0666), 0);
    CHECK_ERR(px_names_load(path, &names), PX_EPERM);
    CHECK_INT(chmod(path, 0600), 0);
    CHECK_OK(px_names_file_remove(path, "desk"));
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_size, 0);

    CHECK_INT(truncate(path, PX_NAMES_FILE_MAX + 1), 0);
    CHECK_ERR(px_names_load(path, &names), PX_ELIMIT);
    CHECK_ERR(px_names_file_set(path, &n), PX_ELIMIT);

    CHECK_INT(rename(path, other), 0);
    CHECK_INT(symlink(other, path), 0);
    CHECK_ERR(px_names_file_set(path, &n), PX_EPERM);
    unlink(path);
    unlink(other);
    unlink(lock);
    CHECK_INT(rmdir(dir), 0);
}
