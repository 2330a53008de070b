#include "sizes.h"

#include <string.h>
#include <sys/resource.h>

/* Descriptors that the master holds beside one pipe a worker: listeners, those who ask by the control
 * socket, and its own few. */
enum { SPARE_DESCRIPTORS = 128 };

/* What only a size that follows the load has. */
static const char *const dynamic[] = {"min_workers", "max_workers",   "min_spare",
                                      "max_spare",   "spare_timeout", NULL};

static bool is_dynamic_option(const char *name)
{
    const char *const *at = dynamic;
    while (*at && strcmp(*at, name) != 0)
        at++;
    return *at != NULL;
}

static bool is_set(const struct pool_config *pool, const char *option)
{
    return option_is_set(pool_rows, &pool->origin, option);
}

bool sizes_has(const struct option_row *row)
{
    return strcmp(row->name, "workers") == 0 || is_dynamic_option(row->name);
}

bool sizes_take(const struct pool_config *pool, const struct option_row *row)
{
    if (strcmp(row->name, "workers") == 0)
        return !pool_config_is_dynamic(pool);
    return pool_config_is_dynamic(pool) || !is_dynamic_option(row->name);
}

/* A default that others leave no room for gives way to them. */
static void complete(struct pool_config *pool)
{
    if (!is_set(pool, "min_workers") && pool->max_workers < pool->min_workers)
        pool->min_workers = pool->max_workers;
    if (!is_set(pool, "min_spare") && pool->min_workers == 0)
        pool->min_spare = 0;
    if (!is_set(pool, "max_spare")) {
        if (pool->max_spare < pool->min_spare)
            pool->max_spare = pool->min_spare;
        if (pool->max_spare > pool->max_workers)
            pool->max_spare = pool->max_workers;
    }
    if (!is_set(pool, "min_spare") && pool->min_spare > pool->max_spare)
        pool->min_spare = pool->max_spare;
}

/* The greater of two is in the fault: it, or else the lesser, is what somebody wrote. */
static void rule_order(const struct rule_context *context, const struct pool_config *pool,
                       const char *lesser, int least, const char *greater, int most)
{
    if (least > most)
        rule_context_fault(context, pool, is_set(pool, lesser) ? lesser : greater,
                           "%s (%d) is above %s (%d)", lesser, least, greater, most);
}

static void rule_dynamic(const struct rule_context *context, struct pool_config *pool)
{
    complete(pool);
    if (pool->min_workers == 0 && pool->min_spare > 0)
        rule_context_fault(context, pool, "min_spare",
                           "with min_workers = 0 there is nobody to spare: min_spare must be 0");
    rule_order(context, pool, "min_workers", pool->min_workers, "max_workers", pool->max_workers);
    rule_order(context, pool, "max_spare", pool->max_spare, "max_workers", pool->max_workers);
    rule_order(context, pool, "min_spare", pool->min_spare, "max_spare", pool->max_spare);
}

/* The fields of the other kind of size are 0, whatever their rows' defaults. */
static void rule_fixed(const struct rule_context *context, struct pool_config *pool)
{
    for (const char *const *name = dynamic; *name; name++)
        if (is_set(pool, *name))
            rule_context_fault(context, pool, *name,
                               "%s is of a size that follows the load; with workers it is fixed",
                               *name);
    pool->min_workers = pool->max_workers = pool->min_spare = pool->max_spare = 0;
    pool->spare_timeout = 0;
}

void sizes_apply(const struct rule_context *context, struct pool_config *pool)
{
    if (is_set(pool, "workers"))
        rule_fixed(context, pool);
    else if (is_set(pool, "max_workers"))
        rule_dynamic(context, pool);
    else if (context->whole)
        faults_add(context->faults, pool->origin.file, pool->origin.line,
                   "pool %.40s: its size is missing: workers, or max_workers for one that follows "
                   "the load",
                   pool->name);
}

static const char *size_option(const struct pool_config *pool)
{
    return pool_config_is_dynamic(pool) ? "max_workers" : "workers";
}

/* Told at the pool with which they become too many. */
void sizes_apply_sum(const struct rule_context *context)
{
    struct rlimit limit;
    bool bounded = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY;
    long long before = 0, files_before = SPARE_DESCRIPTORS;
    for (int i = 0; i < context->config->pool_count; i++) {
        const struct pool_config *pool = context->config->pools[i];
        int its = pool_config_most(pool);
        long long workers = before + its;
        long long files = files_before + its;
        if (pool->handler)
            files += (long long)its * pool->handler->descriptors;
        if (workers > POOL_WORKERS_MAX && before <= POOL_WORKERS_MAX)
            rule_context_fault(context, pool, size_option(pool),
                               "with its %d there are %lld workers in all; at most %d are possible",
                               its, workers, POOL_WORKERS_MAX);
        else if (bounded && files > (long long)limit.rlim_max &&
                 files_before <= (long long)limit.rlim_max)
            rule_context_fault(
                context, pool, size_option(pool),
                "%lld workers need %lld open files, but the hard limit is %lld: raise "
                "LimitNOFILE= of the unit (ulimit -Hn)",
                workers, files, (long long)limit.rlim_max);
        before = workers;
        files_before = files;
    }
}
