/* A virtual network on a virtual clock: nodes exchange datagrams that are delayed, lost, doubled,
 * reordered and queued as told, from one seed. The nodes are production cores behind sim_node_ops.
 */
#ifndef PX_TESTS_SIM_NET_H
#define PX_TESTS_SIM_NET_H

#include "tests/test.h"
#include "transport/quic.h"

struct sim_net;
struct sim_node;

struct sim_weather {
    px_nsec delay, jitter;       /* each way; jitter alone does not reorder */
    unsigned loss, dup, reorder; /* of 1000 datagrams */
    uint64_t rate;               /* bytes/s towards each node; 0: unlimited */
    size_t queue;                /* bytes that wait at most where rate is limited */
};

struct sim_node_ops {
    void (*input)(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice datagram,
                  px_nsec now);
    void (*run)(void *ctx, px_nsec now);
    px_nsec (*deadline)(void *ctx);
};

struct sim_net *sim_net_new(uint64_t seed, const struct sim_weather *weather);
void sim_net_free(struct sim_net *n);
void sim_net_set_weather(struct sim_net *n, const struct sim_weather *weather);
/* Datagrams of pairs that do not pass are lost; NULL: all pass. */
void sim_net_set_filter(struct sim_net *n, bool (*passes)(void *ctx, uint8_t from, uint8_t to),
                        void *ctx);
px_nsec sim_net_now(const struct sim_net *n);
struct px_test_rng *sim_net_rng(struct sim_net *n);

/* A node at 10.0.0.<number>:4433. It lives as long as the net; ops NULL: nobody is there. */
struct sim_node *sim_node_new(struct sim_net *n, uint8_t number);
void sim_node_set_owner(struct sim_node *s, const struct sim_node_ops *ops, void *ctx);
/* Nothing reaches a deaf node; what it sends goes out. */
void sim_node_set_deaf(struct sim_node *s, bool deaf);
/* Gives it another address instead of its first one, or its first one again (NULL). What is on its
 * way to the old one is lost, and sending from the old one fails. */
void sim_node_set_address(struct sim_node *s, const struct px_addr *address);
/* A NAT shows the node to the world under another port; what goes to an old one is lost. */
void sim_node_set_mapping(struct sim_node *s, uint16_t port);
/* What it sends shows this port as its source; it still receives under its own (0: as it is). */
void sim_node_forge(struct sim_node *s, uint16_t port);
struct px_addr sim_addr(uint8_t number);
struct px_path sim_path(uint8_t from, uint8_t to);
/* A circuit between two nodes, past the filter; both know it under this address. It carries what
 * they send there while it is up, as it is at first. At most SIM_CIRCUITS_MAX. */
#define SIM_CIRCUITS_MAX 8
struct px_addr sim_net_circuit(struct sim_net *n, struct sim_node *a, struct sim_node *b);
void sim_net_set_circuit(struct sim_net *n, const struct px_addr *circuit, bool up);
/* What the node's endpoint sends through. */
struct px_quic_net sim_node_net(struct sim_node *s);
/* Something changed from outside: run it at the present time. */
void sim_node_kick(struct sim_node *s);

/* On to the next event: datagrams that arrive now, nodes whose deadline is now. False when nothing
 * will ever happen, or not before `until`: the clock then stands at `until`. */
bool sim_net_step(struct sim_net *n, px_nsec until);

uint64_t sim_net_delivered(const struct sim_net *n);
uint64_t sim_net_dropped(const struct sim_net *n);
/* Bytes sent to addresses that nobody has. */
uint64_t sim_net_astray(const struct sim_net *n);

#endif
