/* config.yaml: any bytes give a configuration or one line of printable ASCII that says why not. */
#include <string.h>

#include "node/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_message(const char *message)
{
    px_assert(strncmp(message, "f:", 2) == 0);
    for (; *message != '\0'; message++)
        px_assert(*message >= ' ' && *message < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char message[512];
    struct px_config *c, *copy;
    px_assert(px_config_new(&c) == 0);
    int err = px_config_parse(c, px_slice(data, len), "f", message, sizeof(message));
    if (err != 0)
        check_message(message);
    px_assert(c->priority >= 1 && c->priority <= 1000);
    px_assert(c->share_keys.count >= 1);
    px_assert(px_config_copy(c, &copy) == 0);
    px_assert(strcmp(c->network, copy->network) == 0);
    px_config_free(copy);
    px_config_free(c);
    return 0;
}
