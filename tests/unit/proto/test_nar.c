/* The NAR writer against an archive made by nix-store --dump. */
#include "proto/nar.h"
#include "tests/test.h"
#include "tests/vector.h"

static void put_file(struct px_buf *out, const char *name, const char *contents, bool executable)
{
    uint64_t size = strlen(contents);
    CHECK_OK(px_nar_put_entry_head(out, px_slice_cstr(name)));
    CHECK_OK(px_nar_put_regular_head(out, executable, size));
    CHECK_OK(px_buf_put_cstr(out, contents));
    CHECK_OK(px_nar_put_regular_tail(out, size));
    CHECK_OK(px_nar_put_entry_tail(out));
}

static void put_link(struct px_buf *out, const char *name, const char *target)
{
    CHECK_OK(px_nar_put_entry_head(out, px_slice_cstr(name)));
    CHECK_OK(px_nar_put_symlink(out, px_slice_cstr(target)));
    CHECK_OK(px_nar_put_entry_tail(out));
}

static void put_tree(struct px_buf *out)
{
    CHECK_OK(px_nar_put_magic(out));
    CHECK_OK(px_nar_put_directory_head(out));
    put_file(out, "Zname", "x", false);
    CHECK_OK(px_nar_put_entry_head(out, PX_SLICE_LIT("bin")));
    CHECK_OK(px_nar_put_directory_head(out));
    put_file(out, "hi", "#!/bin/sh\necho hi\n", true);
    put_link(out, "link", "../eight");
    CHECK_OK(px_nar_put_directory_tail(out));
    CHECK_OK(px_nar_put_entry_tail(out));
    put_file(out, "eight", "12345678", false);
    put_file(out, "empty", "", false);
    CHECK_OK(px_nar_put_entry_head(out, PX_SLICE_LIT("empty.d")));
    CHECK_OK(px_nar_put_directory_head(out));
    CHECK_OK(px_nar_put_directory_tail(out));
    CHECK_OK(px_nar_put_entry_tail(out));
    put_link(out, "l", "odd target");
    CHECK_OK(px_nar_put_directory_tail(out));
}

TEST(a_tree_is_written_as_nix_writes_it)
{
    struct px_buf out, want;
    px_test_vector("nar/tree.nar", &want);
    px_buf_init(&out, 10000);
    put_tree(&out);
    CHECK_INT(out.len, want.len);
    CHECK(px_slice_eq(px_buf_slice(&out), px_buf_slice(&want)));
    px_buf_deinit(&out);
    px_buf_deinit(&want);
}

TEST(strings_are_padded_with_zeros_to_eight)
{
    struct px_buf out;
    px_buf_init(&out, 1000);
    for (size_t len = 0; len <= 17; len++) {
        static const char text[] = "aaaaaaaaaaaaaaaaa";
        static const uint8_t zeros[7];
        px_buf_clear(&out);
        CHECK_OK(px_nar_put_str(&out, px_slice(text, len)));
        CHECK_INT(out.len, 8 + (len + 7) / 8 * 8);
        CHECK_INT(out.data[0], len);
        CHECK(memcmp(out.data + 1, zeros, 7) == 0);
        CHECK(memcmp(out.data + 8, text, len) == 0);
        CHECK(memcmp(out.data + 8 + len, zeros, out.len - 8 - len) == 0);
    }
    px_buf_deinit(&out);
}

TEST(names_that_could_leave_the_directory_are_refused)
{
    static const char *const good[] = {"a", "...", ".a", "..a", "a b", "-", "\xff\xfe", "a\nb"};
    static const char *const bad[] = {"", ".", "..", "/", "a/b", "/a", "a/"};
    struct px_buf out;
    px_buf_init(&out, 1000);
    for (size_t i = 0; i < PX_ARRAY_LEN(good); i++)
        CHECK(px_nar_name_valid(px_slice_cstr(good[i])));
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        CHECK(!px_nar_name_valid(px_slice_cstr(bad[i])));
        CHECK_ERR(px_nar_put_entry_head(&out, px_slice_cstr(bad[i])), PX_EINVAL);
    }
    CHECK(!px_nar_name_valid(px_slice("a\0b", 3)));
    CHECK_INT(out.len, 0);
    px_buf_deinit(&out);
}

TEST(names_and_targets_have_a_limit)
{
    static char text[5000];
    struct px_buf out;
    px_buf_init(&out, 10000);
    memset(text, 'a', sizeof(text));
    CHECK_OK(px_nar_put_entry_head(&out, px_slice(text, PX_NAR_NAME_MAX)));
    CHECK_ERR(px_nar_put_entry_head(&out, px_slice(text, PX_NAR_NAME_MAX + 1)), PX_EINVAL);
    CHECK_OK(px_nar_put_symlink(&out, px_slice(text, PX_NAR_TARGET_MAX)));
    size_t len = out.len;
    CHECK_ERR(px_nar_put_symlink(&out, px_slice(text, PX_NAR_TARGET_MAX + 1)), PX_ELIMIT);
    CHECK_INT(out.len, len);
    px_buf_deinit(&out);
}

TEST(a_file_of_any_size_has_its_head)
{
    struct px_buf out;
    px_buf_init(&out, 1000);
    CHECK_OK(px_nar_put_regular_head(&out, false, 0x0102030405060708));
    CHECK(memcmp(out.data + out.len - 8, "\x08\x07\x06\x05\x04\x03\x02\x01", 8) == 0);
    px_buf_clear(&out);
    CHECK_OK(px_nar_put_regular_tail(&out, 0x0102030405060709));
    CHECK_INT(out.len, 7 + 16);
    px_buf_deinit(&out);
}
