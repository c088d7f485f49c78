/* config.yaml on the disk: applied, confirmed, taken back, with the earlier texts kept. Safe under
 * kill -9 at any point: config.yaml is always one of the whole texts, and whenever it is an
 * unconfirmed one its marker is there. Every call takes HOME/config.lock, for at most
 * PX_CONFIG_LOCK_WAIT, then PX_EBUSY. Who calls must be the owner of the files. */
#ifndef PX_NODE_CONFIG_APPLY_IO_H
#define PX_NODE_CONFIG_APPLY_IO_H

#include "node/config_apply.h"
#include "node/home.h"

#define PX_HOME_CONFIG_PENDING "config.pending" /* all three in the state directory */
#define PX_HOME_CONFIG_HISTORY "config.history"
#define PX_HOME_CONFIG_LOCK    "config.lock"
#define PX_CONFIG_LOCK_WAIT    (2 * PX_SEC)

/* PX_EIO when the machine's boot ID cannot be read. */
PX_MUST_CHECK int px_config_clock_now(struct px_config_clock *ret);

/* Puts the text in place of config.yaml, keeping the one that was there. timeout_ms other than 0:
 * unless px_config_confirm comes by then, it is taken back. The text is not checked here.
 * PX_EEXIST: it is there already; PX_EBUSY: another change waits; PX_EPERM also when config.yaml is
 * a symbolic link, as something else manages it. */
PX_MUST_CHECK int px_config_apply(const struct px_home *home, struct px_slice text,
                                  uint64_t timeout_ms, const struct px_config_clock *now);
/* The change that waits is kept. PX_ENOENT: none waits; PX_ETIMEDOUT: its time was over, it has
 * been taken back just now. */
PX_MUST_CHECK int px_config_confirm(const struct px_home *home, const struct px_config_clock *now);
/* Takes the change that waits back; without one, or with `number`, brings that earlier text back
 * (0: the latest that differs from what is there). PX_ENOENT: there is no such text. */
PX_MUST_CHECK int px_config_rollback(const struct px_home *home, uint64_t number,
                                     const struct px_config_clock *now);

struct px_config_state {
    bool pending;
    uint64_t left_ms; /* until it is taken back */
    bool reverted;    /* this call did so */
};
/* Finishes what a kill interrupted, and takes back a change whose time is over. To be called before
 * config.yaml is read. `overdue`: a change that waits is taken back now. PX_ENOENT: the earlier
 * text is gone, the change stays (and its marker goes); PX_EPARSE: the marker is unreadable. */
PX_MUST_CHECK int px_config_recover(const struct px_home *home, bool overdue,
                                    const struct px_config_clock *now, struct px_config_state *ret);

struct px_config_version {
    uint64_t number;
    uint64_t wall_ms; /* when it was replaced */
    size_t size;
    bool current;  /* the text that is in place */
    bool previous; /* the one that comes back if the change that waits is not confirmed */
};
/* The earlier texts, latest first, at most `cap`. */
PX_MUST_CHECK int px_config_history(const struct px_home *home, struct px_config_version *ret,
                                    size_t cap, size_t *ret_count);
/* Appends an earlier text (0: the one px_config_rollback would take). PX_ENOENT. */
PX_MUST_CHECK int px_config_version_read(const struct px_home *home, uint64_t number,
                                         struct px_buf *out);

#endif
