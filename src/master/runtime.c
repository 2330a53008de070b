#include "runtime.h"

#include <string.h>

struct pool *runtime_find(const struct runtime *runtime, const char *name)
{
    struct pool *pool = runtime->pools;
    while (pool && (pool->removed || strcmp(pool->name, name) != 0))
        pool = pool->next;
    return pool;
}

void runtime_append(struct runtime *runtime, struct pool *pool)
{
    struct pool **end = &runtime->pools;
    while (*end)
        end = &(*end)->next;
    *end = pool;
}

void runtime_sweep(struct runtime *runtime)
{
    struct pool **at = &runtime->pools;
    while (*at) {
        struct pool *pool = *at;
        if (!pool->removed || !pool_is_empty(pool)) {
            at = &pool->next;
            continue;
        }
        *at = pool->next;
        pool_free(&runtime->spawner, pool);
    }
}

int runtime_room(const struct runtime *runtime)
{
    int taken = 0;
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next)
        for (const struct worker *worker = pool->ring.first; worker; worker = worker->next)
            taken++;
    return SCOREBOARD_SLOTS - taken;
}

void runtime_close_listeners(struct runtime *runtime)
{
    for (struct pool *pool = runtime->pools; pool; pool = pool->next)
        pool_forget_listeners(pool);
    while (runtime->listeners) {
        struct listener *next = runtime->listeners->next;
        listener_watch_forget(&runtime->listener_watch, runtime->listeners);
        listener_close(runtime->listeners);
        runtime->listeners = next;
    }
}
