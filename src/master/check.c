#include "check.h"

#include "../base/clock.h"
#include "../base/daemon.h"
#include "../base/fd.h"
#include "../base/kernel.h"
#include "../base/log.h"
#include "../base/sysd.h"
#include "../base/text.h"
#include "../handlers/handler.h"
#include "../handlers/program.h"
#include "../worker/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    KILLED_SECONDS = 2, /* until a child that was killed must have ended */
    PROBE_SECONDS = 5,  /* for one pool */
    PROBE_ARENA = 4 * 1024 * 1024,
    REPORT_TEXT = 1024,
    SHARED_MAX = 64,
    PIPE_READS = 32,           /* of what a probe has left in its pipe */
    OUTPUT_LENGTH = 512,       /* bytes of a line that a probe prints; the rest of it is cut */
    OUTPUT_LINES = 100,        /* that a probe prints; the others are counted */
    FAULTS_ROOM = 1280 * 1024, /* for all faults that may be added after the check */
    STATUS_GOOD = 0,
    STATUS_FAULTS = 1,
};

static void die_with_parent(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(STATUS_FAULTS);
}

/* Blocks the master's signals, because `pkill -HUP preforkd` must not end a check. The child still
 * ends with its parent, or by SIGKILL when its time is up. */
void check_become_child(pid_t parent)
{
    static const int signals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                                  SIGUSR2, SIGTTIN, SIGTTOU, SIGWINCH};
    sigset_t blocked;
    sigemptyset(&blocked);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaddset(&blocked, signals[i]);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    die_with_parent(parent);
}

/* What a probe reports to its parent, in memory that both share. A handler may load foreign code,
 * which can write anything here at any time, and can leave a process that still writes after the
 * probe's end. So the report has neither pointers nor lengths, and the reader copies each part
 * before it checks it. A lie has one effect: a wrong message about the liar's own pool. */
struct report {
    int finished;           /* the probe has run to its end */
    struct file_id file_id; /* of the handler's file */
    unsigned count;         /* of faults, also of those that don't fit here */
    struct {
        int line;
        char text[REPORT_TEXT];
    } faults[FAULTS_MAX];
};

/* Unmaps writable shared memory except the report: at a reload, what the master shares with its
 * workers. Without /proc there is no list of it. */
static void unmap_shared_memory(const struct report *report)
{
    struct {
        uintptr_t from, to;
    } shared[SHARED_MAX];
    char line[512], rights[5];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && count < SHARED_MAX && fgets(line, sizeof line, maps)) {
        int n = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &shared[count].from,
                       &shared[count].to, rights);
        count += n == 3 && rights[1] == 'w' && rights[3] == 's' &&
                 shared[count].from != (uintptr_t)report;
    }
    if (maps)
        fclose(maps);
    for (int i = 0; i < count; i++)
        munmap((void *)shared[i].from, shared[i].to - shared[i].from);
}

/* Cuts the probe off from its parent: makes the configuration a private copy, and closes every
 * descriptor but the log's. The parent forwards what the probe prints to standard error, so none of
 * it gets into the output of -T. */
static int isolate(const struct config *config, const struct pool_config *pool, int output,
                   const struct report *report)
{
    int log_fds[2];
    log_enter_child(/* cut_off: */ pool->chroot != NULL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    int error = fd_keep_only(log_fds, log_descriptors(log_fds));
    if (error == 0)
        error = arena_own(config->arena, 0);
    unmap_shared_memory(report);
    return error;
}

/* Runs with the pool's privileges. */
static void check_handler(const struct pool_config *pool, struct report *report,
                          struct faults *faults)
{
    const struct handler *handler = handler_of(pool->handler);
    struct stat file;
    if (handler->has_environment || handler->runs_programs)
        environ = program_environment(pool);
    if (handler->file && stat(handler->file(pool->handler_config), &file) == 0)
        report->file_id = file_id_of(&file);
    if (handler->check)
        handler->check(&(struct handler_check){.pool = pool->name,
                                               .section = pool->handler,
                                               .origin = &pool->handler_origin,
                                               .config = pool->handler_config,
                                               .model = pool->model,
                                               .faults = faults});
}

static _Noreturn void probe_child(const struct config *config, const struct pool_config *pool,
                                  struct report *report, int output, pid_t parent)
{
    const struct handler *handler = handler_of(pool->handler);
    struct privileges_refusal refusal = {.option = "", .why = "out of memory"};
    struct faults faults;
    check_become_child(parent);
    int error = isolate(config, pool, output, report);
    struct arena *arena = error ? NULL : arena_open(PROBE_ARENA); /* after the fork: private */
    if (!arena)
        _exit(STATUS_FAULTS);
    faults_init(&faults, arena);
    /* Loads with our privileges, before the pool's are taken. */
    error = handler->load ? handler->load(refusal.why, sizeof refusal.why) : 0;
    if (error == 0)
        error = privileges_enter(pool, handler->calls, &refusal);
    die_with_parent(parent); /* again, because a change of user clears it */
    if (error == 0) {
        check_handler(pool, report, &faults);
        error = privileges_drop_calls(pool, handler->calls, &refusal);
    }
    if (error) {
        bool limit = option_is_set(limit_rows, &pool->limits_origin, refusal.option);
        int line = limit ? option_line(limit_rows, &pool->limits_origin, refusal.option)
                         : option_line(pool_rows, &pool->origin, refusal.option);
        faults_add(&faults, pool->origin.file, line, "pool %s: %s", pool->name, refusal.why);
    }
    unsigned at = 0;
    for (const struct fault *f = faults.first; f && at < FAULTS_MAX; f = f->next, at++) {
        report->faults[at].line = f->line;
        snprintf(report->faults[at].text, REPORT_TEXT, "%s", f->text);
    }
    report->count = faults.count;
    report->finished = 1;
    _exit(STATUS_GOOD);
}

/* What a probe prints. */
struct output {
    int fd; /* the reading end of its pipe; -1: at its end */
    const char *pool;
    unsigned lines;
    size_t length; /* of the line that has no end yet; above OUTPUT_LENGTH, the line is cut */
    char line[OUTPUT_LENGTH];
};

/* Forwards a line, whole and with the pool's name before it, so that it passes for no line of ours:
 * the master may log to the same standard error meanwhile. */
static void forward_line(struct output *output)
{
    char shown[TEXT_CLEAN(OUTPUT_LENGTH)], text[sizeof shown + POOL_NAME_MAX + 32];
    bool cut = output->length > OUTPUT_LENGTH;
    text_escape(shown, sizeof shown, output->line, cut ? OUTPUT_LENGTH : output->length);
    output->length = 0;
    if (output->lines++ >= OUTPUT_LINES)
        return;
    int size = snprintf(text, sizeof text, "pool %s: its check: %s%s\n", output->pool, shown,
                        cut ? " [cut]" : "");
    fd_write(STDERR_FILENO, text, (size_t)size);
}

/* Reads what a probe prints, and forwards each line that ends. With our standard error as its own,
 * the probe could shut it down, or type at our terminal. The read does not block, even if the probe
 * opens the pipe anew and reads first what poll(2) has seen. */
static void forward_output(struct output *output)
{
    char text[4096];
    ssize_t n = read(output->fd, text, sizeof text);
    for (ssize_t i = 0; i < n; i++) {
        if (text[i] == '\n')
            forward_line(output);
        else if (output->length++ < OUTPUT_LENGTH)
            output->line[output->length - 1] = text[i];
    }
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        output->fd = -1; /* poll(2) ignores it; probe() closes the pipe */
}

/* Forwards what is left in the pipe. A process that the probe has left may write for ever, so the
 * number of reads is bounded. */
static void forward_rest(struct output *output)
{
    struct pollfd end = {.fd = output->fd, .events = POLLIN};
    for (int i = 0; i < PIPE_READS && output->fd >= 0 && poll(&end, 1, 0) > 0; i++)
        forward_output(output);
    if (output->length)
        forward_line(output);
    if (output->lines > OUTPUT_LINES)
        dprintf(STDERR_FILENO, "pool %s: its check: %u more lines were left out\n", output->pool,
                output->lines - OUTPUT_LINES);
}

/* Waits until the child ends or its time is up. Returns whether it has ended, without reaping it.
 * Without a pidfd returns true at once: reap() then waits as long as our own parent lets us. */
static bool await_end(pid_t pid, int seconds, struct output *output)
{
    struct pollfd ends[] = {{.fd = kernel_pidfd_open(pid), .events = POLLIN},
                            {.fd = -1, .events = POLLIN}};
    usec deadline = clock_now() + seconds * USEC_SECOND, now;
    bool ended = ends[0].fd < 0;
    while (!ended && (now = clock_now()) < deadline) {
        ends[1].fd = output ? output->fd : -1;
        if (poll(ends, 2, (int)((deadline - now) / 1000) + 1) <= 0)
            continue;
        ended = ends[0].revents;
        if (ends[1].revents)
            forward_output(output);
    }
    if (ends[0].fd >= 0)
        close(ends[0].fd);
    return ended;
}

static void reap(pid_t pid, int *status)
{
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        continue;
}

static void take_report(const struct pool_config *pool, struct faults *faults,
                        const struct report *report)
{
    unsigned count = report->count;
    for (unsigned i = 0; i < count && i < FAULTS_MAX; i++) {
        char text[REPORT_TEXT], shown[REPORT_TEXT];
        int line = report->faults[i].line;
        memcpy(text, report->faults[i].text, sizeof text);
        text_escape(shown, sizeof shown, text, strnlen(text, sizeof text));
        faults_add(faults, pool->origin.file, line > 0 ? line : pool->origin.line, "%s", shown);
    }
}

static void watch_probe(const struct pool_config *pool, struct faults *faults, pid_t pid,
                        struct output *output, const struct report *report)
{
    const struct handler *handler = handler_of(pool->handler);
    const char *name = pool->handler->name, *file = pool->origin.file;
    int status = 0, line = pool->origin.line; /* of the option that names what the probe has run */
    if (handler->checked_option)
        line = option_line(pool->handler->rows, &pool->handler_origin, handler->checked_option);
    bool ended = await_end(pid, PROBE_SECONDS, output);
    if (!ended)
        kill(pid, SIGKILL);
    reap(pid, &status);
    forward_rest(output);
    if (!ended)
        faults_add(faults, file, line, "pool %s: %s: its check took more than %d s", pool->name,
                   name, PROBE_SECONDS);
    else if (report->finished)
        take_report(pool, faults, report);
    else if (WIFSIGNALED(status))
        faults_add(faults, file, line, "pool %s: %s: it crashed in its check by signal %d (%s)",
                   pool->name, name, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        faults_add(faults, file, line,
                   "pool %s: %s: it ended the process in its check, with exit status %d",
                   pool->name, name, WEXITSTATUS(status));
    /* A pool's configuration is const, but this is a part of reading it. */
    struct pool_config *filled = (struct pool_config *)pool;
    filled->file = handler->file ? handler->file(pool->handler_config) : NULL;
    filled->file_id = report->file_id;
}

static void add_probe_fault(struct faults *faults, const struct pool_config *pool, const char *what)
{
    faults_add(faults, pool->origin.file, pool->origin.line, "pool %s: %s: %s", pool->name, what,
               strerror(errno));
}

static void probe(const struct config *config, const struct pool_config *pool,
                  struct faults *faults)
{
    pid_t parent = getpid();
    int output[2];
    if (pipe2(output, O_CLOEXEC) != 0 || fd_set_nonblocking(output[0], true) != 0) {
        add_probe_fault(faults, pool, "no pipe for its check");
        return;
    }
    struct report *report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    pid_t pid = report == MAP_FAILED ? -1 : fork();
    if (pid == 0)
        probe_child(config, pool, report, output[1], parent);
    if (pid < 0)
        add_probe_fault(faults, pool, "can't fork its check");
    close(output[1]);
    if (pid > 0)
        watch_probe(pool, faults, pid, &(struct output){.fd = output[0], .pool = pool->name},
                    report);
    close(output[0]);
    if (report != MAP_FAILED)
        munmap(report, sizeof *report);
}

/* Whether the pool has no fault, so that its handler can be checked. Its faults stand between its
 * line and the next pool of its file; one that is not kept may be anyone's. A pool whose user is
 * wrong has none, and must not be checked as root: the fault may be the global option's. */
static bool is_sound(const struct config *config, const struct pool_config *pool)
{
    int next = INT_MAX; /* line of another pool */
    for (int i = 0; i < config->pool_count; i++) {
        const struct origin *other = &config->pools[i]->origin;
        if (other->line > pool->origin.line && other->line < next &&
            strcmp(other->file, pool->origin.file) == 0)
            next = other->line;
    }
    for (const struct fault *f = config->faults.first; f; f = f->next)
        if (f->line >= pool->origin.line && f->line < next &&
            strcmp(f->file, pool->origin.file) == 0)
            return false;
    return pool->handler && pool->identity.user && config->faults.count <= FAULTS_MAX;
}

static _Noreturn void check_child(struct config *config, const char *file, pid_t parent)
{
    int kept[2];
    bool whole = false;
    check_become_child(parent);
    log_enter_child(/* cut_off: */ false);
    int error = fd_keep_only(kept, log_descriptors(kept));
    char title[256];
    snprintf(title, sizeof title, "preforkd: checking %s", file);
    daemon_title(title);
    privileges_prepare();
    if (error)
        faults_add(&config->faults, file, 0, "can't be checked: %s", strerror(-error));
    else
        whole = config_load(config, file, handler_sections);
    for (int i = 0; whole && i < config->pool_count; i++) {
        config_step(config);
        if (is_sound(config, config->pools[i]))
            probe(config, config->pools[i], &config->faults);
    }
    _exit(config->faults.count == 0 ? STATUS_GOOD : STATUS_FAULTS);
}

/* Only the child may write to the configuration, so a worker that is forked during the check does
 * not get the memory. */
pid_t check_start(struct config *config, const char *file)
{
    pid_t parent = getpid();
    int error = arena_share(config->arena);
    if (error)
        return error;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        check_child(config, file, parent);
    if (pid < 0)
        return -errno;
    error = arena_withhold(config->arena);
    if (error) { /* the kernel never refuses this; nothing that the child wrote is read */
        kill(pid, SIGKILL);
        return error;
    }
    return pid;
}

/* Makes the arena private, because the configuration says as which user the next workers run: no
 * process that shared it can change it any more, and workers get a copy. */
static bool take_arena(struct config *config, const char *file)
{
    int error = arena_own(config->arena, FAULTS_ROOM);
    if (error)
        faults_add(&config->faults, file, 0, "can't keep it: %s", strerror(-error));
    return error == 0;
}

/* Sets the only fault of a configuration that must not be read: if something else killed the child,
 * the arena may be half written. */
static void set_only_fault(struct config *config, const char *file, const char *what)
{
    if (!take_arena(config, file))
        return;
    faults_init(&config->faults, config->arena);
    faults_add(&config->faults, file, 0, "%s", what);
}

bool check_goes_on(const struct config *config, unsigned *seen)
{
    unsigned steps = atomic_load_explicit(&config->steps, memory_order_relaxed);
    bool more = steps != *seen;
    *seen = steps;
    return more;
}

bool check_passed(struct config *config, const char *file, int status, bool late)
{
    char text[128];
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_GOOD && config->faults.count == 0)
        return take_arena(config, file);
    if (late && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        faults_add(&config->faults, file, 0, "the check made no progress for %d s",
                   CHECK_STEP_SECONDS);
    } else if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "the check was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
        set_only_fault(config, file, text);
    } else if (config->faults.count == 0) {
        faults_add(&config->faults, file, 0, "the check exited with status %d",
                   WEXITSTATUS(status));
    }
    return false;
}

bool check_config(struct config *config, const char *file)
{
    int status;
    unsigned steps = 0;
    bool ended;
    pid_t pid = check_start(config, file);
    if (pid < 0) {
        faults_add(&config->faults, file, 0, "can't fork the check: %s", strerror((int)-pid));
        return false;
    }
    do {
        /* The steps together may last longer than systemd waits for a start. After an upgrade this
         * also delays the watchdog, which nobody feeds meanwhile. */
        sysd_notify("EXTEND_TIMEOUT_USEC=%lld",
                    (long long)((CHECK_STEP_SECONDS + 30) * USEC_SECOND));
        ended = await_end(pid, CHECK_STEP_SECONDS, NULL);
    } while (!ended && check_goes_on(config, &steps));
    if (!ended)
        kill(pid, SIGKILL);
    if (!ended && !await_end(pid, KILLED_SECONDS, NULL)) {
        set_only_fault(config, file, CHECK_STUCK);
        return false;
    }
    reap(pid, &status);
    return check_passed(config, file, status, !ended);
}
