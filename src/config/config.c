#include "config.h"

#include <sys/mman.h>

/* Far more than the bounded files can fill: what is not touched costs nothing. */
enum { CONFIG_ROOM = 256 * 1024 * 1024 };

struct config *config_new(void)
{
    unsigned *refs = arena_unforked(sizeof *refs);
    struct arena *arena = refs ? arena_open(CONFIG_ROOM) : NULL;
    if (!arena && refs)
        munmap(refs, sizeof *refs);
    if (!arena)
        return NULL;
    struct config *config = arena_take(arena, sizeof *config);
    config->arena = arena;
    config->refs = refs;
    *refs = 1;
    faults_init(&config->faults, arena);
    faults_init(&config->warnings, arena);
    return config;
}

void config_ref(struct config *config)
{
    ++*config->refs;
}

void config_unref(struct config *config)
{
    if (!config || --*config->refs > 0)
        return;
    munmap(config->refs, sizeof *config->refs);
    arena_close(config->arena);
}
