/* Fuzzes what the control API parses of a request itself: target and routes, fields, cookie, body.
 * The first byte says which; the rest is the text. */
#include <stdlib.h>

#include "node/control_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool is_clean(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

static void target(struct px_slice text)
{
    static const char *const patterns[] = {"/v1", "/v1/peers/{peer}", "/v1/peers/{peer}/ping",
                                           "/v1/{a}/{b}/{c}"};
    static struct px_control_target t;
    struct px_control_params p;
    if (px_control_target_parse(text, &t) != 0)
        return;
    if (t.segment_count == 0 || t.segment_count > PX_CONTROL_SEGMENTS_MAX)
        abort();
    for (size_t i = 0; i < t.segment_count; i++)
        if (!is_clean(t.segment[i]))
            abort();
    for (size_t i = 0; i < t.query_count; i++)
        if (!is_clean(t.query[i].name) || !is_clean(t.query[i].value) ||
            px_control_target_query(&t, t.query[i].name) != t.query[i].value)
            abort();
    for (size_t i = 0; i < PX_ARRAY_LEN(patterns); i++)
        if (px_control_target_match(&t, patterns[i], &p))
            for (size_t k = 0; k < p.count; k++)
                if (p.at[k].value == NULL)
                    abort();
}

static void body(struct px_slice text)
{
    char why[128];
    json_t *value;
    if (px_control_body_parse(text, &value, why, sizeof(why)) != 0)
        return;
    if (!json_is_object(value))
        abort();
    json_decref(value);
}

static void cookie(struct px_slice text)
{
    static const char good[PX_CONTROL_COOKIE_LEN + 1] =
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    char *given = px_slice_dup_cstr(text);
    if (given != NULL && px_control_cookie_matches(given, good) && strstr(given, good) == NULL)
        abort();
    free(given);
}

static void seconds(struct px_slice text)
{
    px_nsec t;
    if (px_control_seconds_parse(text, &t) == 0 && t > PX_NEVER / 2 + PX_SEC)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct px_slice text = px_slice(data + 1, len - 1);
    switch (data[0] % 4) {
    case 0:
        target(text);
        break;
    case 1:
        body(text);
        break;
    case 2:
        cookie(text);
        break;
    case 3:
        (void)px_control_host_allowed(text);
        (void)px_control_field_foreign(text);
        seconds(text);
        break;
    }
    return 0;
}
