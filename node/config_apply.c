/* The marker of an unconfirmed change: its text, its time, what follows from it. */
#include "node/config_apply.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/base/encoding.h"

#define TITLE "peerix-config-pending 1"

int px_config_pending_format(const struct px_config_pending *p, struct px_buf *out)
{
    (void)px_buf_put_cstr(out, TITLE "\ncandidate ");
    (void)px_hex_encode(out, px_slice(p->candidate, sizeof(p->candidate)));
    return px_buf_printf(out,
                         "\nprevious %" PRIu64 "\ntimeout-ms %" PRIu64 "\nwall-ms %" PRIu64
                         "\nboot-ms %" PRIu64 "\nboot-id %s\n",
                         p->previous, p->timeout_ms, p->since.wall_ms, p->since.boot_ms,
                         p->since.boot_id);
}

/* The value of the next line, which must begin with that key. */
static int next_value(struct px_slice *rest, const char *key, struct px_slice *ret)
{
    struct px_slice line, word;
    if (!px_slice_split(rest, '\n', &line) || !px_slice_split(&line, ' ', &word) ||
        !px_slice_eq_cstr(word, key))
        return PX_EPARSE;
    *ret = line;
    return 0;
}

static int next_u64(struct px_slice *rest, const char *key, uint64_t *ret)
{
    struct px_slice value;
    int err = next_value(rest, key, &value);
    return err != 0 ? err : px_slice_parse_u64(value, ret);
}

static int next_hash(struct px_slice *rest, const char *key, uint8_t ret[PX_HASH_LEN])
{
    struct px_slice value;
    int err = next_value(rest, key, &value);
    size_t len = 0;
    if (err == 0)
        err = px_hex_decode(value, ret, PX_HASH_LEN, &len);
    return err != 0 || len != PX_HASH_LEN ? PX_EPARSE : 0;
}

static int next_boot_id(struct px_slice *rest, char ret[PX_CONFIG_BOOT_ID_LEN + 1])
{
    struct px_slice value;
    int err = next_value(rest, "boot-id", &value);
    if (err != 0 || value.len != PX_CONFIG_BOOT_ID_LEN)
        return PX_EPARSE;
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] <= ' ' || value.data[i] >= 0x7f)
            return PX_EPARSE;
    memcpy(ret, value.data, value.len);
    ret[value.len] = '\0';
    return 0;
}

int px_config_pending_parse(struct px_slice text, struct px_config_pending *ret)
{
    struct px_config_pending p;
    struct px_slice line;
    if (!px_slice_split(&text, '\n', &line) || !px_slice_eq_cstr(line, TITLE))
        return PX_EPARSE;
    int err = next_hash(&text, "candidate", p.candidate);
    if (err == 0)
        err = next_u64(&text, "previous", &p.previous);
    if (err == 0)
        err = next_u64(&text, "timeout-ms", &p.timeout_ms);
    if (err == 0)
        err = next_u64(&text, "wall-ms", &p.since.wall_ms);
    if (err == 0)
        err = next_u64(&text, "boot-ms", &p.since.boot_ms);
    if (err == 0)
        err = next_boot_id(&text, p.since.boot_id);
    if (err != 0 || text.len != 0)
        return PX_EPARSE;
    *ret = p;
    return 0;
}

static uint64_t left_after(uint64_t since, uint64_t now, uint64_t timeout)
{
    if (now < since)
        return 0;
    return now - since >= timeout ? 0 : timeout - (now - since);
}

uint64_t px_config_pending_left(const struct px_config_pending *p,
                                const struct px_config_clock *now)
{
    if (strcmp(p->since.boot_id, now->boot_id) == 0)
        return left_after(p->since.boot_ms, now->boot_ms, p->timeout_ms);
    return left_after(p->since.wall_ms, now->wall_ms, p->timeout_ms);
}

static bool same_text(const uint8_t *a, const uint8_t *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return memcmp(a, b, PX_HASH_LEN) == 0;
}

enum px_config_step px_config_pending_step(const struct px_config_pending *p,
                                           const struct px_config_clock *now,
                                           const uint8_t *current, const uint8_t *previous)
{
    bool earlier_known = p->previous == 0 || previous != NULL;
    if (earlier_known && same_text(current, p->previous == 0 ? NULL : previous))
        return PX_CONFIG_FORGET;
    return px_config_pending_left(p, now) > 0 ? PX_CONFIG_WAIT : PX_CONFIG_REVERT;
}

const char *px_config_version_name(uint64_t number, char out[PX_CONFIG_VERSION_NAME_MAX])
{
    snprintf(out, PX_CONFIG_VERSION_NAME_MAX, "%010" PRIu64 ".yaml", number);
    return out;
}

uint64_t px_config_version_number(const char *name)
{
    char again[PX_CONFIG_VERSION_NAME_MAX];
    uint64_t n;
    struct px_slice digits = px_slice_cstr(name);
    while (digits.len > 1 && digits.data[0] == '0')
        digits = px_slice_skip(digits, 1);
    struct px_slice word;
    if (!px_slice_split(&digits, '.', &word) || px_slice_parse_u64(word, &n) != 0)
        return 0;
    return strcmp(px_config_version_name(n, again), name) == 0 ? n : 0;
}
