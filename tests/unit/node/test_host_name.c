/* Host names become names that peers may use. */
#include "node/host_name.h"
#include "tests/test.h"

TEST(a_host_name_is_reduced_to_what_a_name_may_hold)
{
    static const struct {
        const char *host, *want;
    } cases[] = {
        {"desk", "desk"},
        {"Desk.example.org", "desk"},
        {"my_box 2", "my-box-2"},
        {"--x--", "x"},
        {"", ""},
        {".local", ""},
        {"\xc3\xa4", ""},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        char name[PX_AUTH_NAME_MAX + 1];
        px_host_name_reduce(cases[i].host, name);
        CHECK_STR(name, cases[i].want);
        CHECK(name[0] == '\0' || px_name_valid(px_slice_cstr(name)));
    }
}

TEST(a_long_host_name_is_cut)
{
    char host[200], name[PX_AUTH_NAME_MAX + 1];
    memset(host, 'a', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    px_host_name_reduce(host, name);
    CHECK_INT(strlen(name), PX_AUTH_NAME_MAX);
    CHECK(px_name_valid(px_slice_cstr(name)));
}
