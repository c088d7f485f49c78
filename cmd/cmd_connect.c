/* peerix connect PEER [ADDR], peerix disconnect PEER: dial and hang up. */
#include <time.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "proto/addr.h"

/* A dial with its retries may take longer than other calls. */
#define CONNECT_TIME (60 * PX_SEC)

enum { GONE_TRIES = 60, GONE_PAUSE_MS = 50 };

/* POST /v1/peers/ID/<verb>; the peer is resolved first. */
static int post(const struct px_cli *cli, const char *verb, const json_t *body,
                char ret_id[PX_PEER_ID_TEXT_MAX], json_t **ret)
{
    struct px_home home;
    struct px_peer_id id;
    char path[128];
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_peer(cli, &home, cli->operands[0], &id);
    if (code != 0)
        return code;
    snprintf(path, sizeof(path), "/v1/peers/%s/%s", px_peer_id_format(&id, ret_id), verb);
    return px_control_call_within(cli, CONNECT_TIME, "POST", path, body, ret);
}

static int report(const struct px_cli *cli, const char *what, const char *id, json_t *owned_answer)
{
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, owned_answer != NULL
                                      ? owned_answer
                                      : json_pack("{s:s, s:s}", "peer", id, "state", what));
    json_decref(owned_answer);
    printf("%s ", what);
    px_cli_put_safe(stdout, cli->operands[0]);
    putchar('\n');
    return PX_EXIT_OK;
}

int px_cmd_connect(const struct px_cli *cli)
{
    const char *addr = cli->operand_count > 1 ? cli->operands[1] : NULL;
    struct px_slice host;
    uint16_t port;
    char id[PX_PEER_ID_TEXT_MAX];
    json_t *answer = NULL;
    if (addr != NULL && px_hostport_split(px_slice_cstr(addr), &host, &port) != 0)
        return px_cli_usage(cli, "'%s' is not HOST:PORT or [IPv6]:PORT", addr);
    json_t *body = addr != NULL ? json_pack("{s:s}", "addr", addr) : NULL;
    int code = post(cli, "connect", body, id, &answer);
    json_decref(body);
    return code != 0 ? code : report(cli, "connected", id, answer);
}

/* The daemon answers when it has begun to hang up; *answer becomes the peer without its connection.
 */
static int wait_until_gone(const struct px_cli *cli, const char *id, json_t **answer)
{
    const struct timespec pause = {.tv_nsec = GONE_PAUSE_MS * 1000000L};
    char path[128];
    int code = 0;
    snprintf(path, sizeof(path), "/v1/peers/%s", id);
    for (int i = 0; i < GONE_TRIES && json_is_object(px_json_at(*answer, "connection")); i++) {
        nanosleep(&pause, NULL);
        json_decref(*answer);
        *answer = NULL;
        code = px_control_call(cli, "GET", path, NULL, answer);
    }
    return code;
}

int px_cmd_disconnect(const struct px_cli *cli)
{
    char id[PX_PEER_ID_TEXT_MAX];
    json_t *answer = NULL;
    int code = post(cli, "disconnect", NULL, id, &answer);
    if (code == 0)
        code = wait_until_gone(cli, id, &answer);
    return code != 0 ? code : report(cli, "disconnected", id, answer);
}
