/*
 * config - a configuration file as one immutable struct.
 *
 * Owns:      struct config and all that hangs below it, in one arena: loaded in a child, read by
 *            the master and by its workers; one a generation, given back when nobody refers to it.
 * Knows not: handlers (their sections are handed to it), sockets, processes.
 * Called by: main, master; workers read it.
 * Runs in:   config_load in the checking child; the rest in the master.
 */
#ifndef PREFORKD_CONFIG_CONFIG_H
#define PREFORKD_CONFIG_CONFIG_H

#include "../base/addr.h"
#include "../base/entry.h"
#include "../base/file_id.h"
#include "option.h"

#include <stdio.h>
#include <sys/types.h>

enum { POOL_NAME_MAX = 32 };       /* letters, digits, and - _ . */
enum { POOLS_MAX = 256 };          /* pools in one configuration */
enum { POOL_WORKERS_MAX = 30000 }; /* workers of one pool, and of all together */

/* One address to listen on, as rules made it of a word of `listen`. */
struct listen_spec {
    const char *word;        /* as the file has it */
    const char *passed_name; /* of systemd:NAME; NULL for an address */
    struct addr addr;        /* where passed_name is NULL */
    struct inode directory;  /* of a path: it may be spelled otherwise */
    bool any_family;         /* *:PORT: one IPv6 wildcard socket that takes IPv4 too */
    const char *file;
    int line;
};

enum proxy_protocol { PROXY_PROTOCOL_OFF, PROXY_PROTOCOL_ON };

/* Who a worker becomes. Not root: who started the daemon. */
struct identity {
    const char *user, *group; /* names; a number's digits where the system has no name */
    const char *home;
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* the supplementary ones */
    int group_count;
};

enum limit_kind { LIMIT_NOFILE, LIMIT_AS, LIMIT_CORE, LIMIT_NPROC, LIMIT_CPU, LIMIT_KINDS };

/* limits { ... }: OPTION_UNSET, OPTION_UNLIMITED or a value. */
struct limits_config {
    long long value[LIMIT_KINDS];
};

/* log { ... } */
struct log_config {
    int level;    /* LOG_ERR ... LOG_DEBUG of syslog(3), by rules */
    int facility; /* LOG_DAEMON ..., by rules */
    int level_choice, facility_choice;
    const char *ident;
};

struct cidr_list;

struct pool_config {
    struct origin origin;
    const char *name;

    /* as the file has it, by pool_rows */
    struct words listen;
    int backlog; /* of listen(2) */
    int socket_mode;
    const char *socket_user, *socket_group;
    int keepalive; /* seconds, 0 off */
    int workers;   /* a fixed size; 0: one that follows the load */
    int min_workers, max_workers, min_spare, max_spare; /* of that; 0 where it is fixed */
    int spare_timeout;                                  /* seconds */
    int max_requests;                                   /* 0 never */
    int request_timeout;                                /* seconds, 0 none */
    int slow_threshold;   /* seconds, 0 off; the global one where it is not set */
    int graceful_timeout; /* seconds, 0 at once; the global one where it is not set */
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
    bool no_new_privs;        /* what it executes gains nothing by set-user-ID files */
    struct limits_config limits;
    struct origin limits_origin; /* without lines where the file has no limits section */

    /* what rules made of it */
    const struct listen_spec *listens;
    int listen_count;
    struct identity identity;
    uid_t socket_uid; /* the owner of the pool's Unix sockets */
    gid_t socket_gid;
    const struct cidr_list *admitted; /* by allow and deny; NULL: every address is */
    const struct cidr_list *proxies;  /* by proxy_from; NULL: no PROXY header is taken */
    bool proxies_unix;                /* a peer of a Unix socket may send one too */

    /* the handler, by its own rows */
    const struct handler_section *handler;
    struct origin handler_origin;
    const void *handler_config;

    /* what the check saw of a file that the workers load */
    const char *file; /* its path; NULL: they load none */
    struct file_id mark;
};

struct config {
    struct arena *arena;    /* in which all of it lies, this struct too */
    unsigned *refs;         /* the master's alone, or each change would cost it a copy of a page */
    struct faults faults;   /* not empty: nothing else in here may be used */
    struct faults warnings; /* what is right, and perhaps not what was meant */

    const char *file;
    struct origin origin;
    const char *user, *group;
    const char *control, *control_group; /* control: a path, or "none" */
    gid_t control_gid;                   /* IDENTITY_NO_GROUP: none */
    int graceful_timeout;
    int slow_threshold;
    struct log_config log;
    struct origin log_origin;               /* without lines where the file has no log section */
    const struct pool_config *const *pools; /* in the order of the files */
    int pool_count;
};

/* Whether the pool's size follows the load. */
static inline bool pool_config_is_dynamic(const struct pool_config *pool)
{
    return pool->workers == 0;
}

/* The most workers that it may have. */
static inline int pool_config_most(const struct pool_config *pool)
{
    return pool_config_is_dynamic(pool) ? pool->max_workers : pool->workers;
}

extern const struct option_row global_rows[], log_rows[], pool_rows[], limit_rows[];

/* An empty one with one reference, to be filled by config_load, in this process or in a child of
 * it. NULL with errno set. */
struct config *config_new(void);
void config_ref(struct config *config);
void config_unref(struct config *config); /* NULL is let pass */

/* Reads a file with all that it includes, fills in defaults, asks for users, groups and the
 * addresses of names, and notes every fault. May block on the disk and on lookups. `handlers` ends
 * with NULL. */
void config_load(struct config *config, const char *file,
                 const struct handler_section *const *handlers);

/* Writes the effective configuration, defaults filled in, in a form that config_load reads to the
 * same. */
void config_dump(const struct config *config, FILE *out);

/* How a pool of the new configuration differs from the one of the same name in the old. */
enum pool_change {
    POOL_KEPT,     /* nothing differs */
    POOL_ADJUSTED, /* only what takes effect in place */
    POOL_RESIZED,  /* the size (and what takes effect in place) */
    POOL_REPLACED, /* something that workers have from their start */
};

/* Compares, and says what differs: "user www-data to git", "4 to 8"; the first difference of the
 * weightiest kind, and "and N more" where there are others. */
enum pool_change config_compare(const struct pool_config *old, const struct pool_config *new,
                                char *what, size_t size);

#endif
