/* Answers to calls of the control API: JSON, text or lines (node/control.h). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/control_internal.h"
#include "node/control_text.h"

#define TEXT_MAX ((size_t)16 * 1024 * 1024)

/* --- errors --- */

unsigned px_control_status(int err)
{
    static const struct {
        int err;
        unsigned status;
    } table[] = {
        {PX_EINVAL, 400},
        {PX_EPARSE, 400},
        {PX_ETRUNC, 400},
        {PX_EADDR, 400},
        {PX_ESELF, 400},
        {PX_EAUTH, 401},
        {PX_EPERM, 403},
        {PX_EFORBIDDEN, 403},
        {PX_EUNLISTED, 403},
        {PX_ENOENT, 404},
        {PX_ENOSERVICE, 404},
        {PX_EEXIST, 409},
        {PX_ESTATE, 409},
        {PX_ELIMIT, 413},
        {PX_EUNSUPPORTED, 501},
        {PX_EREFUSED, 502},
        {PX_EWRONGPEER, 502},
        {PX_ENETWORK, 502},
        {PX_EBINDING, 502},
        {PX_ETARGET, 502},
        {PX_ENOISE, 502},
        {PX_EDUPLICATE, 502},
        {PX_EOVERRUN, 502},
        {PX_EHASH, 502},
        {PX_ETLS, 502},
        {PX_EPROTO, 502},
        {PX_ECRYPTO, 502},
        {PX_ECLOSED, 502},
        {PX_EREVOKED, 502},
        {PX_EHELD, 502},
        {PX_EOFFLINE, 503},
        {PX_EBUSY, 503},
        {PX_EAGAIN, 503},
        {PX_ECANCELED, 503},
        {PX_ETIMEDOUT, 504},
        {PX_EHANDSHAKE_TIMEOUT, 504},
        {PX_EOFFLINK, 400},
        {PX_EINVITE_TYPO, 400},
        {PX_EINVITE_JUNK, 400},
        {PX_EINVITE_UNKNOWN, 404},
        {PX_EINVITE_EXPIRED, 410},
        {PX_EINVITE_USED, 410},
        {PX_EINVITE_BURNT, 410},
        {PX_EINVITE_WITHDRAWN, 410},
        {PX_EINVITE_TOKEN, 403},
        {PX_EINVITE_BUSY, 503},
        {PX_EPAIR_IMPOSTOR, 502},
        {PX_EPAIR_REJECTED, 403},
        {PX_EUNACKED, 409},
        {PX_ENOSPC, 507},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(table); i++)
        if (table[i].err == err)
            return table[i].status;
    return 500;
}

json_t *px_control_failure_json(int err, const char *message)
{
    return json_pack("{s:s, s:s}", "error", px_errname(err), "message", message);
}

/* --- sending --- */

/* Takes over the reply; a document or a line as text. */
static int render(const struct px_control_call *call, json_t *owned_reply, bool line, bool good,
                  struct px_buf *out)
{
    if (owned_reply == NULL)
        return PX_ENOMEM;
    if (!call->text) {
        char *text = json_dumps(owned_reply, JSON_REAL_PRECISION(9) | JSON_ENSURE_ASCII |
                                                 (line ? JSON_COMPACT : JSON_INDENT(2)));
        if (text == NULL || px_buf_put_cstr(out, text) != 0)
            out->err = PX_ENOMEM;
        (void)px_buf_put_u8(out, '\n');
        free(text);
    } else if (good && call->route != NULL && call->route->text != NULL) {
        (void)call->route->text(owned_reply, out);
    } else if (line) {
        (void)px_control_put_line(out, owned_reply);
    } else {
        (void)px_control_put_object(out, owned_reply);
    }
    json_decref(owned_reply);
    return out->err;
}

void px_control_answer_bytes(struct px_http_exchange *x, unsigned status, bool text,
                             struct px_slice body)
{
    struct px_http_answer a = {
        .status = status,
        .content_type = text ? "text/plain; charset=utf-8" : "application/json",
        .body = body,
    };
    if (status == 401) {
        a.field = "WWW-Authenticate";
        a.value = "Bearer realm=\"peerix\"";
    }
    px_http_answer(x, &a);
}

static void answer(struct px_control_call *call, unsigned status, json_t *owned_reply)
{
    static const char sorry[] = "{\"error\": \"ENOMEM\", \"message\": \"out of memory\"}\n";
    struct px_buf out;
    px_buf_init(&out, TEXT_MAX);
    call->state = CALL_DONE;
    if (render(call, owned_reply, false, status < 300, &out) == 0)
        px_control_answer_bytes(call->x, status, call->text, px_buf_slice(&out));
    else
        px_control_answer_bytes(call->x, 500, false, px_slice(sorry, sizeof(sorry) - 1));
    px_buf_deinit(&out);
}

void px_control_reply(struct px_control_call *call, unsigned status, json_t *owned_reply)
{
    px_assert(call->state == CALL_ASKED);
    answer(call, status, owned_reply);
}

static void PX_PRINTF(4, 0)
    fail(struct px_control_call *call, unsigned status, int err, const char *fmt, va_list ap)
{
    char message[1024];
    vsnprintf(message, sizeof(message), fmt, ap);
    json_t *reply = px_control_failure_json(err, message);
    if (reply == NULL) /* cut in the middle of a character */
        reply = px_control_failure_json(err, px_strerror(err));
    if (call->state != CALL_LINES) {
        answer(call, status, reply);
        return;
    }
    px_control_line(call, reply);
    px_control_end(call);
}

void px_control_fail(struct px_control_call *call, int err, const char *fmt, ...)
{
    va_list ap;
    px_assert(call->state != CALL_DONE);
    va_start(ap, fmt);
    fail(call, px_control_status(err), err, fmt, ap);
    va_end(ap);
}

void px_control_refuse(struct px_control_call *call, unsigned status, int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail(call, status, err, fmt, ap);
    va_end(ap);
}

/* --- lines --- */

static int read_lines(void *ctx, void *dst, size_t cap, size_t *ret_len)
{
    struct px_control_call *call = ctx;
    size_t n = PX_MIN(call->lines.len, cap);
    if (n == 0)
        return call->state == CALL_DONE ? PX_ECLOSED : 0;
    memcpy(dst, call->lines.data, n);
    px_buf_drop(&call->lines, n);
    *ret_len = n;
    return 0;
}

static const struct px_http_body_ops lines_body = {read_lines};

void px_control_begin_lines(struct px_control_call *call)
{
    px_assert(call->state == CALL_ASKED);
    call->state = CALL_LINES;
    px_http_answer(call->x, &(struct px_http_answer){
                                .status = 200,
                                .content_type = call->text ? "text/plain; charset=utf-8"
                                                           : "application/x-ndjson",
                                .ops = &lines_body,
                                .ctx = call,
                                .length = PX_HTTP_LENGTH_UNKNOWN,
                            });
}

/* A reader that does not keep up is cut: what it would get later has a hole it could not see. */
void px_control_line(struct px_control_call *call, json_t *owned_line)
{
    px_assert(call->state == CALL_LINES);
    bool good = json_object_get(owned_line, "error") == NULL;
    if (render(call, owned_line, true, good, &call->lines) == 0)
        px_http_body_resume(call->x);
    else
        px_http_cut(call->x);
}

void px_control_end(struct px_control_call *call)
{
    px_assert(call->state == CALL_LINES);
    call->state = CALL_DONE;
    px_http_body_resume(call->x);
}

/* --- what handlers ask --- */

const char *px_control_param(const struct px_control_call *call, const char *name)
{
    for (size_t i = 0; i < call->params.count; i++)
        if (px_slice_eq_cstr(call->params.at[i].name, name))
            return call->params.at[i].value;
    return NULL;
}

const char *px_control_query(const struct px_control_call *call, const char *name)
{
    return px_control_target_query(&call->target, name);
}

const json_t *px_control_body(const struct px_control_call *call)
{
    return call->body;
}

void px_control_on_gone(struct px_control_call *call, void (*gone)(void *ctx), void *ctx)
{
    call->gone = gone;
    call->gone_ctx = ctx;
}
