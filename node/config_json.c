/* Options to jansson's values. */
#include "node/config_json.h"

static json_t *list_json(const struct px_string_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        if (json_array_append_new(array, json_string(list->items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *value_json(const struct px_config *c, const struct px_option *o)
{
    const void *at = (const char *)c + o->offset;
    const char *const *text = at;
    const uint64_t *number = at;
    const bool *flag = at;
    switch (o->type) {
    case PX_OPT_STRING:
    case PX_OPT_STORE:
    case PX_OPT_PATH:
    case PX_OPT_ADDR:
    case PX_OPT_ENUM:
        return json_string_nocheck(*text);
    case PX_OPT_BOOL:
        return json_boolean(*flag);
    case PX_OPT_UINT:
    case PX_OPT_MSEC:
        return json_integer((json_int_t)*number);
    case PX_OPT_KEYS:
    case PX_OPT_HOSTS:
        return list_json(at);
    }
    return NULL;
}

json_t *px_config_json(const struct px_config *c)
{
    json_t *object = json_object();
    for (size_t i = 0; i < px_option_count; i++)
        if (json_object_set_new(object, px_options[i].name, value_json(c, &px_options[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

json_t *px_config_version_json(const struct px_config_version *v)
{
    return json_pack("{s:I,s:I,s:I,s:b,s:b}", "number", (json_int_t)v->number, "replaced",
                     (json_int_t)(v->wall_ms / 1000), "size", (json_int_t)v->size, "current",
                     (int)v->current, "previous", (int)v->previous);
}
