/* Brings the endpoints of all subjects to the control API. */
#include "node/control_node.h"

int px_control_node_routes(struct px_control_node *n)
{
    static const struct px_control_table *const tables[] = {
        &px_control_status_table, &px_control_peers_table,    &px_control_auth_table,
        &px_control_ping_table,   &px_control_services_table, &px_control_relays_table,
        &px_control_names_table,  &px_control_netcheck_table};
    int err = 0;
    for (size_t i = 0; i < PX_ARRAY_LEN(tables) && err == 0; i++)
        err = px_control_add(n->control, tables[i]->routes, tables[i]->count, n);
    return err;
}
