/* peerix-relay status: what the running relay is and does. */
#include <inttypes.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/units.h"
#include "cmd_relay/commands.h"

/* Limits that were hit, if any, and how full those are of which something is used. */
static void print_limits(const json_t *s)
{
    const char *name, *before = "limits hit    ";
    json_t *one;
    json_object_foreach(json_object_get(s, "limits"), name, one)
    {
        if (px_json_count(one, "hits") == 0)
            continue;
        printf("%s%s %" PRIu64, before, name, px_json_count(one, "hits"));
        if (json_object_get(one, "max") != NULL)
            printf(" (%" PRIu64 " of %" PRIu64 " used)", px_json_count(one, "used"),
                   px_json_count(one, "max"));
        before = ", ";
    }
    if (before[0] == ',')
        printf("\n");
}

static void print_text(const json_t *s)
{
    char bytes[PX_UNITS_MAX], uptime[PX_UNITS_MAX];
    px_nsec up = px_json_seconds(s, "uptime");
    printf("relay         %s for %s, pid %" PRIu64 "\n", px_json_text(s, "state"),
           px_units_long(up != PX_NEVER ? up : 0, uptime), px_json_count(s, "pid"));
    const char *url = px_json_text(s, "url");
    printf("url           %s\n",
           url[0] != '\0' ? url : "not known: set public-addr in config.yaml");
    printf("listens at    %s\n", px_json_text(s, "listen"));
    if (px_json_text(s, "tcp")[0] != '\0')
        printf("and, by TCP   %s, %" PRIu64 " connections\n", px_json_text(s, "tcp"),
               px_json_count(s, "pipes"));
    uint64_t members = px_json_count(s, "members");
    printf("admits        %" PRIu64 " %s%s\n", members, members == 1 ? "member" : "members",
           json_is_true(px_json_at(s, "open")) ? ", and strangers: it is open" : "");
    printf("nodes         %" PRIu64 " connected, %" PRIu64 " reservations\n",
           px_json_count(s, "nodes"), px_json_count(s, "reservations"));
    printf("circuits      %" PRIu64 " open, %s forwarded\n", px_json_count(s, "circuits.open"),
           px_units_bytes(px_json_count(s, "circuits.bytes"), bytes));
    printf("registry      %" PRIu64 " records, %" PRIu64 " open invites\n",
           px_json_count(s, "records"), px_json_count(s, "invites"));
    printf("requests      %" PRIu64 ", %" PRIu64 " refused\n", px_json_count(s, "requests.total"),
           px_json_count(s, "requests.refused"));
    printf("handshakes    %" PRIu64 " refused\n", px_json_count(s, "refused.links"));
    print_limits(s);
}

int px_relay_cmd_status(const struct px_cli *cli)
{
    json_t *s;
    int code = px_control_call(cli, "GET", "/v1/status", NULL, &s);
    if (code != 0)
        return code;
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, s);
    print_text(s);
    json_decref(s);
    return PX_EXIT_OK;
}
