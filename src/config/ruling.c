#include "ruling.h"

#include <stdarg.h>
#include <stdio.h>

struct pool_config *ruling_pool(const struct ruling *ruling, int index)
{
    return (struct pool_config *)ruling->config->pools[index];
}

void ruling_fault(const struct ruling *ruling, const struct pool_config *pool, const char *option,
                  const char *format, ...)
{
    const struct option_row *rows = pool ? pool_rows : global_rows;
    const struct origin *origin = pool ? &pool->origin : &ruling->config->origin;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    faults_add(ruling->faults, option_file(rows, origin, option), option_line(rows, origin, option),
               "%s%.40s%s%s", pool ? "pool " : "", pool ? pool->name : "", pool ? ": " : "", text);
}
