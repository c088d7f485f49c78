/* The marker of an unconfirmed change: what parses prints and parses back, and never waits longer
 * than it says. */
#include "node/config_apply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_same(const struct px_config_pending *a, const struct px_config_pending *b)
{
    px_assert(memcmp(a->candidate, b->candidate, sizeof(a->candidate)) == 0);
    px_assert(a->previous == b->previous && a->timeout_ms == b->timeout_ms);
    px_assert(a->since.wall_ms == b->since.wall_ms && a->since.boot_ms == b->since.boot_ms);
    px_assert(strcmp(a->since.boot_id, b->since.boot_id) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_config_pending p, again;
    if (px_config_pending_parse(px_slice(data, len), &p) != 0)
        return 0;
    struct px_buf text;
    px_buf_init(&text, PX_CONFIG_PENDING_TEXT_MAX);
    px_assert(px_config_pending_format(&p, &text) == 0);
    px_assert(px_config_pending_parse(px_buf_slice(&text), &again) == 0);
    check_same(&p, &again);
    px_buf_deinit(&text);
    struct px_config_clock now = p.since;
    px_assert(px_config_pending_left(&p, &now) == p.timeout_ms);
    now.boot_ms += len;
    px_assert(px_config_pending_left(&p, &now) <= p.timeout_ms);
    now.boot_id[0] ^= 1;
    now.wall_ms -= 1;
    px_assert(px_config_pending_left(&p, &now) <= p.timeout_ms);
    return 0;
}
