/* Printing JSON by jansson. */
#include "cmd/json.h"

int px_json_print(const struct px_cli *cli, json_t *owned_value)
{
    int err = owned_value == NULL ? -1 : json_dumpf(owned_value, stdout, JSON_INDENT(2));
    json_decref(owned_value);
    if (err != 0) {
        px_cli_error(cli, "cannot print JSON: %s", px_strerror(PX_ENOMEM));
        return PX_EXIT_FAILURE;
    }
    putchar('\n');
    return PX_EXIT_OK;
}
