/* Reading what the daemon answers: a member that is missing, or of another type, is no crash. */
#include "cmd/json.h"

#include "tests/test.h"

TEST(members_are_found_by_path)
{
    json_t *o = json_pack("{s:{s:s, s:I, s:f, s:b}, s:n}", "a", "text", "x", "count", (json_int_t)7,
                          "rtt", 0.25, "yes", 1, "null");
    CHECK(o != NULL);
    CHECK_STR(px_json_text(o, "a.text"), "x");
    CHECK_INT(px_json_count(o, "a.count"), 7);
    CHECK(px_json_seconds(o, "a.rtt") == 250 * PX_MSEC);
    CHECK(px_json_seconds(o, "a.count") == 7 * PX_SEC);
    CHECK(px_json_true(o, "a.yes"));
    json_decref(o);
}

TEST(what_is_not_there_is_nothing)
{
    static const char *const paths[] = {"b", "a.b", "text.a", "null", "null.a", "list", ""};
    json_t *o = json_pack("{s:{}, s:s, s:n, s:[]}", "a", "text", "x", "null", "list");
    CHECK(o != NULL);
    for (size_t i = 0; i < PX_ARRAY_LEN(paths); i++) {
        CHECK_STR(px_json_text(o, paths[i]), "");
        CHECK_INT(px_json_count(o, paths[i]), 0);
        CHECK(px_json_seconds(o, paths[i]) == PX_NEVER);
        CHECK(!px_json_true(o, paths[i]));
    }
    CHECK(px_json_at(NULL, "a") == NULL);
    json_decref(o);
}

TEST(numbers_out_of_range_are_nothing)
{
    json_t *o = json_pack("{s:I, s:f, s:f}", "count", (json_int_t)-1, "past", -0.5, "far", 1e30);
    CHECK_INT(px_json_count(o, "count"), 0);
    CHECK(px_json_seconds(o, "past") == PX_NEVER);
    CHECK(px_json_seconds(o, "far") == PX_NEVER);
    json_decref(o);
}
