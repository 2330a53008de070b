#include "config.h"

#include <limits.h>

/* A year: a bound that catches milliseconds, or a date, written for seconds. */
enum { SECONDS_MAX = 365 * 24 * 3600 };

/* The longest name of a user, a group, or a program in the log; the longest path. */
enum { NAME_MAX_BYTES = 256, PATH_MAX_BYTES = 4095 };

/* What TCP_KEEPIDLE takes (tcp(7)). */
enum { KEEPALIVE_MAX = 32767 };

static const char *const levels[] = {"err", "warning", "notice", "info", "debug", NULL};

static const char *const facilities[] = {
    "daemon", "auth",   "authpriv", "cron",   "ftp",    "lpr",    "mail",
    "news",   "syslog", "user",     "uucp",   "local0", "local1", "local2",
    "local3", "local4", "local5",   "local6", "local7", NULL,
};

/* In the order of enum proxy_protocol. */
static const char *const proxy_protocols[] = {"off", "on", NULL};

/* Blocks of a list, and connections a second: bounds that catch nonsense. */
enum { BLOCKS_MAX = 16384, RATE_MAX = 100000 };

#define ROW(struct_name, field, option, kind, ...)                                                 \
    {                                                                                              \
        .name = option, .type = kind, .offset = offsetof(struct struct_name, field), __VA_ARGS__   \
    }
#define GLOBAL(field, kind, ...) ROW(config, field, #field, kind, __VA_ARGS__)
#define POOL(field, kind, ...)   ROW(pool_config, field, #field, kind, __VA_ARGS__)
#define LIMIT(kind, option, ...) ROW(limits_config, value[kind], option, OPTION_LIMIT, __VA_ARGS__)
#define RANGE(least, most)       .min = least, .max = most

const struct option_row global_rows[] = {
    GLOBAL(user, OPTION_TEXT, RANGE(1, NAME_MAX_BYTES)),
    GLOBAL(group, OPTION_TEXT, RANGE(1, NAME_MAX_BYTES)),
    GLOBAL(control, OPTION_TEXT, RANGE(1, PATH_MAX_BYTES)),
    GLOBAL(control_group, OPTION_TEXT, RANGE(1, NAME_MAX_BYTES)),
    GLOBAL(graceful_timeout, OPTION_SECONDS, RANGE(0, SECONDS_MAX), .fallback = "30"),
    GLOBAL(slow_threshold, OPTION_SECONDS, RANGE(0, SECONDS_MAX), .fallback = "0"),
    OPTION_END,
};

const struct option_row log_rows[] = {
    ROW(log_config, level_choice, "level", OPTION_CHOICE, .choices = levels, .fallback = "info"),
    ROW(log_config, facility_choice, "facility", OPTION_CHOICE, .choices = facilities,
        .fallback = "daemon"),
    ROW(log_config, ident, "ident", OPTION_TEXT, RANGE(1, 64), .fallback = "preforkd"),
    OPTION_END,
};

const struct option_row pool_rows[] = {
    POOL(listen, OPTION_WORDS, RANGE(1, 128), .flags = OPTION_REQUIRED),
    POOL(backlog, OPTION_NUMBER, RANGE(1, 65535), .fallback = "4096", .flags = OPTION_LIVE),
    POOL(socket_mode, OPTION_MODE, RANGE(0, 0777), .fallback = "0660", .flags = OPTION_LIVE),
    POOL(socket_user, OPTION_TEXT, RANGE(1, NAME_MAX_BYTES), .flags = OPTION_LIVE),
    POOL(socket_group, OPTION_TEXT, RANGE(1, NAME_MAX_BYTES), .flags = OPTION_LIVE),
    POOL(keepalive, OPTION_SECONDS, RANGE(0, KEEPALIVE_MAX), .fallback = "60",
         .flags = OPTION_LIVE),
    POOL(workers, OPTION_NUMBER, RANGE(1, POOL_WORKERS_MAX), .flags = OPTION_RESIZE),
    POOL(min_workers, OPTION_NUMBER, RANGE(0, POOL_WORKERS_MAX), .fallback = "1",
         .flags = OPTION_RESIZE),
    POOL(max_workers, OPTION_NUMBER, RANGE(1, POOL_WORKERS_MAX), .flags = OPTION_RESIZE),
    POOL(min_spare, OPTION_NUMBER, RANGE(0, POOL_WORKERS_MAX), .fallback = "1",
         .flags = OPTION_RESIZE),
    POOL(max_spare, OPTION_NUMBER, RANGE(0, POOL_WORKERS_MAX), .fallback = "4",
         .flags = OPTION_RESIZE),
    POOL(spare_timeout, OPTION_SECONDS, RANGE(1, SECONDS_MAX), .fallback = "10",
         .flags = OPTION_LIVE),
    POOL(max_requests, OPTION_NUMBER, RANGE(0, 1000000000), .fallback = "0"),
    POOL(request_timeout, OPTION_SECONDS, RANGE(0, SECONDS_MAX), .fallback = "0",
         .flags = OPTION_LIVE),
    POOL(slow_threshold, OPTION_SECONDS, RANGE(0, SECONDS_MAX), .flags = OPTION_LIVE),
    POOL(graceful_timeout, OPTION_SECONDS, RANGE(0, SECONDS_MAX), .flags = OPTION_LIVE),
    POOL(idle_timeout, OPTION_SECONDS, RANGE(1, SECONDS_MAX), .fallback = "60"),
    POOL(ready_timeout, OPTION_SECONDS, RANGE(1, SECONDS_MAX), .fallback = "30",
         .flags = OPTION_LIVE),
    POOL(min_ready_time, OPTION_SECONDS, RANGE(0, SECONDS_MAX), .fallback = "0",
         .flags = OPTION_LIVE),
    POOL(log_connections, OPTION_BOOL, .fallback = "false"),
    POOL(allow, OPTION_WORDS, RANGE(1, BLOCKS_MAX)),
    POOL(deny, OPTION_WORDS, RANGE(1, BLOCKS_MAX)),
    POOL(max_per_source, OPTION_NUMBER, RANGE(0, POOL_WORKERS_MAX), .fallback = "0"),
    POOL(rate_per_source, OPTION_NUMBER, RANGE(0, RATE_MAX), .fallback = "0"),
    POOL(proxy_protocol, OPTION_CHOICE, .choices = proxy_protocols, .fallback = "off"),
    POOL(proxy_from, OPTION_WORDS, RANGE(1, BLOCKS_MAX)),
    POOL(proxy_timeout, OPTION_SECONDS, RANGE(1, SECONDS_MAX), .fallback = "3"),
    POOL(queue_timeout, OPTION_SECONDS, RANGE(0, SECONDS_MAX), .fallback = "0"),
    POOL(user, OPTION_TEXT, RANGE(1, NAME_MAX_BYTES)),
    POOL(group, OPTION_TEXT, RANGE(1, NAME_MAX_BYTES)),
    POOL(chroot, OPTION_TEXT, RANGE(1, PATH_MAX_BYTES)),
    POOL(directory, OPTION_TEXT, RANGE(1, PATH_MAX_BYTES), .fallback = "/"),
    POOL(umask, OPTION_MODE, RANGE(0, 0777), .fallback = "022"),
    POOL(nice, OPTION_NUMBER, RANGE(-20, 19), .fallback = "0"),
    POOL(environment, OPTION_WORDS, RANGE(0, 1024)),
    POOL(no_new_privs, OPTION_BOOL, .fallback = "true"),
    OPTION_END,
};

/* The least: fewer descriptors than a worker holds, or less memory than it is, would kill it at
 * start. */
const struct option_row limit_rows[] = {
    LIMIT(LIMIT_NOFILE, "nofile", RANGE(16, LLONG_MAX)),
    LIMIT(LIMIT_AS, "as", RANGE(16 * 1024 * 1024, LLONG_MAX)),
    LIMIT(LIMIT_CORE, "core", RANGE(0, LLONG_MAX)),
    LIMIT(LIMIT_NPROC, "nproc", RANGE(0, LLONG_MAX)),
    LIMIT(LIMIT_CPU, "cpu", RANGE(1, LLONG_MAX)),
    OPTION_END,
};
