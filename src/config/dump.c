#include "config.h"

#include "rules.h"

#include <stdlib.h>

static void free_text(char **text)
{
    free(*text);
}

/* One option, as long as it may be; nothing where it isn't set. */
static void dump_option(const struct option_row *row, const void *section, int indent, FILE *out)
{
    size_t length = option_print(row, section, NULL, 0);
    char *text __attribute__((cleanup(free_text))) = malloc(length + 1);
    if (length == 0 || !text)
        return;
    option_print(row, section, text, length + 1);
    fprintf(out, "%*s%s = %s\n", indent, "", row->name, text);
}

static void dump_rows(const struct option_row *rows, const void *section, int indent, FILE *out)
{
    for (; rows->name; rows++)
        dump_option(rows, section, indent, out);
}

static bool has_limits(const struct pool_config *pool)
{
    for (int i = 0; i < LIMIT_KINDS; i++)
        if (pool->limits.value[i] != OPTION_UNSET)
            return true;
    return false;
}

static void dump_pool(const struct pool_config *pool, FILE *out)
{
    fprintf(out, "\npool \"%s\" {\n", pool->name);
    for (const struct option_row *row = pool_rows; row->name; row++)
        if (rules_pool_takes(pool, row))
            dump_option(row, pool, 4, out);
    if (has_limits(pool)) {
        fprintf(out, "    limits {\n");
        dump_rows(limit_rows, &pool->limits, 8, out);
        fprintf(out, "    }\n");
    }
    fprintf(out, "    %s {\n", pool->handler->name);
    dump_rows(pool->handler->rows, pool->handler_config, 8, out);
    fprintf(out, "    }\n}\n");
}

void config_dump(const struct config *config, FILE *out)
{
    dump_rows(global_rows, config, 0, out);
    fprintf(out, "log {\n");
    dump_rows(log_rows, &config->log, 4, out);
    fprintf(out, "}\n");
    for (int i = 0; i < config->pool_count; i++)
        dump_pool(config->pools[i], out);
}
