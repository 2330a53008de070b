#include "upgrade.h"

#include "../base/daemon.h"
#include "../base/fd.h"
#include "../base/log.h"
#include "../base/sysd.h"
#include "check.h"

#include "build-config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIABLE      "PREFORKD_STATE"
#define TRIAL_TIMEOUT (30 * USEC_SECOND)
#define RETRY         (60 * USEC_SECOND)

enum { STATUS_NO_PROGRAM = 127 };

extern char **environ;

void upgrade_init(struct upgrade *upgrade, const struct upgrade_self *self, struct control *control)
{
    *upgrade =
        (struct upgrade){.self = *self, .control = control, .out.watch.fd = -1, .err.watch.fd = -1};
}

/* The state, from binary to binary. */

int upgrade_state_fd(void)
{
    const char *value = getenv(VARIABLE);
    char *end;
    long fd = value ? strtol(value, &end, 10) : -1;
    if (!value || end == value || *end || fd <= STDERR_FILENO || fd > 1 << 30)
        return -1;
    unsetenv(VARIABLE);
    fd_set_inherited((int)fd, false);
    return (int)fd;
}

static int set_variable(int fd)
{
    char value[16];
    snprintf(value, sizeof value, "%d", fd);
    return setenv(VARIABLE, value, true) == 0 ? 0 : -errno;
}

int upgrade_read(int fd, struct state *state, char *why, size_t size)
{
    struct stat file;
    void *text = MAP_FAILED;
    *state = (struct state){0};
    if (fstat(fd, &file) == 0 && file.st_size > 0)
        text = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED) {
        snprintf(why, size, "it is empty, or no file");
        return -1;
    }
    int result = state_read(state, text, (size_t)file.st_size, why, size);
    munmap(text, (size_t)file.st_size);
    return result;
}

static void save_daemon(const struct upgrade *upgrade, const struct runtime *runtime,
                        struct state *state)
{
    struct state_daemon *daemon = state_add(state, STATE_DAEMON);
    const struct log_config *log = &runtime->config->log;
    const struct overview *overview = runtime->spawner.boards.overview;
    *daemon = (struct state_daemon){
        .version = PREFORKD_VERSION,
        .generation = runtime->generation,
        .started = overview->started,
        .started_at = overview->started_at,
        .reloads = overview->reloads,
        .reloads_refused = overview->reloads_refused,
        .upgrades = overview->upgrades,
        .reloaded = overview->reloaded,
        .pidfile_fd = upgrade->self.pidfile_fd,
        .nofile = (long long)daemon_first_nofile(),
        .log_level = log->level,
        .log_facility = log->facility,
        .log_json = log->format_choice == LOG_FORMAT_JSON,
    };
    snprintf(daemon->log_ident, sizeof daemon->log_ident, "%s", log->ident);
    snprintf(daemon->refusal, sizeof daemon->refusal, "%s", overview->refusal);
}

/* Writes it into a memory file of its own, whose descriptor it returns; or -errno. */
static int write_state(const struct state *state)
{
    int fd = memfd_create("preforkd-state", MFD_CLOEXEC);
    int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
    if (out) {
        state_write(state, out);
        if (!ferror(out) && fclose(out) == 0)
            return fd;
    } else if (copy >= 0) {
        close(copy);
    }
    int error = errno ? -errno : -EIO;
    if (fd >= 0)
        close(fd);
    return error;
}

/* The descriptor of the state of this moment; or -errno. The state is filled in too, and to be
 * freed. */
static int make_state(const struct upgrade *upgrade, const struct runtime *runtime,
                      struct state *state)
{
    save_daemon(upgrade, runtime, state);
    int error = handoff_save(runtime, state);
    if (!control_save(upgrade->control, state) || state->cut)
        error = -ENOMEM;
    return error ? error : write_state(state);
}

/* The trial. */

static ssize_t read_stream(struct upgrade_stream *stream)
{
    char dropped[1024];
    size_t room = sizeof stream->text - 1 - stream->length;
    ssize_t n = room ? read(stream->watch.fd, stream->text + stream->length, room)
                     : read(stream->watch.fd, dropped, sizeof dropped);
    if (n > 0 && room)
        stream->length += (size_t)n;
    stream->text[stream->length] = '\0';
    return n;
}

static void close_stream(struct upgrade_stream *stream)
{
    if (stream->watch.fd < 0)
        return;
    loop_remove(stream->loop, &stream->watch);
    close(stream->watch.fd);
    stream->watch.fd = -1;
}

static void stream_ready(void *owner)
{
    struct upgrade_stream *stream = owner;
    ssize_t n = read_stream(stream);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_stream(stream);
}

/* Its writing end; or -errno. */
static int open_stream(struct upgrade_stream *stream, struct loop *loop)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    *stream = (struct upgrade_stream){
        .watch = {.fd = ends[0], .ready = stream_ready, .owner = stream}, .loop = loop};
    fd_set_nonblocking(ends[0], true);
    int error = loop_add(loop, &stream->watch);
    if (!error)
        return ends[1];
    close(ends[1]);
    close(ends[0]);
    stream->watch.fd = -1;
    return error;
}

/* Reads what is left in the pipes, though a process may still hold them open. */
static void close_streams(struct upgrade *upgrade)
{
    struct upgrade_stream *streams[] = {&upgrade->out, &upgrade->err};
    for (int i = 0; i < 2; i++) {
        while (streams[i]->watch.fd >= 0 && streams[i]->length < sizeof streams[i]->text - 1 &&
               read_stream(streams[i]) > 0)
            continue;
        close_stream(streams[i]);
    }
}

/* The pid of the trial, which adopts all that the state names, as if it were the master already; or
 * -errno. */
static pid_t fork_trial(struct upgrade *upgrade, struct loop *loop, const struct state *state,
                        int state_fd)
{
    int out __attribute__((cleanup(fd_cleanup))) = open_stream(&upgrade->out, loop);
    int err __attribute__((cleanup(fd_cleanup))) = out < 0 ? out : open_stream(&upgrade->err, loop);
    if (err < 0)
        return err;
    /* The child does not get the memory in which the master's state lies. */
    const char *const arguments[] = {upgrade->self.program, "-t", "-c", upgrade->self.config, NULL};
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid < 0 ? -errno : pid;
    check_become_child(parent);
    setpgid(0, 0);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    handoff_inherit(state, true);
    fd_set_inherited(state_fd, true);
    if (set_variable(state_fd) == 0)
        execv(arguments[0], (char *const *)arguments);
    dprintf(STDERR_FILENO, "%s: %s\n", arguments[0], strerror(errno));
    _exit(STATUS_NO_PROGRAM);
}

/* A line for the caller. */
static void note_refusal(struct upgrade *upgrade, const char *line)
{
    size_t used = strlen(upgrade->refusal);
    snprintf(upgrade->refusal + used, sizeof upgrade->refusal - used, "%s\n", line);
}

static void refuse(struct upgrade *upgrade, const char *why)
{
    note_refusal(upgrade, why);
    log_err("upgrade refused: %s; preforkd %s keeps running", why, PREFORKD_VERSION);
    close_streams(upgrade);
    upgrade->phase = UPGRADE_NONE;
}

static void begin_trial(struct upgrade *upgrade, const struct runtime *runtime, usec now)
{
    char why[100];
    struct state state = {0};
    upgrade->wanted = false;
    upgrade->refusal[0] = '\0';
    upgrade->began = now;
    upgrade->deadline = now + TRIAL_TIMEOUT;
    log_notice("upgrade: trying %s", upgrade->self.program);
    int state_fd __attribute__((cleanup(fd_cleanup))) = make_state(upgrade, runtime, &state);
    pid_t pid =
        state_fd < 0 ? state_fd : fork_trial(upgrade, runtime->spawner.loop, &state, state_fd);
    state_free(&state);
    upgrade->phase = UPGRADE_TRYING;
    if (pid < 0) {
        snprintf(why, sizeof why, "can't try the binary: %s", strerror((int)-pid));
        refuse(upgrade, why);
        return;
    }
    setpgid(pid, pid); /* here or there, the first counts; it may be killed from now on */
    upgrade->trial = pid;
}

/* Whether the binary may replace us; if not, why. */
static bool has_passed(const struct upgrade *upgrade, int status, char *why, size_t size)
{
    const char *program = upgrade->self.program;
    /* It printed the word, on a line of its own. */
    const char *out = upgrade->out.text, *at = strstr(out, UPGRADE_UNDERSTOOD "\n");
    bool understood = at && (at == out || at[-1] == '\n');
    if (WIFSIGNALED(status) && upgrade->deadline == USEC_NEVER)
        snprintf(why, size, "%.100s -t took more than %d s", program,
                 (int)(TRIAL_TIMEOUT / USEC_SECOND));
    else if (WIFSIGNALED(status))
        snprintf(why, size, "%.100s -t was killed by signal %d (%s)", program, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == STATUS_NO_PROGRAM)
        snprintf(why, size, "%.100s can't be executed", program);
    else if (WEXITSTATUS(status) != 0)
        snprintf(why, size, "%.100s -t exited with status %d", program, WEXITSTATUS(status));
    else if (!understood)
        snprintf(why, size, "%.100s can't use the state of the running daemon", program);
    else
        return true;
    return false;
}

bool upgrade_reaped(struct upgrade *upgrade, pid_t pid, int status)
{
    char why[200], text[sizeof upgrade->err.text], *rest = text, *line;
    if (!upgrade->trial || pid != upgrade->trial)
        return false;
    kill(-pid, SIGKILL); /* what it may have left running */
    upgrade->trial = 0;
    close_streams(upgrade);
    if (upgrade->phase != UPGRADE_TRYING)
        return true;
    upgrade->phase = UPGRADE_PASSED;
    if (has_passed(upgrade, status, why, sizeof why))
        return true;
    memcpy(text, upgrade->err.text, sizeof text);
    while ((line = strsep(&rest, "\n")))
        if (*line) {
            log_err("upgrade: %s", line);
            note_refusal(upgrade, line);
        }
    refuse(upgrade, why);
    return true;
}

/* The hand-over. */

/* A worker's exit that is not logged yet would be forgotten. */
static bool is_quiet(const struct runtime *runtime)
{
    for (const struct pool *p = runtime->pools; p; p = p->next)
        for (const struct worker *w = p->workers; w; w = w->next)
            if (!w->exit_handled)
                return false;
    return true;
}

/* Signals stay blocked all the while: what comes now, the other binary takes. Returns only if it
 * can't be executed. */
static int execute(const struct upgrade *upgrade, const struct state *state, int state_fd)
{
    int error = set_variable(state_fd);
    if (error)
        return error;
    sysd_hand_on();
    handoff_inherit(state, true);
    fd_set_inherited(state_fd, true);
    execve(upgrade->self.program, (char *const *)upgrade->self.arguments, environ);
    error = -errno;
    handoff_inherit(state, false);
    sysd_take_back();
    unsetenv(VARIABLE);
    return error;
}

static void hand_over(struct upgrade *upgrade, const struct runtime *runtime)
{
    char why[200];
    struct state state = {0};
    stderr_log_flush(runtime->spawner.lines);
    control_part(upgrade->control);
    int state_fd __attribute__((cleanup(fd_cleanup))) = make_state(upgrade, runtime, &state);
    log_notice("upgrade: preforkd %s hands over to %s", PREFORKD_VERSION, upgrade->self.program);
    int error = state_fd < 0 ? state_fd : execute(upgrade, &state, state_fd);
    state_free(&state);
    snprintf(why, sizeof why, "can't execute %.100s: %s", upgrade->self.program, strerror(-error));
    refuse(upgrade, why);
}

/* In the new binary. */

void upgrade_arrive(struct upgrade *upgrade, const struct state *state)
{
    const struct state_daemon *daemon = state_at(state, STATE_DAEMON, 0);
    upgrade->phase = UPGRADE_ARRIVING;
    upgrade->began = clock_now();
    upgrade->deadline = 0;
    memcpy(upgrade->from, daemon->version, sizeof upgrade->from);
    log_notice("upgrade: preforkd %s takes over from %s pools=%d workers=%d listeners=%d",
               PREFORKD_VERSION, upgrade->from, state->lists[STATE_POOL].count,
               state->lists[STATE_WORKER].count, state->lists[STATE_LISTENER].count);
}

static void finish(struct upgrade *upgrade, const struct runtime *runtime,
                   const struct reload *reload, usec now)
{
    const struct reload_result *result = reload_result(reload, upgrade->ticket);
    if (result && result->refused) {
        /* It is the new binary all the same; but the caller does not get to know that all is
         * well. */
        char line[512];
        const struct buffer *faults = &result->faults; /* lines, of which the first is enough */
        const char *end = faults->at ? memchr(faults->at, '\n', faults->used) : NULL;
        snprintf(line, sizeof line, "upgraded, but the %.*s", end ? (int)(end - faults->at) : 0,
                 end ? faults->at : "");
        note_refusal(upgrade, line);
    }
    runtime->spawner.boards.overview->upgrades++;
    upgrade->phase = UPGRADE_NONE;
    log_notice("upgraded from preforkd %s to %s generation=%u seconds=%.3f", upgrade->from,
               PREFORKD_VERSION, runtime->generation, clock_seconds(now - upgrade->began));
}

/* The reload that makes the pools ours; tried again if it is refused, for until then no worker that
 * ends is replaced. */
static usec await_reload(struct upgrade *upgrade, struct runtime *runtime, struct reload *reload,
                         usec now)
{
    if (reload->state != RELOAD_NONE || reload->queued)
        return USEC_NEVER;
    if (!runtime_is_carried(runtime)) {
        finish(upgrade, runtime, reload, now);
        return now;
    }
    if (now >= upgrade->deadline) {
        upgrade->deadline = now + RETRY;
        upgrade->logged = false;
        upgrade->refusal[0] = '\0';
        upgrade->ticket = reload_ask(reload, JOB_RELOAD, "");
        return now;
    }
    if (!upgrade->logged) {
        log_err(
            "upgraded from preforkd %s to %s, but the configuration is not in force: the workers "
            "of before go on, none is replaced; a reload follows in %d s",
            upgrade->from, PREFORKD_VERSION, (int)(RETRY / USEC_SECOND));
        note_refusal(upgrade, "the binary is the new one, but the configuration is not in force: "
                              "the old workers stay; the log says why");
    }
    upgrade->logged = true;
    return upgrade->deadline;
}

/* Its steps. */

bool upgrade_is_over(const struct upgrade *upgrade)
{
    return (upgrade->phase == UPGRADE_NONE && !upgrade->wanted) || upgrade->logged;
}

bool upgrade_has_arrived(const struct upgrade *upgrade)
{
    return upgrade->phase != UPGRADE_ARRIVING || upgrade->logged;
}

void upgrade_begin(struct upgrade *upgrade)
{
    if (upgrade->wanted || upgrade->phase == UPGRADE_TRYING || upgrade->phase == UPGRADE_PASSED)
        log_notice("an upgrade is under way already");
    else
        upgrade->wanted = true;
}

usec upgrade_step(struct upgrade *upgrade, struct runtime *runtime, struct reload *reload, usec now)
{
    if (upgrade->phase == UPGRADE_ARRIVING)
        return await_reload(upgrade, runtime, reload, now);
    bool free = reload->state == RELOAD_NONE && !reload->queued;
    if (upgrade->phase == UPGRADE_NONE && upgrade->wanted && free)
        begin_trial(upgrade, runtime, now);
    if (upgrade->phase == UPGRADE_PASSED && free && is_quiet(runtime))
        hand_over(upgrade, runtime);
    if (upgrade->phase != UPGRADE_TRYING)
        return USEC_NEVER;
    if (now >= upgrade->deadline) {
        upgrade->deadline = USEC_NEVER;
        kill(-upgrade->trial, SIGKILL);
    }
    return upgrade->deadline;
}

void upgrade_abandon(struct upgrade *upgrade)
{
    upgrade->wanted = false;
    upgrade->phase = UPGRADE_NONE;
    if (upgrade->trial)
        kill(-upgrade->trial, SIGKILL);
}
