/* What a request to the control API says, as text: targets, fields, cookie, JSON bodies. */
#include "node/control_request.h"

#include "tests/test.h"

static struct px_control_target target; /* holds pointers into itself */

static int parse(const char *raw)
{
    return px_control_target_parse(px_slice_cstr(raw), &target);
}

TEST(targets_are_split_and_decoded)
{
    CHECK_OK(parse("/v1/peers/b%6fb/ping?count=3&interval=0.5s&&x=%20a%2Fb&flag"));
    CHECK_INT(target.segment_count, 4);
    CHECK_STR(target.segment[0], "v1");
    CHECK_STR(target.segment[2], "bob");
    CHECK_STR(px_control_target_query(&target, "count"), "3");
    CHECK_STR(px_control_target_query(&target, "interval"), "0.5s");
    CHECK_STR(px_control_target_query(&target, "x"), " a/b");
    CHECK_STR(px_control_target_query(&target, "flag"), "");
    CHECK(px_control_target_query(&target, "nope") == NULL);
}

TEST(an_escaped_slash_is_no_separator)
{
    CHECK_OK(parse("/v1/resolve/a%2fb"));
    CHECK_INT(target.segment_count, 3);
    CHECK_STR(target.segment[2], "a/b");
}

TEST(malformed_targets_are_refused)
{
    static const struct {
        const char *raw;
        int err;
    } rows[] = {
        {"", PX_EPARSE},
        {"*", PX_EPARSE},
        {"v1", PX_EPARSE},
        {"/", PX_EPARSE},
        {"//v1", PX_EPARSE},
        {"/v1//peers", PX_EPARSE},
        {"/v1/peers/", PX_EPARSE},
        {"http://localhost/v1", PX_EPARSE},
        {"/v1/%", PX_EPARSE},
        {"/v1/%2", PX_EPARSE},
        {"/v1/%gg", PX_EPARSE},
        {"/v1/%00", PX_EPARSE},
        {"/v1/a%0ab", PX_EPARSE},
        {"/v1/a%7fb", PX_EPARSE},
        {"/v1/%ff", PX_EPARSE}, /* no UTF-8 */
        {"/v1/%c3%a9", 0},
        {"/v1?a=1&a=2", PX_EPARSE},
        {"/v1?a=1&%61=2", PX_EPARSE},
        {"/1/2/3/4/5/6/7/8", 0},
        {"/1/2/3/4/5/6/7/8/9", PX_ELIMIT},
        {"/v1?1&2&3&4&5&6&7&8", 0},
        {"/v1?1&2&3&4&5&6&7&8&9", PX_ELIMIT},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        int err = parse(rows[i].raw);
        if (err != rows[i].err)
            px_test_fail(__FILE__, __LINE__, "%s: %s", rows[i].raw, px_errname(err));
    }
}

TEST(a_target_of_the_longest_kind_fits_and_a_longer_one_is_refused)
{
    char text[PX_CONTROL_TARGET_MAX + 1];
    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < 15; i += 2)
        text[i] = '/'; /* all segments */
    CHECK_OK(px_control_target_parse(px_slice(text, PX_CONTROL_TARGET_MAX), &target));
    CHECK_INT(target.segment_count, PX_CONTROL_SEGMENTS_MAX);
    CHECK_ERR(px_control_target_parse(px_slice(text, PX_CONTROL_TARGET_MAX + 1), &target),
              PX_ELIMIT);
}

TEST(a_query_has_so_many_members)
{
    char text[64] = "/v1/x?a";
    for (size_t i = 1; i < PX_CONTROL_QUERY_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "&a%zu", i);
    CHECK_OK(px_control_target_parse(px_slice_cstr(text), &target));
    CHECK_INT(target.query_count, PX_CONTROL_QUERY_MAX);
    snprintf(text + strlen(text), sizeof(text) - strlen(text), "&z");
    CHECK_ERR(px_control_target_parse(px_slice_cstr(text), &target), PX_ELIMIT);
}

TEST(routes_match_whole_paths)
{
    struct px_control_params p;
    CHECK_OK(parse("/v1/peers/bob/ping"));
    CHECK(px_control_target_match(&target, "/v1/peers/{peer}/ping", &p));
    CHECK_INT(p.count, 1);
    CHECK_SLICE(p.at[0].name, px_slice_cstr("peer"));
    CHECK_STR(p.at[0].value, "bob");
    CHECK(!px_control_target_match(&target, "/v1/peers/{peer}", &p));
    CHECK(!px_control_target_match(&target, "/v1/peers/{peer}/ping/more", &p));
    CHECK(!px_control_target_match(&target, "/v1/peers/{peer}/pin", &p));
    CHECK_OK(parse("/v1"));
    CHECK(px_control_target_match(&target, "/v1", &p));
    CHECK(!px_control_target_match(&target, "/v2", &p));
}

TEST(fields_of_proxies_and_browsers_are_known)
{
    static const struct {
        const char *name;
        bool foreign;
    } rows[] = {
        {"Via", true},
        {"via", true},
        {"Forwarded", true},
        {"X-Forwarded-For", true},
        {"x-forwarded-host", true},
        {"X-Forwarded", true},
        {"X-Real-IP", true},
        {"Origin", true},
        {"Referer", true},
        {"Cookie", true},
        {"Sec-Fetch-Site", true},
        {"Proxy-Authorization", true},
        {"Proxy-Connection", true},
        {"Host", false},
        {"Accept", false},
        {"Authorization", false},
        {"User-Agent", false},
        {"Content-Type", false},
        {"Viaduct", false},
        {"", false},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        if (px_control_field_foreign(px_slice_cstr(rows[i].name)) != rows[i].foreign)
            px_test_fail(__FILE__, __LINE__, "%s", rows[i].name);
}

TEST(only_the_names_of_this_socket_are_hosts)
{
    static const struct {
        const char *host;
        bool allowed;
    } rows[] = {
        {"localhost", true},
        {"LOCALHOST", true},
        {"peerix", true},
        {"localhost:80", true},
        {"localhost:", false},
        {"localhost:0", false},
        {"", false},
        {"127.0.0.1", false},
        {"localhost.evil.example", false},
        {"evil", false},
        {"localhost:1:2", false},
        {"localhost:65536", false},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        if (px_control_host_allowed(px_slice_cstr(rows[i].host)) != rows[i].allowed)
            px_test_fail(__FILE__, __LINE__, "%s", rows[i].host);
}

TEST(the_cookie_must_match_in_full)
{
    static const char cookie[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    char text[128];
    snprintf(text, sizeof(text), "Bearer %s", cookie);
    CHECK(px_control_cookie_matches(text, cookie));
    snprintf(text, sizeof(text), "bearer  %s ", cookie);
    CHECK(px_control_cookie_matches(text, cookie));
    text[20] ^= 1;
    CHECK(!px_control_cookie_matches(text, cookie));
    snprintf(text, sizeof(text), "Bearer %.63s", cookie);
    CHECK(!px_control_cookie_matches(text, cookie));
    snprintf(text, sizeof(text), "Bearer %s0", cookie);
    CHECK(!px_control_cookie_matches(text, cookie));
    snprintf(text, sizeof(text), "Basic %s", cookie);
    CHECK(!px_control_cookie_matches(text, cookie));
    CHECK(!px_control_cookie_matches("Bearer ", cookie));
    CHECK(!px_control_cookie_matches("", cookie));
    CHECK(!px_control_cookie_matches(NULL, cookie));
}

static int body(const char *text)
{
    char why[128] = "";
    json_t *value = NULL;
    int err = px_control_body_parse(px_slice_cstr(text), &value, why, sizeof(why));
    CHECK(err == 0 ? json_is_object(value) : why[0] != '\0');
    json_decref(value);
    return err;
}

TEST(bodies_are_objects_without_doubles)
{
    CHECK_OK(body("{}"));
    CHECK_OK(body(" {\"a\": [1, {\"b\": null}]} "));
    CHECK_ERR(body("[]"), PX_EPARSE);
    CHECK_ERR(body("1"), PX_EPARSE);
    CHECK_ERR(body("{\"a\":1,\"a\":1}"), PX_EPARSE);
    CHECK_ERR(body("{\"a\":1} x"), PX_EPARSE);
    CHECK_ERR(body("{\"a\":\"\\u0000\"}"), PX_EPARSE);
    CHECK_ERR(body("{\"a\":\"\xff\"}"), PX_EPARSE);
    CHECK_ERR(body("{\"a\":"), PX_EPARSE);
}

TEST(bodies_are_nested_within_bounds)
{
    char deep[4096] = "";
    for (int i = 0; i < PX_CONTROL_JSON_DEPTH; i++)
        strncat(deep, "{\"a\":", sizeof(deep) - strlen(deep) - 1);
    strncat(deep, "1", sizeof(deep) - strlen(deep) - 1);
    for (int i = 0; i < PX_CONTROL_JSON_DEPTH; i++)
        strncat(deep, "}", sizeof(deep) - strlen(deep) - 1);
    CHECK_OK(body(deep));
    char deeper[5000];
    snprintf(deeper, sizeof(deeper), "{\"a\":%s}", deep);
    CHECK_ERR(body(deeper), PX_EPARSE);
    /* brackets in strings do not count, escaped quotes do not end them */
    CHECK_OK(body("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[[[[[[[[[[[[\"}"));
}

TEST(durations_are_seconds_unless_they_say_otherwise)
{
    static const struct {
        const char *text;
        int err;
        px_nsec want;
    } rows[] = {
        {"0", 0, 0},
        {"2", 0, 2 * PX_SEC},
        {"2s", 0, 2 * PX_SEC},
        {"1.5", 0, 1500 * PX_MSEC},
        {"0.25s", 0, 250 * PX_MSEC},
        {"0.125", 0, 125 * PX_MSEC},
        {"200ms", 0, 200 * PX_MSEC},
        {"0.5ms", 0, 500 * PX_USEC},
        {"", PX_EPARSE, 0},
        {"s", PX_EPARSE, 0},
        {"ms", PX_EPARSE, 0},
        {"1.", PX_EPARSE, 0},
        {".5", PX_EPARSE, 0},
        {"0.1234", PX_EPARSE, 0},
        {"1.2.3", PX_EPARSE, 0},
        {"-1", PX_EPARSE, 0},
        {"1e3", PX_EPARSE, 0},
        {"1 s", PX_EPARSE, 0},
        {"18446744073709551615", PX_EPARSE, 0},
        {"99999999999999999999", PX_EPARSE, 0},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        px_nsec t = 0;
        int err = px_control_seconds_parse(px_slice_cstr(rows[i].text), &t);
        if (err != rows[i].err || (err == 0 && t != rows[i].want))
            px_test_fail(__FILE__, __LINE__, "'%s': %s, %" PRIu64, rows[i].text, px_errname(err),
                         t);
    }
}
