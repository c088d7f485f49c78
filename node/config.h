/* The daemon's configuration: one option table that feeds the YAML file, the flags, --help, the
 * sample file and the man page. */
#ifndef PX_NODE_CONFIG_H
#define PX_NODE_CONFIG_H

#include "proto/base/buf.h"

#define PX_CONFIG_FILE_MAX (1024u * 1024)
#define PX_CONFIG_LIST_MAX 256 /* entries of one list */
#define PX_OPTION_TEXT_MAX 320 /* px_option_describe */

enum px_option_type {
    PX_OPT_STRING, /* `allowed` "host": HOST:PORT or nothing */
    PX_OPT_STORE,  /* a Nix store URI, see px_store_uri_parse */
    PX_OPT_PATH,
    PX_OPT_BOOL,
    PX_OPT_UINT,
    PX_OPT_MSEC, /* a number of milliseconds, or with unit: 250ms, 5s, 2m, 1h */
    PX_OPT_ADDR, /* IP:PORT; `allowed` "loopback": no other; "none": or nothing */
    PX_OPT_ENUM, /* one of `allowed`, separated by | */
    PX_OPT_KEYS, /* a list of Nix public keys; file and flags append to the default */
    PX_OPT_HOSTS /* a list of HOST:PORT, at most `max` */
};

/* One row. `offset` is where the value lives in struct px_config. */
struct px_option {
    const char *name; /* YAML key, e.g. "trusted-public-keys" */
    const char
        *flag; /* command line name without dashes, e.g. "trusted-public-key"; NULL: file only */
    enum px_option_type type;
    size_t offset;
    uint64_t min, max;   /* numbers: range; strings: length */
    const char *allowed; /* PX_OPT_ENUM: "error|warn|info|debug" */
    const char *value;   /* default, as text ("" for none) */
    const char *arg;     /* placeholder in help, e.g. "ADDR:PORT" */
    const char *help;    /* one sentence */
    bool live;           /* a running daemon takes up another value without restarting its parts */
};

struct px_string_list {
    char **items;
    size_t count;
};

struct px_config {
    char *network;                             /* "default" */
    char *listen;                              /* overlay's UDP address */
    char *http;                                /* substituter's address, loopback */
    char *store;                               /* Nix store URI */
    char *nix_conf;                            /* where trusted-public-keys are read; "" for none */
    char *nix_key;                             /* secret key file; "": see px_nix_key_load */
    struct px_string_list announce_addrs;      /* HOST:PORT, in invites; empty: found */
    struct px_string_list trusted_public_keys; /* beside those of nix.conf; well-formed */
    struct px_string_list share_keys; /* cache.nixos.org-1 and what was added; well-formed */
    bool trust_peers;
    bool sign_passed;      /* add our Sig to narinfos passed to nix */
    bool report_transfers; /* to the relays, for their totals */
    bool metrics;          /* /metrics beside what nix asks for */
    uint64_t priority;
    uint64_t deadline_ms; /* for a narinfo over all peers */
    uint64_t stall_ms;
    uint64_t dial_max_ms; /* longest pause between two dials of a peer */
    uint64_t packet_max;  /* largest UDP payload the path is probed for, bytes */
    char *mode;           /* lan|wan|both, see enum px_mode */
    char *lan_discovery;  /* both|multicast|mdns|off */
    uint64_t lan_port;
    char *log_level;
    char *log_format; /* text|json */
};

/* The program's own table: options.c has that of peerix. Where another program links another one,
 * its values live in a struct of its own of px_config_size bytes, which it reads by a cast. */
extern const struct px_option px_options[];
extern const size_t px_option_count;
extern const size_t px_config_size;

/* All defaults. */
PX_MUST_CHECK int px_config_new(struct px_config **ret);
void px_config_free(struct px_config *c);
PX_MUST_CHECK int px_config_copy(const struct px_config *c, struct px_config **ret);
/* Is its value a struct px_string_list? */
bool px_option_is_list(const struct px_option *o);
/* The option of that YAML key or flag; NULL if there is none. */
const struct px_option *px_option_by_name(struct px_slice name);
const struct px_option *px_option_by_flag(struct px_slice flag);
/* What the option takes, after "is": "a duration of 1..60000 ms". Returns out. */
const char *px_option_describe(const struct px_option *o, char out[PX_OPTION_TEXT_MAX]);
/* Sets one option from text, or appends to a list; `where` ("config.yaml:3: deadline" or
 * "--deadline") begins the message. PX_EPARSE with ret_message saying what is allowed. */
PX_MUST_CHECK int px_config_set(struct px_config *c, const struct px_option *o,
                                struct px_slice text, const char *where, char *ret_message,
                                size_t message_size);
/* Reads YAML text over what is there. An unknown key, a wrong type or a value out of range is
 * PX_EPARSE, with file, line and the allowed values in ret_message; c is then unchanged. */
PX_MUST_CHECK int px_config_parse(struct px_config *c, struct px_slice text, const char *file,
                                  char *ret_message, size_t message_size);
/* The text of a file over the defaults, from nothing: is it good? As px_config_parse. */
PX_MUST_CHECK int px_config_check(struct px_slice text, const char *file, char *ret_message,
                                  size_t message_size);
/* A duration as PX_OPT_MSEC has it: a number of milliseconds, or with unit ms, s, m, h. PX_EPARSE.
 */
PX_MUST_CHECK int px_config_parse_msec(struct px_slice text, uint64_t *ret);
bool px_config_same_value(const struct px_config *a, const struct px_config *b,
                          const struct px_option *o);
/* Appends the value as YAML takes it back: quoted text, a number, or lines of a list. */
int px_config_put_value(const struct px_config *c, const struct px_option *o, struct px_buf *out);

enum px_config_change {
    PX_CONFIG_SAME,
    PX_CONFIG_LIVE,    /* only options that are taken up without a restart differ */
    PX_CONFIG_RESTART, /* parts of the node must be started anew */
};
enum px_config_change px_config_compare(const struct px_config *a, const struct px_config *b);

/* Appends the sample file: every option with its help and default, commented out. */
int px_config_sample(struct px_buf *out);

#endif
