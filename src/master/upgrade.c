#include "upgrade.h"

#include "../base/daemon.h"
#include "../base/entry.h"
#include "../base/fd.h"
#include "../base/log.h"
#include "../base/procfs.h"
#include "../base/sysd.h"
#include "../base/text.h"
#include "../base/units.h"
#include "check.h"

#include "build-config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIABLE "PREFORKD_STATE"
#define RETRY    (60 * USEC_SECOND)

enum {
    TRIAL_SECONDS = 30,
    TRIAL_POOL_SECONDS = 5, /* more for each pool: its handler's check may take so long */
    STATUS_NO_PROGRAM = 127,
};

extern char **environ;

void upgrade_init(struct upgrade *upgrade, const struct upgrade_self *self, struct control *control)
{
    *upgrade =
        (struct upgrade){.self = *self, .control = control, .out.watch.fd = -1, .err.watch.fd = -1};
}

/* --- the state on its way from binary to binary ----------------------------------------------- */

int upgrade_state_fd(void)
{
    const char *value = getenv(VARIABLE);
    uint64_t fd;
    if (!value || !digits_read(value, INT_MAX, &fd) || fd <= STDERR_FILENO)
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

/* Writes the state into a memory file. Returns its descriptor, or -errno. */
static int write_state(const struct state *state)
{
    struct text text;
    if (!text_open(&text))
        return -ENOMEM;
    state_write(state, text.out);
    char *written = text_close(&text, true);
    int fd = written ? memfd_create("preforkd-state", MFD_CLOEXEC) : -1;
    int error = !written ? -ENOMEM : fd < 0 ? -errno : fd_write(fd, written, text.size);
    free(written);
    if (error)
        fd_cleanup(&fd);
    return error ? error : fd;
}

/* Saves the present state. Returns its descriptor, or -errno. Fills `state` too, which the caller
 * frees. */
static int make_state(const struct upgrade *upgrade, const struct runtime *runtime,
                      struct state *state)
{
    stderr_log_take_back(runtime->spawner.lines);
    save_daemon(upgrade, runtime, state);
    handoff_save(runtime, state);
    control_save(upgrade->control, state);
    return state->cut ? -ENOMEM : write_state(state);
}

/* --- the trial -------------------------------------------------------------------------------- */

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

/* Returns the writing end, or -errno. */
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

/* Reads what is left in the pipes. Does not wait for end of file, because a process that the trial
 * has left may hold the pipes open. */
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

/* The trial adopts the state as if it were the master already. Returns its pid, or -errno. */
static pid_t fork_trial(struct upgrade *upgrade, struct loop *loop, const struct state *state,
                        int state_fd)
{
    int out __attribute__((cleanup(fd_cleanup))) = open_stream(&upgrade->out, loop);
    int err __attribute__((cleanup(fd_cleanup))) = out < 0 ? out : open_stream(&upgrade->err, loop);
    if (err < 0)
        return err;
    /* Made before the fork, because the child does not get the memory in which `upgrade` lies. */
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

/* Adds a line for the client. */
static void add_refusal(struct upgrade *upgrade, const char *line)
{
    size_t used = strlen(upgrade->refusal);
    snprintf(upgrade->refusal + used, sizeof upgrade->refusal - used, "%s\n", line);
}

static void refuse(struct upgrade *upgrade, const char *why)
{
    add_refusal(upgrade, why);
    log_err("upgrade refused: %s; preforkd %s keeps running", why, PREFORKD_VERSION);
    close_streams(upgrade);
    upgrade->phase = UPGRADE_NONE;
}

static void begin_trial(struct upgrade *upgrade, const struct runtime *runtime, usec now)
{
    char why[100];
    struct state state = {0};
    upgrade->requested = false;
    upgrade->refusal[0] = '\0';
    upgrade->began = now;
    upgrade->seconds = TRIAL_SECONDS;
    for (const struct pool *pool = runtime->pools; pool; pool = pool->next)
        upgrade->seconds += TRIAL_POOL_SECONDS;
    upgrade->deadline = now + upgrade->seconds * USEC_SECOND;
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
    setpgid(pid, pid); /* as the child does: whichever is first, the group exists from now on */
    upgrade->trial = pid;
}

/* Whether the binary may replace us; if not, `why` says what is wrong. */
static bool has_passed(const struct upgrade *upgrade, int status, char *why, size_t size)
{
    const char *program = upgrade->self.program;
    /* The word must be on a line of its own. */
    const char *out = upgrade->out.text, *at = strstr(out, UPGRADE_UNDERSTOOD "\n");
    bool understood = at && (at == out || at[-1] == '\n');
    if (WIFSIGNALED(status) && upgrade->deadline == USEC_NEVER)
        snprintf(why, size, "%.100s -t took more than %d s", program, upgrade->seconds);
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

static bool is_left(struct upgrade *upgrade, pid_t pid)
{
    for (int i = 0; i < upgrade->left_count; i++)
        if (upgrade->left[i] == pid) {
            upgrade->left[i] = upgrade->left[--upgrade->left_count];
            return true;
        }
    return false;
}

bool upgrade_reaped(struct upgrade *upgrade, pid_t pid, int status)
{
    char why[200], text[sizeof upgrade->err.text], *rest = text, *line;
    if (is_left(upgrade, pid))
        return true;
    if (!upgrade->trial || pid != upgrade->trial)
        return false;
    kill(-pid, SIGKILL); /* what the trial may have left running */
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
            add_refusal(upgrade, line);
        }
    refuse(upgrade, why);
    return true;
}

/* --- the hand-over ---------------------------------------------------------------------------- */

/* The state has no room for an exit that is not handled and logged: it would be forgotten. */
static bool exits_are_handled(const struct runtime *runtime)
{
    for (const struct pool *p = runtime->pools; p; p = p->next)
        for (const struct worker *w = p->workers; w; w = w->next)
            if (!w->exit_handled)
                return false;
    return true;
}

/* Signals stay blocked over execve(2), so the other binary gets those that are pending. Returns
 * only on failure, with -errno. */
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
    control_interrupt(upgrade->control);
    int state_fd __attribute__((cleanup(fd_cleanup))) = make_state(upgrade, runtime, &state);
    log_notice("upgrade: preforkd %s hands over to %s", PREFORKD_VERSION, upgrade->self.program);
    struct overview *overview = runtime->spawner.boards.overview;
    overview->handed_on = 1;
    int error = state_fd < 0 ? state_fd : execute(upgrade, &state, state_fd);
    overview->handed_on = 0;
    state_free(&state);
    snprintf(why, sizeof why, "can't execute %.100s: %s", upgrade->self.program, strerror(-error));
    refuse(upgrade, why);
    control_hold(upgrade->control, false); /* now: nothing else may cause another round */
}

/* --- in the new binary: the reload ------------------------------------------------------------ */

void upgrade_arrive(struct upgrade *upgrade, const struct state *state)
{
    const struct state_daemon *daemon = state_at(state, STATE_DAEMON, 0);
    upgrade->phase = UPGRADE_ARRIVING;
    upgrade->began = clock_now();
    upgrade->deadline = 0;
    memcpy(upgrade->old_version, daemon->version, sizeof upgrade->old_version);
    log_notice("upgrade: preforkd %s takes over from %s pools=%d workers=%d listeners=%d",
               PREFORKD_VERSION, upgrade->old_version, state->lists[STATE_POOL].count,
               state->lists[STATE_WORKER].count, state->lists[STATE_LISTENER].count);
}

static void finish_arrival(struct upgrade *upgrade, const struct runtime *runtime,
                           const struct reload *reload, usec now)
{
    const struct reload_result *result = reload_result(reload, upgrade->ticket);
    if (result && result->refused) {
        /* The upgrade is done, but the client must not hear that all is well. */
        char line[512];
        const struct buffer *faults = &result->faults; /* only the first line is used */
        const char *end = faults->at ? memchr(faults->at, '\n', faults->used) : NULL;
        snprintf(line, sizeof line, "upgraded, but the %.*s", end ? (int)(end - faults->at) : 0,
                 end ? faults->at : "");
        add_refusal(upgrade, line);
    }
    runtime->spawner.boards.overview->upgrades++;
    upgrade->phase = UPGRADE_NONE;
    upgrade->reload_refused = false;
    log_notice("upgraded from preforkd %s to %s generation=%u seconds=%.3f", upgrade->old_version,
               PREFORKD_VERSION, runtime->generation, clock_seconds(now - upgrade->began));
}

/* Waits for the reload that replaces the carried pools. Tries again if it is refused, because until
 * it succeeds no worker that ends is replaced. */
static usec await_reload(struct upgrade *upgrade, struct runtime *runtime, struct reload *reload,
                         usec now)
{
    if (!reload_is_idle(reload))
        return USEC_NEVER;
    if (!runtime_is_carried(runtime)) {
        finish_arrival(upgrade, runtime, reload, now);
        return now;
    }
    if (now >= upgrade->deadline) {
        upgrade->deadline = now + RETRY;
        upgrade->reload_refused = false;
        upgrade->refusal[0] = '\0';
        upgrade->ticket = reload_ask(reload, JOB_RELOAD, "");
        return now;
    }
    if (!upgrade->reload_refused) {
        log_err(
            "upgraded from preforkd %s to %s, but the configuration is not in force: the workers "
            "of before go on, none is replaced; a reload follows in %d s",
            upgrade->old_version, PREFORKD_VERSION, (int)(RETRY / USEC_SECOND));
        add_refusal(upgrade, "the binary is the new one, but the configuration is not in force: "
                             "the old workers stay; the log says why");
    }
    upgrade->reload_refused = true;
    upgrade->requested = false; /* refused too: it must not follow when nobody expects it */
    return upgrade->deadline;
}

/* --- the steps of an upgrade ------------------------------------------------------------------ */

bool upgrade_is_over(const struct upgrade *upgrade)
{
    return !upgrade->requested && (upgrade->phase == UPGRADE_NONE || upgrade->reload_refused);
}

bool upgrade_has_arrived(const struct upgrade *upgrade)
{
    return upgrade->phase != UPGRADE_ARRIVING || upgrade->reload_refused;
}

void upgrade_begin(struct upgrade *upgrade)
{
    if (upgrade->requested || upgrade->phase == UPGRADE_TRYING || upgrade->phase == UPGRADE_PASSED)
        log_notice("an upgrade is under way already");
    else
        upgrade->requested = true;
}

/* Each program leads its group, and is our child and not reaped, so the number is the group's. */
static usec await_programs(struct upgrade *upgrade, struct runtime *runtime, usec now)
{
    bool left = upgrade->left_count > 0, changed = left != runtime->programs_left;
    runtime->programs_left = left;
    if (left && now >= upgrade->left_until) {
        log_warning("upgrade: %d programs of the binary before did not end within "
                    "graceful_timeout: killed programs=%d",
                    upgrade->left_count, upgrade->left_count);
        for (int i = 0; i < upgrade->left_count; i++)
            kill(-upgrade->left[i], SIGKILL);
        upgrade->left_until = USEC_NEVER;
    }
    if (changed)
        return now;
    return left ? upgrade->left_until : USEC_NEVER;
}

static usec step_phase(struct upgrade *upgrade, struct runtime *runtime, struct reload *reload,
                       usec now)
{
    if (upgrade->phase == UPGRADE_ARRIVING)
        return await_reload(upgrade, runtime, reload, now);
    bool free = reload_is_idle(reload);
    if (upgrade->phase == UPGRADE_NONE && upgrade->requested && free)
        begin_trial(upgrade, runtime, now);
    bool due = upgrade->phase == UPGRADE_PASSED && free && exits_are_handled(runtime);
    bool was_due = upgrade->control->held;
    control_hold(upgrade->control, due);
    if (due && !was_due)
        return now; /* who waited for that job is answered at the end of this round */
    if (due && control_is_quiet(upgrade->control))
        hand_over(upgrade, runtime);
    if (upgrade->phase != UPGRADE_TRYING)
        return USEC_NEVER;
    if (now >= upgrade->deadline) {
        upgrade->deadline = USEC_NEVER;
        kill(-upgrade->trial, SIGKILL);
    }
    return upgrade->deadline;
}

usec upgrade_step(struct upgrade *upgrade, struct runtime *runtime, struct reload *reload, usec now)
{
    usec next = await_programs(upgrade, runtime, now);
    return clock_earlier(next, step_phase(upgrade, runtime, reload, now));
}

void upgrade_abandon(struct upgrade *upgrade)
{
    control_hold(upgrade->control, false);
    upgrade->requested = false;
    upgrade->phase = UPGRADE_NONE;
    if (upgrade->trial)
        kill(-upgrade->trial, SIGKILL);
}

/* --- in the new binary, without a usable state ------------------------------------------------ */

static bool is_open_on(int fd, const char *path)
{
    struct stat file;
    if (!path || stat(path, &file) != 0 || !S_ISREG(file.st_mode))
        return false;
    struct inode opened = inode_of_fd(fd), named = inode_of(&file);
    return inode_equal(&opened, &named);
}

/* The listener does not know the inode of its path, so it will never unlink the path: the path may
 * belong to another socket by now. */
static struct listener *revive_listener(int fd)
{
    char why[100];
    int only_v6 = 1;
    socklen_t length = sizeof only_v6;
    getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, &length); /* fails on all others */
    struct listener_facts facts = {.origin = LISTENER_BOUND, .any_family = !only_v6};
    struct listener *listener = listener_revive(fd, &facts, why, sizeof why);
    if (listener)
        listener->asked = listener->bound;
    return listener;
}

static void sort_descriptor(struct inherited *inherited, int fd, const char *pidfile)
{
    int logs[2];
    int count = log_descriptors(logs);
    for (int i = 0; i < sysd_socket_count(); i++)
        if (sysd_socket(i)->fd == fd)
            return; /* sysd has it, with its name */
    struct listener *listener = revive_listener(fd);
    fd_set_inherited(fd, false);
    if (listener) {
        listener->next = inherited->listeners;
        inherited->listeners = listener;
    } else if (inherited->pidfile_fd < 0 && is_open_on(fd, pidfile)) {
        inherited->pidfile_fd = fd;
    } else if (!(count > 0 && logs[0] == fd) && !(count > 1 && logs[1] == fd)) {
        close(fd);
    }
}

void inherited_take(struct inherited *inherited, const char *pidfile)
{
    *inherited = (struct inherited){.pidfile_fd = -1};
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        int fd = atoi(entry->d_name);
        if (fd > STDERR_FILENO && fd != dirfd(directory))
            sort_descriptor(inherited, fd, pidfile);
    }
    if (directory)
        closedir(directory);
}

void inherited_find_control(struct inherited *inherited, const char *path)
{
    struct listener **at = &inherited->listeners;
    for (; *at; at = &(*at)->next) {
        struct listener *listener = *at;
        if (strncmp(listener->text, "unix:", 5) != 0 || strcmp(listener->text + 5, path) != 0)
            continue;
        *at = listener->next;
        listener->next = NULL;
        inherited->control = listener;
        return;
    }
}

/* Whether a child has executed a program. Nothing but its name tells it from a worker of ours: a
 * worker is never killed, because it may hold a connection as long as that lasts. A program that
 * takes our name only escapes its own deadline. */
static bool is_program(pid_t pid, const struct procfs_stat *stat, const struct procfs_stat *self)
{
    return stat->session == pid && stat->group == pid && strcmp(stat->command, self->command) != 0;
}

static void note_program(struct inherited *inherited, pid_t pid)
{
    size_t size = (size_t)(inherited->program_count + 1) * sizeof pid;
    pid_t *list = realloc(inherited->programs, size);
    if (!list)
        return;
    list[inherited->program_count++] = pid;
    inherited->programs = list;
}

void upgrade_await_programs(struct upgrade *upgrade, const struct inherited *inherited,
                            int graceful_timeout)
{
    upgrade->left = inherited->programs;
    upgrade->left_count = inherited->program_count;
    upgrade->left_until = clock_now() + graceful_timeout * USEC_SECOND;
}

void inherited_retire_children(struct inherited *inherited)
{
    DIR *directory = opendir("/proc");
    struct procfs_stat stat, own = {.command = ""};
    pid_t self = getpid(), pid;
    int count = 0;
    procfs_stat(self, &own);
    while (directory && (pid = procfs_next(directory))) {
        if (procfs_stat(pid, &stat) != 0 || stat.parent != self)
            continue;
        kill(pid, SIGTERM);
        count++;
        if (is_program(pid, &stat, &own))
            note_program(inherited, pid);
    }
    for (struct listener *l = inherited->listeners; l; l = l->next)
        l->lent = inherited->program_count > 0;
    if (directory)
        closedir(directory);
    log_notice("upgrade: %d workers of the binary before were told to finish workers=%d", count,
               count);
}
