#include "ruling.h"

#include <stdarg.h>
#include <stdio.h>

struct pool_config *ruling_pool(const struct ruling *ruling, int index)
{
    return (struct pool_config *)ruling->config->pools[index];
}

static void note(const struct ruling *ruling, struct faults *faults, const struct pool_config *pool,
                 const char *option, const char *format, va_list args)
    __attribute__((format(printf, 5, 0)));

static void note(const struct ruling *ruling, struct faults *faults, const struct pool_config *pool,
                 const char *option, const char *format, va_list args)
{
    const struct option_row *rows = pool ? pool_rows : global_rows;
    const struct origin *origin = pool ? &pool->origin : &ruling->config->origin;
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    faults_add(faults, option_file(rows, origin, option), option_line(rows, origin, option),
               "%s%.40s%s%s", pool ? "pool " : "", pool ? pool->name : "", pool ? ": " : "", text);
}

void ruling_fault(const struct ruling *ruling, const struct pool_config *pool, const char *option,
                  const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(ruling, ruling->faults, pool, option, format, args);
    va_end(args);
}

void ruling_warn(const struct ruling *ruling, const struct pool_config *pool, const char *option,
                 const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(ruling, &ruling->config->warnings, pool, option, format, args);
    va_end(args);
}
