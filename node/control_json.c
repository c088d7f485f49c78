/* See control_json.h. */
#include "node/control_json.h"

#include "auth/authorized_keys.h"

json_t *px_control_grants_json(uint32_t grants)
{
    struct px_buf words;
    struct px_slice rest, word;
    json_t *list = json_array();
    px_buf_init(&words, 256);
    if (grants != 0 && px_grants_format(grants, &words) == 0) {
        rest = px_buf_slice(&words);
        while (px_slice_split(&rest, ',', &word))
            (void)json_array_append_new(list, json_stringn((const char *)word.data, word.len));
    }
    px_buf_deinit(&words);
    return list;
}

json_t *px_control_id_json(const struct px_peer_id *id)
{
    char text[PX_PEER_ID_TEXT_MAX];
    return json_string(px_peer_id_format(id, text));
}
