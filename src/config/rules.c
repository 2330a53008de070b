#include "rules.h"

#include "../base/control_path.h"
#include "access_list.h"
#include "identity.h"
#include "listens.h"
#include "owners.h"
#include "rule_context.h"
#include "sizes.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* In the order of the choices in log_rows. */
static const int levels[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};
static const int facilities[] = {
    LOG_DAEMON, LOG_AUTH,   LOG_AUTHPRIV, LOG_CRON,   LOG_FTP,    LOG_LPR,    LOG_MAIL,
    LOG_NEWS,   LOG_SYSLOG, LOG_USER,     LOG_UUCP,   LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2,
    LOG_LOCAL3, LOG_LOCAL4, LOG_LOCAL5,   LOG_LOCAL6, LOG_LOCAL7,
};

/* --- global options ------------------------------------------------------------------------ */

static void rule_log(const struct rule_context *context)
{
    struct log_config *log = &context->config->log;
    const struct origin *origin = &context->config->log_origin;
    log->level = levels[log->level_choice];
    log->facility = facilities[log->facility_choice];
    for (const char *c = log->ident; *c; c++)
        if (iscntrl((unsigned char)*c)) {
            faults_add(context->faults, origin->file, option_line(log_rows, origin, "ident"),
                       "log: ident holds a control character");
            return;
        }
}

static const char *control_default(const struct rule_context *context)
{
    const char *directory = getenv(PLACE_OWN_UNDER);
    if (context->root)
        return PLACE_CONTROL;
    if (!directory || directory[0] != '/')
        return "none";
    const char *path = arena_format(context->arena, "%s/" PLACE_OWN_NAME, directory);
    return strlen(path) <= ADDR_PATH_MAX ? path : "none";
}

static void rule_control_place(const struct rule_context *context)
{
    char why[400];
    struct inode directory;
    const char *path = context->config->control;
    if (!entry_name(path)[0])
        rule_context_fault(context, NULL, "control",
                           "control \"%s\": the name of the socket is missing", path);
    else if (!listens_can_bind(path, &directory, why, sizeof why))
        rule_context_fault(context, NULL, "control", "control \"%s\": %s", path, why);
}

static void rule_control(const struct rule_context *context)
{
    struct config *config = context->config;
    if (!config->control)
        config->control = control_default(context);
    if (strcmp(config->control, "none") == 0)
        return;
    if (config->control[0] != '/')
        rule_context_fault(context, NULL, "control", "control is an absolute path, or \"none\"");
    else if (strlen(config->control) > ADDR_PATH_MAX)
        rule_context_fault(context, NULL, "control",
                           "control is too long: a socket's path has at most "
                           "%d bytes",
                           (int)ADDR_PATH_MAX);
    else
        rule_control_place(context);
}

/* --- one pool ------------------------------------------------------------------------------ */

static void rule_name(const struct rule_context *context, const struct pool_config *pool)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t length = strlen(pool->name);
    if (length && (length > POOL_NAME_MAX || pool->name[strspn(pool->name, allowed)]))
        faults_add(context->faults, pool->origin.file, pool->origin.line,
                   "the name of a pool has 1 to %d letters, digits and - _ . in it, not \"%.*s\"",
                   POOL_NAME_MAX, (int)strcspn(pool->name, "\n"), pool->name);
}

static bool is_passed(const struct pool_config *pool)
{
    for (int i = 0; i < pool->listen.count; i++)
        if (strncmp(pool->listen.at[i], "systemd:", 8) != 0)
            return false;
    return pool->listen.count > 0;
}

/* What a socket that systemd made has from there. */
static const char *const socket_options[] = {"backlog", "socket_mode", "socket_user",
                                             "socket_group", NULL};

static bool stands_in(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

bool rules_pool_takes(const struct pool_config *pool, const struct option_row *row)
{
    if (pool->handler && stands_in(pool->handler->refused, row->name))
        return false;
    if (!sizes_take(pool, row))
        return false;
    return !is_passed(pool) || !stands_in(socket_options, row->name);
}

static void rule_passed(const struct rule_context *context, const struct pool_config *pool)
{
    for (const char *const *name = socket_options; *name && is_passed(pool); name++)
        if (option_is_set(pool_rows, &pool->origin, *name))
            rule_context_fault(context, pool, *name,
                               "systemd: listeners take no %s; the .socket unit "
                               "has it",
                               *name);
}

/* A directory that workers are to enter must be there, and be one. Inside of a chroot it is looked
 * for when the worker enters it: from here the way to it may lead elsewhere. */
static void rule_directory(const struct rule_context *context, const struct pool_config *pool,
                           const char *option, const char *path, bool look)
{
    struct stat stat_now;
    if (!path)
        return;
    if (path[0] != '/')
        rule_context_fault(context, pool, option, "%s is an absolute path, not \"%.100s\"", option,
                           path);
    else if (look && stat(path, &stat_now) < 0)
        rule_context_fault(context, pool, option, "%s \"%.100s\": %s", option, path,
                           strerror(errno));
    else if (look && !S_ISDIR(stat_now.st_mode))
        rule_context_fault(context, pool, option, "%s \"%.100s\" is no directory", option, path);
}

static void rule_rights(const struct rule_context *context, const struct pool_config *pool)
{
    if (context->root)
        return;
    if (pool->chroot)
        rule_context_fault(context, pool, "chroot", "chroot needs root");
    if (pool->nice < 0)
        rule_context_fault(context, pool, "nice", "a negative nice needs root");
}

/* The length of a variable's name, 0 where it is none. */
static size_t name_length(const char *word)
{
    size_t length = 0;
    while (isalnum((unsigned char)word[length]) || word[length] == '_')
        length++;
    return word[length] == '=' && !isdigit((unsigned char)word[0]) ? length : 0;
}

static bool is_doubled(const struct words *words, int index, size_t length)
{
    for (int i = 0; i < index; i++)
        if (strncmp(words->at[i], words->at[index], length + 1) == 0)
            return true;
    return false;
}

static void rule_environment(const struct rule_context *context, const struct pool_config *pool)
{
    const struct words *words = &pool->environment;
    for (int i = 0; i < words->count; i++) {
        size_t length = name_length(words->at[i]);
        if (length == 0)
            rule_context_fault(context, pool, "environment",
                               "environment takes NAME=VALUE, the name of "
                               "letters, digits and _, not \"%.60s\"",
                               words->at[i]);
        else if (is_doubled(words, i, length))
            rule_context_fault(context, pool, "environment", "environment has %.*s twice",
                               length < 60 ? (int)length : 60, words->at[i]);
    }
}

static long long descriptors_most(void)
{
    long long most = 0;
    FILE *file = fopen("/proc/sys/fs/nr_open", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lld", &most) != 1)
        most = 0;
    fclose(file);
    return most;
}

static void limit_fault(const struct rule_context *context, const struct pool_config *pool,
                        const char *option, long long most, const char *whose)
{
    const struct origin *origin = &pool->limits_origin;
    faults_add(context->faults, origin->file, option_line(limit_rows, origin, option),
               "pool %s: limits: %s is above %lld, %s", pool->name, option, most, whose);
}

static bool is_above(long long value, long long most)
{
    return value == OPTION_UNLIMITED || value > most;
}

static void rule_limits(const struct rule_context *context, const struct pool_config *pool)
{
    static const int resources[] = {
        [LIMIT_NOFILE] = RLIMIT_NOFILE, [LIMIT_AS] = RLIMIT_AS,   [LIMIT_CORE] = RLIMIT_CORE,
        [LIMIT_NPROC] = RLIMIT_NPROC,   [LIMIT_CPU] = RLIMIT_CPU,
    };
    long long nofile = pool->limits.value[LIMIT_NOFILE], most = descriptors_most();
    for (int i = 0; i < LIMIT_KINDS; i++) {
        struct rlimit limit;
        long long value = pool->limits.value[i];
        if (value == OPTION_UNSET || context->root || getrlimit(resources[i], &limit) < 0)
            continue;
        if (limit.rlim_max != RLIM_INFINITY && is_above(value, (long long)limit.rlim_max))
            limit_fault(context, pool, limit_rows[i].name, (long long)limit.rlim_max,
                        "the hard limit, which only root can raise");
    }
    if (most && nofile != OPTION_UNSET && is_above(nofile, most))
        limit_fault(context, pool, "nofile", most, "the most that the system allows (fs.nr_open)");
}

static void rule_pool(const struct rule_context *context, struct pool_config *pool)
{
    rule_name(context, pool);
    rule_passed(context, pool);
    rule_directory(context, pool, "chroot", pool->chroot, true);
    rule_directory(context, pool, "directory", pool->directory, pool->chroot == NULL);
    rule_rights(context, pool);
    rule_environment(context, pool);
    rule_limits(context, pool);
    sizes_apply(context, pool);
    access_list_apply(context, pool);
    if (!option_is_set(pool_rows, &pool->origin, "graceful_timeout"))
        pool->graceful_timeout = context->config->graceful_timeout;
    if (!option_is_set(pool_rows, &pool->origin, "slow_threshold"))
        pool->slow_threshold = context->config->slow_threshold;
}

/* --- all pools together -------------------------------------------------------------------- */

static void rule_names(const struct rule_context *context)
{
    const struct config *config = context->config;
    for (int i = 0; i < config->pool_count; i++)
        for (int j = 0; j < i; j++) {
            const struct pool_config *pool = config->pools[i], *first = config->pools[j];
            if (strcmp(pool->name, first->name) != 0 || !pool->name[0])
                continue;
            faults_add(context->faults, pool->origin.file, pool->origin.line,
                       "pool %.40s: a pool of this name stands at %s:%d already", pool->name,
                       first->origin.file, first->origin.line);
            break;
        }
}

/* Pools of one name are doubled as a whole: of their addresses no more is said. */
static void rule_address(const struct rule_context *context, const struct pool_config *pool,
                         const struct listen_spec *spec, const struct pool_config *other,
                         const struct listen_spec *theirs)
{
    if (!listens_overlap(spec, theirs))
        return;
    if (pool == other)
        rule_context_fault(context, pool, "listen",
                           "listen \"%.120s\" is the same address as \"%.120s\"", spec->word,
                           theirs->word);
    else if (strcmp(pool->name, other->name) != 0)
        rule_context_fault(
            context, pool, "listen",
            "listen \"%.120s\" is the same address as \"%.120s\" of pool %.40s (%s:%d)", spec->word,
            theirs->word, other->name, theirs->file, theirs->line);
}

static void rule_control_address(const struct rule_context *context, const struct pool_config *pool,
                                 const struct listen_spec *spec)
{
    struct listen_spec control = {.word = context->config->control};
    struct stat directory;
    if (control.word[0] != '/' || !addr_from_path(&control.addr, control.word))
        return;
    if (entry_directory(control.word, &directory) == 0)
        control.directory = inode_of(&directory);
    if (listens_overlap(&control, spec))
        rule_context_fault(context, pool, "listen", "listen \"%.120s\" is the control socket",
                           spec->word);
}

/* Each address against those before it, its own pool's and the other pools'. */
static void rule_addresses(const struct rule_context *context)
{
    const struct config *config = context->config;
    for (int i = 0; i < config->pool_count; i++) {
        const struct pool_config *pool = config->pools[i];
        for (int k = 0; k < pool->listen_count; k++) {
            const struct listen_spec *spec = &pool->listens[k];
            rule_control_address(context, pool, spec);
            for (int j = 0; j <= i; j++)
                for (int l = 0; l < (j < i ? config->pools[j]->listen_count : k); l++)
                    rule_address(context, pool, spec, config->pools[j],
                                 &config->pools[j]->listens[l]);
        }
    }
}

/* How many addresses the words stand for is known once they are read: elsewhere, so that the arena
 * has no room in it that nobody needs. */
static void rule_listens(const struct rule_context *context)
{
    int used = 0;
    struct listen_spec *specs = calloc(LISTENS_MAX, sizeof *specs);
    for (int i = 0; specs && i < context->config->pool_count; i++) {
        struct pool_config *pool = rule_context_pool(context, i);
        int count = listens_read(pool, specs, LISTENS_MAX - used, context->faults);
        size_t size = (size_t)count * sizeof *specs;
        pool->listens = memcpy(arena_take(context->arena, size), specs, size);
        pool->listen_count = count;
        used += count;
    }
    if (!specs)
        faults_add(context->faults, context->config->file, 0, "out of memory");
    free(specs);
    rule_addresses(context);
}

void rules_apply(struct config *config, bool whole)
{
    struct rule_context context = {
        .config = config,
        .arena = config->arena,
        .faults = &config->faults,
        .root = geteuid() == 0,
        .whole = whole,
    };
    identity_self(&context.self, context.arena);
    if (config->pool_count == 0 && whole)
        faults_add(context.faults, config->file, 1, "there is no pool: pool \"NAME\" { ... }");
    rule_log(&context);
    rule_control(&context);
    rule_names(&context);
    for (int i = 0; i < config->pool_count; i++)
        rule_pool(&context, rule_context_pool(&context, i));
    owners_apply(&context);
    rule_listens(&context);
    sizes_apply_sum(&context);
}
