/*
 * module - a shared object with the interface of preforkd/module.h, loaded by each worker.
 *
 * The master never loads one: it is somebody's code, which may crash, hang and lie. A worker does,
 * after it has become the pool's user; and so does the child that checks a configuration. The
 * module gets a table of functions and a handle of us.
 */
#include "../module/preforkd/module.h"

#include "../base/log.h"
#include "handler.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    STOP_SECONDS = 5,  /* for a module's stop */
    ERRNO_MOST = 4095, /* of the kernel's */
    LINE_MAX_BYTES = 1500,
};

_Static_assert((int)PREFORKD_PEER_TEXT >= (int)ADDR_TEXT,
               "every peer has room in what the header promises");

struct module_config {
    const char *path;
    struct words args;
};

static const struct option_row rows[] = {
    {.name = "path",
     .type = OPTION_TEXT,
     .offset = offsetof(struct module_config, path),
     .min = 1,
     .max = 4095,
     .flags = OPTION_REQUIRED},
    {.name = "args",
     .type = OPTION_WORDS,
     .offset = offsetof(struct module_config, args),
     .max = 1000},
    OPTION_END,
};

/* A module in its process. The host comes first: by it the helpers find the rest. */
struct loaded {
    struct preforkd_host host;
    struct preforkd_module module; /* a copy: what its size leaves out is NULL */
    void *state;
    const struct service *service; /* NULL in a check */
};

/* --- what we lend ----------------------------------------------------------------------------- */

static const struct loaded *loaded_of(const struct preforkd_host *host)
{
    return (const struct loaded *)host;
}

static struct conn *conn_of(struct preforkd_conn *conn)
{
    return (struct conn *)conn;
}

static const char *host_arg(const struct preforkd_host *host, const char *name)
{
    size_t length = strlen(name);
    for (const char *const *word = host->args; *word; word++)
        if (strncmp(*word, name, length) == 0 && (*word)[length] == '=')
            return *word + length + 1;
    return NULL;
}

static void host_log(const struct preforkd_host *host, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void host_log(const struct preforkd_host *host, int level, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list args;
    int known = level < LOG_ERR ? LOG_ERR : level > LOG_DEBUG ? LOG_DEBUG : level;
    if (!log_wanted(known))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_event(known, "pool %s: %s pool=%s", host->pool, text, host->pool);
}

static int host_stopping(const struct preforkd_host *host)
{
    const struct service *service = loaded_of(host)->service;
    return service && *service->stopping;
}

static ssize_t host_read(struct preforkd_conn *conn, void *data, size_t size)
{
    return conn_read(conn_of(conn), data, size);
}

static int host_write(struct preforkd_conn *conn, const void *data, size_t size)
{
    return conn_write(conn_of(conn), data, size);
}

static void host_finish(struct preforkd_conn *conn)
{
    conn_finish(conn_of(conn));
}

static const char *host_peer(const struct preforkd_conn *conn, char *text, size_t size)
{
    char whole[ADDR_TEXT];
    addr_print_peer(&((const struct conn *)conn)->peer, whole);
    snprintf(text, size, "%s", whole);
    return text;
}

/* What goes over the socket from now on, nobody counts. */
static int host_descriptor(struct preforkd_conn *conn)
{
    conn_of(conn)->counted = false;
    return conn_of(conn)->fd;
}

static void *host_lane(const struct preforkd_conn *conn)
{
    return ((const struct conn *)conn)->lane;
}

static void **host_own(struct preforkd_conn *conn)
{
    return &conn_of(conn)->own;
}

static int host_wait(struct preforkd_conn *conn, short events, int msec)
{
    return conn_wait(conn_of(conn), events, clock_now() + (usec)msec * 1000);
}

static const char *const no_args[] = {NULL};

/* The one of this process: a worker, or a check. */
static struct loaded loaded = {
    .host =
        {
            .abi = PREFORKD_MODULE_ABI,
            .size = sizeof(struct preforkd_host),
            .arg = host_arg,
            .log = host_log,
            .stopping = host_stopping,
            .read = host_read,
            .write = host_write,
            .finish = host_finish,
            .peer = host_peer,
            .descriptor = host_descriptor,
            .lane = host_lane,
            .own = host_own,
            .wait = host_wait,
        },
};

/* --- loading ---------------------------------------------------------------------------------- */

/* What dlopen(3) says of the file itself begins with its path, which our sentence has already. */
static const char *loader_says(const char *path)
{
    const char *text = dlerror();
    size_t length = strlen(path);
    if (!text)
        return "the loader gave no reason";
    return strncmp(text, path, length) == 0 && strncmp(text + length, ": ", 2) == 0
               ? text + length + 2
               : text;
}

/* Takes what the module says of itself, as far as it reaches. */
static int take_symbol(const struct preforkd_module *symbol, char *why, size_t size)
{
    const size_t least = offsetof(struct preforkd_module, stop);
    if (symbol->abi < 1 || symbol->abi > PREFORKD_MODULE_ABI) {
        snprintf(why, size, "it was built for ABI %u of preforkd/module.h, and this is %d",
                 symbol->abi, PREFORKD_MODULE_ABI);
        return -1;
    }
    if (symbol->size < least) {
        snprintf(why, size, "its struct preforkd_module says that it has %u bytes, less than %zu",
                 symbol->size, least);
        return -1;
    }
    loaded.host.abi = symbol->abi;
    loaded.module = (struct preforkd_module){0};
    memcpy(&loaded.module, symbol,
           symbol->size < sizeof loaded.module ? symbol->size : sizeof loaded.module);
    if (loaded.module.serve)
        return 0;
    snprintf(why, size, "it has no function to serve with");
    return -1;
}

static const unsigned model_bits[SERVE_MODELS] = {
    [MODEL_PROCESS] = PREFORKD_PROCESS,
    [MODEL_THREAD] = PREFORKD_THREAD,
    [MODEL_EVENT] = PREFORKD_EVENT,
};

/* Whether the module may live in the pool's model. What ABI 1 says of it is nothing. */
static int match_model(int model, char *why, size_t size)
{
    if (model == MODEL_PROCESS || loaded.module.models & model_bits[model])
        return 0;
    if (loaded.host.abi < 2)
        snprintf(
            why, size,
            "it was built for ABI 1 of preforkd/module.h, which knows model = \"process\" alone");
    else
        snprintf(why, size, "it does not say that it can live in model = \"%s\"",
                 serve_model_words[model]);
    return -1;
}

/* 0, or -1 with the reason. Nothing is unloaded where it fails: the process ends. */
static int load(const char *pool, int model, const struct module_config *config, char *why,
                size_t size)
{
    void *object = dlopen(config->path, RTLD_NOW | RTLD_LOCAL);
    const struct preforkd_module *symbol = object ? dlsym(object, "preforkd_module") : NULL;
    loaded.host.pool = pool;
    loaded.host.args = config->args.at ? config->args.at : no_args;
    if (symbol)
        return take_symbol(symbol, why, size) != 0 ? -1 : match_model(model, why, size);
    snprintf(why, size, "%s",
             object ? "it has no symbol preforkd_module" : loader_says(config->path));
    return -1;
}

/* A module's word, in one line; it may have written anything, or nothing. */
static void read_why(char *why, size_t size)
{
    why[size - 1] = '\0';
    if (!why[0])
        snprintf(why, size, "it gave no reason");
}

/* --- the check -------------------------------------------------------------------------------- */

/* What the check tells of, and where. */
struct examination {
    const char *pool;
    const struct module_config *config;
    const struct origin *origin;
    struct faults *faults;
};

static void fault(const struct examination *exam, const char *option, const char *what,
                  const char *about, const char *why)
{
    faults_add(exam->faults, exam->origin->file, option_line(rows, exam->origin, option),
               "pool %s: module: %s%s%s", exam->pool, what, about, why);
}

static bool check_file(const struct examination *exam)
{
    struct stat file;
    const char *path = exam->config->path;
    if (path[0] != '/')
        fault(exam, "path", "the path ", path, " must be an absolute one");
    else if (stat(path, &file) != 0)
        faults_add(exam->faults, exam->origin->file, option_line(rows, exam->origin, "path"),
                   "pool %s: module: %s: %s", exam->pool, path, strerror(errno));
    else if (!S_ISREG(file.st_mode))
        fault(exam, "path", path, " is not a regular file", "");
    else if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
        faults_add(exam->faults, exam->origin->file, option_line(rows, exam->origin, "path"),
                   "pool %s: module: the pool's user can't read %s: %s", exam->pool, path,
                   strerror(errno));
    else
        return true;
    return false;
}

static bool check_args(const struct examination *exam)
{
    const struct words *args = &exam->config->args;
    unsigned before = exam->faults->count;
    for (int i = 0; i < args->count; i++) {
        const char *word = args->at[i];
        size_t length = strcspn(word, "=");
        if (length == 0 || word[length] != '=')
            fault(exam, "args", "args takes \"NAME=VALUE\", not \"", word, "\"");
        for (int j = 0; j < i; j++)
            if (length && strncmp(args->at[j], word, length + 1) == 0)
                fault(exam, "args", "args has the name of ", word, " twice");
    }
    return exam->faults->count == before;
}

static void module_check(const char *pool, int model, const void *config,
                         const struct origin *origin, struct faults *faults)
{
    char why[512] = "";
    const struct examination exam = {
        .pool = pool, .config = config, .origin = origin, .faults = faults};
    const char *path = exam.config->path;
    bool fit = check_args(&exam);
    if (!check_file(&exam) || !fit)
        return;
    if (load(pool, model, exam.config, why, sizeof why) != 0) {
        faults_add(faults, origin->file, option_line(rows, origin, "path"),
                   "pool %s: module: can't use %s: %s", pool, path, why);
        return;
    }
    if (!loaded.module.check || loaded.module.check(&loaded.host, why, sizeof why) == 0)
        return;
    read_why(why, sizeof why);
    faults_add(faults, origin->file, option_line(rows, origin, "args"),
               "pool %s: module: %s refuses its args: %s", pool, path, why);
}

/* --- in a worker ------------------------------------------------------------------------------ */

static const char *module_file(const void *config)
{
    return ((const struct module_config *)config)->path;
}

/* A file may be replaced before a reload says so. A worker born meanwhile takes what is there, as a
 * program would be; that its pool is not of one piece then should be known. */
static void tell_of_other_file(const struct service *service, const char *path)
{
    struct stat file;
    if (stat(path, &file) != 0)
        return;
    struct file_id now = file_id_of(&file);
    if (!file_id_equal(&now, service->file_id))
        log_notice("pool %s: a worker loads another %s than the one that was checked: reload "
                   "pool=%s module=%s",
                   service->pool, path, service->pool, path);
}

static int module_start(struct service *service, char *why, size_t size)
{
    char reason[512] = "";
    const struct module_config *config = service->config;
    environ = (char **)service->environment;
    tell_of_other_file(service, config->path);
    loaded.service = service;
    if (load(service->pool, service->model, config, reason, sizeof reason) != 0) {
        snprintf(why, size, "can't use %s: %s", config->path, reason);
        return -1;
    }
    if (!loaded.module.start ||
        loaded.module.start(&loaded.host, &loaded.state, reason, sizeof reason) == 0)
        return 0;
    read_why(reason, sizeof reason);
    snprintf(why, size, "%s can't start: %s", config->path, reason);
    return -1;
}

static int module_lane_start(struct service *service, char *why, size_t size)
{
    char reason[512] = "";
    const struct module_config *config = service->config;
    if (!loaded.module.lane_start ||
        loaded.module.lane_start(&loaded.host, loaded.state, &service->lane, reason,
                                 sizeof reason) == 0)
        return 0;
    read_why(reason, sizeof reason);
    snprintf(why, size, "%s can't start: %s", config->path, reason);
    return -1;
}

static void module_lane_stop(struct service *service)
{
    if (loaded.module.lane_stop)
        loaded.module.lane_stop(&loaded.host, loaded.state, service->lane);
}

/* Nothing on this way costs a system call; what a module changed in its process stays changed. */
static int module_serve(struct service *service, struct conn *conn)
{
    conn->lane = service->lane;
    conn->own = NULL;
    int error = loaded.module.serve(&loaded.host, (struct preforkd_conn *)conn, loaded.state);
    if (error == 0)
        return 0;
    return error < 0 && error >= -ERRNO_MOST ? error : -EPROTO;
}

/* A worker that does not come to its end would stay for as long as the daemon: SIGALRM ends it. */
static void module_stop(struct service *service)
{
    sigset_t alarms;
    (void)service;
    if (!loaded.module.stop)
        return;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    sigprocmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(STOP_SECONDS);
    loaded.module.stop(&loaded.host, loaded.state);
}

const struct handler handler_module = {
    .section = {.name = "module",
                .rows = rows,
                .size = sizeof(struct module_config),
                .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                .models = 1 << MODEL_THREAD | 1 << MODEL_EVENT},
    .has_environment = true,
    .checked_option = "path",
    .file = module_file,
    .check = module_check,
    .start = module_start,
    .lane_start = module_lane_start,
    .lane_stop = module_lane_stop,
    .serve = module_serve,
    .stop = module_stop,
};
