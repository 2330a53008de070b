/*
 * config - a configuration as one immutable struct in one arena, and the rows of all options. A
 * child loads it, the master and its workers read it. Each generation has its own, freed with its
 * last reference.
 *
 * Must not know: handlers (their sections are arguments), sockets, processes.
 * Called by main and master; workers read it. config_load runs in the checking child, the rest in
 * the master.
 */
#ifndef PREFORKD_CONFIG_CONFIG_H
#define PREFORKD_CONFIG_CONFIG_H

#include "../base/addr.h"
#include "../base/entry.h"
#include "option.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/types.h>

enum { POOL_NAME_MAX = 32 }; /* letters, digits, and - _ . */
/* Descriptors of a worker beside its listeners and connections: the log, epoll, wake-ups, and what
 * its handler opens. */
enum { WORKER_DESCRIPTORS = 32 };
enum { POOLS_MAX = 256 };          /* pools in one configuration */
enum { POOL_WORKERS_MAX = 30000 }; /* workers of one pool, and of all together */
enum { POOL_THREADS_MAX = 1024 };  /* threads of one worker */

/* Seats of one pool, and of all pools together. There are twice as many while a reload replaces the
 * workers. */
enum { POOL_SEATS_MAX = 30000, SEATS_MAX = 60000 };

/* One address to listen on. A word of `listen` makes one, or several if a host has several. */
struct listen_spec {
    const char *word;        /* as the file has it */
    const char *passed_name; /* the NAME of systemd:NAME; NULL: `addr` counts */
    struct addr addr;
    struct inode directory; /* of a socket's path, because a path has many spellings */
    bool any_family;        /* *:PORT: one IPv6 wildcard socket that takes IPv4 too */
    const char *file;
    int line;
};

enum proxy_protocol { PROXY_PROTOCOL_OFF, PROXY_PROTOCOL_ON };

/* The user and groups of a worker. Without root, they are the daemon's own. */
struct identity {
    const char *user, *group; /* names; a number without a name stands in digits */
    const char *home;
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* supplementary */
    int group_count;
};

enum limit_kind { LIMIT_NOFILE, LIMIT_AS, LIMIT_CORE, LIMIT_NPROC, LIMIT_CPU, LIMIT_KINDS };

/* limits { ... }: OPTION_UNSET, OPTION_UNLIMITED or a value. */
struct limits_config {
    long long value[LIMIT_KINDS];
};

enum log_format { LOG_FORMAT_PLAIN, LOG_FORMAT_JSON };

/* log { ... } */
struct log_config {
    int level;    /* LOG_ERR ... LOG_DEBUG of syslog(3), set by rules */
    int facility; /* LOG_DAEMON ..., set by rules */
    int level_choice, facility_choice, format_choice;
    const char *ident;
};

struct cidr_list;

struct pool_config {
    struct origin origin;
    const char *name;
    unsigned misnamed; /* bits of enum need that an unknown word stands for: already a fault */

    /* the options, by pool_rows */
    struct words listen;
    int backlog; /* of listen(2) */
    int socket_mode;
    const char *socket_user, *socket_group;
    int keepalive;            /* seconds, 0 off */
    int model;                /* enum serve_model */
    int threads, connections; /* per worker, each for its model */
    int workers;              /* a fixed size; 0: the size follows the load */
    int min_workers, max_workers, min_spare, max_spare; /* 0 if the size is fixed */
    int spare_timeout;                                  /* seconds */
    int max_requests;                                   /* 0 no limit */
    int request_timeout;                                /* seconds, 0 none */
    int slow_threshold;   /* seconds, 0 off; if not set, the global one */
    int graceful_timeout; /* seconds, 0 at once; if not set, the global one */
    int idle_timeout;     /* seconds, at least 1 */
    int ready_timeout;    /* seconds */
    int min_ready_time;   /* seconds that a new worker stays ready before a roll goes on; 0: none */
    bool log_connections;
    struct words allow, deny;            /* addresses and blocks */
    int max_per_source, rate_per_source; /* 0 no limit */
    int proxy_protocol;                  /* enum proxy_protocol */
    struct words proxy_from;             /* addresses and blocks, "unix" */
    int proxy_timeout;                   /* seconds */
    int queue_timeout;                   /* seconds, 0 none */
    const char *user, *group;
    const char *chroot, *directory;
    int umask, nice;
    struct words environment; /* NAME=VALUE */
    bool no_new_privs;        /* programs gain no rights from set-user-ID files */
    struct limits_config limits;
    struct origin limits_origin; /* no lines if the file has no limits section */

    /* filled in by rules */
    int seats; /* of one worker: the connections that it serves at once */
    const struct listen_spec *listens;
    int listen_count;
    struct identity identity;
    uid_t socket_uid; /* the owner of the pool's Unix sockets */
    gid_t socket_gid;
    const struct cidr_list *admitted; /* allow and deny; NULL: every address is admitted */
    const struct cidr_list *proxies;  /* proxy_from; NULL: no PROXY header is expected */
    bool proxies_unix;                /* peers of Unix sockets may send a header too */

    /* the handler, by its own rows */
    const struct handler_section *handler;
    struct origin handler_origin;
    const void *handler_config;

    /* filled in by the check */
    const char *file; /* the file that the workers load; NULL: none */
    struct file_id file_id;
};

struct config {
    struct arena *arena;    /* holds everything, this struct too */
    unsigned *refs;         /* in the master alone, so that no change costs a copy of a page */
    struct faults faults;   /* if there is one, nothing else in here may be used */
    struct faults warnings; /* valid, but perhaps a mistake */
    bool fresh;             /* at a start, and with -t: no daemon holds the listeners yet */
    atomic_uint steps;      /* that the child which fills this has done (config_step) */

    const char *file;
    struct origin origin;
    const char *user, *group;
    const char *control, *control_group; /* control: a path, or "none" */
    gid_t control_gid;                   /* IDENTITY_NO_GROUP: none */
    int graceful_timeout;
    int slow_threshold;
    struct log_config log;
    struct origin log_origin;               /* no lines if the file has no log section */
    const struct pool_config *const *pools; /* in the order of the files */
    int pool_count;
};

extern const struct option_row global_rows[], log_rows[], pool_rows[], limit_rows[];

/* What getrlimit(2) calls the limits. */
extern const int limit_resources[LIMIT_KINDS];

/* A pool, writable while the configuration is being filled. */
static inline struct pool_config *config_pool(const struct config *config, int index)
{
    return (struct pool_config *)config->pools[index];
}

/* Whether the file sets this option of the pool. */
static inline bool pool_config_sets(const struct pool_config *pool, const char *option)
{
    return option_is_set(pool_rows, &pool->origin, option);
}

/* Whether the pool's size follows the load. */
static inline bool pool_config_is_dynamic(const struct pool_config *pool)
{
    return pool->workers == 0;
}

/* The most workers that the pool may have. */
static inline int pool_config_most(const struct pool_config *pool)
{
    return pool_config_is_dynamic(pool) ? pool->max_workers : pool->workers;
}

/* The most connections that the pool may serve at once. */
static inline int pool_config_most_seats(const struct pool_config *pool)
{
    return pool_config_most(pool) * pool->seats;
}

/* The open files that a worker of several seats needs: one for each connection. In the thread
 * model, each thread may have an epoll set and an eventfd too; in the event model, each listener
 * takes two. */
static inline long long pool_config_files(const struct pool_config *pool, int listeners)
{
    long long per_seat = pool->model == MODEL_THREAD ? 3 : 1;
    long long per_listener = pool->model == MODEL_EVENT ? 2 : 1;
    return per_seat * pool->seats + per_listener * listeners + WORKER_DESCRIPTORS;
}

/* Makes an empty configuration with one reference, for config_load to fill in this process or in a
 * child. NULL with errno set. */
struct config *config_new(void);
void config_ref(struct config *config);
void config_unref(struct config *config); /* NULL does nothing */

/* Notes a fault of an option of the pool, or of a global option if `pool` is NULL. The fault's line
 * is the option's; if the option is not set, or "", it is the line of the section. */
void config_fault(struct config *config, const struct pool_config *pool, const char *option,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Counts a step of the check, such as a lookup. The parent ends a check that makes none for long,
 * so each wait has its own step. */
static inline void config_step(struct config *config)
{
    atomic_fetch_add_explicit(&config->steps, 1, memory_order_relaxed);
}

/* Reads a file and its includes, fills in defaults, looks up users, groups and hosts, and notes
 * every fault. May block on the disk and on lookups. `handlers` ends with NULL. False: a file was
 * not read to its end, so pools may lack what the rest sets. */
bool config_load(struct config *config, const char *file,
                 const struct handler_section *const *handlers);

/* Writes the effective configuration, defaults filled in. config_load reads it back to the same. */
void config_dump(const struct config *config, FILE *out);

/* How a pool differs from the pool of the same name in the old configuration. */
enum pool_change {
    POOL_KEPT,     /* nothing differs */
    POOL_ADJUSTED, /* only what takes effect in place */
    POOL_RESIZED,  /* the size, and perhaps what takes effect in place */
    POOL_REPLACED, /* something that workers get at their start */
};

/* Compares two pools. `what` says the first difference of the weightiest kind, such as
 * "user www-data to git" or "4 to 8", with "and N more" if there are others. */
enum pool_change config_compare(const struct pool_config *old, const struct pool_config *new,
                                char *what, size_t size);

#endif
