/* list.h - doubly linked lists of pool objects, through references kept in the objects. */
#ifndef AL_CORE_LIST_H
#define AL_CORE_LIST_H

#include "core/state.h"

#define ALI_LIST_EMPTY ((struct ali_list){AL_REF_NONE, AL_REF_NONE})

/* The link that stands `offset` bytes into the object. */
static inline struct ali_link *ali_link_at(const struct al_pool *pool, size_t offset, ali_ref ref)
{
    return (struct ali_link *)(void *)((uint8_t *)al_pool_at(pool, ref) + offset);
}

/* Appends an object that is in no list through this link. */
static inline void ali_list_push(const struct al_pool *pool, size_t offset, struct ali_list *list,
                                 ali_ref ref)
{
    struct ali_link *link = ali_link_at(pool, offset, ref);

    link->prev = list->tail;
    link->next = AL_REF_NONE;
    if (list->tail == AL_REF_NONE)
        list->head = ref;
    else
        ali_link_at(pool, offset, list->tail)->next = ref;
    list->tail = ref;
}

/* Takes an object out of the list that it is in. */
static inline void ali_list_remove(const struct al_pool *pool, size_t offset, struct ali_list *list,
                                   ali_ref ref)
{
    struct ali_link *link = ali_link_at(pool, offset, ref);

    if (link->prev == AL_REF_NONE)
        list->head = link->next;
    else
        ali_link_at(pool, offset, link->prev)->next = link->next;
    if (link->next == AL_REF_NONE)
        list->tail = link->prev;
    else
        ali_link_at(pool, offset, link->next)->prev = link->prev;
    link->prev = link->next = AL_REF_NONE;
}

#endif
