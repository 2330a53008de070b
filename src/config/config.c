#include "config.h"

#include <stdarg.h>
#include <sys/mman.h>

/* Far more than the bounded files can fill: pages that are not touched cost nothing. */
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

void config_fault(struct config *config, const struct pool_config *pool, const char *option,
                  const char *format, ...)
{
    const struct option_row *rows = pool ? pool_rows : global_rows;
    const struct origin *origin = pool ? &pool->origin : &config->origin;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    faults_add(&config->faults, option_file(rows, origin, option),
               option_line(rows, origin, option), "%s%.40s%s%s", pool ? "pool " : "",
               pool ? pool->name : "", pool ? ": " : "", text);
}
