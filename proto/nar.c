/* Tokens of nix-archive-1 (Nix manual, "Nix Archive (NAR) format"). Every token is a string; only
 * the contents of a file may come in pieces, between regular_head and regular_tail. */
#include "proto/nar.h"

static int put_padding(struct px_buf *out, uint64_t len)
{
    static const uint8_t zeros[8];
    return px_buf_put(out, px_slice(zeros, (size_t)((8 - len % 8) % 8)));
}

int px_nar_put_str(struct px_buf *out, struct px_slice s)
{
    (void)px_buf_put_le64(out, s.len);
    (void)px_buf_put(out, s);
    return put_padding(out, s.len);
}

static int put_tokens(struct px_buf *out, const char *const *tokens, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)px_nar_put_str(out, px_slice_cstr(tokens[i]));
    return out->err;
}

#define PUT_TOKENS(out, ...)                                                                       \
    put_tokens((out), (const char *const[]){__VA_ARGS__},                                          \
               PX_ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

int px_nar_put_magic(struct px_buf *out)
{
    return PUT_TOKENS(out, "nix-archive-1");
}

int px_nar_put_regular_head(struct px_buf *out, bool executable, uint64_t size)
{
    (void)PUT_TOKENS(out, "(", "type", "regular");
    if (executable)
        (void)PUT_TOKENS(out, "executable", "");
    (void)PUT_TOKENS(out, "contents");
    return px_buf_put_le64(out, size);
}

int px_nar_put_regular_tail(struct px_buf *out, uint64_t size)
{
    (void)put_padding(out, size);
    return PUT_TOKENS(out, ")");
}

int px_nar_put_symlink(struct px_buf *out, struct px_slice target)
{
    if (target.len > PX_NAR_TARGET_MAX)
        return PX_ELIMIT;
    (void)PUT_TOKENS(out, "(", "type", "symlink", "target");
    (void)px_nar_put_str(out, target);
    return PUT_TOKENS(out, ")");
}

int px_nar_put_directory_head(struct px_buf *out)
{
    return PUT_TOKENS(out, "(", "type", "directory");
}

int px_nar_put_entry_head(struct px_buf *out, struct px_slice name)
{
    if (!px_nar_name_valid(name))
        return PX_EINVAL;
    (void)PUT_TOKENS(out, "entry", "(", "name");
    (void)px_nar_put_str(out, name);
    return PUT_TOKENS(out, "node");
}

int px_nar_put_entry_tail(struct px_buf *out)
{
    return PUT_TOKENS(out, ")");
}

int px_nar_put_directory_tail(struct px_buf *out)
{
    return PUT_TOKENS(out, ")");
}

bool px_nar_name_valid(struct px_slice name)
{
    if (name.len == 0 || name.len > PX_NAR_NAME_MAX)
        return false;
    if (memchr(name.data, '/', name.len) != NULL || memchr(name.data, 0, name.len) != NULL)
        return false;
    return !px_slice_eq_cstr(name, ".") && !px_slice_eq_cstr(name, "..");
}
