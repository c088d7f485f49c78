/* Splitting and checking, shared by the parsers of our line files. */
#include "auth/list_line.h"

#include <stdarg.h>
#include <stdio.h>

int px_list_line_bad(struct px_auth_error *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    e->line = 0;
    vsnprintf(e->message, sizeof(e->message), fmt, ap);
    va_end(ap);
    return PX_EPARSE;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

bool px_list_line_word(struct px_slice *rest, struct px_slice *ret)
{
    *rest = px_slice_trim(*rest);
    size_t n = 0;
    while (n < rest->len && !is_blank(rest->data[n]))
        n++;
    *ret = px_slice_take(*rest, n);
    *rest = px_slice_skip(*rest, n);
    return n > 0;
}

/* Where the comment begins: at a '#' that begins a word. line.len when there is none. */
static size_t comment_start(struct px_slice line)
{
    size_t i = 0;
    while (i < line.len && !(line.data[i] == '#' && (i == 0 || is_blank(line.data[i - 1]))))
        i++;
    return i;
}

/* Takes one code point of strict UTF-8 (RFC 3629); false when the bytes are not. */
static bool next_code_point(struct px_slice *rest, uint32_t *ret)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    uint8_t first = rest->data[0];
    size_t more = first < 0x80 ? 0 : first < 0xc0 ? 4 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if (more == 4 || first > 0xf4 || more >= rest->len)
        return false;
    uint32_t cp = more == 0 ? first : first & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((rest->data[i] & 0xc0) != 0x80)
            return false;
        cp = cp << 6 | (rest->data[i] & 0x3f);
    }
    if (cp < smallest[more] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        return false;
    *ret = cp;
    *rest = px_slice_skip(*rest, more + 1);
    return true;
}

/* Control characters, line and paragraph separators, and what turns the direction of writing, so
 * that a listing shows what is there. */
static bool is_printable(uint32_t cp)
{
    return cp >= 0x20 && !(cp >= 0x7f && cp <= 0x9f) && !(cp >= 0x2028 && cp <= 0x202e) &&
           !(cp >= 0x2066 && cp <= 0x2069) && cp != 0x200e && cp != 0x200f && cp != 0x61c;
}

static int parse_comment(struct px_slice text, char ret[PX_AUTH_COMMENT_MAX],
                         struct px_auth_error *e)
{
    text = px_slice_trim(text);
    if (text.len >= (size_t)PX_AUTH_COMMENT_MAX)
        return px_list_line_bad(e, "the comment is longer than %zu bytes",
                                (size_t)PX_AUTH_COMMENT_MAX - 1);
    for (struct px_slice rest = text; rest.len > 0;) {
        uint32_t cp;
        if (!next_code_point(&rest, &cp))
            return px_list_line_bad(e, "the comment is not UTF-8");
        if (!is_printable(cp))
            return px_list_line_bad(e, "the comment holds the control character U+%04X",
                                    (unsigned)cp);
    }
    if (text.len > 0)
        memcpy(ret, text.data, text.len);
    ret[text.len] = '\0';
    return 0;
}

/* Everything but the comment is plain ASCII. */
static int check_bytes(struct px_slice line, struct px_slice entry, struct px_auth_error *e)
{
    if (line.len > PX_AUTH_LINE_MAX)
        return px_list_line_bad(e, "the line is longer than %d bytes", PX_AUTH_LINE_MAX);
    if (line.data[line.len - 1] == '\r')
        return px_list_line_bad(e, "the line ends in a carriage return (DOS line ends)");
    for (size_t i = 0; i < entry.len; i++)
        if (!is_blank(entry.data[i]) && (entry.data[i] <= 0x20 || entry.data[i] >= 0x7f))
            return px_list_line_bad(e, "byte 0x%02x in column %zu is not allowed", entry.data[i],
                                    i + 1);
    return 0;
}

int px_list_line_split(struct px_slice line, struct px_slice *ret_words,
                       char ret_comment[PX_AUTH_COMMENT_MAX], struct px_auth_error *ret_error)
{
    struct px_slice entry = px_slice_take(line, comment_start(line));
    char comment[PX_AUTH_COMMENT_MAX] = "";
    if (px_slice_trim(entry).len == 0)
        return PX_ENOENT;
    int err = check_bytes(line, entry, ret_error);
    if (err == 0 && entry.len < line.len)
        err = parse_comment(px_slice_skip(line, entry.len + 1), comment, ret_error);
    if (err != 0)
        return err;
    memcpy(ret_comment, comment, sizeof(comment));
    *ret_words = entry;
    return 0;
}

int px_list_line_id(struct px_slice word, struct px_peer_id *ret, struct px_auth_error *ret_error)
{
    int err = px_peer_id_parse(word, ret);
    if (err == PX_EUNSUPPORTED)
        return px_list_line_bad(ret_error, "peer ID '%.*s' is not of an ed25519 key",
                                PX_LIST_LINE_SHOWN(word));
    if (err != 0)
        return px_list_line_bad(ret_error, "'%.*s' is not a peer ID", PX_LIST_LINE_SHOWN(word));
    return 0;
}

bool px_list_next_line(struct px_slice *rest, struct px_slice *ret)
{
    return rest->len > 0 && px_slice_split(rest, '\n', ret);
}
