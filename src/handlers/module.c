/*
 * module - a shared object with the interface of preforkd/module.h, loaded by each worker.
 *
 * The master never loads a module: it is foreign code, which may crash, hang and lie. A worker
 * loads it once it has become the pool's user, and so does the child that checks a configuration.
 * We give the module a table of functions and a handle.
 */
#include "../module/preforkd/module.h"

#include "../base/log.h"
#include "../board/exitcode.h"
#include "handler.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    STOP_SECONDS = 5,  /* how long a module's stop may take */
    ERRNO_MOST = 4095, /* the kernel's largest */
    LINE_MAX_BYTES = 1500,
};

_Static_assert((int)PREFORKD_PEER_TEXT >= (int)ADDR_TEXT,
               "every peer has room in what the header promises");

struct module_config {
    const char *path;
    struct words args;
};

static const struct option_row rows[] = {
    OPTION_ROW(module_config, path, "path", TEXT, .min = 1, .max = 4095, .flags = OPTION_REQUIRED),
    OPTION_ROW(module_config, args, "args", WORDS, .max = 1000),
    OPTION_END,
};

/* The module of this process; its initializer stands below the functions that it names. */
static struct loaded {
    struct preforkd_host host;
    struct preforkd_module module; /* a copy; members beyond the module's size are NULL */
    void *state;
    const struct service *service; /* NULL in a check */
} loaded;

/* --- the functions for the module ------------------------------------------------------------- */

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
    int clamped = level < LOG_ERR ? LOG_ERR : level > LOG_DEBUG ? LOG_DEBUG : level;
    if (!log_wanted(clamped))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_event(clamped, "pool %s: %s pool=%s", host->pool, text, host->pool);
}

static int host_stopping(const struct preforkd_host *host)
{
    (void)host;
    return loaded.service && *loaded.service->stopping;
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

/* What the module does with the socket from now on is not counted. */
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

/* What poll(2) takes. Of the other bits, epoll gives some a meaning of its own. */
enum {
    EVENTS_OF_POLL = POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLERR | POLLHUP | POLLRDNORM |
                     POLLRDBAND | POLLWRNORM | POLLWRBAND
};

static int host_wait(struct preforkd_conn *conn, short events, int msec)
{
    if (events & ~EVENTS_OF_POLL)
        return -EINVAL;
    return conn_wait(conn_of(conn), events, clock_now() + (usec)msec * 1000);
}

static const char *const no_args[] = {NULL};

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

/* If dlopen(3) failed on the file itself, its text begins with the path, which our sentence already
 * has. */
static const char *loader_error(const char *path)
{
    const char *text = dlerror();
    size_t length = strlen(path);
    if (!text)
        return "the loader gave no reason";
    return strncmp(text, path, length) == 0 && strncmp(text + length, ": ", 2) == 0
               ? text + length + 2
               : text;
}

/* Copies the module's struct, as far as its size says. */
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

/* Whether the module can serve in the pool's model. ABI 1 has no word for that. */
static int check_model(int model, char *why, size_t size)
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

/* 0, or -1 with the reason. After a failure nothing is unloaded, because the process ends. */
static int load(const char *pool, int model, const struct module_config *config, char *why,
                size_t size)
{
    void *object = dlopen(config->path, RTLD_NOW | RTLD_LOCAL);
    const struct preforkd_module *symbol = object ? dlsym(object, "preforkd_module") : NULL;
    loaded.host.pool = pool;
    loaded.host.args = config->args.at ? config->args.at : no_args;
    if (symbol)
        return take_symbol(symbol, why, size) != 0 ? -1 : check_model(model, why, size);
    snprintf(why, size, "%s",
             object ? "it has no symbol preforkd_module" : loader_error(config->path));
    return -1;
}

/* Ends the module's reason with a NUL; the module may have written anything, or nothing. */
static void tidy_why(char *why, size_t size)
{
    why[size - 1] = '\0';
    if (!why[0])
        snprintf(why, size, "it gave no reason");
}

/* --- the check -------------------------------------------------------------------------------- */

static bool check_file(const struct handler_check *check, const char *path)
{
    struct stat file;
    if (path[0] != '/')
        HANDLER_FAULT(check, "path", "the path %s must be an absolute one", path);
    else if (stat(path, &file) != 0)
        HANDLER_FAULT(check, "path", "%s: %s", path, strerror(errno));
    else if (!S_ISREG(file.st_mode))
        HANDLER_FAULT(check, "path", "%s is not a regular file", path);
    else if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
        HANDLER_FAULT(check, "path", "the pool's user can't read %s: %s", path, strerror(errno));
    else
        return true;
    return false;
}

static bool check_args(const struct handler_check *check, const struct words *args)
{
    unsigned before = check->faults->count;
    for (int i = 0; i < args->count; i++) {
        const char *word = args->at[i];
        size_t length = strcspn(word, "=");
        if (length == 0 || word[length] != '=')
            HANDLER_FAULT(check, "args", "args takes \"NAME=VALUE\", not \"%s\"", word);
        for (int j = 0; j < i; j++)
            if (length && strncmp(args->at[j], word, length + 1) == 0)
                HANDLER_FAULT(check, "args", "args has the name of %s twice", word);
    }
    return check->faults->count == before;
}

static void module_check(const struct handler_check *check)
{
    char why[512] = "";
    const struct module_config *config = check->config;
    bool fit = check_args(check, &config->args);
    if (!check_file(check, config->path) || !fit)
        return;
    if (load(check->pool, check->model, config, why, sizeof why) != 0) {
        HANDLER_FAULT(check, "path", "can't use %s: %s", config->path, why);
        return;
    }
    if (!loaded.module.check || loaded.module.check(&loaded.host, why, sizeof why) == 0)
        return;
    tidy_why(why, sizeof why);
    HANDLER_FAULT(check, "args", "%s refuses its args: %s", config->path, why);
}

/* --- the worker ------------------------------------------------------------------------------- */

static const char *module_file(const void *config)
{
    return ((const struct module_config *)config)->path;
}

/* The file may be replaced before a reload. A worker that starts meanwhile loads the new file, as
 * it would with a program; but the pool's workers differ then, so log it. */
static void warn_if_replaced(const struct service *service, const char *path)
{
    struct stat file;
    char value[LOG_QUOTED(PATH_MAX)];
    if (stat(path, &file) != 0)
        return;
    struct file_id now = file_id_of(&file);
    if (!file_id_equal(&now, service->file_id))
        log_notice("pool %s: a worker loads another %s than the one that was checked: reload "
                   "pool=%s module=%s",
                   service->pool, path, service->pool, log_quoted(value, sizeof value, path));
}

/* If foreign code ends the main thread by pthread_exit(3), the process goes on as long as the
 * module has another thread, and nobody serves. So the process ends then, as by exit(3). */
static void end_process(void *set)
{
    (void)set;
    _exit(WORKER_RETIRED);
}

/* 0 or an errno. A key's destructor runs at the end of a thread that has set it, whichever stack
 * the thread was on. */
static int end_with_main_thread(void)
{
    static pthread_key_t key;
    int error = pthread_key_create(&key, end_process);
    return error ? error : pthread_setspecific(key, &key);
}

static int module_start(struct service *service, char *why, size_t size)
{
    char reason[512] = "";
    const struct module_config *config = service->config;
    int error = end_with_main_thread();
    if (error) {
        snprintf(why, size, "can't watch its thread: %s", strerror(error));
        return -1;
    }
    environ = (char **)service->environment;
    warn_if_replaced(service, config->path);
    loaded.service = service;
    if (load(service->pool, service->model, config, reason, sizeof reason) != 0) {
        snprintf(why, size, "can't use %s: %s", config->path, reason);
        return -1;
    }
    if (!loaded.module.start ||
        loaded.module.start(&loaded.host, &loaded.state, reason, sizeof reason) == 0)
        return 0;
    tidy_why(reason, sizeof reason);
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
    tidy_why(reason, sizeof reason);
    snprintf(why, size, "%s can't start: %s", config->path, reason);
    return -1;
}

static void module_lane_stop(struct service *service)
{
    if (loaded.module.lane_stop)
        loaded.module.lane_stop(&loaded.host, loaded.state, service->lane);
}

/* No system call is made here. What a module changed in its process stays changed. */
static int module_serve(struct service *service, struct conn *conn)
{
    conn->lane = service->lane;
    conn->own = NULL;
    int error = loaded.module.serve(&loaded.host, (struct preforkd_conn *)conn, loaded.state);
    if (error == 0)
        return 0;
    return error < 0 && error >= -ERRNO_MOST ? error : -EPROTO;
}

/* SIGALRM ends a worker whose module does not return; else it would stay for as long as the
 * daemon. */
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
