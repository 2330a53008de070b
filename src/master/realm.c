#include "realm.h"

#include <string.h>

struct pool *realm_find(const struct realm *realm, const char *name)
{
    struct pool *pool = realm->pools;
    while (pool && (pool->removed || strcmp(pool->name, name) != 0))
        pool = pool->next;
    return pool;
}

void realm_append(struct realm *realm, struct pool *pool)
{
    struct pool **end = &realm->pools;
    while (*end)
        end = &(*end)->next;
    *end = pool;
}

void realm_sweep(struct realm *realm)
{
    struct pool **at = &realm->pools;
    while (*at) {
        struct pool *pool = *at;
        if (!pool->removed || !pool_is_empty(pool)) {
            at = &pool->next;
            continue;
        }
        *at = pool->next;
        pool_free(&realm->spawner, pool);
    }
}

int realm_room(const struct realm *realm)
{
    int taken = 0;
    for (const struct pool *pool = realm->pools; pool; pool = pool->next)
        for (const struct worker *worker = pool->ring.first; worker; worker = worker->next)
            taken++;
    return SCOREBOARD_SLOTS - taken;
}

void realm_close_listeners(struct realm *realm)
{
    for (struct pool *pool = realm->pools; pool; pool = pool->next)
        pool_forget_listeners(pool);
    while (realm->listeners) {
        struct listener *next = realm->listeners->next;
        reach_forget(&realm->reach, realm->listeners);
        listener_close(realm->listeners);
        realm->listeners = next;
    }
}
