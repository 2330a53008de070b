/* config_load and config_dump. They call parser, rules and source, which include config.h: in
 * config.c they would close a circle. */
#include "config.h"

#include "parser.h"
#include "rules.h"
#include "source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* For the statements and for libconfuse. Untouched pages cost nothing. */
enum { SCRATCH_ROOM = 512 * 1024 * 1024 };

static void close_arena(struct arena **arena)
{
    arena_close(*arena);
}

bool config_load(struct config *config, const char *file,
                 const struct handler_section *const *handlers)
{
    bool whole;
    struct arena *scratch __attribute__((cleanup(close_arena))) = arena_open(SCRATCH_ROOM);
    config->file = arena_text(config->arena, file);
    if (!scratch) {
        faults_add(&config->faults, config->file, 0, "out of memory: %s", strerror(errno));
        return false;
    }
    const struct source *sources = source_read(config->file, scratch, &config->faults, &whole);
    if (!sources)
        return false;
    config_step(config);
    parser_fill(config, sources, handlers, scratch);
    rules_apply(config, whole);
    return whole;
}

/* Writes the options that are set or have a default. With a pool, only those that a file may set
 * for it. */
static void dump_rows(const struct option_row *rows, const void *section,
                      const struct pool_config *pool, int indent, FILE *out)
{
    for (; rows->name; rows++) {
        size_t length = option_print(rows, section, NULL, 0);
        if (length == 0 || (pool && !rules_pool_takes(pool, rows)))
            continue;
        char *text = malloc(length + 1);
        if (!text)
            continue;
        option_print(rows, section, text, length + 1);
        fprintf(out, "%*s%s = %s\n", indent, "", rows->name, text);
        free(text);
    }
}

void config_dump(const struct config *config, FILE *out)
{
    dump_rows(global_rows, config, NULL, 0, out);
    fprintf(out, "log {\n");
    dump_rows(log_rows, &config->log, NULL, 4, out);
    fprintf(out, "}\n");
    for (int i = 0; i < config->pool_count; i++) {
        const struct pool_config *pool = config->pools[i];
        bool limited = false;
        for (int kind = 0; kind < LIMIT_KINDS; kind++)
            limited |= pool->limits.value[kind] != OPTION_UNSET;
        fprintf(out, "\npool \"%s\" {\n", pool->name);
        dump_rows(pool_rows, pool, pool, 4, out);
        fputs(limited ? "    limits {\n" : "", out);
        dump_rows(limit_rows, &pool->limits, NULL, 8, out);
        fprintf(out, "%s    %s {\n", limited ? "    }\n" : "", pool->handler->name);
        dump_rows(pool->handler->rows, pool->handler_config, NULL, 8, out);
        fprintf(out, "    }\n}\n");
    }
}
