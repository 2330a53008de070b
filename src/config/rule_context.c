#include "rule_context.h"

#include <stdarg.h>
#include <stdio.h>

struct pool_config *rule_context_pool(const struct rule_context *context, int index)
{
    return (struct pool_config *)context->config->pools[index];
}

static void note(const struct rule_context *context, struct faults *faults,
                 const struct pool_config *pool, const char *option, const char *format,
                 va_list args) __attribute__((format(printf, 5, 0)));

static void note(const struct rule_context *context, struct faults *faults,
                 const struct pool_config *pool, const char *option, const char *format,
                 va_list args)
{
    const struct option_row *rows = pool ? pool_rows : global_rows;
    const struct origin *origin = pool ? &pool->origin : &context->config->origin;
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    faults_add(faults, option_file(rows, origin, option), option_line(rows, origin, option),
               "%s%.40s%s%s", pool ? "pool " : "", pool ? pool->name : "", pool ? ": " : "", text);
}

void rule_context_fault(const struct rule_context *context, const struct pool_config *pool,
                        const char *option, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(context, context->faults, pool, option, format, args);
    va_end(args);
}

void rule_context_warn(const struct rule_context *context, const struct pool_config *pool,
                       const char *option, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(context, &context->config->warnings, pool, option, format, args);
    va_end(args);
}
