#include "config.h"

#include <limits.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* Far more than the bounded files can fill. Untouched pages cost nothing. */
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
               option_line(rows, origin, option), "%s%.40s%s%s",
               !pool           ? ""
               : pool->name[0] ? "pool "
                               : "pool",
               pool ? pool->name : "", pool ? ": " : "", text);
}

/* --- the option rows ---------------------------------------------------------------------- */

/* A year. The bound catches milliseconds, or a date, written for seconds. */
enum { SECONDS_MAX = 365 * 24 * 3600 };

/* The longest name of a user or group, and the longest path. */
enum { NAME_MAX_BYTES = 256, PATH_MAX_BYTES = 4095 };

/* The most that TCP_KEEPIDLE takes (tcp(7)). */
enum { KEEPALIVE_MAX = 32767 };

static const char *const levels[] = {"err", "warning", "notice", "info", "debug", NULL};

static const char *const log_formats[] = {"plain", "json", NULL}; /* enum log_format */

static const char *const facilities[] = {
    "daemon", "auth",   "authpriv", "cron",   "ftp",    "lpr",    "mail",
    "news",   "syslog", "user",     "uucp",   "local0", "local1", "local2",
    "local3", "local4", "local5",   "local6", "local7", NULL,
};

/* In the order of enum proxy_protocol. */
static const char *const proxy_protocols[] = {"off", "on", NULL};

const char *const serve_model_words[] = {
    [MODEL_PROCESS] = "process",
    [MODEL_THREAD] = "thread",
    [MODEL_EVENT] = "event",
    [SERVE_MODELS] = NULL,
};

/* Blocks of a list, and connections a second. The bounds catch nonsense. */
enum { BLOCKS_MAX = 16384, RATE_MAX = 100000 };

#define GLOBAL(field, kind, ...) OPTION_ROW(config, field, #field, kind, __VA_ARGS__)
#define POOL(field, reach, kind, ...)                                                              \
    OPTION_ROW(pool_config, field, #field, kind, .scope = SCOPE_##reach, __VA_ARGS__)
#define LIMIT(kind, option, ...) OPTION_ROW(limits_config, value[kind], option, LIMIT, __VA_ARGS__)
#define RANGE(least, most)       .min = least, .max = most
#define REQUIRED                 .flags = OPTION_REQUIRED
#define LIVE                     .flags = OPTION_LIVE
#define SOCKET                   .flags = OPTION_LIVE | OPTION_SOCKET
#define SIZE                     .flags = OPTION_RESIZE
#define DYNAMIC                  .flags = OPTION_RESIZE | OPTION_DYNAMIC

const struct option_row global_rows[] = {
    GLOBAL(user, TEXT, RANGE(1, NAME_MAX_BYTES)),
    GLOBAL(group, TEXT, RANGE(1, NAME_MAX_BYTES)),
    GLOBAL(control, TEXT, RANGE(1, PATH_MAX_BYTES)),
    GLOBAL(control_group, TEXT, RANGE(1, NAME_MAX_BYTES)),
    GLOBAL(graceful_timeout, SECONDS, RANGE(0, SECONDS_MAX), .fallback = "30"),
    GLOBAL(slow_threshold, SECONDS, RANGE(0, SECONDS_MAX), .fallback = "0"),
    OPTION_END,
};

const struct option_row log_rows[] = {
    OPTION_ROW(log_config, level_choice, "level", CHOICE, .choices = levels, .fallback = "info"),
    OPTION_ROW(log_config, facility_choice, "facility", CHOICE, .choices = facilities,
               .fallback = "daemon"),
    OPTION_ROW(log_config, format_choice, "format", CHOICE, .choices = log_formats,
               .fallback = "plain"),
    OPTION_ROW(log_config, ident, "ident", TEXT, RANGE(1, 64), .fallback = "preforkd"),
    OPTION_END,
};

/* The second column is the scope: which handlers honour the option. */
const struct option_row pool_rows[] = {
    POOL(listen, ANY, WORDS, RANGE(1, 128), REQUIRED),
    POOL(backlog, ANY, NUMBER, RANGE(1, 65535), .fallback = "4096", SOCKET),
    POOL(socket_mode, ANY, MODE, RANGE(0, 0777), .fallback = "0660", SOCKET),
    POOL(socket_user, ANY, TEXT, RANGE(1, NAME_MAX_BYTES), SOCKET),
    POOL(socket_group, ANY, TEXT, RANGE(1, NAME_MAX_BYTES), SOCKET),
    POOL(keepalive, ANY, SECONDS, RANGE(0, KEEPALIVE_MAX), .fallback = "60", LIVE),
    POOL(model, ANY, CHOICE, .choices = serve_model_words, .fallback = "process"),
    POOL(threads, ANY, NUMBER, RANGE(1, POOL_THREADS_MAX), .fallback = "16"),
    POOL(connections, ANY, NUMBER, RANGE(1, POOL_SEATS_MAX), .fallback = "1000"),
    POOL(workers, ANY, NUMBER, RANGE(1, POOL_WORKERS_MAX), SIZE),
    POOL(min_workers, ANY, NUMBER, RANGE(0, POOL_WORKERS_MAX), .fallback = "1", DYNAMIC),
    POOL(max_workers, ANY, NUMBER, RANGE(1, POOL_WORKERS_MAX), DYNAMIC),
    POOL(min_spare, ANY, NUMBER, RANGE(0, POOL_SEATS_MAX), .fallback = "1", DYNAMIC),
    POOL(max_spare, CONNECTIONS, NUMBER, RANGE(0, POOL_SEATS_MAX), .fallback = "4", DYNAMIC),
    POOL(spare_timeout, ANY, SECONDS, RANGE(1, SECONDS_MAX), .fallback = "10",
         .flags = OPTION_LIVE | OPTION_DYNAMIC),
    POOL(max_requests, CONNECTIONS, NUMBER, RANGE(0, 1000000000), .fallback = "0"),
    POOL(request_timeout, CONNECTIONS, SECONDS, RANGE(0, SECONDS_MAX), .fallback = "0", LIVE),
    POOL(slow_threshold, CONNECTIONS, SECONDS, RANGE(0, SECONDS_MAX), LIVE),
    POOL(graceful_timeout, ANY, SECONDS, RANGE(0, SECONDS_MAX), LIVE),
    POOL(idle_timeout, CLIENT, SECONDS, RANGE(1, SECONDS_MAX), .fallback = "60"),
    POOL(ready_timeout, ANY, SECONDS, RANGE(1, SECONDS_MAX), .fallback = "30", LIVE),
    POOL(min_ready_time, ANY, SECONDS, RANGE(0, SECONDS_MAX), .fallback = "0", LIVE),
    POOL(log_connections, CONNECTIONS, BOOL, .fallback = "false"),
    POOL(allow, CONNECTIONS, WORDS, RANGE(1, BLOCKS_MAX)),
    POOL(deny, CONNECTIONS, WORDS, RANGE(1, BLOCKS_MAX)),
    POOL(max_per_source, CONNECTIONS, NUMBER, RANGE(0, POOL_SEATS_MAX), .fallback = "0"),
    POOL(rate_per_source, CONNECTIONS, NUMBER, RANGE(0, RATE_MAX), .fallback = "0"),
    POOL(proxy_protocol, CONNECTIONS, CHOICE, .choices = proxy_protocols, .fallback = "off"),
    POOL(proxy_from, CONNECTIONS, WORDS, RANGE(1, BLOCKS_MAX)),
    POOL(proxy_timeout, CONNECTIONS, SECONDS, RANGE(1, SECONDS_MAX), .fallback = "3"),
    POOL(queue_timeout, CONNECTIONS, SECONDS, RANGE(0, SECONDS_MAX), .fallback = "0"),
    POOL(user, ANY, TEXT, RANGE(1, NAME_MAX_BYTES)),
    POOL(group, ANY, TEXT, RANGE(1, NAME_MAX_BYTES)),
    POOL(chroot, ANY, TEXT, RANGE(1, PATH_MAX_BYTES)),
    POOL(directory, ANY, TEXT, RANGE(1, PATH_MAX_BYTES), .fallback = "/"),
    POOL(umask, ANY, MODE, RANGE(0, 0777), .fallback = "022"),
    POOL(nice, ANY, NUMBER, RANGE(-20, 19), .fallback = "0"),
    POOL(environment, ANY, WORDS, RANGE(0, 1024)),
    POOL(no_new_privs, ANY, BOOL, .fallback = "true"),
    OPTION_END,
};

/* The least nofile and as are what a worker needs to start: its descriptors and its memory. */
const struct option_row limit_rows[] = {
    LIMIT(LIMIT_NOFILE, "nofile", RANGE(16, LLONG_MAX)),
    LIMIT(LIMIT_AS, "as", RANGE(16 * 1024 * 1024, LLONG_MAX)),
    LIMIT(LIMIT_CORE, "core", RANGE(0, LLONG_MAX)),
    LIMIT(LIMIT_NPROC, "nproc", RANGE(0, LLONG_MAX)),
    LIMIT(LIMIT_CPU, "cpu", RANGE(1, LLONG_MAX)),
    OPTION_END,
};

const int limit_resources[LIMIT_KINDS] = {
    [LIMIT_NOFILE] = RLIMIT_NOFILE, [LIMIT_AS] = RLIMIT_AS,   [LIMIT_CORE] = RLIMIT_CORE,
    [LIMIT_NPROC] = RLIMIT_NPROC,   [LIMIT_CPU] = RLIMIT_CPU,
};
