/* The relay's configuration: what px_options of this program (config.c) describes. */
#ifndef PX_CMD_RELAY_CONFIG_H
#define PX_CMD_RELAY_CONFIG_H

#include "node/config.h"
#include "node/relay_list.h"
#include "relay/server.h"

#define PX_RELAY_THIS_HOST "THIS-HOST" /* in a URL, for what only its owner knows */

struct px_relay_config {
    char *network;
    char *listen;      /* UDP address */
    char *tcp;         /* TCP address of pipes; "" for none */
    char *public_addr; /* HOST:PORT of the URL that is printed; "": not known */
    char *asn_file;    /* "" for none */
    char *metrics;     /* loopback TCP address */
    bool open;
    uint64_t reservations, reservations_per_source, reservations_per_asn;
    uint64_t reservation_ttl_ms;
    uint64_t circuits;
    uint64_t stranger_time_ms, stranger_bytes;
    uint64_t member_rate, stranger_rate;
    uint64_t leave_ms; /* between `restarting` and the end */
    char *log_level, *log_format;
};

/* The values behind the generic configuration of this program. */
static inline const struct px_relay_config *px_relay_config(const struct px_config *c)
{
    return (const struct px_relay_config *)(const void *)c;
}

/* The URL nodes are given, by `public-addr` and `tcp`; false without the former. */
bool px_relay_config_url(const struct px_relay_config *c, const struct px_peer_id *id,
                         char ret[PX_RELAY_URL_TEXT_MAX]);
void px_relay_config_limits(const struct px_relay_config *c, struct px_relay_limits *ret);

#endif
