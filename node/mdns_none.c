/* Built instead of the Avahi backend with -DPX_AVAHI=OFF. */
#include "node/mdns.h"

int px_mdns_new(const struct px_discovery_env *env, const struct px_mdns_config *config,
                struct px_discovery **ret)
{
    (void)env, (void)config, (void)ret;
    return PX_EUNSUPPORTED;
}
