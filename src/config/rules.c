#include "rules.h"

#include "../base/daemon.h"
#include "../base/procfs.h"
#include "access_list.h"
#include "foreign.h"
#include "identity.h"
#include "listens.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* Descriptors of the master beside one pipe per worker: listeners, connections to the control
 * socket, and its own few. */
enum { SPARE_DESCRIPTORS = 128 };

/* How many files a process may have open, if it raises its limit. */
static long long hard_limit(void)
{
    struct rlimit limit;
    bool limited = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY;
    return limited ? (long long)limit.rlim_max : LLONG_MAX;
}

static bool is_root(void)
{
    return geteuid() == 0;
}

/* --- global options ------------------------------------------------------------------------ */

static void rule_log(struct config *config)
{
    /* In the order of the choices in log_rows. */
    static const int levels[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};
    static const int facilities[] = {
        LOG_DAEMON, LOG_AUTH,   LOG_AUTHPRIV, LOG_CRON,   LOG_FTP,    LOG_LPR,    LOG_MAIL,
        LOG_NEWS,   LOG_SYSLOG, LOG_USER,     LOG_UUCP,   LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2,
        LOG_LOCAL3, LOG_LOCAL4, LOG_LOCAL5,   LOG_LOCAL6, LOG_LOCAL7,
    };
    struct log_config *log = &config->log;
    const char *c = log->ident;
    log->level = levels[log->level_choice];
    log->facility = facilities[log->facility_choice];
    while (*c && !iscntrl((unsigned char)*c))
        c++;
    if (*c)
        faults_add(&config->faults, config->log_origin.file,
                   option_line(log_rows, &config->log_origin, "ident"),
                   "log: ident holds a control character");
}

static const char *control_default(struct arena *arena)
{
    const char *directory = getenv(PLACE_OWN_UNDER);
    if (is_root())
        return PLACE_CONTROL;
    if (!directory || directory[0] != '/')
        return "none";
    const char *path = arena_format(arena, "%s/" PLACE_OWN_NAME, directory);
    return strlen(path) <= ADDR_PATH_MAX ? path : "none";
}

static void rule_control(struct config *config)
{
    char why[400];
    struct inode directory;
    if (!config->control)
        config->control = control_default(config->arena);
    const char *path = config->control;
    if (strcmp(path, "none") == 0)
        return;
    if (path[0] != '/')
        config_fault(config, NULL, "control", "control is an absolute path, or \"none\"");
    else if (strlen(path) > ADDR_PATH_MAX)
        config_fault(config, NULL, "control",
                     "control is too long: a socket's path has at most %d bytes",
                     (int)ADDR_PATH_MAX);
    else if (!listens_can_bind(path, &directory, why, sizeof why))
        config_fault(config, NULL, "control", "control \"%s\": %s", path, why);
    else if (config->fresh && listens_are_taken(path))
        config_fault(config, NULL, "control", "control \"%s\": %s", path, LISTENS_TAKEN);
}

/* --- how a pool serves ---------------------------------------------------------------------- */

/* The option that sets the seats of a worker, by model; NULL: a worker has one seat. */
static const char *const seat_options[SERVE_MODELS] = {
    [MODEL_THREAD] = "threads",
    [MODEL_EVENT] = "connections",
};

/* Whether the option belongs to another model than the pool's. */
static bool is_of_other_model(const struct pool_config *pool, const char *option)
{
    for (int model = 0; model < SERVE_MODELS; model++)
        if (seat_options[model] && strcmp(option, seat_options[model]) == 0)
            return model != pool->model;
    return false;
}

static void rule_model(struct config *config, struct pool_config *pool)
{
    const struct handler_section *handler = pool->handler;
    const char *word = serve_model_words[pool->model];
    if (handler && !model_is_possible((enum serve_model)pool->model, handler))
        config_fault(config, pool, "model",
                     "the handler %s doesn't support model = \"%s\", only \"process\": %s",
                     handler->name, word, handler->process_only);
    for (int model = 0; model < SERVE_MODELS; model++)
        if (seat_options[model] && model != pool->model &&
            pool_config_sets(pool, seat_options[model]))
            config_fault(config, pool, seat_options[model],
                         "%s belongs to model = \"%s\"; this pool has \"%s\"", seat_options[model],
                         serve_model_words[model], word);
    pool->seats = pool->model == MODEL_THREAD  ? pool->threads
                  : pool->model == MODEL_EVENT ? pool->connections
                                               : 1;
}

static void rule_seat_descriptors(struct config *config, const struct pool_config *pool)
{
    long long own = pool->limits.value[LIMIT_NOFILE];
    long long files = pool_config_files(pool, pool->listen_count);
    long long most = own != OPTION_UNSET && own != OPTION_UNLIMITED ? own : hard_limit();
    if (pool->model != MODEL_PROCESS && files > most)
        config_fault(config, pool, seat_options[pool->model],
                     "a worker with %s = %d needs %lld open files, but %s is %lld",
                     seat_options[pool->model], pool->seats, files,
                     own == most ? "its limit nofile" : "the hard limit", most);
}

/* The least that a worker of the process model needs: its listeners, and a few descriptors. */
static void rule_few_descriptors(struct config *config, const struct pool_config *pool)
{
    enum { FEW = 12 }; /* the log, epoll, wake-ups, the connection */
    const struct origin *origin = &pool->limits_origin;
    long long own = pool->limits.value[LIMIT_NOFILE], files = pool->listen_count + FEW;
    if (pool->model == MODEL_PROCESS && own != OPTION_UNSET && own != OPTION_UNLIMITED &&
        own < files)
        faults_add(&config->faults, origin->file, option_line(limit_rows, origin, "nofile"),
                   "pool %s: limits: nofile is %lld, but a worker with %d listeners needs %lld "
                   "open files",
                   pool->name, own, pool->listen_count, files);
}

/* --- one pool ------------------------------------------------------------------------------ */

/* Whether systemd passes all of the pool's listeners. */
static bool is_passed(const struct pool_config *pool)
{
    for (int i = 0; i < pool->listen.count; i++)
        if (strncmp(pool->listen.at[i], "systemd:", 8) != 0)
            return false;
    return pool->listen.count > 0;
}

bool rules_pool_takes(const struct pool_config *pool, const struct option_row *row)
{
    bool dynamic = pool_config_is_dynamic(pool);
    if (pool->handler && !option_is_honoured(row, pool->handler))
        return false;
    if (strcmp(row->name, "workers") == 0 ? dynamic : !dynamic && row->flags & OPTION_DYNAMIC)
        return false;
    if (is_of_other_model(pool, row->name))
        return false;
    return !(row->flags & OPTION_SOCKET) || !is_passed(pool);
}

static void rule_name(struct config *config, const struct pool_config *pool)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t length = strlen(pool->name);
    if (length > POOL_NAME_MAX || pool->name[strspn(pool->name, allowed)])
        faults_add(&config->faults, pool->origin.file, pool->origin.line,
                   "the name of a pool has 1 to %d letters, digits and - _ . in it, not \"%.*s\"",
                   POOL_NAME_MAX, (int)strcspn(pool->name, "\n"), pool->name);
}

/* A directory that workers enter must exist. One inside a chroot is checked by the worker that
 * enters it, because from outside its path may lead elsewhere. */
static void rule_directory(struct config *config, const struct pool_config *pool,
                           const char *option, const char *path)
{
    struct stat stat_now;
    bool in_chroot = pool->chroot && path != pool->chroot;
    if (path && path[0] != '/')
        config_fault(config, pool, option, "%s is an absolute path, not \"%.100s\"", option, path);
    else if (path && !in_chroot && stat(path, &stat_now) < 0)
        config_fault(config, pool, option, "%s \"%.100s\": %s", option, path, strerror(errno));
    else if (path && !in_chroot && !S_ISDIR(stat_now.st_mode))
        config_fault(config, pool, option, "%s \"%.100s\" is not a directory", option, path);
}

static void rule_environment(struct config *config, const struct pool_config *pool)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const struct words *words = &pool->environment;
    for (int i = 0; i < words->count; i++) {
        const char *word = words->at[i];
        size_t length = strspn(word, allowed);
        int first = 0;
        while (length && first < i && strncmp(words->at[first], word, length + 1) != 0)
            first++;
        if (length == 0 || word[length] != '=' || isdigit((unsigned char)word[0]))
            config_fault(config, pool, "environment",
                         "environment takes NAME=VALUE, the name of letters, digits and _, not "
                         "\"%.60s\"",
                         word);
        else if (first < i)
            config_fault(config, pool, "environment", "environment has %.*s twice",
                         length < 60 ? (int)length : 60, word);
    }
}

static void rule_limit(struct config *config, const struct pool_config *pool, enum limit_kind kind,
                       long long most, const char *whose)
{
    const char *option = limit_rows[kind].name;
    const struct origin *origin = &pool->limits_origin;
    long long value = pool->limits.value[kind];
    if (value != OPTION_UNSET && (value == OPTION_UNLIMITED || value > most))
        faults_add(&config->faults, origin->file, option_line(limit_rows, origin, option),
                   "pool %s: limits: %s is above %lld, %s", pool->name, option, most, whose);
}

static void rule_limits(struct config *config, const struct pool_config *pool)
{
    struct rlimit limit;
    for (int i = 0; i < LIMIT_KINDS && !is_root(); i++)
        if (getrlimit(limit_resources[i], &limit) == 0 && limit.rlim_max != RLIM_INFINITY)
            rule_limit(config, pool, (enum limit_kind)i, (long long)limit.rlim_max,
                       "the hard limit, which only root can raise");
    char text[32];
    long long most = atoll(procfs_setting("fs/nr_open", text, sizeof text));
    if (most)
        rule_limit(config, pool, LIMIT_NOFILE, most,
                   "the most that the system allows (fs.nr_open)");
}

/* --- the size of a pool -------------------------------------------------------------------- */

/* Adjusts the defaults to the options that are set. */
static void complete_size(struct pool_config *pool)
{
    if (!pool_config_sets(pool, "min_workers") && pool->max_workers < pool->min_workers)
        pool->min_workers = pool->max_workers;
    if (!pool_config_sets(pool, "min_spare") && pool->min_workers == 0)
        pool->min_spare = 0;
    if (!pool_config_sets(pool, "max_spare")) {
        if (pool->max_spare < pool->min_spare)
            pool->max_spare = pool->min_spare;
        if (pool->max_spare > pool_config_most_seats(pool))
            pool->max_spare = pool_config_most_seats(pool);
    }
    if (!pool_config_sets(pool, "min_spare") && pool->min_spare > pool->max_spare)
        pool->min_spare = pool->max_spare;
}

/* The fault stands at the lesser option if the file sets it, else at the greater, which the file
 * sets then. */
static void rule_order(struct config *config, const struct pool_config *pool, const char *lesser,
                       int least, const char *greater, int most)
{
    if (least > most)
        config_fault(config, pool, pool_config_sets(pool, lesser) ? lesser : greater,
                     "%s (%d) is above %s (%d)", lesser, least, greater, most);
}

static void rule_size(struct config *config, struct pool_config *pool, bool whole)
{
    if (pool_config_sets(pool, "workers")) {
        for (const struct option_row *row = pool_rows; row->name; row++)
            if (row->flags & OPTION_DYNAMIC && pool_config_sets(pool, row->name))
                config_fault(config, pool, row->name,
                             "%s belongs to a size that follows the load; workers sets a fixed one",
                             row->name);
        pool->min_workers = pool->max_workers = pool->min_spare = pool->max_spare = 0;
        pool->spare_timeout = 0;
    } else if (pool_config_sets(pool, "max_workers")) {
        complete_size(pool);
        if (pool->min_workers == 0 && pool->min_spare > 0)
            config_fault(config, pool, "min_spare",
                         "min_workers = 0 leaves no worker to spare: min_spare must be 0");
        rule_order(config, pool, "min_workers", pool->min_workers, "max_workers",
                   pool->max_workers);
        rule_order(config, pool, "max_spare", pool->max_spare,
                   pool->seats > 1 ? "the connections of max_workers" : "max_workers",
                   pool_config_most_seats(pool));
        rule_order(config, pool, "min_spare", pool->min_spare, "max_spare", pool->max_spare);
    } else if (whole && !(pool->misnamed & NEED_SIZE)) {
        config_fault(config, pool, "",
                     "its size is missing: workers, or max_workers for one that follows the load");
    }
}

static long long descriptors_of(const struct pool_config *pool)
{
    return 1 + (pool->handler ? pool->handler->descriptors : 0);
}

static long long descriptors_most(void)
{
    long long most = hard_limit();
    return most == LLONG_MAX ? most : most - SPARE_DESCRIPTORS;
}

void rules_add_size(struct rules_sizes *sizes, const struct pool_config *pool, int workers)
{
    sizes->workers += workers;
    sizes->seats += (long long)workers * pool->seats;
    sizes->descriptors += workers * descriptors_of(pool);
}

long long rules_workers_most(const struct pool_config *pool, const struct rules_sizes *others,
                             const char **why)
{
    const struct {
        long long most;
        const char *why;
    } bounds[] = {
        {POOL_SEATS_MAX / pool->seats,
         pool->seats > 1 ? ", since each worker has so many connections" : ""},
        {POOL_WORKERS_MAX - others->workers, ", with the workers of the other pools"},
        {(SEATS_MAX - others->seats) / pool->seats, ", with the connections of the other pools"},
        {(descriptors_most() - others->descriptors) / descriptors_of(pool),
         ", by the hard limit of open files (ulimit -Hn)"},
    };
    int least = 0;
    for (unsigned i = 1; i < sizeof bounds / sizeof *bounds; i++)
        if (bounds[i].most < bounds[least].most)
            least = (int)i;
    *why = bounds[least].why;
    return bounds[least].most;
}

/* Bounds the connections of each pool, and what all pools need together. A fault stands at the pool
 * with which a sum becomes too large. */
static void rule_sizes(struct config *config)
{
    struct rules_sizes all = {0};
    long long most = descriptors_most();
    for (int i = 0; i < config->pool_count; i++) {
        const struct pool_config *pool = config->pools[i];
        const char *option = pool_config_is_dynamic(pool) ? "max_workers" : "workers";
        const struct rules_sizes before = all;
        int workers = pool_config_most(pool), seats = pool_config_most_seats(pool);
        rules_add_size(&all, pool, workers);
        if (pool->seats > 1 && seats > POOL_SEATS_MAX)
            config_fault(config, pool, option,
                         "%d workers of %d connections make %d; at most %d are possible in a pool",
                         workers, pool->seats, seats, POOL_SEATS_MAX);
        else if (all.seats > SEATS_MAX && before.seats <= SEATS_MAX)
            config_fault(config, pool, option,
                         "with its %d there are %lld connections in all; at most %d are possible",
                         seats, all.seats, SEATS_MAX);
        if (all.workers > POOL_WORKERS_MAX && before.workers <= POOL_WORKERS_MAX)
            config_fault(config, pool, option,
                         "with its %d there are %lld workers in all; at most %d are possible",
                         workers, all.workers, POOL_WORKERS_MAX);
        else if (all.descriptors > most && (before.descriptors <= most || i == 0))
            config_fault(config, pool, option,
                         "%lld workers need %lld open files, but the hard limit is %lld: raise "
                         "LimitNOFILE= of the unit (ulimit -Hn)",
                         all.workers, all.descriptors + SPARE_DESCRIPTORS,
                         most + SPARE_DESCRIPTORS);
    }
}

static void rule_pool(struct config *config, struct pool_config *pool, bool whole)
{
    config_step(config);
    rule_name(config, pool);
    for (const struct option_row *row = pool_rows; row->name && is_passed(pool); row++)
        if (row->flags & OPTION_SOCKET && pool_config_sets(pool, row->name))
            config_fault(config, pool, row->name,
                         "systemd: listeners take no %s; the .socket unit has it", row->name);
    rule_directory(config, pool, "chroot", pool->chroot);
    rule_directory(config, pool, "directory", pool->directory);
    if (pool->chroot && !is_root())
        config_fault(config, pool, "chroot", "chroot needs root");
    if (pool->nice < 0 && !is_root())
        config_fault(config, pool, "nice", "a negative nice needs root");
    rule_environment(config, pool);
    rule_limits(config, pool);
    rule_model(config, pool);
    rule_size(config, pool, whole);
    access_list_apply(config, pool);
    if (!pool_config_sets(pool, "graceful_timeout"))
        pool->graceful_timeout = config->graceful_timeout;
    if (!pool_config_sets(pool, "slow_threshold"))
        pool->slow_threshold = config->slow_threshold;
}

/* --- all pools together -------------------------------------------------------------------- */

static void rule_names(struct config *config)
{
    for (int i = 0; i < config->pool_count; i++) {
        const struct pool_config *pool = config->pools[i];
        int first = 0;
        while (strcmp(pool->name, config->pools[first]->name) != 0)
            first++;
        if (first < i && pool->name[0])
            config_fault(config, pool, "", "a pool of this name stands at %s:%d already",
                         config->pools[first]->origin.file, config->pools[first]->origin.line);
    }
}

/* Two pools of one name are already a fault: that they share an address is not noted as well. */
static void rule_address(struct config *config, const struct pool_config *pool,
                         const struct listen_spec *spec, const struct pool_config *other,
                         const struct listen_spec *other_spec)
{
    if (!listens_overlap(spec, other_spec))
        return;
    if (pool == other)
        config_fault(config, pool, "listen", "listen \"%.120s\" is the same address as \"%.120s\"",
                     spec->word, other_spec->word);
    else if (strcmp(pool->name, other->name) != 0)
        config_fault(config, pool, "listen",
                     "listen \"%.120s\" is the same address as \"%.120s\" of pool %.40s (%s:%d)",
                     spec->word, other_spec->word, other->name, other_spec->file, other_spec->line);
}

/* Compares each address with the control socket, and with all addresses before it. */
static void rule_addresses(struct config *config)
{
    struct listen_spec control = {.word = config->control};
    bool controlled = control.word[0] == '/' && addr_from_path(&control.addr, control.word);
    if (controlled)
        entry_directory(control.word, &control.directory);
    for (int i = 0; i < config->pool_count; i++) {
        const struct pool_config *pool = config->pools[i];
        for (int k = 0; k < pool->listen_count; k++) {
            const struct listen_spec *spec = &pool->listens[k];
            if (controlled && listens_overlap(&control, spec))
                config_fault(config, pool, "listen", "listen \"%.120s\" is the control socket",
                             spec->word);
            for (int j = 0; j <= i; j++)
                for (int l = 0; l < (j < i ? config->pools[j]->listen_count : k); l++)
                    rule_address(config, pool, spec, config->pools[j],
                                 &config->pools[j]->listens[l]);
        }
    }
}

/* The number of addresses is known only once all are read, so they are first read into temporary
 * memory: the arena gets no unused room. */
static void rule_listens(struct config *config)
{
    int used = 0, beyond = 0;
    const struct pool_config *first = NULL; /* that has more than there is room for */
    struct listen_spec *specs = calloc(LISTENS_MAX, sizeof *specs);
    for (int i = 0; specs && i < config->pool_count; i++) {
        struct pool_config *pool = config_pool(config, i);
        int room = LISTENS_MAX - used, count = listens_read(config, pool, specs, room);
        if (count > room) {
            first = first ? first : pool;
            beyond += count - room;
            count = room;
        }
        size_t size = (size_t)count * sizeof *specs;
        pool->listens = memcpy(arena_take(config->arena, size), specs, size);
        pool->listen_count = count;
        used += count;
    }
    if (!specs)
        faults_add(&config->faults, config->file, 0, "out of memory");
    if (beyond)
        config_fault(config, first, "listen", "%d address%s too many: at most %d are possible",
                     beyond, beyond == 1 ? "" : "es", LISTENS_MAX);
    free(specs);
    rule_addresses(config);
}

void rules_apply(struct config *config, bool whole)
{
    if (config->pool_count == 0 && whole)
        faults_add(&config->faults, config->file, 1, "there is no pool: pool \"NAME\" { ... }");
    rule_log(config);
    rule_control(config);
    rule_names(config);
    for (int i = 0; i < config->pool_count; i++)
        rule_pool(config, config_pool(config, i), whole);
    identity_apply(config, whole);
    rule_listens(config);
    for (int i = 0; i < config->pool_count; i++) {
        rule_seat_descriptors(config, config->pools[i]);
        rule_few_descriptors(config, config->pools[i]);
    }
    rule_sizes(config);
}
