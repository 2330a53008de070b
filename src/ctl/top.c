#include "top.h"

#include "link.h"
#include "report.h"
#include "terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD = 1000 }; /* ms */

struct top {
    const char *path;
    const struct message_request *request;
    bool is_report, coloured;
    const char **where;
    sigset_t open;    /* signals, while it waits */
    struct link link; /* fd -1: nothing is asked for */
    char *answer;     /* the last one, as it is shown; NULL: none yet */
    FILE *coming;     /* the next one */
    char *next;
    size_t next_size;
    long long next_at; /* ms: when to ask again */
};

static volatile sig_atomic_t signalled; /* the last signal that ends top */
static volatile sig_atomic_t resized, stopped;

static void note(int number)
{
    if (number == SIGWINCH || number == SIGCONT)
        resized = 1;
    else if (number == SIGTSTP)
        stopped = 1;
    else
        signalled = number;
}

static const int noted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};

/* These signals are unblocked while top waits, and nowhere else. */
static void take_signals(sigset_t *open)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof noted / sizeof *noted; i++) {
        sigaddset(&blocked, noted[i]);
        sigaction(noted[i], &(struct sigaction){.sa_handler = note}, NULL);
    }
    sigprocmask(SIG_BLOCK, &blocked, open);
    for (size_t i = 0; i < sizeof noted / sizeof *noted; i++)
        sigdelset(open, noted[i]);
}

/* Lets a signal do to this process what it does by default. */
static void take_default(int number)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    /* Only a signal that stops a process gets here. */
    sigprocmask(SIG_BLOCK, &one, NULL);
    sigaction(number, &(struct sigaction){.sa_handler = note}, NULL);
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Shows the answer, and above it the time and the daemon's socket. */
static void show(const struct top *top, const char *trouble)
{
    char *page = NULL;
    size_t size = 0;
    char clock[16] = "";
    time_t now = time(NULL);
    struct tm local;
    FILE *out = open_memstream(&page, &size);
    if (!out)
        return;
    if (localtime_r(&now, &local))
        strftime(clock, sizeof clock, "%H:%M:%S", &local);
    fprintf(out, "preforkctl top  %s  %s%s%s  (q: quit)\n\n", clock, *top->where,
            trouble ? ": " : "", trouble ? trouble : "");
    fputs(top->answer ? top->answer : "", out);
    if (fclose(out) == 0)
        screen_show(page, size);
    free(page);
}

static void gather(void *owner, bool is_error, const char *text, size_t size)
{
    struct top *top = owner;
    (void)is_error;
    if (ftello(top->coming) < REPORT_MAX)
        fwrite(text, 1, size, top->coming);
}

static int ask(struct top *top)
{
    top->next_at = now_ms() + PERIOD;
    top->coming = open_memstream(&top->next, &top->next_size);
    if (!top->coming)
        return -errno;
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, &top->open, &blocked); /* a daemon that hangs makes it wait */
    int error = link_open(&top->link, top->path, top->request, top->where);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    if (error) {
        fclose(top->coming);
        free(top->next);
    }
    return error;
}

/* The reply is here, or won't be: if it is whole it takes the place of the last one. */
static void take_answer(struct top *top, int error)
{
    link_close(&top->link);
    bool whole = fclose(top->coming) == 0 && !error;
    if (whole && top->is_report) {
        char *json = top->next;
        top->next = report_show(json, top->next_size, top->coloured);
        free(json);
    }
    whole = whole && top->next;
    free(whole ? top->answer : top->next);
    if (whole)
        top->answer = top->next;
    show(top, error   ? "the daemon closed the connection"
              : whole ? NULL
                      : "the answer is no report");
}

static void read_answer(struct top *top)
{
    int more = link_read(&top->link, gather, top);
    if (more <= 0)
        take_answer(top, more);
}

static void ask_again(struct top *top)
{
    int error = ask(top);
    if (error)
        show(top, strerror(-error));
}

/* Does what signals ask for. False: top ends. */
static bool obey_signals(struct top *top)
{
    if (signalled) {
        screen_leave();
        take_default(signalled);
        return false;
    }
    if (stopped) {
        stopped = 0;
        screen_leave();
        take_default(SIGTSTP);
        resized = screen_enter() == 0;
    }
    if (resized) {
        resized = 0;
        show(top, NULL);
    }
    return true;
}

/* Waits for a key, for the answer, or for the time to ask again. False: top ends. */
static bool wait_once(struct top *top)
{
    if (!obey_signals(top))
        return false;
    struct pollfd ends[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = top->link.fd, .events = POLLIN}};
    long long left = top->next_at - now_ms();
    struct timespec patience = {.tv_sec = left > 0 ? left / 1000 : 0,
                                .tv_nsec = left > 0 ? left % 1000 * 1000000 : 0};
    bool asking = top->link.fd >= 0;
    char key = 0;
    int ready = ppoll(ends, 2, asking ? NULL : &patience, &top->open);
    if (ready > 0 && ends[0].revents && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q'))
        return false;
    if (ready > 0 && ends[1].revents)
        read_answer(top);
    else if (!asking && now_ms() >= top->next_at)
        ask_again(top);
    return true;
}

int top_run(const char *path, struct message_request *request, bool coloured, const char **where)
{
    struct top top = {.path = path,
                      .request = request,
                      .is_report = report_ask(request),
                      .coloured = coloured,
                      .where = where};
    sigprocmask(SIG_SETMASK, NULL, &top.open);
    int error = ask(&top);
    if (error)
        return error;
    take_signals(&top.open);
    error = screen_enter();
    if (error) {
        *where = "the terminal";
        return error;
    }
    atexit(screen_leave);
    while (wait_once(&top))
        continue;
    screen_leave();
    free(top.answer);
    return 0;
}
