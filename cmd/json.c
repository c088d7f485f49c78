/* Printing and reading JSON by jansson. */
#include "cmd/json.h"

/* Seconds to the nanosecond, without the noise of a double behind them. */
#define DIGITS JSON_REAL_PRECISION(12)

static int out_of_memory(const struct px_cli *cli)
{
    px_cli_error(cli, "cannot print JSON: %s", px_strerror(PX_ENOMEM));
    return PX_EXIT_FAILURE;
}

int px_json_print(const struct px_cli *cli, json_t *owned_value)
{
    int err = owned_value == NULL ? -1 : json_dumpf(owned_value, stdout, JSON_INDENT(2) | DIGITS);
    json_decref(owned_value);
    if (err != 0)
        return out_of_memory(cli);
    putchar('\n');
    return PX_EXIT_OK;
}

int px_json_print_line(const struct px_cli *cli, const json_t *value)
{
    if (value == NULL || json_dumpf(value, stdout, JSON_COMPACT | DIGITS) != 0)
        return out_of_memory(cli);
    putchar('\n');
    if (fflush(stdout) == 0)
        return PX_EXIT_OK;
    px_cli_error(cli, "cannot write the output");
    return PX_EXIT_FAILURE;
}

int px_json_result(const struct px_cli *cli, const char *result, const char *id)
{
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, json_pack("{s:s, s:s}", "peer", id, "result", result));
    printf("%s %s\n", result, id);
    return PX_EXIT_OK;
}

const json_t *px_json_at(const json_t *object, const char *path)
{
    struct px_slice rest = px_slice_cstr(path), key;
    char name[64];
    while (object != NULL && px_slice_split(&rest, '.', &key)) {
        px_assert(key.len < sizeof(name));
        memcpy(name, key.data, key.len);
        name[key.len] = '\0';
        object = json_object_get(object, name);
    }
    return object;
}

const char *px_json_text(const json_t *object, const char *path)
{
    const char *text = json_string_value(px_json_at(object, path));
    return text != NULL ? text : "";
}

uint64_t px_json_count(const json_t *object, const char *path)
{
    json_int_t n = json_integer_value(px_json_at(object, path));
    return n > 0 ? (uint64_t)n : 0;
}

bool px_json_true(const json_t *object, const char *path)
{
    return json_is_true(px_json_at(object, path));
}

px_nsec px_json_seconds(const json_t *object, const char *path)
{
    const json_t *value = px_json_at(object, path);
    double s = json_number_value(value);
    return json_is_number(value) && s >= 0 && s < 1e9 ? (px_nsec)(s * (double)PX_SEC) : PX_NEVER;
}
