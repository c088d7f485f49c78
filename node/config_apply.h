/* Changing config.yaml so that a mistake undoes itself: what is remembered about a change that
 * waits to be confirmed, and what is to be done about it. Pure; the files are config_apply_io.
 *
 * A change with a time limit leaves a marker (HOME/config.pending) before the new text takes the
 * name. From then on either somebody confirms (the marker goes) or the earlier text comes back,
 * whoever was killed or restarted meanwhile. Earlier texts are kept in HOME/config.history. */
#ifndef PX_NODE_CONFIG_APPLY_H
#define PX_NODE_CONFIG_APPLY_H

#include "auth/crypto.h"
#include "proto/base/buf.h"

#define PX_CONFIG_HISTORY_MAX      10 /* texts kept, the oldest go */
#define PX_CONFIG_CONFIRM_MIN_MS   1000
#define PX_CONFIG_CONFIRM_MAX_MS   (24 * 3600 * 1000ULL)
#define PX_CONFIG_BOOT_ID_LEN      36
#define PX_CONFIG_PENDING_TEXT_MAX 1024

/* What time it is, in a form that survives restarts of the machine. */
struct px_config_clock {
    uint64_t wall_ms; /* since 1970; may jump */
    uint64_t boot_ms; /* CLOCK_BOOTTIME; meaningful together with boot_id */
    char boot_id[PX_CONFIG_BOOT_ID_LEN + 1];
};

/* A change that waits. */
struct px_config_pending {
    uint8_t candidate[PX_HASH_LEN]; /* SHA-256 of the new text */
    uint64_t previous;              /* number of the earlier text; 0: there was no file */
    uint64_t timeout_ms;
    struct px_config_clock since;
};

/* The marker file. Parsing wants all of it, once, in this order: PX_EPARSE otherwise. */
PX_MUST_CHECK int px_config_pending_format(const struct px_config_pending *p, struct px_buf *out);
PX_MUST_CHECK int px_config_pending_parse(struct px_slice text, struct px_config_pending *ret);

/* Milliseconds until the change is taken back, at most its timeout; 0: now. Within one boot of the
 * machine only CLOCK_BOOTTIME counts. After another boot the wall clock does; one that stands
 * before the change says nothing about the time that went by, so the answer is 0. */
uint64_t px_config_pending_left(const struct px_config_pending *p,
                                const struct px_config_clock *now);

enum px_config_step {
    PX_CONFIG_WAIT,   /* the new text is there, its time is not over */
    PX_CONFIG_FORGET, /* the earlier text is there: the marker is all that is left to remove */
    PX_CONFIG_REVERT, /* bring the earlier text back, then remove the marker */
};
/* What a marker that was found asks for. `current` and `previous` are the texts' SHA-256, NULL
 * where there is no file. A text that is neither (somebody edited) is waited for and reverted like
 * the candidate. */
enum px_config_step px_config_pending_step(const struct px_config_pending *p,
                                           const struct px_config_clock *now,
                                           const uint8_t *current, const uint8_t *previous);

/* "0000000012.yaml"; number of such a name, 0 for any other. */
#define PX_CONFIG_VERSION_NAME_MAX 32
const char *px_config_version_name(uint64_t number, char out[PX_CONFIG_VERSION_NAME_MAX]);
uint64_t px_config_version_number(const char *name);

#endif
