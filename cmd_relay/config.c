/* The program peerix-relay and its options. */
#include "cmd_relay/config.h"

#include "cmd/exit_code.h"
#include "node/program.h"
#include "node/relay_pipe.h"

#define BIT(code) ((uint64_t)1 << (code))

const struct px_program px_program = {
    .name = "peerix-relay",
    .home_variable = "PEERIX_RELAY_HOME",
    .exit_codes = BIT(PX_EXIT_OK) | BIT(PX_EXIT_FAILURE) | BIT(PX_EXIT_USAGE) |
                  BIT(PX_EXIT_NOT_INITIALISED) | BIT(PX_EXIT_PERMISSION) | BIT(PX_EXIT_CONFIG) |
                  BIT(PX_EXIT_ADDRESS) | BIT(PX_EXIT_NOT_RUNNING) | BIT(PX_EXIT_RUNNING) |
                  BIT(PX_EXIT_NO_PEER) | BIT(PX_EXIT_TIMEOUT),
    .about = "Lets peerix nodes behind NATs find and reach each other; sees no content.",
};

#define ROW(field, yaml)                                                                           \
    .name = (yaml), .flag = (yaml), .offset = offsetof(struct px_relay_config, field)
#define HOURS (3600u * 1000u)
#define MAX   UINT32_MAX

/* clang-format off */
const struct px_option px_options[] = {
    {ROW(network, "network"), .type = PX_OPT_STRING, .min = 1, .max = 64,
     .value = "default", .arg = "NAME",
     .help = "Name of the overlay network this relay serves."},
    {ROW(listen, "listen"), .type = PX_OPT_ADDR,
     .value = "[::]:12307", .arg = "ADDR:PORT",
     .help = "UDP address nodes reach the relay at; port 0 picks a free one."},
    {ROW(tcp, "tcp"), .type = PX_OPT_ADDR, .allowed = "none",
     .value = "[::]:443", .arg = "ADDR:PORT",
     .help = "TCP address for nodes whose network lets no UDP out; empty for none."},
    {ROW(public_addr, "public-addr"), .type = PX_OPT_STRING, .max = 261,
     .allowed = "host", .value = "", .arg = "HOST:PORT",
     .help = "Where nodes reach this machine; stands in the printed URL."},
    {ROW(metrics, "metrics"), .type = PX_OPT_ADDR, .allowed = "loopback",
     .value = "127.0.0.1:12306", .arg = "ADDR:PORT",
     .help = "Loopback TCP address of /healthz and /metrics; port 0 picks a free one."},
    {ROW(open, "open"), .type = PX_OPT_BOOL, .value = "false",
     .help = "Serve strangers too, within the strangers' limits; otherwise only authorized_keys.", .live = true},
    {ROW(asn_file, "asn-file"), .type = PX_OPT_PATH, .max = 4000, .value = "", .arg = "FILE",
     .help = "Table of `PREFIX/LENGTH ASN` lines for the limit per ASN; empty for none."},
    {ROW(reservations, "reservations"), .type = PX_OPT_UINT, .min = 1, .max = 100000,
     .value = "128", .arg = "N", .help = "How many nodes may be reachable at a time.", .live = true},
    {ROW(reservations_per_source, "reservations-per-source"), .type = PX_OPT_UINT, .min = 1, .max = 100000,
     .value = "8", .arg = "N", .help = "Of them, strangers of one IPv4 address or IPv6 /56.", .live = true},
    {ROW(reservations_per_asn, "reservations-per-asn"), .type = PX_OPT_UINT, .min = 1, .max = 100000,
     .value = "32", .arg = "N", .help = "Of them, strangers of one ASN.", .live = true},
    {ROW(reservation_ttl_ms, "reservation-ttl"), .type = PX_OPT_MSEC, .min = 60000, .max = 24 * HOURS,
     .value = "1h", .arg = "TIME", .help = "How long a reservation lasts without a refresh.", .live = true},
    {ROW(circuits, "circuits"), .type = PX_OPT_UINT, .min = 1, .max = 4096,
     .value = "16", .arg = "N", .help = "How many circuits a node may have at a time.", .live = true},
    {ROW(stranger_time_ms, "stranger-time"), .type = PX_OPT_MSEC, .min = 1000, .max = 24 * HOURS,
     .value = "10m", .arg = "TIME", .help = "How long a circuit with a stranger may last.", .live = true},
    {ROW(stranger_bytes, "stranger-bytes"), .type = PX_OPT_UINT, .min = 1, .max = UINT64_MAX / 2,
     .value = "64000000", .arg = "BYTES", .help = "How much such a circuit may carry each way.", .live = true},
    {ROW(member_rate, "member-rate"), .type = PX_OPT_UINT, .min = 0, .max = MAX,
     .value = "125000000", .arg = "BYTES", .help = "Bytes a second of a circuit each way; 0 for no bound.", .live = true},
    {ROW(stranger_rate, "stranger-rate"), .type = PX_OPT_UINT, .min = 0, .max = MAX,
     .value = "2000000", .arg = "BYTES", .help = "The same for a circuit with a stranger.", .live = true},
    {ROW(leave_ms, "leave"), .type = PX_OPT_MSEC, .min = 0, .max = 60000,
     .value = "1s", .arg = "TIME", .help = "How long nodes have to move on after SIGTERM."},
    {ROW(log_level, "log-level"), .type = PX_OPT_ENUM, .allowed = "error|warn|info|debug",
     .value = "info", .arg = "LEVEL", .help = "Least urgent level that is logged."},
    {ROW(log_format, "log-format"), .type = PX_OPT_ENUM, .allowed = "text|json",
     .value = "text", .arg = "FORMAT", .help = "Form of the log lines on standard error."},
};
/* clang-format on */
const size_t px_option_count = PX_ARRAY_LEN(px_options);
const size_t px_config_size = sizeof(struct px_relay_config);

bool px_relay_config_url(const struct px_relay_config *c, const struct px_peer_id *id,
                         char ret[PX_RELAY_URL_TEXT_MAX])
{
    struct px_addr tcp;
    uint16_t port = 0;
    if (c->public_addr[0] == '\0')
        return false;
    if (c->tcp[0] != '\0' && px_addr_parse(px_slice_cstr(c->tcp), &tcp) == 0 &&
        tcp.port != PX_RELAY_TCP_PORT)
        port = tcp.port; /* 0, a free one, is known only while it runs */
    px_relay_url_format(id, c->public_addr, port, ret);
    return true;
}

void px_relay_config_limits(const struct px_relay_config *c, struct px_relay_limits *ret)
{
    *ret = px_relay_limits_default;
    ret->reservations = (size_t)c->reservations;
    ret->reservations_per_source = (size_t)c->reservations_per_source;
    ret->reservations_per_asn = (size_t)c->reservations_per_asn;
    ret->reservation_ttl = c->reservation_ttl_ms * PX_MSEC;
    ret->circuits_per_peer = (size_t)c->circuits;
    ret->stranger_time = c->stranger_time_ms * PX_MSEC;
    ret->stranger_bytes = c->stranger_bytes;
    ret->member_rate = c->member_rate;
    ret->stranger_rate = c->stranger_rate;
}
