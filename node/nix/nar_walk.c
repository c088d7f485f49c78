/* The walk keeps an explicit stack of open directories, at most PX_NAR_DEPTH_MAX, each with its
 * sorted names; every step below a directory is relative to its descriptor and follows no link, so
 * a tree that is changed under us can end the walk but never lead out of the store path. */
#include "node/nix/nar_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/nar.h"

#define TOKENS_MAX   (16u * 1024) /* framing not yet copied into a chunk */
#define TOKENS_FLUSH (4u * 1024)
#define DENTS_SIZE   (32u * 1024)
/* From here on a hint to the kernel's read-ahead is worth its system call. */
#define SEQUENTIAL_FROM (1u << 20)

/* Names are kept as one byte of d_type, the name, NUL; `sorted` points at the names. */
struct frame {
    int fd;
    struct px_buf names;
    const char **sorted;
    size_t count, at;
};

struct walk {
    const struct px_nar_walk_ops *ops;
    void *ctx;
    uint64_t pos;               /* in the NAR, of the next byte not in `tokens` */
    uint64_t offset, end;       /* what is wanted */
    struct px_buf tokens;       /* framing that comes next */
    struct px_nar_chunk *chunk; /* being filled, or NULL */
    uint8_t *chunk_data;
    size_t fill, cap;
    size_t depth;
    struct frame stack[PX_NAR_DEPTH_MAX];
    uint8_t dents[DENTS_SIZE] __attribute__((aligned(16)));
};

void px_nar_chunk_free(struct px_nar_chunk *c)
{
    free(c);
}

/* A name that turned into something else between two calls means the tree is changing. */
static int from_errno(int errnum)
{
    if (errnum == ELOOP || errnum == ENOTDIR || errnum == ENXIO)
        return PX_EPROTO;
    return px_err_from_errno(errnum);
}

static int chunk_emit(struct walk *w)
{
    struct px_nar_chunk *c = w->chunk;
    if (c == NULL)
        return 0;
    c->data = px_slice(w->chunk_data, w->fill);
    w->chunk = NULL;
    return w->ops->emit(w->ctx, c);
}

/* Makes room for at least one byte; one more than `cap` may be written but does not count. */
static int chunk_room(struct walk *w)
{
    if (w->chunk != NULL && w->fill < w->cap)
        return 0;
    int err = chunk_emit(w);
    if (err != 0)
        return err;
    w->cap = (size_t)PX_MIN((uint64_t)PX_NAR_CHUNK, w->end - w->pos);
    w->fill = 0;
    w->chunk = malloc(sizeof(*w->chunk) + w->cap + 1);
    if (w->chunk == NULL)
        return PX_ENOMEM;
    *w->chunk = (struct px_nar_chunk){0};
    w->chunk_data = (uint8_t *)(w->chunk + 1);
    return 0;
}

static int flush_tokens(struct walk *w)
{
    struct px_slice s = px_buf_slice(&w->tokens);
    if (w->tokens.err != 0)
        return w->tokens.err;
    if (s.len > w->end - w->pos)
        return PX_EPROTO;
    if (w->pos < w->offset) {
        size_t skip = (size_t)PX_MIN((uint64_t)s.len, w->offset - w->pos);
        w->pos += skip;
        s = px_slice_skip(s, skip);
    }
    while (s.len > 0) {
        int err = chunk_room(w);
        if (err != 0)
            return err;
        size_t n = PX_MIN(s.len, w->cap - w->fill);
        memcpy(w->chunk_data + w->fill, s.data, n);
        w->fill += n;
        w->pos += n;
        s = px_slice_skip(s, n);
    }
    px_buf_clear(&w->tokens);
    return 0;
}

/* Asks for one byte more than the file should still have, so that its end is seen without a
 * further system call. */
static int read_contents(struct walk *w, int fd, uint64_t at, uint64_t size)
{
    while (at < size) {
        int err = chunk_room(w);
        if (err != 0)
            return err;
        size_t n = (size_t)PX_MIN((uint64_t)(w->cap - w->fill), size - at);
        size_t want = n == size - at ? n + 1 : n;
        ssize_t got = pread(fd, w->chunk_data + w->fill, want, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return from_errno(errno);
        if (got == 0 || (size_t)got > n)
            return PX_EPROTO;
        w->fill += (size_t)got;
        w->pos += (uint64_t)got;
        at += (uint64_t)got;
        if (w->ops->stopped(w->ctx))
            return PX_ECANCELED;
    }
    return 0;
}

/* What both ways of passing over contents share: the bounds, and the part before the offset. */
static int skip_contents(struct walk *w, uint64_t size, uint64_t *ret_skipped)
{
    int err = flush_tokens(w);
    if (err != 0)
        return err;
    if (size > w->end - w->pos)
        return PX_EPROTO;
    *ret_skipped = w->pos < w->offset ? PX_MIN(size, w->offset - w->pos) : 0;
    w->pos += *ret_skipped;
    return 0;
}

static int open_regular(int dir, const char *name, struct stat *ret_st, int *ret_fd)
{
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return from_errno(errno);
    int err = fstat(fd, ret_st) != 0 ? from_errno(errno) : S_ISREG(ret_st->st_mode) ? 0 : PX_EPROTO;
    if (err != 0) {
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

static int put_open_file(struct walk *w, int fd, const struct stat *st)
{
    uint64_t size = (uint64_t)st->st_size, skipped = 0;
    px_nar_put_regular_head(&w->tokens, (st->st_mode & S_IXUSR) != 0, size);
    int err = skip_contents(w, size, &skipped);
    if (err != 0)
        return err;
    if (size >= SEQUENTIAL_FROM)
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    err = read_contents(w, fd, skipped, size);
    if (err != 0)
        return err;
    return px_nar_put_regular_tail(&w->tokens, size);
}

/* A file that lies wholly before the offset is only looked at. */
static int put_skipped_file(struct walk *w, const struct stat *st)
{
    uint64_t size = (uint64_t)st->st_size, skipped = 0;
    px_nar_put_regular_head(&w->tokens, (st->st_mode & S_IXUSR) != 0, size);
    int err = skip_contents(w, size, &skipped);
    if (err != 0)
        return err;
    px_assert(skipped == size);
    return px_nar_put_regular_tail(&w->tokens, size);
}

static int put_regular(struct walk *w, int dir, const char *name)
{
    struct stat st;
    if (w->pos < w->offset) {
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            return from_errno(errno);
        /* Without the head's own length: a file that just fits is opened, no harm done. */
        if (S_ISREG(st.st_mode) && (uint64_t)st.st_size <= w->offset - w->pos &&
            w->offset - w->pos - (uint64_t)st.st_size >= TOKENS_MAX)
            return put_skipped_file(w, &st);
    }
    int fd = -1;
    int err = open_regular(dir, name, &st, &fd);
    if (err != 0)
        return err;
    err = put_open_file(w, fd, &st);
    close(fd);
    return err;
}

static int put_symlink(struct walk *w, int dir, const char *name)
{
    char target[PX_NAR_TARGET_MAX + 1];
    ssize_t n = readlinkat(dir, name, target, sizeof(target));
    if (n < 0)
        return errno == EINVAL ? PX_EPROTO : from_errno(errno);
    if ((size_t)n > PX_NAR_TARGET_MAX)
        return PX_ELIMIT;
    return px_nar_put_symlink(&w->tokens, px_slice(target, (size_t)n));
}

static int add_name(struct px_buf *names, const struct dirent64 *d, size_t *count)
{
    if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
        return 0;
    if (!px_nar_name_valid(px_slice_cstr(d->d_name)))
        return PX_ELIMIT;
    px_buf_put_u8(names, d->d_type);
    px_buf_put(names, px_slice(d->d_name, strlen(d->d_name) + 1));
    ++*count;
    return names->err;
}

/* getdents64 rather than readdir: a DIR would cost 32 KiB for each open level. */
static int read_names(struct walk *w, struct frame *f)
{
    for (;;) {
        ssize_t got = getdents64(f->fd, w->dents, sizeof(w->dents));
        if (got < 0)
            return from_errno(errno);
        if (got == 0)
            return 0;
        for (size_t at = 0; at < (size_t)got;) {
            const struct dirent64 *d = (const void *)(w->dents + at);
            int err = add_name(&f->names, d, &f->count);
            if (err != 0)
                return err;
            at += d->d_reclen;
        }
        if (w->ops->stopped(w->ctx))
            return PX_ECANCELED;
    }
}

/* strcmp compares as unsigned char: the order of the NAR format. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int sort_names(struct frame *f)
{
    f->sorted = calloc(PX_MAX(f->count, (size_t)1), sizeof(*f->sorted));
    if (f->sorted == NULL)
        return PX_ENOMEM;
    const char *at = (const char *)f->names.data;
    for (size_t i = 0; i < f->count; i++) {
        f->sorted[i] = at + 1;
        at += strlen(at + 1) + 2;
    }
    qsort(f->sorted, f->count, sizeof(*f->sorted), compare_names);
    return 0;
}

static void pop_frame(struct walk *w)
{
    struct frame *f = &w->stack[--w->depth];
    close(f->fd);
    free(f->sorted);
    px_buf_deinit(&f->names);
}

static int push_directory(struct walk *w, int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return from_errno(errno);
    struct frame *f = &w->stack[w->depth++];
    *f = (struct frame){.fd = fd};
    px_buf_init(&f->names, w->ops->dir_max != 0 ? w->ops->dir_max : PX_NAR_DIR_MAX);
    int err = read_names(w, f);
    if (err != 0)
        return err;
    err = sort_names(f);
    if (err != 0)
        return err;
    return px_nar_put_directory_head(&w->tokens);
}

static int look_up_type(int dir, const char *name, unsigned char *ret_type)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return from_errno(errno);
    *ret_type = (unsigned char)IFTODT(st.st_mode);
    return 0;
}

/* Depth as Nix counts it: the root is 0, a node at PX_NAR_DEPTH_MAX is refused. */
static int put_node(struct walk *w, int dir, const char *name, unsigned char type)
{
    int err;
    if (w->depth >= PX_NAR_DEPTH_MAX)
        return PX_ELIMIT;
    if (type == DT_UNKNOWN && (err = look_up_type(dir, name, &type)) != 0)
        return err;
    if (type == DT_REG)
        return put_regular(w, dir, name);
    if (type == DT_LNK)
        return put_symlink(w, dir, name);
    if (type == DT_DIR)
        return push_directory(w, dir, name);
    return PX_EPROTO;
}

/* One entry of the innermost directory, or its end. */
static int step(struct walk *w)
{
    struct frame *f = &w->stack[w->depth - 1];
    size_t depth = w->depth;
    if (f->at == f->count) {
        px_nar_put_directory_tail(&w->tokens);
        pop_frame(w);
        return w->depth > 0 ? px_nar_put_entry_tail(&w->tokens) : w->tokens.err;
    }
    const char *name = f->sorted[f->at++];
    px_nar_put_entry_head(&w->tokens, px_slice_cstr(name));
    int err = put_node(w, f->fd, name, (unsigned char)name[-1]);
    if (err != 0)
        return err;
    return w->depth == depth ? px_nar_put_entry_tail(&w->tokens) : 0;
}

static int walk_tree(struct walk *w, const char *path)
{
    px_nar_put_magic(&w->tokens);
    int err = put_node(w, AT_FDCWD, path, DT_UNKNOWN);
    while (err == 0 && w->depth > 0) {
        err = w->ops->stopped(w->ctx) ? PX_ECANCELED : step(w);
        if (err == 0 && w->tokens.len > TOKENS_FLUSH)
            err = flush_tokens(w);
    }
    if (err == 0)
        err = flush_tokens(w);
    if (err == 0 && w->pos != w->end)
        err = PX_EPROTO;
    return err != 0 ? err : chunk_emit(w);
}

int px_nar_walk(const char *path, uint64_t nar_size, uint64_t offset,
                const struct px_nar_walk_ops *ops, void *ctx)
{
    if (offset > nar_size)
        return PX_EINVAL;
    if (offset == nar_size)
        return 0;
    struct walk *w = malloc(sizeof(*w));
    if (w == NULL)
        return PX_ENOMEM;
    memset(w, 0, offsetof(struct walk, dents));
    w->ops = ops;
    w->ctx = ctx;
    w->offset = offset;
    w->end = nar_size;
    px_buf_init(&w->tokens, TOKENS_MAX);
    int err = walk_tree(w, path);
    while (w->depth > 0)
        pop_frame(w);
    px_nar_chunk_free(w->chunk);
    px_buf_deinit(&w->tokens);
    free(w);
    return err;
}
