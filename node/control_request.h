/* What a request to the control API says, as text: target, fields that betray a proxy or a browser,
 * cookie, JSON body. Pure parsers of bytes from a local client (docs/control-api.md). */
#ifndef PX_NODE_CONTROL_REQUEST_H
#define PX_NODE_CONTROL_REQUEST_H

#include <jansson.h>

#include "proto/base/slice.h"

#define PX_CONTROL_TARGET_MAX   1024
#define PX_CONTROL_SEGMENTS_MAX 8
#define PX_CONTROL_QUERY_MAX    8
#define PX_CONTROL_PARAMS_MAX   4
#define PX_CONTROL_JSON_DEPTH   16
#define PX_CONTROL_COOKIE_LEN   64 /* hex of 32 bytes */

/* A decoded target. Holds pointers into itself: never copied. */
struct px_control_target {
    char text[PX_CONTROL_TARGET_MAX + PX_CONTROL_SEGMENTS_MAX + 2 * PX_CONTROL_QUERY_MAX];
    size_t segment_count;
    const char *segment[PX_CONTROL_SEGMENTS_MAX];
    size_t query_count;
    struct px_control_pair {
        const char *name, *value;
    } query[PX_CONTROL_QUERY_MAX];
};

/* The values of the {…} segments of a route. */
struct px_control_params {
    size_t count;
    struct px_control_param {
        struct px_slice name; /* within the pattern */
        const char *value;    /* within the target */
    } at[PX_CONTROL_PARAMS_MAX];
};

/* Splits at slashes and ampersands, then decodes percent escapes. PX_EPARSE: no origin-form path,
 * a bad escape, a control byte, no UTF-8, an empty segment, a name twice; PX_ELIMIT. */
PX_MUST_CHECK int px_control_target_parse(struct px_slice raw, struct px_control_target *ret);
/* NULL when absent. */
const char *px_control_target_query(const struct px_control_target *t, const char *name);
/* Does the target match "/v1/peers/{peer}/ping"? */
bool px_control_target_match(const struct px_control_target *t, const char *pattern,
                             struct px_control_params *ret);

/* A field only a proxy or a browser sends: nobody else may stand between a user and the socket. */
bool px_control_field_foreign(struct px_slice name);
/* "localhost" or "peerix", with or without a port. */
bool px_control_host_allowed(struct px_slice host);
/* Does an Authorization field hold the cookie? Takes the same time for every wrong one. */
bool px_control_cookie_matches(const char *authorization, const char cookie[PX_CONTROL_COOKIE_LEN]);
/* A JSON object, nested at most PX_CONTROL_JSON_DEPTH deep, no key twice. PX_EPARSE with ret_why,
 * PX_ENOMEM. */
PX_MUST_CHECK int px_control_body_parse(struct px_slice text, json_t **ret, char *ret_why,
                                        size_t why_size);
/* "2", "1.5", "1.5s", "200ms": seconds, or milliseconds with that unit, at most three decimals.
 * PX_EPARSE. */
PX_MUST_CHECK int px_control_seconds_parse(struct px_slice text, px_nsec *ret);

#endif
