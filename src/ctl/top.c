#include "top.h"

#include "link.h"
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

enum { ANSWER_MAX = 16 * 1024 * 1024 };

struct top {
    const char *path;
    const struct message_request *request;
    const char **where;
    sigset_t open;    /* signals, while it waits */
    struct link link; /* fd -1: nothing is asked for */
    char *answer;     /* that of the last time */
    size_t size;
    FILE *coming; /* the next one */
    char *next;
    size_t next_size;
    long long next_at; /* ms: when to ask again */
};

static volatile sig_atomic_t signalled; /* the last one to end us */
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

/* They are let in while we wait, and nowhere else. */
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

/* Lets a signal do what it does to any process. */
static void suffer(int number)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    /* Only one that stopped us comes back. */
    sigprocmask(SIG_BLOCK, &one, NULL);
    sigaction(number, &(struct sigaction){.sa_handler = note}, NULL);
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The answer, and above it whose it is and of when. */
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
    fwrite(top->answer, 1, top->size, out);
    if (fclose(out) == 0)
        screen_show(page, size);
    free(page);
}

static void gather(void *owner, uint8_t type, const char *text, size_t size)
{
    struct top *top = owner;
    (void)type;
    if (ftello(top->coming) < ANSWER_MAX)
        fwrite(text, 1, size, top->coming);
}

static int ask(struct top *top)
{
    top->next_at = now_ms() + PERIOD;
    top->coming = open_memstream(&top->next, &top->next_size);
    if (!top->coming)
        return -errno;
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, &top->open, &blocked); /* it may wait for a daemon that hangs */
    int error = link_open(&top->link, top->path, top->request, top->where);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    if (error) {
        fclose(top->coming);
        free(top->next);
    }
    return error;
}

/* The reply is here, or won't be: what came of it takes the place of the last one. */
static void take_answer(struct top *top, int error)
{
    link_close(&top->link);
    bool whole = fclose(top->coming) == 0 && !error;
    free(whole ? top->answer : top->next);
    if (whole) {
        top->answer = top->next;
        top->size = top->next_size;
    }
    show(top, error ? "the daemon broke off" : NULL);
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

/* What signals ask for. Whether to go on. */
static bool obey_signals(struct top *top)
{
    if (signalled) {
        screen_leave();
        suffer(signalled);
        return false;
    }
    if (stopped) {
        stopped = 0;
        screen_leave();
        suffer(SIGTSTP);
        resized = screen_enter() == 0;
    }
    if (resized) {
        resized = 0;
        show(top, NULL);
    }
    return true;
}

/* Waits for a key, for the answer, for the time to ask again. Whether to go on. */
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

int top_run(const char *path, const struct message_request *request, const char **where)
{
    struct top top = {.path = path, .request = request, .where = where};
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
