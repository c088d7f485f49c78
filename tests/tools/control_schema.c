/* Checks the control API against its OpenAPI file, for the end-to-end test.
 *
 *   control_schema FILE routes ROUTES       GET /v1's answer has the operations of FILE, no more,
 * no fewer, with the same summaries control_schema FILE answer METHOD PATH STATUS BODY BODY is what
 * FILE says of that answer; PATH as in FILE
 *
 * Knows the part of JSON Schema that FILE uses, and fails at any other keyword. */
#include <jansson.h>
#include <regex.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/base/base.h"

static const json_t *api;
static int faults;

static void PX_PRINTF(1, 2) fault(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    faults++;
}

static json_t *load(const char *file)
{
    json_error_t why;
    json_t *v = json_load_file(file, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (v == NULL) {
        fprintf(stderr, "%s:%d: %s\n", file, why.line, why.text);
        exit(2);
    }
    return v;
}

/* "#/components/schemas/Peer" within the file. */
static const json_t *follow(const json_t *v)
{
    const char *ref = json_string_value(json_object_get(v, "$ref"));
    if (ref == NULL)
        return v;
    char *path = strdup(ref), *rest = path;
    const json_t *at = api;
    for (char *part = strsep(&rest, "/"); part != NULL; part = strsep(&rest, "/"))
        if (strcmp(part, "#") != 0)
            at = json_object_get(at, part);
    free(path);
    if (at == NULL)
        fault("%s leads nowhere", ref);
    return at;
}

/* --- schemas --- */

static bool matches(const json_t *schema, const json_t *v, const char *where, bool quiet);

#define SAY(...)                                                                                   \
    do {                                                                                           \
        if (!quiet)                                                                                \
            fault(__VA_ARGS__);                                                                    \
        return false;                                                                              \
    } while (0)

static bool has_type(const char *type, const json_t *v)
{
    static const struct {
        const char *name;
        json_type a, b;
    } table[] = {
        {"string", JSON_STRING, JSON_STRING}, {"integer", JSON_INTEGER, JSON_INTEGER},
        {"number", JSON_INTEGER, JSON_REAL},  {"boolean", JSON_TRUE, JSON_FALSE},
        {"null", JSON_NULL, JSON_NULL},       {"object", JSON_OBJECT, JSON_OBJECT},
        {"array", JSON_ARRAY, JSON_ARRAY},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(table); i++)
        if (strcmp(table[i].name, type) == 0)
            return json_typeof(v) == table[i].a || json_typeof(v) == table[i].b;
    fault("unknown type %s", type);
    return false;
}

static bool check_type(const json_t *type, const json_t *v)
{
    size_t i;
    json_t *one;
    if (json_is_string(type))
        return has_type(json_string_value(type), v);
    json_array_foreach((json_t *)(uintptr_t)type, i,
                       one) if (has_type(json_string_value(one), v)) return true;
    return false;
}

static bool check_object(const json_t *schema, const json_t *v, const char *where, bool quiet)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *extra = json_object_get(schema, "additionalProperties");
    const json_t *required = json_object_get(schema, "required");
    const char *key;
    json_t *member, *name;
    size_t i;
    bool good = true;
    json_array_foreach((json_t *)(uintptr_t)required, i,
                       name) if (json_object_get(v, json_string_value(name)) == NULL)
        SAY("%s: %s is missing", where, json_string_value(name));
    json_object_foreach((json_t *)(uintptr_t)v, key, member)
    {
        char path[512];
        const json_t *s = json_object_get(properties, key);
        snprintf(path, sizeof(path), "%s.%s", where, key);
        if (s == NULL && json_is_false(extra))
            SAY("%s: not in the schema", path);
        if (s == NULL && json_is_object(extra))
            s = extra;
        good = (s == NULL || matches(s, member, path, quiet)) && good;
    }
    return good;
}

static bool check_array(const json_t *items, const json_t *v, const char *where, bool quiet)
{
    size_t i;
    json_t *item;
    bool good = true;
    json_array_foreach((json_t *)(uintptr_t)v, i, item)
    {
        char path[512];
        snprintf(path, sizeof(path), "%s[%zu]", where, i);
        good = matches(items, item, path, quiet) && good;
    }
    return good;
}

static bool check_enum(const json_t *values, const json_t *v)
{
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)(uintptr_t)values, i, one) if (json_equal(one, v)) return true;
    return false;
}

static bool check_pattern(const char *pattern, const char *text)
{
    regex_t r;
    if (regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    bool good = regexec(&r, text, 0, NULL, 0) == 0;
    regfree(&r);
    return good;
}

/* Exactly one must fit; when none does, each says why. */
static bool check_one_of(const json_t *choices, const json_t *v, const char *where, bool quiet)
{
    size_t i, fitting = 0;
    json_t *one;
    json_array_foreach((json_t *)(uintptr_t)choices, i, one) fitting +=
        matches(one, v, where, true);
    if (fitting == 1)
        return true;
    json_array_foreach((json_t *)(uintptr_t)choices, i, one) if (fitting == 0 && !quiet)(void)
        matches(one, v, where, false);
    SAY("%s: fits %zu of the choices", where, fitting);
}

static bool check_keyword(const json_t *schema, const char *key, const json_t *arg, const json_t *v,
                          const char *where, bool quiet)
{
    if (strcmp(key, "description") == 0 || strcmp(key, "properties") == 0 ||
        strcmp(key, "additionalProperties") == 0 || strcmp(key, "required") == 0)
        return true; /* `type` looks at the last three */
    if (strcmp(key, "type") == 0) {
        if (!check_type(arg, v))
            SAY("%s: wrong type", where);
        return !json_is_object(v) || check_object(schema, v, where, quiet);
    }
    if (strcmp(key, "oneOf") == 0)
        return check_one_of(arg, v, where, quiet);
    if (strcmp(key, "items") == 0)
        return !json_is_array(v) || check_array(arg, v, where, quiet);
    if (strcmp(key, "enum") == 0) {
        if (!check_enum(arg, v))
            SAY("%s: not one of the values allowed", where);
        return true;
    }
    if (strcmp(key, "pattern") == 0) {
        if (json_is_string(v) && !check_pattern(json_string_value(arg), json_string_value(v)))
            SAY("%s: does not match %s", where, json_string_value(arg));
        return true;
    }
    if (strcmp(key, "minimum") == 0 || strcmp(key, "maximum") == 0) {
        double n = json_number_value(v), limit = json_number_value(arg);
        if (json_is_number(v) && (key[1] == 'i' ? n < limit : n > limit))
            SAY("%s: beyond the %s", where, key);
        return true;
    }
    fault("%s: the schema has a keyword this program does not know: %s", where, key);
    return false;
}

static bool matches(const json_t *schema, const json_t *v, const char *where, bool quiet)
{
    const char *key;
    json_t *arg;
    bool good = true;
    schema = follow(schema);
    json_object_foreach((json_t *)(uintptr_t)schema, key, arg) good =
        check_keyword(schema, key, arg, v, where, quiet) && good;
    return good;
}

/* --- answers --- */

static const json_t *operation(const char *method, const char *path)
{
    char lower[16] = "";
    for (size_t i = 0; method[i] != '\0' && i + 1 < sizeof(lower); i++)
        lower[i] = (char)(method[i] | 0x20);
    return json_object_get(json_object_get(json_object_get(api, "paths"), path), lower);
}

static void check_lines(const json_t *schema, const char *file)
{
    char *line = NULL;
    size_t size = 0, lines = 0;
    FILE *f = fopen(file, "re");
    while (f != NULL && getline(&line, &size, f) > 0) {
        char where[32];
        json_t *v = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        snprintf(where, sizeof(where), "line %zu", ++lines);
        if (v == NULL)
            fault("%s is no JSON: %s", where, line);
        else
            (void)matches(schema, v, where, false);
        json_decref(v);
    }
    if (lines == 0)
        fault("%s: not a line", file);
    if (f != NULL)
        fclose(f);
    free(line);
}

static void check_answer(const char *method, const char *path, const char *status, const char *file)
{
    const json_t *op = operation(method, path);
    const json_t *responses = json_object_get(op, "responses");
    const json_t *response = json_object_get(responses, status);
    if (op == NULL)
        fault("%s %s is not in the file", method, path);
    if (response == NULL && status[0] != '2')
        response = json_object_get(responses, "default");
    if (response == NULL) {
        fault("%s %s: no answer with %s is foreseen", method, path, status);
        return;
    }
    const json_t *content = json_object_get(follow(response), "content");
    const json_t *lines = json_object_get(content, "application/x-ndjson");
    const json_t *one = json_object_get(content, "application/json");
    if (lines != NULL) {
        check_lines(json_object_get(lines, "schema"), file);
    } else if (one != NULL) {
        json_t *v = load(file);
        (void)matches(json_object_get(one, "schema"), v, "answer", false);
        json_decref(v);
    } else {
        fault("%s %s: no JSON is foreseen", method, path);
    }
}

/* --- routes --- */

static void check_routes(const char *file)
{
    json_t *answer = load(file), *route, *methods, *op;
    const json_t *routes = json_object_get(answer, "routes");
    const char *path, *method;
    size_t i, served = json_array_size(routes), described = 0;
    json_array_foreach((json_t *)(uintptr_t)routes, i, route)
    {
        const char *m = json_string_value(json_object_get(route, "method"));
        const char *p = json_string_value(json_object_get(route, "path"));
        const json_t *o = operation(m, p);
        if (o == NULL)
            fault("%s %s is served and not in the file", m, p);
        else if (!json_equal(json_object_get(o, "summary"), json_object_get(route, "summary")))
            fault("%s %s: another summary", m, p);
    }
    json_object_foreach(json_object_get(api, "paths"), path, methods)
    {
        json_object_foreach(methods, method, op)
        {
            bool found = false;
            described++;
            json_array_foreach((json_t *)(uintptr_t)routes, i, route) found =
                found ||
                (strcmp(json_string_value(json_object_get(route, "path")), path) == 0 &&
                 strcasecmp(json_string_value(json_object_get(route, "method")), method) == 0);
            if (!found)
                fault("%s %s is in the file and not served", method, path);
        }
    }
    printf("%zu served, %zu described\n", served, described);
    json_decref(answer);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[2], "routes") == 0) {
        api = load(argv[1]);
        check_routes(argv[3]);
    } else if (argc == 7 && strcmp(argv[2], "answer") == 0) {
        api = load(argv[1]);
        check_answer(argv[3], argv[4], argv[5], argv[6]);
    } else {
        fputs("usage: control_schema FILE routes ROUTES | FILE answer METHOD PATH STATUS BODY\n",
              stderr);
        return 2;
    }
    json_decref((json_t *)(uintptr_t)api);
    return faults > 0;
}
