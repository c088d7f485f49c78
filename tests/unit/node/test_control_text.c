/* Answers of the control API as text: columns line up, nothing foreign reaches a terminal raw. */
#include "node/control_text.h"

#include "tests/test.h"

static struct px_buf out;

static const char *text(void)
{
    CHECK_OK(px_buf_put_u8(&out, '\0'));
    return (const char *)out.data;
}

static json_t *load(const char *json)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    CHECK(value != NULL);
    return value;
}

TEST(control_characters_never_come_out_raw)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"plain", "plain"},
        {"", ""},
        {"a\nb", "a\\x0ab"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"\x7f", "\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\x9b31m"},
        {"h\xc3\xa9", "h\xc3\xa9"},
        {"\xe2\x80\xae"
         "evil",
         "\\u{202e}evil"},
        {"\xf0\x9f\x90\xa7", "\xf0\x9f\x90\xa7"},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        px_buf_init(&out, 256);
        CHECK_OK(px_control_put_text(&out, rows[i].in));
        CHECK_STR(text(), rows[i].want);
        px_buf_deinit(&out);
    }
}

TEST(objects_are_a_line_a_member)
{
    json_t *v = load("{\"a\": 1, \"b\": {\"c\": true, \"d\": null}, \"e\": [\"x\", \"y\"], "
                     "\"f\": [], \"g\": [{\"h\": 2.5}], \"k\\n\": \"v\\n\"}");
    px_buf_init(&out, 4096);
    CHECK_OK(px_control_put_object(&out, v));
    CHECK_STR(text(), "a: 1\nb.c: yes\nb.d: -\ne: x,y\nf: -\ng.0.h: 2.5\nk\\x0a: v\\x0a\n");
    px_buf_deinit(&out);
    json_decref(v);
}

TEST(lines_are_words)
{
    json_t *v = load("{\"event\": \"peer.connected\", \"n\": 3, \"who\": \"\"}");
    px_buf_init(&out, 4096);
    CHECK_OK(px_control_put_line(&out, v));
    CHECK_STR(text(), "event=peer.connected n=3 who=-\n");
    px_buf_deinit(&out);
    json_decref(v);
}

TEST(columns_line_up)
{
    static const struct px_control_column columns[] = {
        {"NAME", "name"}, {"RTT", "link.rtt"}, {"LAST", "last"}};
    json_t *v = load("[{\"name\": \"h\xc3\xa9ron\", \"link\": {\"rtt\": 0.5}, \"last\": \"x\"},"
                     " {\"name\": \"a-longer-name\", \"link\": null}]");
    px_buf_init(&out, 4096);
    CHECK_OK(px_control_put_table(&out, v, columns, PX_ARRAY_LEN(columns)));
    CHECK_STR(text(), "NAME           RTT  LAST\n"
                      "h\xc3\xa9ron          0.5  x\n"
                      "a-longer-name  -    -\n");
    px_buf_deinit(&out);
    json_decref(v);
}
