#include "template.h"

#include "../base/daemon.h"
#include "../base/fd.h"
#include "../base/kernel.h"
#include "../base/log.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a successor may take to become ready. */
#define START_TIMEOUT (60 * USEC_SECOND)

/* How often a worker that waits for its first template checks whether it was told to finish. */
#define STOP_INTERVAL ((usec)250 * 1000)

/* Less than a check may take, so that it can report what is missing. */
#define CHECK_TIMEOUT (4 * USEC_SECOND)

struct template
{
    const char *pool;
    char *const *arguments, *const *environment;
    int max_forks; /* 0: no limit */
    int number;
    struct slot_templates *slot;
    struct template_process current; /* none: programs are started without it */
    struct template_process next;    /* the successor, while it starts */
    int failed;                      /* processes in a row */
    usec retry_at;
    unsigned chance;     /* rand_r's state */
    bool failure_logged; /* since then no process became ready */
    struct log_rate logged;
};

/* --- failure ---------------------------------------------------------------------------------- */

static void publish_pid(const struct template *template)
{
    template->slot->pids[template->number] = template->current.pid;
}

/* Buffers of this size hold how a process ended. */
enum { HOW = 64 };

static const char *print_end(int status, char *how)
{
    if (WIFSIGNALED(status))
        snprintf(how, HOW, "signal %s", daemon_signal_word(WTERMSIG(status)));
    else
        snprintf(how, HOW, "exit status %d", WEXITSTATUS(status));
    return how;
}

static void log_failure(struct template *template, const char *why, int status)
{
    unsigned missed;
    char how[HOW];
    if (!log_rate_ok(&template->logged, 10 * USEC_SECOND, &missed))
        return;
    log_warning("pool %s: the template %s failed: %s (%s); %s pool=%s template=%s failed=%d "
                "missed=%u",
                template->pool, template->arguments[0], why, print_end(status, how),
                template->current.pid ? "the one before goes on"
                                      : "programs are started without it until another is ready",
                template->pool, template->arguments[0], template->failed, missed);
    template->failure_logged = true;
}

/* Ends a process. The first retry comes at once, later ones after a growing pause. */
static void discard(struct template *template, struct template_process *process, const char *why)
{
    int status = template_process_end(process);
    template->failed++;
    template->retry_at =
        clock_now() + program_pause_msec(template->failed, &template->chance) * (usec)1000;
    publish_pid(template);
    log_failure(template, why, status);
}

/* --- the successor ---------------------------------------------------------------------------- */

static void start_next(struct template *template)
{
    int error = template_process_start(&template->next, template->arguments, template->environment);
    template->slot->counts[TEMPLATE_RESTARTS]++;
    if (error)
        discard(template, &template->next, strerror(-error));
}

static void use_next(struct template *template)
{
    template_process_end(&template->current);
    template->current = template->next;
    template->next = (struct template_process)TEMPLATE_PROCESS_NONE;
    publish_pid(template);
    if (template->failure_logged)
        log_notice("pool %s: the template %s is ready again pool=%s template=%s pid=%d",
                   template->pool, template->arguments[0], template->pool, template->arguments[0],
                   (int)template->current.pid);
    template->failure_logged = false;
}

/* Does everything that can be done without waiting. */
static void step(struct template *template)
{
    char why[SCOREBOARD_REASON];
    bool used_up = template->max_forks && template->current.forks >= template->max_forks;
    if (template->current.pid && !used_up && !template->next.pid)
        return;
    usec now = clock_now();
    if (!template->next.pid && now >= template->retry_at)
        start_next(template);
    if (!template->next.pid)
        return;
    int error = template_process_await_ready(&template->next, /* deadline: */ 0, why, sizeof why);
    if (error == 0)
        use_next(template);
    else if (error != -EAGAIN)
        discard(template, &template->next, why);
    else if (now - template->next.since > START_TIMEOUT)
        discard(template, &template->next, "it does not become ready");
}

/* --- orphans ---------------------------------------------------------------------------------- */

static struct template *templates[TEMPLATES_MOST]; /* of this worker */
static bool is_subreaper;

static struct template_process *find_process(pid_t pid, struct template **template)
{
    for (int i = 0; i < TEMPLATES_MOST; i++) {
        *template = templates[i];
        if (templates[i] && templates[i]->current.pid == pid)
            return &templates[i]->current;
        if (templates[i] && templates[i]->next.pid == pid)
            return &templates[i]->next;
    }
    return NULL;
}

/* The kernel makes the worker the parent of processes that programs leave behind
 * (PR_SET_CHILD_SUBREAPER). Does not wait. If processes end faster than they are reaped here, only
 * their own pool is kept busy. */
void template_reap_orphans(void)
{
    siginfo_t ended = {.si_pid = 0};
    struct template *template;
    while (is_subreaper && waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           ended.si_pid) {
        struct template_process *process = find_process(ended.si_pid, &template);
        if (!process) {
            waitpid(ended.si_pid, NULL, WNOHANG);
        } else {
            discard(template, process, "it has ended");
            step(template);
        }
        ended.si_pid = 0;
    }
}

/* --- start and end ---------------------------------------------------------------------------- */

char *const *template_split(const char *command)
{
    size_t most = strlen(command) / 2 + 2;
    char **words = calloc(most, sizeof *words), *copy = strdup(command), *rest = NULL;
    size_t count = 0;
    if (!words || !copy)
        return NULL;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    return words;
}

struct template *template_new(struct service *service, int number, char *const *arguments,
                              int max_forks, char *why, size_t size)
{
    char reason[SCOREBOARD_REASON] = "out of memory";
    struct template *template = calloc(1, sizeof *template);
    if (template)
        *template = (struct template){
            .pool = service->pool,
            .arguments = arguments,
            .environment = service->environment,
            .max_forks = max_forks,
            .number = number,
            .slot = service->templates,
            .next = TEMPLATE_PROCESS_NONE,
            .chance = (unsigned)getpid(),
        };
    /* If a template dies, its program's exit status must not be lost with it: as a subreaper, the
     * worker becomes the program's parent. */
    int error = prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? 0 : -errno;
    is_subreaper = error == 0;
    if (error == 0)
        error = template
                    ? template_process_start(&template->current, arguments, template->environment)
                    : -ENOMEM;
    if (template && error)
        snprintf(reason, sizeof reason, "%s", strerror(-error));
    /* The first message wakes us, or the end of the process; if neither comes, the master ends us.
     * TERM interrupts no poll(2) that it comes just before. */
    if (error == 0) {
        snprintf(reason, sizeof reason, "it was not ready when the worker was told to finish");
        do
            error = template_process_await_ready(&template->current, clock_now() + STOP_INTERVAL,
                                                 reason, sizeof reason);
        while (error == -EAGAIN && !*service->stopping);
    }
    if (error) {
        snprintf(why, size, "the template %s: %s", arguments[0], reason);
        template_free(template);
        return NULL;
    }
    publish_pid(template);
    templates[number] = template;
    return template;
}

void template_free(struct template *template)
{
    if (!template)
        return;
    template_process_end(&template->current);
    template_process_end(&template->next);
    publish_pid(template);
    templates[template->number] = NULL;
    free(template);
}

/* --- programs --------------------------------------------------------------------------------- */

bool template_may_run(int script, bool executable)
{
    struct stat file;
    return fstat(script, &file) == 0 && S_ISREG(file.st_mode) &&
           (!executable || kernel_may_execute(script));
}

/* Publishes the group before the program begins, as launch does, so that the program can be ended
 * whatever it does. */
static int begin(struct template *template, struct service *service, struct template_child *child)
{
    *service->program = child->pid;
    *service->shown = child->pid;
    int error = template_process_go(&template->current);
    if (error == 0)
        return 0;
    kill(-child->pid, SIGKILL);
    service_end_program(service);
    fd_cleanup(&child->pidfd);
    return error;
}

/* A program that the template can't run is no fault of the template; logged at a limited rate. */
static void log_unfit(struct template *template, const struct template_request *request,
                      const char *why)
{
    unsigned missed;
    if (log_rate_ok(&template->logged, 10 * USEC_SECOND, &missed))
        log_notice("pool %s: the program %s is not run by the template %s: %s; it is started "
                   "without pool=%s template=%s missed=%u",
                   template->pool, request->arguments[0], template->arguments[0], why,
                   template->pool, template->arguments[0], missed);
}

int template_run(struct template *template, struct service *service,
                 const struct template_request *request, struct template_child *child)
{
    char why[SCOREBOARD_REASON] = "";
    step(template);
    int error = request->script < 0 || !template->current.pid ? -EAGAIN : 0;
    if (error == 0) {
        error = template_process_fork(&template->current, request, child, why, sizeof why);
        if (error == 0)
            error = begin(template, service, child);
        if (error == -E2BIG || error == -ENOEXEC)
            log_unfit(template, request, why);
        else if (error)
            discard(template, &template->current, why[0] ? why : strerror(-error));
    }
    template->slot->counts[error ? TEMPLATE_COLD_STARTS : TEMPLATE_FORKS]++;
    if (error)
        step(template); /* so that the next process gets ready while this program runs */
    return error;
}

bool template_reap(struct template *template, struct template_child *child, int *status,
                   struct rusage *usage)
{
    int error = template_process_reap(&template->current, status, usage);
    if (error == 0) {
        template->failed = 0;
    } else {
        discard(template, &template->current,
                error == -EPIPE ? "it has ended" : "it did not say how a program ended");
        error = template_child_reap(child, status, usage);
    }
    fd_cleanup(&child->pidfd);
    step(template);
    return error == 0;
}

/* --- the check -------------------------------------------------------------------------------- */

void template_check(const struct handler_check *check, char *const *arguments)
{
    static const char option[] = "template";
    char why[SCOREBOARD_REASON], how[HOW];
    struct template_process process;
    unsigned before = check->faults->count;
    program_check(check, option, arguments[0]);
    if (check->faults->count > before)
        return;
    int error = template_process_start(&process, arguments, environ);
    if (error) {
        HANDLER_FAULT(check, option, "can't start the template %s: %s", arguments[0],
                      strerror(-error));
        return;
    }
    error = template_process_await_ready(&process, clock_now() + CHECK_TIMEOUT, why, sizeof why);
    if (error == -EAGAIN)
        snprintf(why, sizeof why, "it was not ready after %d s",
                 (int)(CHECK_TIMEOUT / USEC_SECOND));
    int status = template_process_end(&process);
    if (error == -EPIPE) /* by itself; standard error may say why */
        HANDLER_FAULT(check, option, "the template %s: %s (%s)", arguments[0], why,
                      print_end(status, how));
    else if (error)
        HANDLER_FAULT(check, option, "the template %s: %s", arguments[0], why);
}
