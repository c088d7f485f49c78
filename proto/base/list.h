/* An intrusive doubly linked ring. A node that is in no list points to itself (px_list_init). */
#ifndef PX_PROTO_BASE_LIST_H
#define PX_PROTO_BASE_LIST_H

#include "proto/base/base.h"

struct px_list {
    struct px_list *prev, *next;
};

static inline void px_list_init(struct px_list *l)
{
    l->prev = l->next = l;
}

static inline bool px_list_empty(const struct px_list *l)
{
    return l->next == l;
}

static inline void px_list_push_back(struct px_list *head, struct px_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Takes the node out of its list; harmless for a node in none. */
static inline void px_list_remove(struct px_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    px_list_init(node);
}

/* Safe against removal of `it` inside the body. */
#define PX_LIST_EACH(it, head)                                                                     \
    for (struct px_list *it = (head)->next, *px_next_##it = it->next; it != (head);                \
         it = px_next_##it, px_next_##it = it->next)

#endif
