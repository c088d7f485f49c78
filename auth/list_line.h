/* What the lines of authorized_keys and names have in common: words of plain ASCII between blanks,
 * then a comment of printable UTF-8 behind '#'. There is no quoting. */
#ifndef PX_AUTH_LIST_LINE_H
#define PX_AUTH_LIST_LINE_H

#include "auth/authorized_keys.h"

/* Arguments for %.*s: enough of a value to recognise it by. */
#define PX_LIST_LINE_SHOWN(s) (int)PX_MIN((s).len, (size_t)48), (const char *)(s).data

/* Splits a line without its newline into its words and the comment, trimmed. PX_ENOENT when there
 * are no words; PX_EPARSE (too long, bytes that do not belong there), with ret_error filled. */
PX_MUST_CHECK int px_list_line_split(struct px_slice line, struct px_slice *ret_words,
                                     char ret_comment[PX_AUTH_COMMENT_MAX],
                                     struct px_auth_error *ret_error);
/* Takes the next word; false when there is none. */
bool px_list_line_word(struct px_slice *rest, struct px_slice *ret);
/* A word as a peer ID; PX_EPARSE with ret_error filled. */
PX_MUST_CHECK int px_list_line_id(struct px_slice word, struct px_peer_id *ret,
                                  struct px_auth_error *ret_error);
/* Takes the next line of a text, without its newline; false at the end. */
bool px_list_next_line(struct px_slice *rest, struct px_slice *ret);
/* Fills the error, its line with 0; returns PX_EPARSE. */
int px_list_line_bad(struct px_auth_error *e, const char *fmt, ...) PX_PRINTF(2, 3);

#endif
